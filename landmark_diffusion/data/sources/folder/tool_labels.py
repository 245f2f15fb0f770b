"""Labels of the tools that people mark with (docs/formats.md) as the table of a folder, and finding them there."""

from __future__ import annotations

import os
from pathlib import Path

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels import (
    ImageFolder,
    LabelFormat,
    LabelSet,
    LabelSource,
    forms_in,
    label_format,
    recognise,
)
from landmark_diffusion.data.sources.folder.table import LabelRow, LabelTable, read_table
from landmark_diffusion.data.sources.folder.text import SAVE_AS

CSV_OPTION, FORM_OPTION = "--data.dataset_options.csv", "--data.dataset_options.form"
TABLES = (".csv", ".tsv")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
_TOOLS = (".json", ".xml", ".yaml", ".yml")
_EXPORTED = ("annotations", "labels")
_OUR_OWN = ("csv", "xlsx")
_TOOLS_TABLES = ("via", "deeplabcut")
"""Forms that may be a CSV too; both are told by their first lines."""


def find_labels(root: Path, named: str | Path | None, form: str | None = None) -> Path:
    """Find the labels of a folder: what is named, the one table, the one workbook, or what a tool has left.

    Of a tool it is one file in ``root``, or ``root`` itself where a form is a folder. Raises DataError that names what
    was found where that is none or several.
    """
    if named is not None:
        for path in (root / Path(named).expanduser(), Path(named).expanduser()):
            if os.path.exists(path):
                return path
        raise DataError(f"csv: the file does not exist in {root} nor in {Path.cwd()}", named)
    files = sorted(path for path in root.iterdir() if not path.name.startswith((".", "~")) and path.is_file())
    if form is not None and form not in _OUR_OWN:
        return _of_form(root, files, label_format(form))
    found = [path for path in files if path.suffix.lower() in TABLES]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found[:5])
    if found:
        count = len(found)
        raise DataError(f"{count} CSV files in this folder ({names}); name the one to read by {CSV_OPTION} NAME", root)
    books = [path for path in files if path.suffix.lower() in WORKBOOKS]
    if len(books) == 1 and books[0].suffix.lower() in (".xlsx", ".xlsm"):
        return books[0]
    if (tool := of_tool(root, files)) is not None:
        return tool
    if books:
        raise DataError(f"no CSV file in this folder, but the workbook {books[0].name}; {SAVE_AS}", root)
    text = next((path.name for path in files if path.suffix.lower() in (".txt", ".dat")), None)
    hint = f"; if it is {text}, name it by {CSV_OPTION} NAME" if text else f", or its name by {CSV_OPTION}"
    raise DataError(f"no CSV file in this folder; expected the one with the landmarks, or labels of a tool{hint}", root)


def _of_form(root: Path, files: list[Path], form: LabelFormat) -> Path:
    """The folder, or the one file in it that may be of a form; raises DataError where that is none or several."""
    if not form.suffix:
        return root
    found = [path for path in files if path.suffix.lower() == form.suffix]
    if len(found) != 1:
        names = f" ({', '.join(path.name for path in found[:5])})" if found else ""
        raise DataError(
            f"form: found {counted(len(found), 'file')} in this folder that end in {form.suffix}{names}, expected one "
            f"of {form.title}; name it by {CSV_OPTION} NAME",
            root,
        )
    return found[0]


def of_tool(root: Path, files: list[Path]) -> Path | None:
    """The folder or file in it with labels of a tool; None where there is none. A damaged one alone says what it is.

    Those in ``annotations`` and ``labels`` within count where there are none beside, as tools export them.
    """
    places = [root, *(root / name for name in _EXPORTED if (root / name).is_dir())]
    found = ([each for each in forms_in(place) if each[0].name not in _OUR_OWN] for place in places)
    fitting = next((each for each in found if each), [])
    if len(fitting) > 1:
        names = ", ".join(f"{source.path.relative_to(root).as_posix()} ({form.title})" for form, source in fitting[:5])
        raise DataError(
            f"{len(fitting)} files with labels in this folder ({names}); name the one to read by {CSV_OPTION} NAME",
            root,
        )
    if fitting:
        return fitting[0][1].path
    likely = [path for path in files if path.suffix.lower() in _TOOLS]
    if len(likely) == 1:
        recognise(likely[0], FORM_OPTION)  # tells what is wrong with it
    return None


