"""FolderDataset: the user's own images and one CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from landmark_diffusion.data.annotations_text import inside, outside_fault
from landmark_diffusion.data.checks import check_samples, root_folder
from landmark_diffusion.data.datasets.base import Finding, LandmarkDataset, Stage
from landmark_diffusion.data.datasets.folder_table import Row, Table, nearest_column, read_table
from landmark_diffusion.data.headers import read_headers
from landmark_diffusion.data.image_io import IMAGE_SUFFIXES, list_images, read_grey
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.splits import seeded_split
from landmark_diffusion.errors import DataError, UserError

STAGE_NAMES: Mapping[str, Literal["train", "val", "test"]] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Values that a split column may have, in lower case."""

RADII_MM = (2.0, 2.5, 3.0, 4.0)
RADII_PERCENT = (1.0, 2.0, 3.0, 5.0)
"""Without spacing: percent of the images' median diagonal, rounded to whole pixels."""


class FolderDataset(LandmarkDataset):
    """Images and one CSV with their landmarks, wide or long (``folder_table.read_table`` tells the columns).

    Images are looked up beside the CSV, in ``root`` and in ``root/images``, with or without their suffix in the table.
    With a spacing for every image the unit is mm, with none it is px of the original image.

    Args:
        root: the folder with the images and the CSV.
        csv: the table, relative to ``root`` or a path; None takes the one CSV that ``root`` holds.
        split: "column" (by ``split_column``), "seeded" (by ``fractions`` and ``seed``), or "auto": by the column where
            the table has it.
        split_column: name of the column with train, val (valid, validation) or test.
        fractions: share of train, val and test in a seeded split.
        seed: of a seeded split and of the validation share.
        val_fraction: share of the train rows that becomes val where the split column names no val; 0 for none.
        radii: of the success detection rate, in mm or px; None is 2, 2.5, 3, 4 mm, or without spacing 1, 2, 3, 5 %
            of the images' median diagonal in whole px.

    Raises UserError on options that cannot be used, DataError on a missing root or CSV or an unusable header.
    """

    name = "folder"

    def __init__(
        self,
        root: str | Path,
        csv: str | Path | None = None,
        split: str = "auto",
        split_column: str = "split",
        fractions: Sequence[float] = (0.7, 0.15, 0.15),
        seed: int = 0,
        val_fraction: float = 0.15,
        radii: tuple[float, ...] | None = None,
    ) -> None:
        if split not in ("auto", "column", "seeded"):
            raise UserError(f"split: found {split!r}, expected auto, column or seeded for the dataset folder")
        if not 0 <= val_fraction < 1:
            raise UserError(f"val_fraction: found {val_fraction}, expected at least 0 and below 1")
        if radii is not None and (not len(radii) or min(radii) <= 0):
            raise UserError(f"radii: found {radii}, expected one or more lengths above 0")
        seeded_split(["any"], fractions)  # tells wrong fractions at once
        self.root = root_folder(root, self.name)
        self.table = read_table(_find_csv(self.root, csv), split_column)
        self.landmark_names, self.annotator_names = self.table.landmark_names, self.table.annotator_names
        self.by_column = _by_column(self.table, split, split_column)
        self.fractions, self.seed, self.val_fraction = fractions, seed, val_fraction
        known = [row.spacing is not None for row in self.table.rows.values()]
        self.unit = "mm" if known and all(known) else "px"
        self._radii = tuple(map(float, radii)) if radii is not None else None

    @property
    def radii(self) -> tuple[float, ...]:  # type: ignore[override]
        """Radii of the success detection rate in ``unit``; in px they follow from the images' headers."""
        if self._radii is None:
            self._radii = RADII_MM if self.unit == "mm" else _radii_px([s.size for s in self._read()[0]])
        return self._radii

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Samples of one stage by image id; "predict" is the test part. Raises DataError on the first fault."""
        samples, faults = self._read()
        for fault in faults:
            raise fault
        wanted = set(self._parts()["test" if stage == "predict" else stage])
        return [sample for sample in samples if sample.image_id in wanted]

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode one image, (H, W) uint8."""
        assert sample.image_path is not None
        return read_grey(sample.image_path)

    def check(self, decode: bool = True) -> list[Finding]:
        """All faults and doubts in the table and the images, whatever the split."""
        samples, faults = self._read()
        findings = check_samples(self, samples, faults, decode, self._locate)
        return findings + [Finding("warning", f"{self.table.path}: {message}") for message in self._doubts()]

    def _read(self) -> tuple[list[LandmarkSample], list[DataError]]:
        """Each image that can be used, sorted by name, and what is wrong with the table and the others."""
        table = self.table
        places = list(dict.fromkeys((table.path.parent, self.root, self.root / "images")))
        images, faults = _find_images(table, _FileIndex(places))
        sizes, header_faults = read_headers(images.values(), self.root)
        samples = []
        for name, path in sorted(images.items()):
            if path in sizes:
                row = table.rows[name]
                annotations, where = table.annotations(row), f"{table.path}:{row.line}"
                faults += _row_faults(table, row, sizes[path])
                if not inside(annotations, sizes[path]).all():
                    faults += _outside_faults(table, row, sizes[path])
                samples.append(LandmarkSample(name, sizes[path], annotations, row.spacing, path, where))
        faults = [*table.faults, *header_faults, *faults, *self._column_faults(), *_spacing_faults(table)]
        if not images and not _images_of(places):
            faults.insert(0, DataError(f"no image found here or in images/; the table is {table.path}", self.root))
        return samples, [*faults, *_unannotated(table, images)]

    def _locate(self, sample: LandmarkSample, annotator: int, landmark: int) -> str:
        mark = self.table.rows[sample.image_id].marks[self.annotator_names[annotator], self.landmark_names[landmark]]
        return f"{self.table.path}:{mark[2]}"

    def _parts(self) -> dict[str, list[str]]:
        """Image ids of train, val and test."""
        ids = sorted(self.table.rows)
        if not self.by_column:
            return seeded_split(ids, self.fractions, self.seed)
        parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for image in ids:
            parts[STAGE_NAMES[self.table.rows[image].part.lower()]].append(image)
        if not parts["val"] and self.val_fraction > 0 and len(parts["train"]) > 1:
            shares = seeded_split(parts["train"], (1 - self.val_fraction, self.val_fraction, 0.0), self.seed)
            parts["train"], parts["val"] = shares["train"], shares["val"]
        return parts

    def _column_faults(self) -> list[DataError]:
        if not self.by_column:
            return []
        return [
            DataError(
                f"{self.table.split_column}: found {row.part!r} for {row.image!r}, expected train, val (valid, "
                "validation) or test",
                self.table.path,
                row.line,
            )
            for row in self.table.rows.values()
            if row.part.lower() not in STAGE_NAMES
        ]

    def _doubts(self) -> list[str]:
        """Landmarks that hardly any image has: often a misspelt name in the long form, or an empty column."""
        counts = dict.fromkeys(self.landmark_names, 0)
        for row in self.table.rows.values():
            for landmark in {landmark for _, landmark in row.marks}:
                counts[landmark] += 1
        few = 0.05 * len(self.table.rows)
        return [
            f"landmark {name!r} is marked in {count} of {len(self.table.rows)} images"
            for name, count in counts.items()
            if count < max(1, few)
        ]


