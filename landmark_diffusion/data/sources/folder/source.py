"""FolderDataset: the user's own images and one CSV, or labels of a tool."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.checks.duplicates import SeenPixels, same_files
from landmark_diffusion.data.checks.labels import outside_finding
from landmark_diffusion.data.checks.samples import check_samples, root_folder
from landmark_diffusion.data.headers import Header, read_headers
from landmark_diffusion.data.readers.image_io import other_kinds, other_kinds_note
from landmark_diffusion.data.readers.radiograph import RADIOGRAPH_SUFFIXES, read_any_grey
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import NO_ANNOTATION, Finding, LandmarkDataset, Stage, Unit
from landmark_diffusion.data.sources.annotations_text import inside, outside_fault
from landmark_diffusion.data.sources.folder.columns import nearest_column
from landmark_diffusion.data.sources.folder.faults import folded, joined, text
from landmark_diffusion.data.sources.folder.from_files import Patients, Spacings, patients, spacings
from landmark_diffusion.data.sources.folder.images import (
    FileIndex,
    ImageMatch,
    bare_images,
    find_images,
    images_of,
    loose,
)
from landmark_diffusion.data.sources.folder.misspelt import rare_names
from landmark_diffusion.data.sources.folder.splits import STAGE_NAMES, too_few_patients, torn_patients, uneven_parts
from landmark_diffusion.data.sources.folder.table import LabelRow, LabelTable
from landmark_diffusion.data.sources.folder.tool_labels import WORKBOOKS, beside, find_labels, read_labels_table
from landmark_diffusion.data.splits import FEW_TESTED, few_tested, fold_split, parse_folds, seeded_split

NO_VALIDATION = "no validation images"
_EMPTY = {
    "train": ("no training images", "nothing can be trained on this split"),
    "val": (NO_VALIDATION, "no weights are chosen as the best, and `ldx test` takes the last ones"),
    "test": ("no test images", "`ldx test` has nothing to measure"),
}
RADII_MM = (2.0, 2.5, 3.0, 4.0)
RADII_PERCENT = (1.0, 2.0, 3.0, 5.0)
"""Without spacing: percent of the images' median diagonal, rounded to whole pixels."""


@dataclass(frozen=True)
class _Files:
    """The images of a folder dataset.

    Attributes:
        match: which file each image is.
        headers: of the files that can be read, by image, sorted.
        faults: what is wrong with the others.
        places: the folders in which they were looked for.
    """

    match: ImageMatch
    headers: Mapping[str, Header]
    faults: list[DataError]
    places: list[Path]


