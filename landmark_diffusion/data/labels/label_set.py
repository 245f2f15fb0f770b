"""Labels as tools hold them: images by name, annotators, landmarks, and what is said of each point.

What is read from a tool's file, and what is written to another's. Nothing here knows pixels of images or networks.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.core.untrusted import has_control_characters, repeated

SOLE_ANNOTATOR = "annotator"
"""The annotator of a file that names none."""
MEAN = "mean"
"""The annotator that stands for all: ``--annotator mean``."""


class Flag(StrEnum):
    """What is said of a point. A point of which nothing is said is missing: it has no mark at all."""

    VISIBLE = "visible"
    HIDDEN = "hidden"
    """Placed, though something lies over it."""
    UNSURE = "unsure"
    """Placed, but who placed it doubts it."""
    ABSENT = "absent"
    """Said not to be in the image: without a place."""


Origin = Literal["by hand", "model", "corrected"]
ORIGINS: tuple[Origin, ...] = ("by hand", "model", "corrected")


@dataclass(frozen=True, slots=True)
class Mark:
    """One point of one image, by one annotator.

    Attributes:
        x, y: original pixels, pixel centres at integers; both NaN where ``flag`` is absent, finite otherwise.
        flag: visible, hidden, unsure or absent.
        origin: how it came there, None where that is not known.
        time: when it was set, as ISO 8601; empty where that is not known.
        score: how sure a model is of it, in [0, 1]; None where nobody says.
    """

    x: float
    y: float
    flag: Flag = Flag.VISIBLE
    origin: Origin | None = None
    time: str = ""
    score: float | None = None

    @property
    def placed(self) -> bool:
        """Whether it has a place."""
        return self.flag is not Flag.ABSENT


_UNWRITABLE = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""What stands for bytes of a file's name that are no text, and what XML does not take."""

ABSENT = Mark(math.nan, math.nan, Flag.ABSENT)


@dataclass(slots=True)
class LabelledImage:
    """One image of a label set.

    Attributes:
        name: file with its folder, as a relative path with ``/``; unique in its set.
        size: (width, height) in pixels, None where nobody says.
        spacing: mm a pixel (x, y), likewise.
        marks: (annotator, landmark) to what is said of the point; missing points have none.
        source: "file" or "file:line" where it was read, where that is not the labels' one file; for messages.
    """

    name: str
    size: tuple[int, int] | None = None
    spacing: tuple[float, float] | None = None
    marks: dict[tuple[str, str], Mark] = field(default_factory=dict)
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class LabelSet:
    """Labels of many images.

    Attributes:
        landmark_names: N names in order, each once.
        annotator_names: A names, each once; at least one.
        images: in the file's order, no name twice.
        skeleton: pairs of landmarks that a tool joins by a line.
        left_out: what lay beside the points and was not read, such as "rectangle", and how many there were.
        notes: how the file was read where that is not plain, one sentence each.

    Raises UserError for names that are there twice, empty or with control characters, and for marks of names that
    are not listed.
    """

    landmark_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    skeleton: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.annotator_names:
            raise UserError("found no annotator, expected at least one")
        _check_names("landmark", self.landmark_names)
        _check_names("annotator", self.annotator_names)
        _check_names("image", [each.name for each in self.images])
        landmarks, annotators = set(self.landmark_names), set(self.annotator_names)
        for image in self.images:
            for annotator, landmark in image.marks:
                if annotator not in annotators or landmark not in landmarks:
                    raise UserError(f"{image.name}: found a mark of {landmark!r} by {annotator!r}, which is not listed")

    def points(self, image: LabelledImage) -> np.ndarray:
        """Points of one image, (A, N, 2) original pixels, NaN where a point is missing or absent."""
        found = np.full((len(self.annotator_names), len(self.landmark_names), 2), np.nan)
        for a, annotator in enumerate(self.annotator_names):
            for n, landmark in enumerate(self.landmark_names):
                if (mark := image.marks.get((annotator, landmark))) is not None:
                    found[a, n] = mark.x, mark.y
        return found

    def counts(self) -> Counter[Flag]:
        """How many marks of each flag there are, over all images and annotators."""
        return Counter(mark.flag for image in self.images for mark in image.marks.values())

    def marking(self) -> list[str]:
        """Annotators who marked anything, in order."""
        found = {annotator for image in self.images for annotator, _ in image.marks}
        return [name for name in self.annotator_names if name in found]

    def by(self, annotator: str) -> LabelSet:
        """Give the labels of one annotator alone, or the ``MEAN`` of all; raises UserError for one who is not known."""
        if annotator not in self.annotator_names and annotator == MEAN:
            return self._mean()
        if annotator not in self.annotator_names:
            hint = did_you_mean(annotator, [*self.annotator_names, MEAN])
            raise UserError(f"--annotator: found {annotator!r}, which nobody is called.{hint}")
        kept = [{key: mark for key, mark in image.marks.items() if key[0] == annotator} for image in self.images]
        return self._with_marks(kept, annotator)

    def _mean(self) -> LabelSet:
        """The mean of those who placed a point; absent where nobody placed it and somebody says so."""
        means = []
        for image in self.images:
            points = mean_of_annotators(self.points(image))
            found = {}
            for name, (x, y) in zip(self.landmark_names, points, strict=True):
                flags = {image.marks[a, name].flag for a in self.annotator_names if (a, name) in image.marks}
                if not math.isnan(x):
                    kinds = (Flag.UNSURE, Flag.HIDDEN, Flag.VISIBLE)
                    found[MEAN, name] = Mark(float(x), float(y), next(each for each in kinds if each in flags))
                elif Flag.ABSENT in flags:
                    found[MEAN, name] = ABSENT
            means.append(found)
        return self._with_marks(means, MEAN)

    def _with_marks(self, marks: Iterable[dict[tuple[str, str], Mark]], annotator: str) -> LabelSet:
        images = tuple(replace(image, marks=own) for image, own in zip(self.images, marks, strict=True))
        return replace(self, images=images, annotator_names=(annotator,))


def _check_names(what: str, names: Sequence[str]) -> None:
    if (twice := repeated(names)) is not None:
        raise UserError(f"the {what} {twice!r} is there twice, expected each name once")
    for name in names:
        if not name.strip() or has_control_characters(name) or _UNWRITABLE.search(name):
            raise UserError(f"found the {what} {name!r:.100}, expected a name of letters that every file can hold")