class _FileIndex:
    """Image files of some folders by name and by stem: one listing each, however many rows ask."""

    def __init__(self, places: list[Path]) -> None:
        self.places = places
        self.by_name: dict[str, Path] = {}
        self.by_stem: dict[str, list[Path]] = {}
        for path in _images_of(places):
            if path.name not in self.by_name:
                self.by_name[path.name] = path
                self.by_stem.setdefault(path.stem, []).append(path)

    def find(self, name: str) -> list[Path]:
        """Return the files that a name in the table can mean: none, one, or several of the same stem."""
        if name in self.by_name:
            return [self.by_name[name]]
        if name in self.by_stem:
            return self.by_stem[name]
        found = (place / f"{name}{suffix}" for place in self.places for suffix in ("", *IMAGE_SUFFIXES))
        return [path for path in found if path.is_file()][:1]


def _images_of(places: list[Path]) -> list[Path]:
    return [path for place in places for path in list_images(place)]


def _find_images(table: Table, index: _FileIndex) -> tuple[dict[str, Path], list[DataError]]:
    """The file of each row by the row's name, and faults for rows without one and for files meant by two rows."""
    images: dict[str, Path] = {}
    faults: list[DataError] = []
    lines: dict[Path, int] = {}
    for name, row in table.rows.items():
        found = index.find(name)
        if not found:
            where = ", ".join(str(place) for place in index.places if place.is_dir())
            faults.append(DataError(f"the image {name!r} is not there; looked in {where}", table.path, row.line))
        elif len(found) > 1:
            names = ", ".join(path.name for path in found)
            faults.append(DataError(f"the image {name!r} can mean {names}; add the suffix", table.path, row.line))
        elif found[0] in lines:
            faults.append(
                DataError(f"{name!r} is the same file as the image in line {lines[found[0]]}", table.path, row.line)
            )
        else:
            images[name], lines[found[0]] = found[0], row.line
    return images, faults


