"""Writer: one form of output of ``ldx detect``, fed image by image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from landmark_diffusion.detection.detection import Detection


class Writer(ABC):
    """Write detections in one form under ``folder``, each file whole or not at all.

    Images come one at a time, so that a folder of any length needs little memory: what belongs to one image is written
    at ``add``, what lists all of them at ``close``, which is called also when the work is interrupted, so that nothing
    that was found is lost.

    Args:
        folder: results' folder; it need not exist yet.
    """

    name: str
    """The form's name in ``--to``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the files that detections of these names will be written to, to see beforehand what is there."""

    @abstractmethod
    def add(self, detection: Detection) -> None:
        """Take one image's detection; raises UserError where its file cannot be written."""

    @abstractmethod
    def close(self) -> list[Path]:
        """Finish and return what a person would open: the table, the page, the folder of pictures."""
