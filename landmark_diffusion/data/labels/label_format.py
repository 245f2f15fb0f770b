"""LabelFormat: how one tool writes labels, in both directions."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_bytes, refuse_existing, writing
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels.label_set import Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

Holds = Literal[
    "annotators", "hidden", "unsure", "absent", "size", "spacing", "time", "origin", "score", "skeleton",
    "unmarked images", "unmarked landmarks", "annotators without marks",
]  # fmt: skip
"""What a form may be able to hold beside names of images and landmarks, and where visible points lie."""


class LabelFormat(ABC):
    """One form of labels. Coordinates are ours in a ``LabelSet``, the tool's in its files.

    Attributes:
        name: in ``--from`` and ``--to``.
        title: what people call it.
        suffix: of its one file; empty where it is a folder of files.
        holds: what it keeps; of anything else ``losses`` tells.
        needs_size: whether its coordinates cannot be written without the size of the image.
        writes: False for a form that is only read.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffix: ClassVar[str]
    holds: ClassVar[frozenset[Holds]]
    needs_size: ClassVar[bool] = False
    writes: ClassVar[bool] = True

    @abstractmethod
    def recognises(self, source: LabelSource) -> bool:
        """Tell by its content whether a file or folder is of this form; raises nothing for damage."""

    @abstractmethod
    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read all labels; ``images`` tells sizes of those that the source does not, and the names of files.

        Raises DataError with the place of the first fault.
        """

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give what is written: for one file its content under "", and others under what follows its name's stem; for
        a folder each file under its name within. ``target`` and ``images`` are for paths from one to the other.

        Sizes are known where ``needs_size``, and there is one annotator unless it ``holds`` several. Raises UserError
        for labels that this form cannot hold at all.
        """
        raise UserError(f"--to: {self.title} is only read; name another form")

    def more_losses(self, labels: LabelSet) -> list[str]:
        """What this form alone cannot hold of these labels, one sentence each."""
        return []

    def losses(self, labels: LabelSet) -> list[str]:
        """Say what this form cannot hold of these labels, one sentence each; nothing where it holds all."""
        told = [loss(labels) for kind, loss in _LOSSES.items() if kind not in self.holds]
        found = [f"{self.title} {each}" for each in told if each]
        return found + [f"{self.title} {each}" for each in self.more_losses(labels)]

    def write(self, labels: LabelSet, target: Path, images: ImageFolder, overwrite: bool = False) -> list[str]:
        """Write labels whole or not at all; returns what could not be held, as ``losses``.

        Sizes that are not known are taken from ``images``. Raises UserError where something is there already (unless
        ``overwrite``), where a size is needed and not known, and where it cannot be written.
        """
        if self.needs_size:
            labels = with_sizes(labels, images, self.title)
        files = self.files(labels, target, images)
        if self.suffix:
            write_beside(target, files, overwrite)
        else:
            _write_folder(target, files, overwrite)
        return self.losses(labels)


def with_sizes(labels: LabelSet, images: ImageFolder, title: str) -> LabelSet:
    """Give labels whose images have sizes, by their headers; raises UserError that says which have none."""
    sized = [each if each.size else replace(each, size=images.facts(each.name)[0]) for each in labels.images]
    unknown = [each.name for each in sized if each.size is None]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        where = (
            f"it is not in {images.folder}{images.cure}"
            if images.folder
            else "name the folder of the images by --images"
        )
        raise UserError(f"{title} needs the size of each image, and that of {unknown[0]!r}{more} is not known: {where}")
    return replace(labels, images=tuple(sized))


def write_beside(target: Path, files: dict[str, bytes], overwrite: bool) -> None:
    """Write the ``files`` of a form of one file, each whole or not at all; raises UserError as ``write`` does."""
    named = {target if not end else target.with_name(target.stem + end): data for end, data in files.items()}
    for path in named:
        refuse_existing(path, overwrite, "--output")
    for path, data in reversed(named.items()):  # the file itself last: it is there when all is
        atomic_write_bytes(path, data)


def _write_folder(target: Path, files: dict[str, bytes], overwrite: bool) -> None:
    """Write a folder aside and rename it; into one that is there already each file is moved by itself."""
    there = os.path.lexists(target)
    if there and not os.path.isdir(target):
        raise UserError(f"{target} exists already and is no folder; give another --output")
    if there and any(target.iterdir()) and not overwrite:
        raise UserError(f"{target} exists already and was left as it is; give another --output, or --overwrite")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent))
        try:
            for name, data in files.items():
                path = aside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            aside.chmod(0o755)  # mkdtemp makes it for its user alone
            if not there or not any(target.iterdir()):
                os.replace(aside, target)
                return
            for name in files:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(aside / name, target / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@dataclass(frozen=True)
class _Points:
    """Counts the marks that something is true of, and says so behind ``cannot``."""

    cannot: str
    of: Callable[[Mark], bool]

    def __call__(self, labels: LabelSet) -> str:
        count = sum(map(self.of, _marks(labels)))
        return f"{self.cannot} ({counted(count, 'point')})" if count else ""


def _marks(labels: LabelSet) -> Iterator[Mark]:
    return (mark for image in labels.images for mark in image.marks.values())


def _images(labels: LabelSet, cannot: str, of: Callable[[LabelledImage], bool]) -> str:
    count = sum(map(of, labels.images))
    return f"{cannot} ({counted(count, 'image')})" if count else ""


def _never_marked(labels: LabelSet) -> str:
    used = {landmark for image in labels.images for _, landmark in image.marks}
    unused = [name for name in labels.landmark_names if name not in used]
    return f"leaves out landmarks that no image has: {', '.join(unused[:5])}" if unused else ""


def _idle(labels: LabelSet) -> str:
    marking = labels.marking()
    idle = [name for name in labels.annotator_names if name not in marking]
    several = len(labels.annotator_names) > 1
    return f"leaves out annotators without marks: {', '.join(idle[:5])}" if idle and several else ""


_LOSSES: dict[Holds, Callable[[LabelSet], str]] = {
    "annotators": lambda labels: "keeps no annotator's name" if labels.annotator_names != ("annotator",) else "",
    "hidden": _Points("has no flag for hidden points: they are written as visible", lambda m: m.flag is Flag.HIDDEN),
    "unsure": _Points("has no flag for unsure points: they are written as visible", lambda m: m.flag is Flag.UNSURE),
    "absent": _Points("cannot say that a point is not in the image: it is missing then", lambda m: not m.placed),
    "size": lambda labels: _images(labels, "keeps no size of images", lambda image: image.size is not None),
    "spacing": lambda labels: _images(labels, "keeps no spacing", lambda image: image.spacing is not None),
    "time": _Points("keeps no time of a mark", lambda mark: bool(mark.time)),
    "origin": _Points("does not keep how a point was made", lambda mark: mark.origin is not None),
    "score": _Points("keeps no score", lambda mark: mark.score is not None),
    "skeleton": lambda labels: f"keeps no lines between landmarks ({len(labels.skeleton)})" if labels.skeleton else "",
    "unmarked images": lambda labels: _images(labels, "leaves out images without marks", lambda each: not each.marks),
    "unmarked landmarks": _never_marked,
    "annotators without marks": _idle,
}
