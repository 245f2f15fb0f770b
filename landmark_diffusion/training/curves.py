"""Curves of a run as CSV, which a full disk does not spoil."""

from __future__ import annotations

import csv
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text, writing


class Curves(CSVLogger):
    """Lightning's CSVLogger, but for where it cannot write: then the rows on disk stay and WriteError names the file.

    Rows are added at the end of ``metrics.csv``; it is written anew, beside and renamed, only where a column is new.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """The writer, made at its first use."""
        if self._experiment is None:
            with writing(self.log_dir):
                os.makedirs(self.root_dir, exist_ok=True)
                self._experiment = _Rows(self.log_dir)
        return self._experiment

    def finalize(self, status: str) -> None:
        """Write the last rows; after an error without another one, which would hide the first."""
        with suppress(*[UserError] if status == "failed" else []):
            super().finalize(status)


class _Rows(ExperimentWriter):
    def log_hparams(self, params: dict[str, Any]) -> None:
        with writing(Path(self.log_dir) / self.NAME_HPARAMS_FILE):
            super().log_hparams(params)

    def save(self) -> None:
        if not self.metrics:
            return
        path, columns = Path(self.metrics_file_path), list(self.metrics_keys)
        if self._record_new_keys() or not path.is_file():
            try:
                atomic_write_text(path, self._as_text(_read(path), header=True))
            except (OSError, UserError):
                self.metrics_keys = columns  # those of the file, which is as it was
                raise
        text, size = self._as_text(self.metrics), path.stat().st_size
        with writing(path):
            try:
                with path.open("a", encoding="utf-8", newline="") as file:
                    file.write(text)
            except OSError:
                os.truncate(path, size)  # no half row, behind which a later one would be lost too
                raise
        self.metrics = []

    def _as_text(self, rows: list[dict[str, Any]], header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=self.metrics_keys)
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