class FolderDataset(LandmarkDataset):
    """Images and one CSV with their landmarks, wide or long (docs/csv.md tells all columns and forms), or labels in the
    form of a tool (docs/formats.md).

    Images, DICOM files among them, are looked up beside the CSV, in ``root`` and in ``root/images``, with or without
    their suffix in the table. With a spacing for every image, of the table or of the DICOM file, the unit is mm, with
    none it is px of the original image. A column with the patient, else DICOM's Patient ID, keeps the images of one
    together wherever images are divided at random.

    Args:
        root: the folder with the images and the CSV.
        csv: the table or a tool's labels (a file or a folder), relative to ``root`` or a path; None takes the one CSV
            that ``root`` holds, else its one workbook, else labels of a tool, told by their content.
        split: "column" (by ``split_column``), "seeded" (by ``fractions`` and ``seed``), "auto": by the column where
            the table has it, or the one other column that holds train, val and test, else seeded; "all": every image
            trains; or "folds:5/2": all images in 5 folds by ``seed``, the 2nd is the test part and ``val_fraction`` of
            the rest validates.
        split_column: name of the column with train, val (valid, validation) or test.
        fractions: share of train, val and test in a seeded split.
        seed: of a seeded split, of folds and of the validation share.
        val_fraction: share of the train rows that becomes val where the split column names no val, and of the rows
            outside the test fold; 0 for none.
        radii: of the success detection rate, in mm or px; None is 2, 2.5, 3, 4 mm, or without spacing 1, 2, 3, 5 %
            of the images' median diagonal in whole px.
        labels: False gives the images alone and needs no CSV: those in ``root``, else in ``root/images``, else in any
            folder within. All of them train, or by ``fractions`` with split "seeded"; only a split by column (split
            "column", or a ``split_column`` other than "split") reads the CSV, for its images and their parts.
        patient_column: name of the column with the patient; None takes ``patient``, ``subject``, ``group`` and alike,
            else the DICOM files' Patient ID; "none" keeps no images together.
        form: of labels (docs/formats.md), where their content does not show it.

    Raises UserError on options that cannot be used, DataError on a missing root or CSV or an unusable header.
    """

    name = "folder"
    knows_folds = True

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
        labels: bool = True,
        patient_column: str | None = None,
        form: str | None = None,
    ) -> None:
        self.folds = parse_folds(split)
        if self.folds is None and split not in ("auto", "column", "seeded", "all"):
            raise UserError(
                f"split: found {split!r}, expected auto, column, seeded, all or folds:5/1 for the dataset folder"
            )
        if not 0 <= val_fraction < 1:
            raise UserError(f"val_fraction: found {val_fraction}, expected at least 0 and below 1")
        if radii is not None and (not len(radii) or min(radii) <= 0):
            raise UserError(f"radii: found {radii}, expected one or more lengths above 0")
        seeded_split(["any"], fractions)  # tells wrong fractions at once
        self.root = root_folder(root, self.name)
        self.split, self.labels = split, labels
        self.bare = None if labels or _asks_for_column(split, split_column) else bare_images(self.root)
        if self.bare is not None:
            self.table = _bare_table(self.root, self.bare)
        else:
            path = find_labels(self.root, csv, form)
            self.table = read_labels_table(self.root, path, form, split_column, patient_column)
        self.landmark_names = self.table.landmark_names if labels else ()
        self.annotator_names = self.table.annotator_names if labels else ()
        self.by_column = self.bare is None and _by_column(self.table, split, split_column)
        self.fractions = (1.0, 0.0, 0.0) if split == "all" else fractions
        self.seed, self.val_fraction, self.patient_column = seed, val_fraction, patient_column
        self._radii = tuple(map(float, radii)) if radii is not None else None
        self._known: tuple[list[LandmarkSample], list[DataError]] | None = None
        self._left_out: list[Path] = []  # images without a row
        self._warned = False
        self._pixels: SeenPixels | None = None  # of the check that goes on
        if self.folds and self.table.rows:
            self._parts()  # tells too many folds at once

    @property
    def unit(self) -> Unit:  # type: ignore[override]
        """Mm where the table or the files say the spacing of all images, else px."""
        return "mm" if self._spacings.known else "px"

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
        if not self._warned:
            self._warned = True
            for message in (*self._doubts(), *self._split_doubts(self._same_files)):
                warnings.warn(message, stacklevel=2)
        wanted = set(self._parts()["test" if stage == "predict" else stage])
        return [sample for sample in samples if sample.image_id in wanted]

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode one image, (H, W) uint8."""
        assert sample.image_path is not None
        image = read_any_grey(sample.image_path).grey
        if self._pixels is not None:
            self._pixels.add(sample.image_id, image)
        return image

    def check(self, decode: bool = True) -> list[Finding]:
        """All faults and doubts in the table and the images, whatever the split."""
        samples, faults = self._read()
        self._pixels = SeenPixels()
        findings = check_samples(self, samples, faults, decode, self._locate)
        same, self._pixels = self._pixels.same() if decode else [], None
        doubts = [*self._doubts(), *self._split_doubts(_joined(self._same_files, same))]
        return findings + [Finding("warning", f"{self.table.path}: {message}") for message in doubts]

    def notes(self) -> list[str]:
        """How the table was read where that is not plain, what was left out, and where the split comes from."""
        samples, _ = self._read()
        places = {each.image_path.parent for each in samples if each.image_path is not None}
        passed = [path for place in sorted(places) for path in other_kinds(place, read=RADIOGRAPH_SUFFIXES)]
        found = (
            *self.table.notes, *beside(self.table.path), *_newer_workbook(self.table.path), *self._files.match.notes,
            *self._left_out_note(), *other_kinds_note(passed), *self._spacings.notes, *self._patients.notes,
            *self._split_note(), *self._few_note(),
        )  # fmt: skip
        return [f"{self.table.path}: {note}" for note in found]

    def patients(self) -> dict[str, str]:
        """The patient of each image of which the table, or else the DICOM file, names one."""
        return dict(self._patients.of)

    def _doubts(self) -> list[str]:
        """What is odd in the table, or between it and the files."""
        return [*rare_names(self.table), *self._spacings.doubts, *self._patients.doubts]

    @cached_property
    def _files(self) -> _Files:
        """The file of each image, and what their headers say."""
        if self.bare is not None:
            match, places = ImageMatch(self.bare, [], [], set()), []
        else:
            base = self.table.folder or self.table.path.parent
            places = list(dict.fromkeys((base, self.root, self.root / "images")))
            match = find_images(self.table, FileIndex(places))
        headers, faults = read_headers(match.images.values(), self.root)
        return _Files(match, {n: headers[p] for n, p in sorted(match.images.items()) if p in headers}, faults, places)

    @cached_property
    def _spacings(self) -> Spacings:
        found = spacings(self.table, self._files.headers)
        return found if self.labels else Spacings(found.of)  # nothing is measured without labels

    @cached_property
    def _patients(self) -> Patients:
        return patients(self.table, self._files.headers, self.patient_column)

    def _read(self) -> tuple[list[LandmarkSample], list[DataError]]:
        """Each image that can be used, sorted by name, and what is wrong with the table and the others; read once."""
        if self._known is None:
            self._known = self._read_images()
        return self._known

    def _read_images(self) -> tuple[list[LandmarkSample], list[DataError]]:
        if self.bare is not None:
            images = self.bare
            known = ((name, header.size, self._spacings.of[name]) for name, header in self._files.headers.items())
            samples = [LandmarkSample(n, size, NO_ANNOTATION, mm, images[n], str(images[n])) for n, size, mm in known]
            return samples, self._files.faults
        samples, faults = self._read_table_images()
        return samples if self.labels else [replace(s, annotations=NO_ANNOTATION) for s in samples], faults

    def _read_table_images(self) -> tuple[list[LandmarkSample], list[DataError]]:
        table, match = self.table, self._files.match
        faults = list(match.faults)
        samples, outside = [], []
        for name, header in self._files.headers.items():
            row, size = table.rows[name], header.size
            annotations, where = table.annotations(row), table.where(row)
            faults += _row_faults(table, row, size)
            if not inside(annotations, size).all():
                outside += _outside_faults(table, row, size)
            samples.append(LandmarkSample(name, size, annotations, self._spacings.of[name], match.images[name], where))
        if outside and (guess := outside_finding(samples)):  # one fault, which tells why
            outside = [DataError(f"{guess.message}; {text(joined(outside))}")]
        faults = [*outside, *faults]
        faults = [*table.faults, *self._files.faults, *faults, *self._column_faults(), *self._spacings.faults]
        if not match.images and not images_of(self._files.places):
            faults.insert(0, DataError(f"no image found here or in images/; the table is {table.path}", self.root))
        left = _without_row(table, match.images, match.near)
        if left and match.faults:  # rows without an image: the names may not go together
            faults.append(_unannotated(left, table))
        self._left_out = left if match.images and not match.faults else []
        return samples, folded(faults)

    def _locate(self, sample: LandmarkSample, annotator: int, landmark: int) -> str:
        row = self.table.rows[sample.image_id]
        mark = row.marks[self.annotator_names[annotator], self.landmark_names[landmark]]
        return self.table.where(row, mark[2])

    def _parts(self) -> dict[str, list[str]]:
        """Image ids of train, val and test."""
        ids = sorted(self.table.rows)
        if self.folds is not None:
            return fold_split(ids, *self.folds, self.val_fraction, self.seed, self.patients())
        if self.bare is not None and self.split != "seeded":
            return {"train": ids, "val": [], "test": []}
        if not self.by_column:
            return seeded_split(ids, self.fractions, self.seed, self.patients())
        parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for image in ids:
            parts[STAGE_NAMES[self.table.rows[image].part.lower()]].append(image)
        if not parts["val"] and self.val_fraction > 0 and len(parts["train"]) > 1:
            fractions = (1 - self.val_fraction, self.val_fraction, 0.0)
            shares = seeded_split(parts["train"], fractions, self.seed, self.patients())
            parts["train"], parts["val"] = shares["train"], shares["val"]
        return parts

    def _column_faults(self) -> list[DataError]:
        if not self.by_column:
            patients, images = self.patients(), self.table.rows
            count = len(set(patients.values())) + len(images) - len(patients)  # one without is a patient of its own
            where = (self._patients.source, self._patients.advice)
            few = too_few_patients(count, len(images), self.fractions, *where) if patients else None
            return [] if few is None else [DataError(few, self.table.path, 1)]
        return [
            self.table.fault(
                f"{self.table.split_column}: found {row.part!r} for {row.image!r}, expected train, val (valid, "
                "validation) or test",
                row,
            )
            for row in self.table.rows.values()
            if row.part.lower() not in STAGE_NAMES
        ]

    @cached_property
    def _same_files(self) -> list[list[str]]:
        """Ids of images whose files are the same, byte for byte."""
        return same_files({each.image_id: each.image_path for each in self._read()[0] if each.image_path is not None})

    def _split_doubts(self, same: list[list[str]]) -> list[str]:
        """What makes results on the test part too good: patients in two parts, images in two parts."""
        if self._column_faults() or not self.table.rows:
            return []
        parts = self._parts()
        torn = torn_patients(parts, self.patients())
        if self.patients() and not self.by_column:
            shares = dict(zip(("train", "val", "test"), self.fractions, strict=True))
            where = (self._patients.source, self._patients.advice)
            torn = uneven_parts({part: parts[part] for part in shares}, shares, *where)
        part_of = {image: part for part, images in parts.items() for image in images}
        return [*([torn] if torn else []), *_same_image_doubts(same, part_of, self.table)]

    def _left_out_note(self) -> list[str]:
        """Images that no row names: with labels they cannot train, and pre-training takes them without a table."""
        count = len(self._left_out)
        if not count:
            return []
        names = ", ".join(path.name for path in self._left_out[:3]) + ", ..." * (count > 3)
        total = count + len(self.table.rows)
        what = "row" if self.table.columns or not self.labels else "point"
        verb = f"has no {what} and is" if count == 1 else f"have no {what} and are"
        return [f"{count} of {total} images {verb} left out: {names}"]

    def _few_note(self) -> list[str]:
        """Parts that are empty or say little; nothing for images without labels, and for a fold of several."""
        if self.folds is not None or self.split == "all" or not self.labels:
            return []
        if self._column_faults() or not self.table.rows:
            return []
        parts = {part: len(images) for part, images in self._parts().items()}
        lines = [f"{words}: {what}" for part, (words, what) in _EMPTY.items() if not parts[part]]
        few = 0 < parts["test"] < FEW_TESTED
        return [*lines, *([few_tested(parts["test"])] if few else [])]

    def _split_note(self) -> list[str]:
        """Where the split comes from, with the counts."""
        if self._column_faults() or not self.table.rows:
            return []
        parts = self._parts()
        counts = ", ".join(f"{part} {len(parts[part])}" for part in ("train", "val", "test"))
        patients, where = set(self.patients().values()), self._patients.source.removeprefix("the ")
        together = f", {len(patients)} patients kept together ({where})" if patients else ""
        if self.bare is not None and self.split != "seeded":
            how, together = "no table is read, all images train", ""
        elif self.split == "all":
            how, together = "all images train", ""
        elif not self.by_column:
            shares = "/".join(f"{share:g}" for share in self.fractions)
            why = f"and not by the column {self.table.split_column!r}" if self.table.split_column else "no split column"
            why = why if self.bare is None else "no table is read"
            how = f"at random ({why}; {shares}, seed {self.seed})"
        else:
            how = f"by the column {self.table.split_column!r}"
            known = {STAGE_NAMES[row.part.lower()] for row in self.table.rows.values()}
            if parts["val"] and "val" not in known:
                how += f", {self.val_fraction:g} of train as val"
            else:
                together = ""
        return [f"split {how}: {counts}{together}"]


def _without_row(table: LabelTable, images: Mapping[str, Path], near: set[Path]) -> list[Path]:
    """The images that no row names, in the folders where the rows' images lie."""
    used = {*images.values(), *near}
    dropped = {loose(name) for name in table.mentioned if name not in table.rows}
    places = sorted({path.parent for path in images.values()})
    return [
        path for path in images_of(places)
        if path not in used and not {path.name, path.stem} & table.mentioned and loose(path.name) not in dropped
    ]  # fmt: skip


