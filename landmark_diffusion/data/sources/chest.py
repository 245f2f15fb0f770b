"""Chest radiographs of the Shenzhen set: 279 of them with 6 landmarks, of which paper B uses 270."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources.annotations_text import inside, outside_fault, parse_number, read_text, split_pair
from landmark_diffusion.data.sources.paper_b import PaperBDataset
from landmark_diffusion.data.splits import CHEST_EXCLUDED

LANDMARK_NAMES = tuple(f"landmark {number}" for number in range(1, 7))
GRID_SIDE = 256
"""Errors are told in pixels of the image stretched to this side: the films' scale is not known."""

_LABELS = "labels"


class ChestDataset(PaperBDataset):
    """Chests in ``pngs/*.png`` with one file each in ``labels/*.txt``: ``6``, then six lines ``x y`` in 0..1.

    A point is the share times the image's width and height, as in the released code of paper B. The files do not say
    whether pixel centres or corners are meant; half a pixel of 3000 is 0.04 px of the 256x256 grid. Nine images, which
    that code leaves out (``splits.CHEST_EXCLUDED``), are left out here in every split.

    Args:
        root: the folder that holds ``pngs`` and ``labels``.
        split: "paper_b" (the 270 labelled names sorted: 195 train, 34 val, 41 test) or "all_train".
        labels: False reads the images alone; the names in ``labels`` serve the split if it is there, else the sorted
            files do.
        require_all: whether labels of a part of "paper_b" without image are refused (DataError) or left out.

    Raises UserError on an unknown split, DataError on a missing root.
    """

    name = "chest"
    landmark_names: tuple[str, ...] = LANDMARK_NAMES
    radii = (3.0, 6.0, 9.0)
    unit = "px256"
    terms = "Trained on chest radiographs of the Shenzhen set, for research use."
    image_files = "pngs/*.png"
    split_counts = (195, 34, 41)
    """The paper prints 50 test images; of the 279 labelled chests 270 remain (docs/conventions.md)."""
    excluded = CHEST_EXCLUDED

    def _annotated_names(self) -> set[str] | None:
        names = {path.stem for path in (self.root / _LABELS).glob("*.txt") if not path.name.startswith(".")}
        names -= self.excluded
        if not names and self.labels:
            raise DataError(f"no label file found; expected {_LABELS}/*.txt in this folder", self.root)
        return names or None

    def _annotations(
        self, names: Iterable[str], sizes: Mapping[str, tuple[int, int]]
    ) -> tuple[dict[str, tuple[np.ndarray, str]], list[DataError]]:
        found: dict[str, tuple[np.ndarray, str]] = {}
        faults: list[DataError] = []
        for name in names:
            path = self._label_file(name)
            points, more = read_points(path, sizes.get(name))
            faults += more
            if name in sizes and not np.isnan(points).any():
                found[name] = points, str(path)
        return found, faults

    def _spacing(self, size: tuple[int, int], points: np.ndarray) -> tuple[float, float] | None:
        return GRID_SIDE / size[0], GRID_SIDE / size[1]

    def _locate(self, sample: LandmarkSample, annotator: int, landmark: int) -> str:
        lines = _lines(self._label_file(sample.image_id))
        return f"{sample.source}:{lines[landmark + 1][0]}"

    def _label_file(self, name: str) -> Path:
        return self.root / _LABELS / f"{name}.txt"


def read_points(path: Path, size: tuple[int, int] | None = None) -> tuple[np.ndarray, list[DataError]]:
    """Read one label file: (6, 2), with a fault for each line that is wrong (its point is NaN).

    With ``size`` (width, height) the points are original pixels; without, shares of the width and height in 0..1.
    """
    points = np.full((len(LANDMARK_NAMES), 2), np.nan)
    try:
        lines = _lines(path)
    except DataError as error:
        return points, [error]
    if fault := _count_fault(path, lines):
        return points, [fault]
    faults = []
    for index, (number, line) in enumerate(lines[1:]):
        try:
            share = _parse_pair(line)
        except ValueError as error:
            faults.append(DataError(f"{error} for {LANDMARK_NAMES[index]}", path, number))
            continue
        points[index] = share if size is None else share * np.array(size)
        if size is not None and not inside(points[index], size):
            faults.append(outside_fault(LANDMARK_NAMES[index], points[index], size, path, number))
    return points, faults


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line that is not empty."""
    return [(number, line.strip()) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]


def _count_fault(path: Path, lines: list[tuple[int, str]]) -> DataError | None:
    """Return a fault if the file is not ``6`` and six lines; it names the first line that is wrong."""
    expected = len(LANDMARK_NAMES)
    if not lines or lines[0][1] != str(expected):
        found = repr(lines[0][1]) if lines else "an empty file"
        message = f"found {found}, expected {expected}, the number of points, in the first line"
        return DataError(message, path, lines[0][0] if lines else 1)
    count = len(lines) - 1
    if count != expected:
        line = lines[expected + 1][0] if count > expected else lines[-1][0] + 1
        return DataError(f"found {count} points, expected {expected} lines x y", path, line)
    return None


def _parse_pair(line: str) -> np.ndarray:
    """Two shares (2,) in 0..1; raises ValueError that says what was found."""
    fields = split_pair(line)
    if len(fields) != 2:
        raise ValueError(f"found {line!r}, expected x y")
    share = np.array([parse_number(field) for field in fields])
    if share.min() < 0 or share.max() > 1:
        raise ValueError(f"found {line!r}, expected shares of the image's width and height in 0..1")
    return share
