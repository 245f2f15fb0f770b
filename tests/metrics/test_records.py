"""Records and predictions.csv: what is written can be read again, by people, by programs and by spreadsheets."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.predictions_file import read_predictions_csv, write_predictions_csv
from landmark_diffusion.metrics.records import Prediction, in_dataset_order, mean_of_annotators, unit_words
from tests.metrics.measured import radial_errors

NAN = (math.nan, math.nan)
NAMES = ("sella", "nasion", "orbitale")


def prediction(image_id: str = "001", index: int = 0, spacing: tuple[float, float] | None = (0.5, 0.25)) -> Prediction:
    """Truth (10, 10), (20, 20) by one annotator, none; errors 3 mm or 6 px, 2 mm or 8 px."""
    points = np.array([[16.0, 10.0], [20.0, 28.0], [5.0, 5.0]])
    annotations = np.array([[[9.0, 10.0], [20.0, 20.0], NAN], [[11.0, 10.0], NAN, NAN]])
    return Prediction(image_id, index, points, annotations, spacing)


def test_errors_by_hand_in_both_units() -> None:
    np.testing.assert_array_equal(radial_errors([prediction()]), [[3.0, 2.0, math.nan]])
    np.testing.assert_array_equal(radial_errors([prediction()], unit="px"), [[6.0, 8.0, math.nan]])
    np.testing.assert_array_equal(radial_errors([prediction(spacing=None)]), [[6.0, 8.0, math.nan]])
    with pytest.raises(MetricError, match="001: an error in mm needs the spacing"):
        radial_errors([prediction(spacing=None)], unit="mm")


def test_pixels_of_the_256_grid_are_never_called_mm() -> None:
    case = replace(prediction(), length_unit="px256", image_size=(512, 1024))
    assert (case.unit, replace(case, spacing=None).unit) == ("px256", "px")
    np.testing.assert_array_equal(radial_errors([case]), [[3.0, 2.0, math.nan]])
    with pytest.raises(MetricError, match=r"001: an error in mm needs the spacing in mm, .* use unit 'px256'"):
        radial_errors([case], unit="mm")
    with pytest.raises(MetricError, match="001: an error in px256 needs"):
        radial_errors([prediction()], unit="px256")
    with pytest.raises(MetricError, match="001: found length_unit 'cm'"):
        Prediction("001", 0, case.points, case.annotations, length_unit="cm")  # type: ignore[arg-type]
    assert (unit_words("px256"), unit_words("mm")) == ("px of 256x256", "mm")


def test_mean_of_annotators_uses_those_who_marked_the_point() -> None:
    # One coordinate without the other is no point.
    annotations = np.array([[[0.0, 2.0], [1.0, 1.0], [1.0, math.nan]], [[4.0, 4.0], NAN, [3.0, 3.0]]])
    np.testing.assert_array_equal(mean_of_annotators(annotations), [[2.0, 3.0], [1.0, 1.0], [3.0, 3.0]])
    np.testing.assert_array_equal(mean_of_annotators(np.stack([annotations] * 2))[1], mean_of_annotators(annotations))


def test_a_prediction_that_is_no_point_is_an_error_only_where_there_is_a_truth() -> None:
    case = prediction()
    case.points[2] = math.nan
    assert radial_errors([case])[0, 0] == 3.0
    case.points[1] = math.nan
    with pytest.raises(MetricError, match="001: predicted point 1"):
        radial_errors([case])


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(MetricError, match="007: found points"):
        Prediction("007", 0, np.zeros((3, 2)), np.zeros((2, 4, 2)))


def test_order_is_the_dataset_s_and_padding_is_dropped() -> None:
    given = [prediction("c", 2), prediction("a", 0), prediction("b", 1), prediction("a", 0)]
    assert [p.image_id for p in in_dataset_order(given)] == ["a", "b", "c"]


def test_csv_has_the_promised_columns_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.csv"
    write_predictions_csv(path, evaluate({"a": [prediction("002", 1), prediction("001", 0)]}, NAMES))
    assert path.read_text().splitlines()[:4] == [
        "image_id,landmark,x,y,x_true,y_true,error,unit",
        "001,sella,16.000000,10.000000,10.000000,10.000000,3.000000,mm",
        "001,nasion,20.000000,28.000000,20.000000,20.000000,2.000000,mm",
        "001,orbitale,5.000000,5.000000,,,,mm",
    ]
    assert [line.split(",")[0] for line in path.read_text().splitlines()[4:]] == ["002"] * 3
    assert [file.name for file in path.parent.iterdir()] == ["predictions.csv"]


def test_csv_comes_back_to_the_written_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [
        Prediction(f"{i:03}", i, rng.uniform(0, 2000, (4, 2)), rng.uniform(0, 2000, (2, 4, 2)), (0.1, 0.1))
        for i in range(5)
    ]
    cases[3].annotations[:, 1] = math.nan
    write_predictions_csv(tmp_path / "p.csv", evaluate({"a": cases[::-1]}, ("a", "b", "c", "d"), unit="px"))
    table = read_predictions_csv(tmp_path / "p.csv")
    assert table.image_ids == ("000", "001", "002", "003", "004")
    assert table.landmark_names == ("a", "b", "c", "d")
    assert table.unit == "px"
    half = 0.5000001e-6  # six decimals are written
    np.testing.assert_allclose(table.points, [case.points for case in cases], rtol=0, atol=half)
    np.testing.assert_allclose(table.truth, [case.truth for case in cases], rtol=0, atol=half)
    np.testing.assert_allclose(table.errors, radial_errors(cases, unit="px"), rtol=0, atol=half)


def test_csv_keeps_the_unit_of_the_256_grid(tmp_path: Path) -> None:
    write_predictions_csv(tmp_path / "p.csv", evaluate({"a": [replace(prediction(), length_unit="px256")]}, NAMES))
    table = read_predictions_csv(tmp_path / "p.csv")
    assert table.unit == "px256"
    np.testing.assert_array_equal(table.errors, [[3.0, 2.0, math.nan]])


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'quoted", "'=1", "a,b", 'say "x"', "two\nlines", " x ", "ä"]
)
def test_names_that_a_spreadsheet_would_run_are_disarmed_and_come_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "p.csv"
    case = prediction(name)
    write_predictions_csv(path, evaluate({"a": [case]}, (name, "b", "c")))
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row[:2]]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    table = read_predictions_csv(path)
    assert table.image_ids == (name,)
    assert table.landmark_names[0] == name


def test_number_of_names_must_fit(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="001: found 3 points for 2 landmark names"):
        evaluate({"a": [prediction()]}, ("a", "b"))


def test_images_without_spacing_keep_their_own_unit_in_the_file(tmp_path: Path) -> None:
    """`ldx predict` writes points of such images too, although their errors cannot be averaged."""
    mixed = evaluate({"a": [prediction("1", 0), prediction("2", 1, spacing=None)]}, NAMES)
    write_predictions_csv(tmp_path / "p.csv", mixed)
    rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert [row[-2:] for row in (rows[0], rows[3])] == [["3.000000", "mm"], ["6.000000", "px"]]
    with pytest.raises(MetricError, match=r"others none \(2\)"):
        mixed.summaries  # noqa: B018


HEADER = "image_id,landmark,x,y,x_true,y_true,error,unit\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p.csv:1: found the columns"),
        ("a,b\n", r"p.csv:1: found the columns a,b"),
        (HEADER, r"p.csv: found the units \[\]"),
        (HEADER + "1,a,1,2,3,4,5\n", r"p.csv:2: found 7 cells, expected 8"),
        (HEADER + "1,a,1,2,3,4,5,cm\n", r"p.csv:2: found the unit 'cm'"),
        (HEADER + "1,a,1,zwei,3,4,5,mm\n", r"p.csv:2: found 1,zwei"),
        (HEADER + "1,a,1,2,3,4,5,mm\n1,a,1,2,3,4,5,mm\n", r"p.csv:3: a second row for landmark 'a' of image '1'"),
        (HEADER + "1,a,1,2,3,4,5,mm\n2,a,1,2,3,4,5,px\n", r"p.csv: found the units \['mm', 'px'\]"),
        (HEADER + "1,a,1,2,3,4,5,mm\n2,b,1,2,3,4,5,mm\n", r"p.csv: image '2' has 1 landmarks that are not"),
    ],
)
def test_faulty_tables_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions_csv(path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv: no such file"):
        read_predictions_csv(tmp_path / "none.csv")