def _unannotated(left: Sequence[Path], table: LabelTable) -> DataError:
    """One fault for images without a row, where rows are without an image too."""
    return DataError(f"the image has no row in {table.path}{_and_more([path.name for path in left[1:]])}", left[0])


def _and_more(names: Sequence[str]) -> str:
    others = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f" (and {len(names)} more: {others})" if names else ""


def _same_image_doubts(same: list[list[str]], part_of: Mapping[str, str], table: LabelTable) -> list[str]:
    """One sentence for images that lie in different parts under other names, and one for the others."""
    apart = [group for group in same if len({part_of.get(image) for image in group}) > 1]
    together = [group for group in same if group not in apart]
    messages = []
    for groups, where in ((apart, " in different parts of the split"), (together, "")):
        if groups:
            lines = {image: f"line {table.rows[image].line}, " * (table.rows[image].line > 0) for image in groups[0]}
            first = " and ".join(f"{image!r} ({lines[image]}{part_of.get(image)})" for image in groups[0][:4])
            others = f", and {len(groups) - 1} more like it" if len(groups) > 1 else ""
            messages.append(f"the same image under two names{where}: {first}{others}")
    return messages


def _joined(files: list[list[str]], pixels: list[list[str]]) -> list[list[str]]:
    """Groups of the same files, and those of the same pixels that say more than they."""
    known = [set(group) for group in files]
    more = [group for group in pixels if not any(set(group) <= each for each in known)]
    return [group for group in files if not any(set(group) <= set(each) for each in more)] + more


