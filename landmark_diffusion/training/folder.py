"""RunFolder: the files of one run, found again by the run's name."""

from __future__ import annotations

import re
import shutil
import time
import warnings
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import is_whole

LAST, BEST = "last.ckpt", "best.ckpt"
CONFIG = "config.yaml"
"""The config of a run, in its folder."""
SNAPSHOT = re.compile(r"step_(\d+)\.ckpt")
"""Name of a checkpoint that is kept at an optimiser step, with that step."""
RESULTS = ("validate", "test", "predict", "samples")
"""Sub-folders with what those verbs found, and with what a run generated (fit)."""


class RunFolder:
    """One run's folder: ``checkpoints/`` (last.ckpt, best.ckpt) and ``logs/`` (one sub-folder for each start).

    Importing it needs no torch. Args: path: the folder, which need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """Folder of the curves (CSV)."""
        return self.path / "logs"

    @property
    def wandb_id(self) -> Path:
        """File that holds the run's identity at Weights & Biases, so that a resumed run goes on as the same one."""
        return self.path / "wandb_id"

    def has_checkpoint(self) -> bool:
        """Tell whether there is any checkpoint, whole or not."""
        return any((self.checkpoints / name).is_file() for name in (LAST, BEST)) or bool(self._snapshots())

    def last(self) -> Path | None:
        """Return the checkpoint to go on from, or None.

        That is last.ckpt; where it is damaged, or a kill came before it was first written, the newest whole one of
        best.ckpt and the snapshots by their updates, and a warning says so.
        """
        last = self._whole(LAST)
        if last is not None:
            return last
        updates = {path: step for step, path in self._snapshots().items() if self._whole(path.name) is not None}
        best = self._whole(BEST)
        if best is not None:
            updates[best] = read_updates(best) if updates else 0  # a lone one need not be read
        newest = max(updates, key=updates.__getitem__, default=None)
        if newest is not None:
            why = "" if (self.checkpoints / LAST).is_file() else f"there is no {LAST}; "
            warnings.warn(f"{why}{newest} is taken instead", UserWarning, stacklevel=2)
        return newest

    def _snapshots(self) -> dict[int, Path]:
        """Map the updates of the snapshots to their files, whole or not."""
        paths = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return {int(match[1]): path for path in paths if (match := SNAPSHOT.fullmatch(path.name))}

    def best(self) -> Path | None:
        """Return the checkpoint of the best validation metric, or None (no validation, or it is broken and told)."""
        return self._whole(BEST)

    def _whole(self, name: str) -> Path | None:
        path = self.checkpoints / name
        if not path.is_file():
            return None
        if not is_whole(path):
            warnings.warn(f"{path} is cut short or damaged and is left aside", UserWarning, stacklevel=3)
            return None
        return path

    def describe(self) -> str:
        """Say in one line what is there: checkpoints with their size and age."""
        found = [self.checkpoints / name for name in (BEST, LAST) if (self.checkpoints / name).is_file()]
        parts = [_describe_file(path) for path in found]
        if snapshots := self._snapshots():
            parts.append(f"{len(snapshots)} kept up to step {max(snapshots)}")
        return f"{self.path}: " + (", ".join(parts) if parts else "no checkpoint yet")

    def refuse_overwrite(self, overwrite: bool = False) -> None:
        """Make the folder ready for a new run: an earlier run in it is removed with ``overwrite``, else refused.

        Raises UserError naming what is there and how to go on, replace it or go elsewhere.
        """
        if not self.has_checkpoint():
            return
        if not overwrite:
            found = [*(self.checkpoints / name for name in (LAST, BEST)), *self._snapshots().values()]
            going_on = "Go on with `--ckpt_path last`" if any(map(is_whole, found)) else "None is whole to go on from"
            raise UserError(
                f"{self.describe()}. A new run would replace these. {going_on}, start anew with `--overwrite true`, or "
                "choose another run folder"
            )
        self.discard()

    def discard(self) -> None:
        """Remove an earlier run: checkpoints, curves, the results of its weights, and its Weights & Biases identity."""
        for part in (self.checkpoints, self.logs, *(self.path / name for name in RESULTS)):
            shutil.rmtree(part, ignore_errors=True)
        self.wandb_id.unlink(missing_ok=True)


def read_updates(path: Path) -> int:
    """Read how many updates a checkpoint has behind it; -1 where it cannot be read."""
    from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint

    try:
        return int(read_checkpoint(path)["global_step"])
    except (UserError, KeyError):
        return -1


def _describe_file(path: Path) -> str:
    stat = path.stat()
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(stat.st_mtime))
    broken = "" if is_whole(path) else ", damaged"
    return f"{path.name} ({stat.st_size / 2**20:.1f} MiB, {when}{broken})"
