"""The user's own CSV, wide or long: it is read to the point or refused by its line, whatever made it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.sources.folder.source import FolderDataset
from tests.fuzz import table_oracle
from tests.fuzz.harness import inputs, judge, lines_of
from tests.fuzz.strategies import BAD_CELLS, Rows, mostly, spoilt_bytes, spoilt_rows, text_files, valid_pairs
from tests.fuzz.workbooks import workbooks, writable

SIZES = {"a.png": (64, 80), "b.png": (100, 50), "c.jpg": (64, 80)}
BAD = (
    *BAD_CELLS, "image", "id", "x1", "y1", "x01", "X_1", "x_1", "y_1", "x\u0661", "x" + "9" * 5000, "x0", "y0", "tip_x",
    "tip_y", "Tip_Y", "base_x", "x", "y", "landmark", "annotator", "split", "spacing", "width", "height", "a", "a.png",
    "b", "c.jpg", "train", "dev", "hold-out", "0.1", "0", "64", "80", "anna", "01", "\u0661", "/", ".", "./a.png",
    "images/a.png", "x" * 300 + ".png", "nasion x", "x_tip", "tipX", "tipx", "tipy", "tip-y", "tip (x)", "tip_x_mm",
    "x (px)", "spacing(mm)", "spacing_mm", "pixel_spacing", "dpi", "set", "fold", "is_train", "patient", "Subject ID",
    "point", "reader", "NA", "-", "1,5", "1.234,5", "1,234", "1 234", "12,5", "a.PNG", "A", "001", "a.tif", "C.JPEG",
    "c.jpeg", "a\\b", "sep=;", "2", '"a.png"', '"b', "a\x00.png", "A.PNG", "note\n", '"two\nlines"', '""', '"a""b"',
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for name, size in SIZES.items():
        Image.new("L", size).save(folder / name)
    return folder


@st.composite
def table_rows(draw: st.DrawFn) -> Rows:
    """A table in one of its forms, with none to three faults."""
    points = {name: valid_pairs(draw(st.integers(0, 99)), 4, size) for name, size in SIZES.items()}
    shown = {name: draw(mostly(name, name[0], name.upper(), name[0].upper(), name + " ", "c.jpeg")) for name in SIZES}
    form = draw(st.sampled_from(("numbered", "numbered", "named", "long", "annotators")))
    if form in ("numbered", "named"):
        names = draw(st.sampled_from((["1", "2"], ["2", "1"], ["0", "10"]))) if form == "numbered" else ["tip", "base"]
        patterns = ("{0}{1}", "{0}_{1}", "{0}0{1}", "{0} {1}") if form == "numbered" else _NAMES
        pattern = draw(st.sampled_from(patterns))
        rows: Rows = [["image", *(pattern.format(axis, name) for name in names for axis in "xy")]]
        rows += [[shown[name], *points[name][0], *points[name][1]] for name in SIZES]
    else:
        who = ["anna", "bo"] if form == "annotators" else [""]
        rows = [["image", *([draw(mostly("annotator", "Observer"))] if who[0] else []), "landmark", "x", "y"]]
        rows[0][-3:] = draw(mostly("landmark,x,y", "Point,X (px),y_px", "landmark name,x,y")).split(",")
        rows += [
            [shown[name], *([each] if each else []), mark, *points[name][2 * i + j]]
            for name in SIZES for i, each in enumerate(who) for j, mark in enumerate(("1", "2"))
        ]  # fmt: skip
    for column in draw(st.lists(st.sampled_from(sorted(_MORE)), max_size=2, unique=True)):
        for row in rows:
            row += _MORE[column](next((file for file in SIZES if row[0] == shown[file]), None))
    return draw(spoilt_rows(rows, BAD))


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    rows = draw(table_rows())
    if draw(st.integers(0, 5)) == 5:
        rows = [[cell if '"' in cell else f'"{cell}"' for cell in row] for row in rows]
    separator = draw(mostly(",", ";", "\t", "|", ", ", ",,"))
    if separator in ";\t" and draw(st.booleans()):
        rows = [[re.sub(r"^(\d+)\.(\d+)$", r"\1,\2", cell) for cell in row] for row in rows]
    if separator in ",;\t|" and draw(st.integers(0, 9)) == 9:
        rows = [[f"sep={separator}"], *rows]
    return draw(text_files(rows, separator))


_NAMES = ("{1}_{0}", "{1}_{0}", "{1} {0}", "{0}_{1}", "{1}-{0}", "{1} ({0})", "{1}{0}", "{1}_{0}_px", "{1}_{0} (mm)")


_MORE = {
    "spacing": lambda file: ["0.25"] if file else ["spacing"],
    "both": lambda file: ["0.2", "0.3"] if file else ["spacing_x", "spacing_y"],
    "size": lambda file: [*map(str, SIZES[file])] if file else ["width", "height"],
    "split": lambda file: [{"a": "train", "b": "Valid", "c": "TEST"}[file[0]]] if file else ["split"],
    "spelt": lambda file: ["0.25"] if file else ["Pixel Spacing (mm)"],
    "dpi": lambda file: ["100"] if file else ["dpi"],
    "set": lambda file: [{"a": "train", "b": "dev", "c": "test"}[file[0]]] if file else ["author_set"],
    "fold": lambda file: [("abc".index(file[0]) and "1") or "0"] if file else ["fold"],
    "patient": lambda file: ["P1" if file[0] < "c" else "P2"] if file else ["Patient ID"],
    "note": lambda file: [f'"a note, on {file}"'] if file else ["note"],
}


@inputs(120, 3000)
@given(data=tables())
def test_no_table_gives_other_points_than_it_says(root: Path, data: bytes) -> None:
    path = root / "points.csv"
    path.write_bytes(data)
    _same_as_the_oracle("folder: CSV", path, data, lines_of(data))


def _same_as_the_oracle(kind: str, path: Path, said_data: bytes, lines: int) -> None:
    """What is read from ``path`` is what the oracle reads from the CSV ``said_data``, or both refuse it."""
    root = path.parent

    def read() -> dict[str, tuple]:
        dataset = FolderDataset(root, csv=path.name, val_fraction=0)
        stages = {stage: dataset.samples(stage) for stage in ("train", "val", "test")}  # type: ignore[arg-type]
        return {
            sample.image_path.name: (stage, dataset, sample)  # type: ignore[union-attr]
            for stage, samples in stages.items() for sample in samples
        }  # fmt: skip

    found = judge(kind, read, root, lines=lines)
    try:
        expected, unused = table_oracle.read(said_data, SIZES)
    except table_oracle.Wrong:
        assert found is None
        return
    assert found is not None and found.keys() == expected.keys()
    _, dataset, _ = next(iter(found.values()))
    assert all((name if name.isprintable() else repr(name)) in "".join(dataset.table.notes) for name in unused)
    for name, said in expected.items():
        stage, dataset, sample = found[name]
        assert sample.spacing == said.spacing and sample.size == SIZES[name]
        assert (dataset.table.split_column is None) == (said.part is None) and said.part in (None, stage)
        assert dataset.patients().get(sample.image_id, "") == said.patient
        known = np.isfinite(sample.annotations).all(-1)
        assert np.isnan(sample.annotations[~known]).all()
        points = {
            (dataset.annotator_names[a], dataset.landmark_names[n]): tuple(sample.annotations[a, n])
            for a, n in np.argwhere(known)
        }
        assert points == said.points


@inputs(60, 1200)
@given(rows=table_rows(), data=st.data())
def test_a_workbook_says_what_its_rows_say(root: Path, rows: Rows, data: st.DataObject) -> None:
    """The oracle reads the same rows from a CSV: a cell is what its text is, however the workbook stores it."""
    rows = _square([[cell if writable(cell) else "abc" for cell in row] for row in rows])
    path = root / "points.xlsx"
    path.write_bytes(data.draw(workbooks(rows)))
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    _same_as_the_oracle("folder: workbooks", path, text.getvalue().encode(), len(rows) + 10)


def _square(rows: Rows) -> Rows:
    width = max(map(len, rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows]


@inputs(30, 800)
@given(data=st.data())
def test_a_damaged_workbook_is_refused_or_the_same(root: Path, data: st.DataObject) -> None:
    """Each part of the archive has its checksum."""
    points = {name: valid_pairs(data.draw(st.integers(0, 9)), 2, size) for name, size in SIZES.items()}
    rows: Rows = [["image", "tip_x", "tip_y", "base_x", "base_y"]]
    rows += [[name, *points[name][0], *points[name][1]] for name in SIZES]
    path = root / "points.xlsx"
    path.write_bytes(data.draw(spoilt_bytes(data.draw(workbooks(rows)))))
    dataset = judge("folder: damaged workbooks", lambda: _read(root, path), root)
    if dataset is not None:
        read = {name: dataset.table.rows[name].marks for name in dataset.table.rows}
        for row in rows[1:]:
            marks = {name: read[row[0]]["annotator", name][:2] for name in ("tip", "base")}
            assert marks == {"tip": (float(row[1]), float(row[2])), "base": (float(row[3]), float(row[4]))}


def _read(root: Path, path: Path) -> FolderDataset:
    dataset = FolderDataset(root, csv=path.name)
    dataset.samples("train")
    return dataset


@inputs(40, 500)
@given(data=tables())
def test_check_lists_the_faults_of_a_table_that_is_refused(root: Path, data: bytes) -> None:
    (root / "points.csv").write_bytes(data)

    def read() -> bool:
        dataset = FolderDataset(root, csv="points.csv")
        assert all(str(root) in finding.message for finding in dataset.check(decode=False))
        faults = [finding for finding in dataset.check(decode=False) if finding.level == "error"]
        try:
            dataset.samples("train")
        except Exception:
            assert faults
            raise
        assert not faults
        return True

    judge("folder: check", read, root, lines=lines_of(data))