def _row_faults(table: LabelTable, row: LabelRow, size: tuple[int, int]) -> list[DataError]:
    """Faults of one image: another size than its header says, no point."""
    faults = []
    if row.size is not None and row.size != size:
        said, found = (f"{width}x{height}" for width, height in (row.size, size))
        faults.append(table.fault(f"width and height are {said}, but {row.image!r} has {found} px", row))
    if not row.marks and not any(fault.line == row.line for fault in table.faults):
        faults.append(table.fault(f"{row.image!r} has no point at all; leave it out of the table", row))
    return faults


def _outside_faults(table: LabelTable, row: LabelRow, size: tuple[int, int]) -> list[DataError]:
    """A fault with its own line for each point that lies outside the image."""
    return [
        _outside_fault(table, row, landmark, np.array([x, y]), size, line)
        for (_, landmark), (x, y, line) in row.marks.items()
        if not inside(np.array([x, y]), size)
    ]


def _outside_fault(
    table: LabelTable, row: LabelRow, landmark: str, point: np.ndarray, size: tuple[int, int], line: int
) -> DataError:
    name = f"landmark {landmark!r} of {row.image!r}"
    return outside_fault(name, point, size, table.path if line else row.source or table.path, line or None)


def _bare_table(root: Path, images: Iterable[str]) -> LabelTable:
    """Return what a table without landmarks would say of these images."""
    return LabelTable(root, (), (), {name: LabelRow(name, 0) for name in images}, [], (), None, set())


