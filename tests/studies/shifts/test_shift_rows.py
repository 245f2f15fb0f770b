"""The figures of a family by hand, and what a folder keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.metrics.bootstrap import bootstrap_interval
from landmark_diffusion.studies.shifts.figure import contact_sheet, shifts_figure
from landmark_diffusion.studies.shifts.files import ERRORS, SUMMARY, TABLE, ShiftFolder
from landmark_diffusion.studies.shifts.judge import PLAIN, FamilyErrors
from landmark_diffusion.studies.shifts.rows import MEAN, make_rows
from landmark_diffusion.studies.shifts.table import families_grid, shifts_grid

NAN = float("nan")
IDS, NAMES = ("a", "=b", "c", "d"), ("sella", "nasion")


def plain() -> FamilyErrors:
    errors = np.array([[1.0, 1.0], [1.0, 2.0], [0.5, 0.5], [1.0, NAN]])
    return FamilyErrors(errors, np.array([[1.0, 1], [1, 0], [1, 1], [1, NAN]]), np.zeros(4), np.zeros((4, 2)))


def turned() -> FamilyErrors:
    """Image a is good, b good and called unlike, c has a point beyond 10 mm, of d nothing is seen."""
    errors = np.array([[1.0, 2.0], [1.0, 1.0], [12.0, 3.0], [NAN, NAN]])
    covered = np.array([[1.0, 0.0], [NAN, NAN], [0.0, 1.0], [NAN, NAN]])
    doubtful = np.array([[0.0, 1.0], [0, 0], [1, 0], [1, 1]])
    return FamilyErrors(errors, covered, np.array([0.0, 1.0, 0.0, 1.0]), doubtful)


def dark() -> FamilyErrors:
    return FamilyErrors(np.full((4, 2), 3.0), np.full((4, 2), NAN), np.full(4, NAN), np.full((4, 2), NAN))


def test_figures_by_hand() -> None:
    rows = make_rows({"turn": turned(), PLAIN: plain(), "dark": dark()}, 2.0, "mm")
    assert [row.family for row in rows] == [PLAIN, "turn", "dark", MEAN]
    first, row, other, mean = rows
    assert (first.images, first.points, first.mre, first.ratio) == (4, 7, 1.0, 1.0)
    assert (first.near, first.coverage) == (pytest.approx(600 / 7), pytest.approx(600 / 7))
    assert (row.images, row.points) == (3, 6)
    assert row.mre == pytest.approx(20 / 6) and row.ratio == pytest.approx(20 / 6)
    interval = bootstrap_interval(np.array([1.5, 1.0, 7.5]))
    assert (row.mre_low, row.mre_high) == (interval.low, interval.high)
    assert row.near == pytest.approx(50.0) and row.far == pytest.approx(100 / 6)
    assert row.coverage == 50.0 and row.stated == pytest.approx(400 / 6) and row.unlike == pytest.approx(100 / 3)
    assert (row.good, row.unlike_good, row.bad, row.unlike_bad) == (2, 50.0, 1, 0.0)
    assert row.marked == pytest.approx(200 / 6) and row.marked_bad == 100.0
    assert np.isnan(first.marked_bad) and first.marked == 0
    assert np.isnan(
        [other.marked, other.marked_bad, other.coverage, other.unlike, other.unlike_good, other.unlike_bad]
    ).all()
    assert (other.good, other.bad, other.stated) == (0, 0, 0.0)
    assert mean.mre == pytest.approx((20 / 6 + 3) / 2) and mean.coverage == 50.0 and mean.near == 25.0
    assert (mean.images, mean.good, mean.bad) == (7, 2, 1) and np.isnan(mean.mre_low)


def test_an_image_is_marked_where_each_far_point_is_or_the_whole_image() -> None:
    errors = np.array([[12.0, 13.0], [12.0, 13.0], [12.0, 1.0], [1.0, 1.0]])
    doubtful = np.array([[1.0, 0.0], [0, 0], [1, 0], [0, 0]])
    found = FamilyErrors(errors, np.full((4, 2), NAN), np.array([0.0, 1.0, 0.0, 0.0]), doubtful)
    (row,) = make_rows({"turn": found}, 2.0, "mm")
    assert row.bad == 3 and row.marked_bad == pytest.approx(200 / 3)  # not the first


def test_units_without_mm_have_nothing_beyond_ten_mm() -> None:
    (row,) = make_rows({"turn": turned()}, 3.0, "px256")
    assert np.isnan([row.far, row.unlike_bad, row.ratio]).all() and row.bad == 0 and row.near == pytest.approx(400 / 6)


def test_tables_and_pictures_show_every_row(tmp_path: Path) -> None:
    rows = make_rows({PLAIN: plain(), "turn": turned(), "dark": dark()}, 2.0, "mm")
    grid = shifts_grid(rows, 2.0, "mm", 0.9, ("above",), ("note",))
    assert [row[0] for section in grid.sections for row in section] == [PLAIN, "turn", "dark", MEAN]
    cells = ("turn", "3.33", "1.00-7.50", "3.33", "50.0", "16.7", "50.0", "33.3", "50", "100")
    assert grid.sections[1][0] == cells
    assert "| turn | 3.33 | 1.00-7.50 |" in grid.to_markdown()
    assert families_grid().sections[0][0] == ("film_curve", "film with strong toe and shoulder")
    assert shifts_figure(tmp_path / "a.png", rows, "mm", 0.9, "x").stat().st_size > 5000
    only = make_rows({PLAIN: plain()}, 2.0, "mm")
    assert shifts_figure(tmp_path / "b.png", only, "mm", 0.9, "x").is_file()
    grey = np.random.default_rng(0).integers(0, 256, (60, 48), dtype=np.uint8)
    assert contact_sheet(tmp_path / "c.png", grey, np.array([[20.0, 30.0]]), "x").stat().st_size > 5000


def folder(path: Path, **changes: object) -> ShiftFolder:
    return ShiftFolder(path, {"model file": "abc", "seed": 0, **changes}, IDS, NAMES)


def test_a_folder_gives_back_what_was_finished(tmp_path: Path) -> None:
    ours = folder(tmp_path / "x")
    assert ours.begin(overwrite=False) == {}
    found = {PLAIN: plain(), "turn": turned()}
    ours.write(found, make_rows(found, 2.0, "mm"), {"unit": "mm"})
    again = folder(tmp_path / "x").begin(overwrite=False)
    assert list(again) == [PLAIN, "turn"]
    for family, each in found.items():
        for name in ("errors", "covered", "unlike", "doubtful"):
            np.testing.assert_array_equal(getattr(again[family], name), getattr(each, name))
    summary = json.loads((ours.path / SUMMARY).read_text())
    assert summary["unit"] == "mm" and summary["rows"][1]["mre"] == pytest.approx(20 / 6)
    assert (ours.path / TABLE).read_text().splitlines()[1].startswith("as they are,4,7,1.000000,")
    with pytest.raises(UserError, match="results that differ from these in seed; name another --output"):
        folder(tmp_path / "x", seed=1).begin(overwrite=False)
    assert folder(tmp_path / "x", seed=1).begin(overwrite=True) == {} and not list(ours.path.iterdir())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: 3 * len(text) // 4].rpartition("\n")[0] + "\n", "turn is cut short; remove it"),
        (lambda text: text.replace("family", "famliy"), "errors.csv:1: expected the columns family, image"),
        (lambda text: text.replace("a,nasion", "a,menton"), "errors.csv:3: found a, menton, expected"),
        (lambda text: text.replace("12.0", "twelve"), "errors.csv:14: "),
        (lambda text: text + "turn,a\n", "errors.csv:18: "),
    ],
)
def test_a_damaged_folder_is_told(damage: object, message: str, tmp_path: Path) -> None:
    ours = folder(tmp_path)
    found = {PLAIN: plain(), "turn": turned()}
    ours.write(found, make_rows(found, 2.0, "mm"), {})
    assert callable(damage)
    (tmp_path / ERRORS).write_text(damage((tmp_path / ERRORS).read_text()))
    with pytest.raises(DataError, match=message):
        ours.begin(overwrite=False)


def test_errors_of_nobody_knows_what_are_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / ERRORS).write_text("family\n")
    with pytest.raises(UserError, match=r"errors.csv is there without shifts.json"):
        folder(tmp_path).begin(overwrite=False)
    (tmp_path / SUMMARY).write_text("{}")
    with pytest.raises(DataError, match="is no summary"):
        folder(tmp_path).begin(overwrite=False)
