"""A label set as it is read: images and marks one by one, each fault with its place."""

from __future__ import annotations

import math
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.core.untrusted import has_control_characters
from landmark_diffusion.data.labels.label_set import SOLE_ANNOTATOR, LabelledImage, LabelSet, Mark

_FARTHEST = 1e6
"""Pixels from the corner beyond which a coordinate is none of an image of at most 89 million pixels."""
_LARGEST = 10_000_000
TWO_ANNOTATORS = (
    "if these are two annotators, convert each one's labels by themselves (ldx data convert ... --to csv), write their "
    "names into the column annotator, and put the rows into one table"
)
"""How a form that holds one annotator brings in two, as the end of a message (docs/formats.md)."""


class LabelBuilder:
    """Collects what a file says, and refuses what cannot be.

    Args:
        path: the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at: Path | None = None
        """The file of a folder that is being read, for messages."""
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self.skeleton: tuple[tuple[str, str], ...] = ()
        self._images: dict[str, LabelledImage] = {}
        self._annotators: dict[str, None] = {}

    def fault(self, message: str, path: Path | None = None, line: int | None = None) -> DataError:
        """Give the error that says what is wrong with the file, or with another one of its folder."""
        return DataError(message, path or self.at or self.path, line)

    def image(
        self,
        name: str,
        size: tuple[int, int] | None = None,
        spacing: tuple[float, float] | None = None,
        again: bool = False,
    ) -> LabelledImage:
        """Add an image; raises DataError for a name that is there already, unless it may come ``again``."""
        if (known := self._images.get(name)) is not None:
            if not again:
                before = f", before in {known.source}" if known.source else ""
                raise self.fault(
                    f"the image {name!r} is there twice{before}; expected each image once: {TWO_ANNOTATORS}"
                )
            if size is not None and known.size not in (None, size):
                raise self.fault(f"{name}: found {size[0]}x{size[1]} px, but {known.size} px before")
            known.size, known.spacing = known.size or size, known.spacing or spacing
            return known
        self._images[name] = LabelledImage(name, size, spacing)
        return self._images[name]

    def images(self) -> Collection[LabelledImage]:
        """Images so far, in order."""
        return self._images.values()

    def annotator(self, name: str) -> str:
        """Add an annotator, once; ``SOLE_ANNOTATOR`` for an empty name."""
        self._annotators.setdefault(name or SOLE_ANNOTATOR)
        return name or SOLE_ANNOTATOR

    def mark(self, image: LabelledImage, annotator: str, landmark: str, mark: Mark) -> None:
        """Add what is said of a point; raises DataError where something was said of it before."""
        annotator = self.annotator(annotator)
        if (annotator, landmark) in image.marks:
            raise self.fault(
                f"{image.name}: the landmark {landmark!r} is marked twice by {annotator!r}, expected one object with "
                f"each landmark once in an image; remove or rename one of them; {TWO_ANNOTATORS}"
            )
        image.marks[annotator, landmark] = mark

    def build(self, landmark_names: Sequence[str] | None = None) -> LabelSet:
        """Give what was collected; landmarks in the order given, else in the one that the images' marks agree on.

        Raises DataError for names that cannot be.
        """
        if landmark_names is None:
            orders: dict[tuple[str, ...], None] = {}
            for image in self._images.values():
                for annotator in self._annotators:
                    orders.setdefault(tuple(name for by, name in image.marks if by == annotator))
            landmark_names = merged_order(orders)
        try:
            return LabelSet(
                tuple(landmark_names), tuple(self._annotators) or (SOLE_ANNOTATOR,), tuple(self._images.values()),
                self.skeleton, dict(self.left_out), tuple(self.notes),
            )  # fmt: skip
        except UserError as error:
            raise self.fault(str(error)) from None


def merged_order(orders: Iterable[Sequence[str]]) -> list[str]:
    """Put the names of several lists in one order: a name that is new comes behind the one before it in its list."""
    found: list[str] = []
    known: set[str] = set()
    for names in orders:
        at = 0
        for name in names:
            if name in known:
                at = found.index(name) + 1
            else:
                found.insert(at, name)
                known.add(name)
                at += 1
    return found


def finite(value: Any, what: str) -> float:
    """Give a number of a file as float; raises UserError that says ``what`` was expected to be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{what}: found {one_line(repr(value)):.60}, expected a number")
    if not -_LARGEST * 1e3 < value < _LARGEST * 1e3:  # false for NaN; before float, which overflows
        raise UserError(f"{what}: found {value!r:.60}, expected a finite number of pixels")
    return float(value)


def spacing_of(found: Any) -> tuple[float, float] | None:
    """Give our own element of a file: mm a pixel along x and y, None where it is not there; raises UserError else."""
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2 or not all(finite(each, "spacing") > 0 for each in found):
        raise UserError(f"spacing: found {found!r:.60}, expected mm a pixel [x, y]")
    return float(found[0]), float(found[1])


def coordinate(value: Any, what: str) -> float:
    """Give a coordinate in pixels; raises UserError for what is no finite number or lies beyond any image."""
    number = finite(value, what)
    if abs(number) > _FARTHEST:
        raise UserError(f"{what}: found {number:g}, expected pixels of the image")
    return number


def side(value: Any, what: str) -> int:
    """Give the width or height of an image in whole pixels; raises UserError for anything else."""
    number = finite(value, what)
    if number != math.floor(number) or not 1 <= number <= _LARGEST:
        raise UserError(f"{what}: found {number:g}, expected whole pixels, at least 1")
    return int(number)


def text(value: Any, what: str, empty: bool = False) -> str:
    """Give a text of a file; raises UserError for what is none, holds control characters, or is empty."""
    if not isinstance(value, str) or has_control_characters(value):
        raise UserError(f"{what}: found {one_line(repr(value)):.60}, expected a text without control characters")
    if not value.strip() and not empty:
        raise UserError(f"{what}: found an empty text, expected a name")
    return value


def image_name(value: Any, what: str) -> str:
    """Give the name of an image as a relative path with ``/``: of a path that leads elsewhere, what lies below.

    ``../x/a.png`` is x/a.png, ``/data/a.png`` and ``C:\\data\\a.png`` are a.png. Raises UserError for what is no name.
    """
    name = text(value, what).strip().replace("\\", "/")
    if name.startswith("/") or name[1:3] == ":/":
        name = posixpath.basename(name)
    parts = posixpath.normpath(name).split("/")
    name = "/".join(part for part in parts if part not in ("..", "."))
    if not name:
        raise UserError(f"{what}: found {value!r:.60}, expected the name of an image")
    return name
