"""What the image files say beside the table: the spacing of DICOM files, and which of them are of one patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.headers import Header
from landmark_diffusion.data.sources.folder.table import LabelTable

NO_PATIENTS = "none"
"""``patient_column`` that keeps no images together, whatever the table and the files say."""
_RTOL = 1e-3  # of two spacings that are one, written with as many digits as programs do


@dataclass(frozen=True)
class Spacings:
    """mm per pixel (x, y) of each image, None where not known, and what has to be said of that."""

    of: Mapping[str, tuple[float, float] | None]
    faults: list[DataError] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether all images have one, so that errors are in mm."""
        return bool(self.of) and all(spacing is not None for spacing in self.of.values())


def spacings(table: LabelTable, headers: Mapping[str, Header]) -> Spacings:
    """Take the table's spacing of an image, else its file's; ``headers`` are those of the images that can be read.

    A set is measured in mm or in px as a whole. Where the table says the spacing of some images, one that is left
    unknown is a fault; where it says none and some files say none either, it is px, with a doubt.
    """
    rows = [row for row in table.rows.values() if row.spacing or row.image in headers or not headers]
    files = {row.image: headers[row.image].spacing for row in rows if row.image in headers}
    found = {row.image: row.spacing or files.get(row.image) for row in rows}
    without = [image for image, spacing in found.items() if spacing is None]
    result = Spacings(found, doubts=_contradictions(table, headers))
    if without and len(without) < len(found):
        if any(row.spacing for row in rows):
            return Spacings(found, [_missing(table, without, len(found))], result.doubts)
        unknown = f"{len(without)} of {len(found)} image files say no spacing ({_shown(without)})"
        return Spacings(dict.fromkeys(found), doubts=[f"{unknown}, so that errors are in px; {_COLUMN}"])
    if without and any(header.dicom for header in headers.values()):
        result.notes.append(f"the DICOM files say no spacing, so that errors are in px; {_COLUMN}")
    taken = [image for image, spacing in files.items() if spacing and not table.rows[image].spacing]
    sources = Counter(headers[image].spacing_source for image in taken)
    if sources:
        each = ", ".join(f"{source} in {counted(count, 'image')}" for source, count in sources.items())
        wrong = "; without a word on where it holds mm may be wrong" if any("uncal" in each for each in sources) else ""
        result.notes.append(f"spacing from the DICOM files: {each}{wrong}")
    return result


_COLUMN = "a column spacing in the table, with the mm a pixel of each image, gives mm"


def _missing(table: LabelTable, without: Sequence[str], count: int) -> DataError:
    more = f" (and of {len(without) - 1} more: {_shown(without[1:])})" if len(without) > 1 else ""
    return table.fault(
        f"the spacing of {without[0]!r}{more} is empty, while {count - len(without)} other images have "
        "one: errors would be in mm for some and in px for others. Fill in the missing ones, or remove the spacing to "
        "measure all in px",
        table.rows[without[0]],
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _contradictions(table: LabelTable, headers: Mapping[str, Header]) -> list[str]:
    """One sentence for all images whose table has another spacing than their file."""
    apart = [
        (row, header) for row in table.rows.values()
        if (header := headers.get(row.image)) and row.spacing and header.spacing
        and not np.allclose(row.spacing, header.spacing, rtol=_RTOL, atol=0)
    ]  # fmt: skip
    if not apart:
        return []
    row, header = apart[0]
    said, found = (" x ".join(f"{side:g}" for side in each or ()) for each in (row.spacing, header.spacing))
    line = f" (line {row.line})" if row.line else ""
    return [
        f"the table's spacing is taken, but {counted(len(apart), 'DICOM file')} "
        f"{'says' if len(apart) == 1 else 'say'} another one: {row.image!r}{line} {said} mm, its file {found} mm "
        f"({header.spacing_source})"
    ]


@dataclass(frozen=True)
class Patients:
    """Which images are of one patient, and where that was read.

    Attributes:
        of: the patient of each image of which it is known. One that a DICOM file tells is called by the first of the
            images; the file's own words for a patient are not kept.
        source: such as ``the column 'patient'``.
        advice: what to do where these are no patients.
        notes, doubts: what has to be said of that.
    """

    of: Mapping[str, str]
    source: str = ""
    advice: str = ""
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def patients(table: LabelTable, headers: Mapping[str, Header], wanted: str | None) -> Patients:
    """Take the patients of the table's column where it has one, else those of the DICOM files.

    One value in all of several files is what anonymising leaves, and is passed over with a note.
    """
    if wanted == NO_PATIENTS and table.patient_column is None:
        return Patients({})
    ids = {image: headers[image].patient for image in sorted(headers) if headers[image].patient}
    named: dict[str, str] = {}
    of = {image: named.setdefault(each, f"patient of {image}") for image, each in ids.items()}
    if table.patient_column is not None:
        rows = {name: row.patient for name, row in table.rows.items() if row.patient}
        column = f"the column {table.patient_column!r}"
        advice = "rename the column if it is no patient, or name the patient's by data.dataset_options.patient_column"
        return Patients(rows, column, advice, doubts=_told_apart(rows, of, column))
    if len(named) == 1 and len(of) > 1:
        return Patients({}, notes=["all DICOM files have one Patient ID, which keeps no images together"])
    advice = f"if that is no patient's, divide without it by --data.dataset_options.patient_column {NO_PATIENTS}"
    return Patients(of, "the DICOM files' Patient ID" if of else "", advice)


def _told_apart(rows: Mapping[str, str], of: Mapping[str, str], column: str) -> list[str]:
    """One sentence for images of one Patient ID that the table gives to several patients."""
    said: dict[str, dict[str, str]] = {}
    for image, each in of.items():
        if image in rows:
            said.setdefault(each, {}).setdefault(rows[image], image)
    apart = [list(images.values()) for images in said.values() if len(images) > 1]
    if not apart or len(said) == 1:
        return []
    more = f", and {len(apart) - 1} more like that" if len(apart) > 1 else ""
    return [f"{column} is taken, but gives images of one DICOM Patient ID to several: {_shown(apart[0])}{more}"]