def _unannotated(table: Table, images: Mapping[str, Path]) -> list[DataError]:
    """Images without a row, in the folders where the rows' images lie."""
    used = set(images.values())
    places = sorted({path.parent for path in used})
    return [
        DataError(f"the image has no row in {table.path}", path)
        for path in _images_of(places)
        if path not in used and not {path.name, path.stem} & table.mentioned
    ]


def _row_faults(table: Table, row: Row, size: tuple[int, int]) -> list[DataError]:
    """Faults of one image: another size than its header says, no point."""
    faults = []
    if row.size is not None and row.size != size:
        faults.append(
            DataError(
                f"width and height are {row.size[0]}x{row.size[1]}, but {row.image!r} has {size[0]}x{size[1]} px",
                table.path,
                row.line,
            )
        )
    if not row.marks and not any(fault.line == row.line for fault in table.faults):
        faults.append(DataError(f"{row.image!r} has no point at all; leave it out of the table", table.path, row.line))
    return faults


def _outside_faults(table: Table, row: Row, size: tuple[int, int]) -> list[DataError]:
    """A fault with its own line for each point that lies outside the image."""
    return [
        outside_fault(f"landmark {landmark!r} of {row.image!r}", np.array([x, y]), size, table.path, line)
        for (_, landmark), (x, y, line) in row.marks.items()
        if not inside(np.array([x, y]), size)
    ]


def _spacing_faults(table: Table) -> list[DataError]:
    """A set is measured in mm or in px as a whole, so some rows without spacing are a fault."""
    without = [row for row in table.rows.values() if row.spacing is None]
    if not without or len(without) == len(table.rows):
        return []
    return [
        DataError(f"the spacing of {row.image!r} is empty, while other images have one", table.path, row.line)
        for row in without
    ]


def _find_csv(root: Path, csv: str | Path | None) -> Path:
    if csv is not None:
        for path in (root / Path(csv).expanduser(), Path(csv).expanduser()):
            if path.is_file():
                return path
        raise DataError(f"csv: the file does not exist in {root} nor in {Path.cwd()}", csv)
    found = sorted(path for path in root.glob("*.csv") if not path.name.startswith("."))
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError("no CSV file in this folder; expected the one with the landmarks, or its name as csv", root)
    names = ", ".join(path.name for path in found[:5])
    raise DataError(f"{len(found)} CSV files in this folder ({names}); name the one to read by the option csv", root)


def _by_column(table: Table, split: str, split_column: str) -> bool:
    """Whether the split comes from the column; raises DataError where a column that was asked for is not there."""
    asked = split == "column" or (split == "auto" and split_column != "split")
    if asked and table.split_column is None:
        raise DataError(
            f"split_column: no column {split_column!r}.{nearest_column(split_column, table.columns)}", table.path, 1
        )
    return split != "seeded" and table.split_column is not None


def _radii_px(sizes: list[tuple[int, int]]) -> tuple[float, ...]:
    if not sizes:
        return RADII_PERCENT
    diagonal = float(np.median(np.hypot(*np.array(sizes, dtype=np.float64).T)))
    return tuple(sorted({max(1.0, float(round(diagonal * percent / 100))) for percent in RADII_PERCENT}))
