"""The table's numbers are what a reader would compute by hand, and none of its columns is cut."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from landmark_diffusion.evaluation.landmark_table import LandmarkTable
from landmark_diffusion.evaluation.tables import ResultsTable, other_table, results_table
from landmark_diffusion.metrics.evaluation import Evaluation, evaluate
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Prediction

RADII = (2.0, 2.5, 3.0, 4.0)
NAMES = ("senior", "junior")


def _evaluated(variants: dict[str, list[Prediction]], annotators=(), radii=None, unit=None, **more) -> Evaluation:
    return evaluate(variants, (), annotators, radii, unit, main="multi-step", **more)


def _rows(table: ResultsTable) -> dict[str, object]:
    return {row.label: row for row in table.rows}


def _printed(table: object, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(table)
    return console.file.getvalue().splitlines()


@pytest.fixture
def hand_worked() -> dict[str, list[Prediction]]:
    """One image, two landmarks, spacing 1 mm: the doctors stand 6 mm apart on the first, 2 mm on the second."""
    annotations = np.array([[[0.0, 0.0], [10.0, 0.0]], [[6.0, 0.0], [10.0, 2.0]]])
    points = np.array([[3.0, 4.0], [10.0, 0.5]])  # 4 mm above the middle; on the line, 0.5 mm from the senior
    return {"baseline": [Prediction("a", 0, points, annotations, (1.0, 1.0))]}


def test_human_rows_agree_with_a_case_worked_by_hand(hand_worked) -> None:
    rows = _rows(results_table(evaluate(hand_worked, (), NAMES, (2.0, 4.0), "mm")))
    assert rows["baseline"].mre == pytest.approx((4.0 + 0.5) / 2)
    assert rows["baseline"].std == pytest.approx(1.75)
    assert rows["baseline"].sdr == {2.0: 50.0, 4.0: 50.0}  # exactly 4 mm is no hit under <
    # Each doctor is half their distance from the mean: 3 and 1 mm.
    assert rows["senior to the mean *"].mre == rows["junior to the mean *"].mre == pytest.approx(2.0)
    assert rows["senior to the mean *"].flattering and rows["baseline to nearer †"].flattering
    assert rows["senior to junior"].mre == pytest.approx(4.0)
    # To the senior: hypot(3, 4) = 5 and 0.5; to the junior: 5 and 1.5; nearer: 5 and 0.5.
    assert rows["baseline to senior"].mre == pytest.approx(2.75)
    assert rows["baseline to junior"].mre == pytest.approx(3.25)
    assert rows["baseline to nearer †"].mre == pytest.approx(2.75)
    # Ratio: 6 / (5 + 5) and 2 / (0.5 + 1.5).
    assert rows["baseline"].ratio == pytest.approx((0.6 + 1.0) / 2)
    assert rows["senior to junior"].ratio is None


def test_method_rows_agree_with_numpy_and_with_the_metrics(variants) -> None:
    table = results_table(_evaluated(variants, NAMES, RADII, "mm"))
    for name, predictions in variants.items():
        row = _rows(table)[name]
        errors = np.concatenate(
            [np.hypot(*((each.points - np.mean(each.annotations, 0)) * [0.1, 0.2]).T) for each in predictions]
        )
        errors = errors[~np.isnan(errors)]
        assert row.points == 20
        assert row.mre == pytest.approx(errors.mean(), abs=1e-12)
        assert row.std == pytest.approx(errors.std(), abs=1e-12)
        assert row.median == pytest.approx(np.median(errors), abs=1e-12)
        assert row.sdr == {radius: pytest.approx(100 * np.mean(errors < radius)) for radius in RADII}
        assert row.beyond == pytest.approx(100 * np.mean(errors > 10))
        expected = evaluate({"alone": predictions}, (), (), RADII, "mm").summaries["alone"]
        assert (row.mre, row.std, row.median, row.sdr) == (expected.mre, expected.std, expected.median, expected.sdr)


@pytest.mark.parametrize("width", [80, 100])
def test_no_column_is_cut_in_a_terminal(variants, width) -> None:
    table = results_table(_evaluated({"baseline": variants["single-step"], **variants}, NAMES, RADII, "mm"))
    lines = _printed(table, width)
    for row in table.rows:
        line = next(line for line in lines if line.startswith(row.label))
        assert line.split()[-1] == table_cells(table, row.label)[-1], f"the last number of {row.label!r} is cut"
    assert not any("…" in line for line in lines)
    header = next(line for line in lines if "MRE" in line)
    assert header.split() == ["MRE", "±", "SD", "median", "<2", "<2.5", "<3", "<4", ">10", "ratio"]


def table_cells(table: ResultsTable, label: str) -> list[str]:
    rows = [row for section in table.grid().sections for row in section]
    return [cell for cell in next(row for row in rows if row[0] == label) if cell]


def test_counts_and_rules_are_printed_above(variants) -> None:
    text = " ".join(_printed(results_table(_evaluated(variants, NAMES, RADII, "mm")), 100))
    assert "7 images, 20 points (1 without truth)" in text
    assert "protocol default" in text and "mean of the annotators" in text and "error < 2 / 2.5 / 3 / 4 mm" in text
    assert "flattering: each annotator is a part of the mean" in text


def test_markdown_has_the_same_number_of_cells_in_every_row(variants) -> None:
    table = results_table(_evaluated(variants, ("a|b", "*junior*"), RADII, "mm"))
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").count("|") for line in lines]
    assert len(lines) == 2 + len(table.rows)
    assert set(cells) == {10}  # nine columns
    assert set(lines[1]) <= set("| -:")
    assert "\\*junior\\* to the mean" in table.to_markdown()


def test_one_annotator_leaves_no_human_rows(variants) -> None:
    single = [Prediction(p.image_id, p.index, p.points, p.annotations[:1], p.spacing) for p in variants["multi-step"]]
    table = results_table(evaluate({"baseline": single}, (), ("reader",), RADII, "mm"))
    assert [row.label for row in table.rows] == ["baseline"]
    assert table.rows[0].ratio is None and not table.notes and "ratio" not in table.grid().headings


def test_an_annotator_who_marked_nothing_is_left_out(variants) -> None:
    for predictions in variants.values():
        for each in predictions:
            each.annotations[1] = np.nan
    labels = {row.label for row in results_table(_evaluated(variants, NAMES, RADII, "mm")).rows}
    # Alone, the senior is the mean: a row of zeros would say that people never err.
    assert labels == {
        "single-step", "multi-step", "single-step to senior", "single-step to nearer †", "multi-step to senior",
        "multi-step to nearer †",
    }  # fmt: skip


def test_pixels_have_no_column_beyond_10_mm(variants) -> None:
    table = results_table(_evaluated(variants, NAMES, (3, 6, 9), "px"))
    assert table.unit == "px" and all(row.beyond is None for row in table.rows)
    assert ">10" not in table.grid().headings
    row, each = _rows(table)["senior to junior"], variants["multi-step"]
    distances = np.concatenate([np.hypot(*(p.annotations[1] - p.annotations[0]).T) for p in each])
    assert row.mre == pytest.approx(np.nanmean(distances))


def test_protocol_of_paper_a_brings_its_own_radii(variants) -> None:
    table = results_table(_evaluated(variants, NAMES, protocol="paper_a"))
    assert table.radii == (2.0, 2.5, 4.0) and "paper_a" in table.protocol


def test_pixels_of_the_256_grid_are_named_where_people_read(variants) -> None:
    chest = {name: [replace(p, length_unit="px256") for p in each] for name, each in variants.items()}
    table = results_table(_evaluated(chest, NAMES, (3, 6, 9)))
    assert table.unit == table.to_dict()["unit"] == "px256" and ">10" not in table.grid().headings
    assert "MRE ± SD, px of 256x256" in table.to_markdown() and "errors in px of 256x256" in table.to_markdown()
    assert "errors in px of 256x256" in " ".join(" ".join(_printed(table, 80)).split())
    people = results_table(_evaluated(variants, NAMES, (3, 6, 9), "mm"))  # the same spacing, so the same numbers
    assert _rows(table)["senior to junior"].mre == _rows(people)["senior to junior"].mre
    assert _rows(table)["multi-step"].ratio == _rows(people)["multi-step"].ratio
    by_landmark = LandmarkTable(_evaluated(chest, radii=(3, 6, 9)))
    assert "mean radial error in px of 256x256" in by_landmark.to_markdown()
    distance = LandmarkTable(_evaluated(variants, radii=(3, 6, 9))).disagreement.distance
    np.testing.assert_array_equal(by_landmark.disagreement.distance, distance)


def test_the_released_code_s_table_is_small_and_carries_its_caution(variants) -> None:
    sized = {name: [replace(p, image_size=(200, 256)) for p in each] for name, each in variants.items()}
    honest = _evaluated(sized, NAMES, RADII)
    table = other_table(honest.under("paper_b"))
    assert [row.label for row in table.rows] == ["single-step", "multi-step"]
    assert table.rows[0].mre == _evaluated(sized, NAMES, RADII, protocol="paper_b").summaries["single-step"].mre
    assert table.rows[0].ratio is None and not table.strict
    lines = _printed(table, 80)
    assert len(lines) <= 12 and "not to be believed to better than half a pixel" in " ".join(" ".join(lines).split())
    assert not any("annotator 1" in line for line in lines)
    assert next(line for line in lines if "MRE" in line).split()[4:8] == ["≤2", "≤2.5", "≤3", "≤4"]
    assert LandmarkTable(honest.under("paper_b")).disagreement is None
    assert other_table(_evaluated(sized, radii=(7.0,)).under("contour_hugging")).radii == RADII  # its own come first


def test_dict_survives_json(variants) -> None:
    table = results_table(_evaluated(variants, NAMES, RADII, "mm"))
    again = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert again["rows"][0]["mre"] == table.rows[0].mre
    assert list(again["rows"][0]["sdr"]) == ["2", "2.5", "3", "4"]


def test_no_variant_is_an_error() -> None:
    with pytest.raises(MetricError, match="no variants"):
        evaluate({})


def test_landmark_table_separates_a_constant_offset_from_scatter() -> None:
    # The junior is always 3 px right and 4 px below on landmark 1; 2 px left or right in turn on landmark 2.
    predictions = []
    for index, sign in enumerate((1.0, -1.0)):
        annotations = np.array([[[0.0, 0.0], [9.0, 9.0]], [[3.0, 4.0], [9.0 + 2 * sign, 9.0]]])
        predictions.append(Prediction(str(index), index, np.array([[1.5, 2.0], [9.0, 9.0]]), annotations))
    table = LandmarkTable(evaluate({"baseline": predictions}, ("chin", "nose"), (), (2.0,), "px"))
    assert table.evaluation.landmark_mre["baseline"] == pytest.approx([0.0, 1.0])
    assert table.disagreement.constant == pytest.approx([5.0, 0.0])
    assert table.disagreement.rest == pytest.approx([0.0, 2.0])
    chin, nose = table.to_list()
    assert chin["annotators"]["offset"] == [3.0, 4.0] and nose["name"] == "nose"
    assert nose["variants"]["baseline"]["sdr"] == {"2": 100.0}
    assert "| 1 chin | 0.00 | 5.00 | 5.00 | 0.00 |" in table.to_markdown()
