"""Writer: one form of output of ``ldx detect``, fed image by image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
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
    reads_image: bool = False
    """Whether it opens the image's file (``Detection.path``), which to any other form is a text."""
    why_none: str = ""
    """Why some images have no file of this form, for a message; empty where each has."""

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

    @classmethod
    def files_of(cls, path: Path) -> list[Path]:
        """List the files that ``save`` writes, to see beforehand what is there."""
        return [path]

    @classmethod
    def save(cls, path: Path, detection: Detection) -> None:
        """Write one detection to one file; raises UserError for a form that has no such file, or cannot be written."""
        raise UserError(f"{path}: the form {cls.name} is written for a folder of images, by `ldx detect --to`")


class OneFile(Writer):
    """A form of one file that holds all images: each is kept as a record until the end."""

    file_name: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.records: list[Any] = []

    @classmethod
    @abstractmethod
    def record(cls, detection: Detection) -> Any:
        """Turn a detection into what is kept of it: as little as the file needs."""

    @classmethod
    @abstractmethod
    def write(cls, path: Path, records: Sequence[Any]) -> None:
        """Write the file, whole or not at all; raises UserError where that cannot be done."""

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the one file."""
        return [self.folder / self.file_name]

    def add(self, detection: Detection) -> None:
        """Keep what the file needs until the end."""
        self.records.append(self.record(detection))

    def close(self) -> list[Path]:
        """Write the file and return it; nothing where no image was added. Raises UserError where it cannot."""
        if not self.records:
            return []
        self.write(self.folder / self.file_name, self.records)
        return [self.folder / self.file_name]

    @classmethod
    def save(cls, path: Path, detection: Detection) -> None:
        """Write one detection as ``path``; raises UserError where that cannot be done."""
        cls.write(path, [cls.record(detection)])


class FileAnImage(Writer):
    """A form of a file for each image, written at once with ``save`` into a folder of their own."""

    subfolder: str
    suffix: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written = 0

    def path(self, name: str) -> Path:
        """Name the file of one image."""
        return self.folder / self.subfolder / f"{name}{self.suffix}"

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the files of each name."""
        return [path for name in names for path in self.files_of(self.path(name))]

    def add(self, detection: Detection) -> None:
        """Write one image's file; raises UserError where that cannot be done."""
        self.save(self.path(detection.name), detection)
        self.written += 1

    def close(self) -> list[Path]:
        """Return the folder of the files; nothing where there are none."""
        return [self.folder / self.subfolder] if self.written else []