def beside(table: Path) -> list[str]:
    """Name labels of a tool that lie beside our own table, which is read in their place."""
    if table.suffix.lower() not in (*TABLES, *WORKBOOKS):
        return []
    others = sorted(each.name for each in table.parent.iterdir() if each.suffix.lower() in (".json", ".xml"))
    if not others:
        return []
    names = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    return [f"not used: {counted(len(others), 'file')} beside this table that may hold labels ({names})"]


def read_labels_table(
    root: Path, path: Path, form: str | None, split_column: str, patient_column: str | None
) -> LabelTable:
    """Read the labels of a folder in the form that their content shows, or in ``form``.

    Raises DataError with the first fault of a tool's labels; those of our table are collected in it.
    """
    tool = tool_of(path, form)
    if tool is None:
        table = read_table(path, split_column, patient_column)
        table.drop_unmarked()
        return table
    return read_tool_labels(root, path, tool)


def read_tool_labels(root: Path, path: Path, form: LabelFormat) -> LabelTable:
    """Read a tool's labels of the images in ``root``; raises DataError with the first fault."""
    source = LabelSource(path)
    return as_table(form.read(source, ImageFolder(root, naming=False)), source, form)


def tool_of(path: Path, form: str | None) -> LabelFormat | None:
    """The form of a tool's labels; None for our table, CSV or workbook."""
    if form is not None:
        return None if form in _OUR_OWN else label_format(form)
    source = LabelSource(path)
    if source.is_folder or source.beginning.startswith(("{", "[", "<")) or path.suffix.lower() in _TOOLS:
        return recognise(path, FORM_OPTION)[0]
    tables = (label_format(name) for name in _TOOLS_TABLES)
    return next((each for each in tables if each.recognises(source)), None)


def as_table(labels: LabelSet, source: LabelSource, form: LabelFormat) -> LabelTable:
    """Give a tool's labels as a table: images with points, landmarks and annotators that have any, and notes.

    Hidden and unsure points are points; what is absent from an image is none.
    """
    marked = {landmark for image in labels.images for (_, landmark), mark in image.marks.items() if mark.placed}
    names = tuple(name for name in labels.landmark_names if name in marked)
    rows = {}
    for image in labels.images:
        row = LabelRow(image.name, 0, image.size, image.spacing, source=image.source)
        for (annotator, landmark), mark in image.marks.items():
            if mark.placed:
                row.add((annotator, landmark), mark.x, mark.y, 0)
        if row.marked:
            rows[image.name] = row
    if not rows:
        raise DataError(
            f"found no point in the labels ({form.title}) of {counted(len(labels.images), 'image')}", source.path
        )
    annotators = tuple(labels.marking()) or labels.annotator_names
    table = LabelTable(source.path, names, annotators, rows, [], (), None, set(rows), notes=_notes(labels, names, form))
    table.folder = source.path if source.is_folder else source.path.parent
    return table


def _notes(labels: LabelSet, names: tuple[str, ...], form: LabelFormat) -> list[str]:
    """How they were read, and what was left."""
    idle = [name for name in labels.landmark_names if name not in names]
    by = labels.marking()
    left = ", ".join(f"{kind} ({count})" for kind, count in labels.left_out.items())
    placed = [mark for image in labels.images for mark in image.marks.values() if mark.placed]
    found = sum(mark.origin == "model" for mark in placed)
    return [
        f"read as {form.title}" + (f", marked by {', '.join(by[:6])}" if len(by) > 1 else ""),
        *([f"{found} of {len(placed)} points are a model's, which nobody corrected"] if found else []),
        *([f"left out: {left}"] if left else []),
        *([f"not used: landmarks that no image has, {', '.join(idle[:6])}"] if idle else []),
        *labels.notes,
    ]