def _newer_workbook(csv: Path) -> list[str]:
    """Say that a workbook of the table's name was changed after it: what was changed there may be missing here."""
    books = [csv.with_suffix(suffix) for suffix in WORKBOOKS if csv.suffix.lower() not in WORKBOOKS]
    newer = [path.name for path in books if path.is_file() and path.stat().st_mtime > csv.stat().st_mtime]
    return [f"not used: {name}, which is newer than this table; export it again if it was edited" for name in newer]


def _asks_for_column(split: str, split_column: str) -> bool:
    return split == "column" or (split == "auto" and split_column != "split")


def _by_column(table: LabelTable, split: str, split_column: str) -> bool:
    """Whether the split comes from the column; raises DataError where a column that was asked for is not there."""
    found = table.split_column
    if _asks_for_column(split, split_column) and not table.columns:
        raise DataError(
            f"split_column: these labels have no column {split_column!r}, and none at all; divide them by --data.split "
            "seeded, or convert them to a table (ldx data convert) and add one",
            table.path,
        )
    if _asks_for_column(split, split_column) and (found is None or found.lower() != split_column.lower()):
        raise DataError(
            f"split_column: no column {split_column!r}.{nearest_column(split_column, table.columns)}", table.path, 1
        )
    if split == "auto" and table.split_doubt is not None:
        raise table.split_doubt
    return split in ("auto", "column") and table.split_column is not None


def _radii_px(sizes: list[tuple[int, int]]) -> tuple[float, ...]:
    if not sizes:
        return RADII_PERCENT
    diagonal = float(np.median(np.hypot(*np.array(sizes, dtype=np.float64).T)))
    return tuple(sorted({max(1.0, float(round(diagonal * percent / 100))) for percent in RADII_PERCENT}))
