"""DeepLabCut: a CSV (CollectedData_SCORER.csv) of three header rows, scorer, bodyparts and coords, and a row an image.

It is marked in napari, whose layers have the centre of the first pixel at (0, 0), as here; x comes before y in the
table. An image is named by its path in one column, or in three: labeled-data, the video's folder, the file.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.labels.building import LabelBuilder, coordinate, image_name, text
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

HEADER = ("scorer", "bodyparts", "coords")
_INDIVIDUALS = "individuals"
_LIKELIHOOD = "likelihood"
_MISSING = ("", "nan", "NaN")


class _Point(NamedTuple):
    """Columns of one landmark by one scorer."""

    scorer: str
    landmark: str
    x: int
    y: int
    score: int | None


class DeepLabCutFormat(LabelFormat):
    """A table of one scorer; tables with predictions (x, y, likelihood) are read too."""

    name, title, suffix = "deeplabcut", "DeepLabCut", ".csv"
    holds = frozenset(("unmarked images", "unmarked landmarks", "annotators without marks"))

    def recognises(self, source: LabelSource) -> bool:
        """A table whose first rows begin with scorer, bodyparts and coords."""
        if source.is_folder or not source.beginning.startswith("scorer,"):
            return False
        return [line.partition(",")[0] for line in source.beginning.splitlines()[1:4]][:2] in (
            [HEADER[1], HEADER[2]], [_INDIVIDUALS, HEADER[1]],
        )  # fmt: skip

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read all points; several scorers are several annotators."""
        builder = LabelBuilder(source.path)
        rows = list(_rows(source, builder))
        head, rows = _head(rows), rows[len(_head(rows)) :]
        points = _points(builder, head)
        index = min(min(point.x, point.y) for point in points)
        for line, cells in rows:
            if len(cells) != len(head[0][1]):
                raise builder.fault(f"found {len(cells)} cells, expected {len(head[0][1])} as in the header", line=line)
            try:
                name = "/".join(cell for cell in cells[:index] if cell)
                image = builder.image(images.name_of(image_name(name, "image")))
                image.source = f"{source.path}:{line}"
                for point in points:
                    builder.annotator(point.scorer)
                    if (mark := _mark(point, cells)) is not None:
                        builder.mark(image, point.scorer, point.landmark, mark)
            except DataError as error:
                raise (error if error.line else builder.fault(_words(error), line=line)) from None
            except UserError as error:
                raise builder.fault(str(error), line=line) from None
        return builder.build(list(dict.fromkeys(point.landmark for point in points)))

    def losses(self, labels: LabelSet) -> list[str]:
        """The annotator is the scorer."""
        return [each for each in super().losses(labels) if "annotator's name" not in each]

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the table; DeepLabCut looks for it as labeled-data/VIDEO/CollectedData_SCORER.csv."""
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        (annotator,) = labels.annotator_names
        names = [name for name in labels.landmark_names for _ in "xy"]
        cells = ([annotator] * len(names), names, ["x", "y"] * len(labels.landmark_names))
        writer.writerows([title, *row] for title, row in zip(HEADER, cells, strict=True))
        for image in labels.images:
            row = [image.name]
            for landmark in labels.landmark_names:
                mark = image.marks.get((annotator, landmark))
                row += [repr(float(mark.x)), repr(float(mark.y))] if mark is not None and mark.placed else ["", ""]
            writer.writerow(row)
        return {"": content.getvalue().encode()}


def _words(error: DataError) -> str:
    return str(error).removeprefix(f"{error.path}: ")


def _rows(source: LabelSource, builder: LabelBuilder) -> Iterator[tuple[int, list[str]]]:
    try:
        lines = source.content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise builder.fault(f"the file is not UTF-8 text (byte {error.start})") from None
    rows = csv.reader(lines)
    try:
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise builder.fault(f"the row cannot be read ({one_line(error)})", line=rows.line_num) from None


def _head(rows: Sequence[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """The rows above the images."""
    end = next((place for place, (_, cells) in enumerate(rows[:4]) if cells[0] == HEADER[-1]), 0)
    return list(rows[: end + 1])


def _points(builder: LabelBuilder, head: Sequence[tuple[int, list[str]]]) -> list[_Point]:
    """Columns of each landmark; raises DataError for a header that is none, and for several animals."""
    levels = {cells[0]: cells for _, cells in head}
    if not set(HEADER) <= levels.keys() or len({len(cells) for _, cells in head}) != 1:
        raise builder.fault(f"expected the header rows {', '.join(HEADER)} of one length", line=1)
    animals = dict.fromkeys(cell for cell in levels.get(_INDIVIDUALS, ())[1:] if cell)
    if len(animals) > 1:
        shown = ", ".join(map(repr, list(animals)[:4]))
        raise builder.fault(f"found {len(animals)} individuals ({shown}), expected one object an image", line=2)
    found: dict[tuple[str, str], dict[str, int]] = {}
    scorers, parts, axes = (levels[title] for title in HEADER)
    for place, axis in enumerate(axes):
        if place == 0 or not axis:
            continue  # the image's columns
        column = found.setdefault((scorers[place], parts[place]), {})
        if axis not in ("x", "y", _LIKELIHOOD) or axis in column:
            raise builder.fault(f"coords: found {axis!r:.40} for {parts[place]!r:.60}, expected x and y once", line=3)
        column[axis] = place
    points = []
    for (scorer, part), column in found.items():
        if not {"x", "y"} <= column.keys():
            raise builder.fault(f"coords: found only one of x and y for {part!r:.60}", line=3)
        try:
            names = text(scorer, "scorer"), text(part, "bodyparts")
        except UserError as error:
            raise builder.fault(str(error), line=1) from None
        points.append(_Point(*names, column["x"], column["y"], column.get(_LIKELIHOOD)))
    if not points:
        raise builder.fault("found no body part, expected two columns x and y for each", line=2)
    return points


def _mark(point: _Point, cells: Sequence[str]) -> Mark | None:
    """A point, or None where both cells are empty."""
    x, y = cells[point.x].strip(), cells[point.y].strip()
    if x in _MISSING and y in _MISSING:
        return None
    score = None if point.score is None else _number(cells[point.score], f"{_LIKELIHOOD} of {point.landmark!r}")
    place = coordinate(_number(x, "x"), "x"), coordinate(_number(y, "y"), "y")
    return Mark(*place, score=None if score is None or math.isnan(score) else score)


def _number(cell: str, what: str) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        raise UserError(f"{what}: found {one_line(repr(cell)):.60}, expected a number") from None
