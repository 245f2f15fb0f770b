"""The few-shot summary: means and spreads by hand, bold only where it is earned, missing cells said, whole files."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.fewshot.summary import comparison_section, write_summary
from landmark_diffusion.studies.fewshot.table import (
    Spread,
    clear_best,
    group_cells,
    markdown_table,
    metrics_of,
    paired,
    start_names,
    terminal_table,
)
from tests.studies.fewshot.cells import cell, draws_of, grid


def _cells(line: str) -> list[str]:
    return [text.strip() for text in line.strip().strip("|").split("|")]


def _row(markdown: str, *names: str) -> list[str]:
    """The cells of the first table row that has all ``names`` as cells, escapes removed."""
    rows = (_cells(line.replace("\\", "")) for line in markdown.splitlines() if line.startswith("|"))
    return next(row for row in rows if set(names) <= set(row))


def _printed(results, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal_table(results))
    return console.file.getvalue()


def test_mean_and_deviation_over_draws_are_those_worked_by_hand() -> None:
    # 3, 4, 8: mean 5, squares of the distances 4 + 1 + 9 = 14, divided by 2: sqrt(7) = 2.6458.
    spread = Spread.of([3.0, 4.0, 8.0])
    assert spread.mean == pytest.approx(5.0)
    assert spread.sd == pytest.approx(7**0.5)
    assert spread.text(2) == "5.00 ± 2.65"


def test_one_draw_has_no_spread_and_is_never_bold() -> None:
    assert Spread.of([3.0]).text(2) == "3.00 ± -"
    results = [cell("scratch", mre=9.0), cell("ceph", mre=1.0)]
    table = markdown_table(group_cells(results), metrics_of(results))
    assert "1.00 ± -" in table
    assert "**1.00" not in table


def test_table_shows_mre_and_every_radius_with_spread() -> None:
    results = draws_of("scratch", [3.0, 4.0, 8.0])
    row = _row(markdown_table(group_cells(results), metrics_of(results)), "scratch")
    # SDR at 2 mm is 60, 50 and 10 %: mean 40, deviation sqrt((400 + 100 + 900) / 2) = 26.5.
    assert row == ["**5**", "scratch", "one_hot", "best", "3", "5.00 ± 2.65", "2.50 ± 1.32", "40.0 ± 26.5",
                   "49.0 ± 26.5", "5.0 ± 2.6"]  # fmt: skip


def test_best_is_bold_only_where_it_is_beyond_the_spread_of_the_paired_differences() -> None:
    # The draws differ by far more than the two starts, but within each draw the second is 1 mm better.
    clear = draws_of("scratch", [4.0, 9.0, 20.0]) + draws_of("ceph", [3.1, 8.0, 18.9])
    table = markdown_table(group_cells(clear), metrics_of(clear))
    assert _row(table, "ceph")[5] == "**10.00 ± 8.09**"
    assert _row(table, "scratch")[5] == "11.00 ± 8.19"
    # Differences -3, +2, -1: mean -0.67, deviation 2.5.
    unclear = draws_of("scratch", [4.0, 9.0, 20.0]) + draws_of("ceph", [1.0, 11.0, 19.0])
    assert "**10." not in markdown_table(group_cells(unclear), metrics_of(unclear))


def test_best_is_sought_among_rows_of_the_same_choice_of_weights() -> None:
    results = [
        *draws_of("scratch", [4.0, 5.0, 6.0], checkpoint="last"), *draws_of("ceph", [3.0, 4.0, 5.0], checkpoint="last"),
        *draws_of("scratch", [2.0, 3.0, 4.0]), *draws_of("ceph", [1.0, 2.0, 3.0]),
    ]  # fmt: skip
    table = markdown_table(group_cells(results), metrics_of(results))
    assert _row(table, "ceph", "last")[5] == "**4.00 ± 1.00**"
    assert _row(table, "ceph", "best")[5] == "**2.00 ± 1.00**"


def test_more_is_better_for_rates_and_less_for_errors() -> None:
    results = draws_of("scratch", [4.0, 5.0, 6.0]) + draws_of("ceph", [3.0, 4.0, 5.0])
    groups = group_cells(results)
    for metric in metrics_of(results):
        assert clear_best(groups, metric).start == "ceph", metric.name


def test_difference_is_taken_draw_by_draw() -> None:
    results = draws_of("scratch", [4.0, 9.0, 20.0]) + draws_of("ceph", [3.0, 7.0, 17.0])
    scratch, ceph = group_cells(results)
    difference = paired(ceph, scratch, metrics_of(results)[0])
    assert difference.by_draw == ((0, -1.0), (1, -2.0), (2, -3.0))
    assert (difference.spread.mean, difference.spread.sd) == (-2.0, pytest.approx(1.0))
    assert (difference.better, difference.verdict) == (3, "better")
    assert paired(scratch, ceph, metrics_of(results)[0]).verdict == "worse"


def test_draws_trained_on_other_images_are_not_compared() -> None:
    results = [*draws_of("scratch", [4.0, 9.0]), cell("ceph", mre=3.0), cell("ceph", draw=1, mre=3.0, train_images=())]
    scratch, ceph = group_cells(results)
    difference = paired(ceph, scratch, metrics_of(results)[0])
    assert (difference.by_draw, difference.unlike) == (((0, -1.0),), (1,))
    assert "not compared in draw 1" in comparison_section([scratch, ceph], metrics_of(results))


def test_comparison_says_at_which_n_pre_training_helps() -> None:
    results = [
        *draws_of("scratch", [8.0, 9.0, 10.0], 1), *draws_of("ceph", [5.0, 6.5, 7.0], 1),
        *draws_of("scratch", [4.0, 5.0, 6.0], 10), *draws_of("ceph", [5.0, 4.0, 6.0], 10),
        *draws_of("scratch", [2.0, 2.1, 2.2], 50), *draws_of("ceph", [2.2, 2.3, 2.5], 50),
        *draws_of("scratch", [3.0], 25), *draws_of("ceph", [2.0], 25),
    ]  # fmt: skip
    text = comparison_section(group_cells(results), metrics_of(results)).replace("\\", "")
    assert (
        "- ceph, one_hot, best: MRE better beyond the spread at n = 1; worse beyond the spread at n = 50; "
        "within the spread at n = 10; too few draws for a spread at n = 25"
    ) in text
    row = _row(text, "ceph, one_hot, best", "1")
    assert row[2:4] == ["-2.83 ± 0.29", "3 of 3"]  # -3, -2.5, -3
    assert row[4:6] == ["+28.3 ± 2.9", "3 of 3"]


def test_chance_that_the_text_gives_is_that_of_three_normal_differences() -> None:
    # mean > sd is t > sqrt(draws) with one degree of freedom less, on the better side alone.
    assert 1 / stats.t.sf(3**0.5, 2) == pytest.approx(9, abs=0.2)
    assert 1 / stats.t.sf(2**0.5, 1) == pytest.approx(5, abs=0.2)
    results = draws_of("scratch", [3.0, 4.0]) + draws_of("ceph", [2.0, 4.0])
    text = comparison_section(group_cells(results), metrics_of(results))
    assert "about one in nine" in text and "over two draws one in five" in text


def test_without_scratch_the_comparison_says_what_it_lacks() -> None:
    results = draws_of("ceph", [3.0, 4.0])
    assert "needs the start called scratch" in comparison_section(group_cells(results), metrics_of(results))


def test_missing_draws_are_counted_and_missing_groups_named(tmp_path: Path) -> None:
    results = [
        *draws_of("scratch", [4.0, 5.0, 6.0]), *draws_of("ceph", [3.0, 4.0]), *draws_of("scratch", [2.0, 2.0, 2.0], 50),
    ]  # fmt: skip
    write_summary(tmp_path, results, title="T", dataset="phantom")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert _row(text, "ceph", "one_hot")[4] == "2 of 3"
    assert "no cell finished: ceph, one\\_hot, best at n = 50" in text
    assert "2/3" in _printed(results)
    assert group_cells(results, draws=4)[0].draws == "3 of 4"


def test_order_of_cells_on_disk_changes_nothing(tmp_path: Path) -> None:
    results = grid({"scratch": None, "ceph_10k": 10000, "ceph_8k": 8000}, ["disc"], [1, 5], draws=2)
    shuffled = random.Random(0).sample(results, len(results))
    for folder, cells in (("a", results), ("b", shuffled)):
        write_summary(tmp_path / folder, cells, title="T", dataset="phantom")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_scratch_comes_first_and_checkpoints_by_updates() -> None:
    starts = {"b_10k": 10000, "a_8k": 8000, "imported": None, "scratch": None}
    groups = group_cells(grid(starts, ["disc"], [1], draws=1))
    assert [group.start for group in groups if group.checkpoint == "best"] == ["scratch", "a_8k", "b_10k", "imported"]


def test_starts_come_as_in_the_config_even_those_that_have_not_all_n() -> None:
    """A start that is meant for n = 10 alone stands beside its like, and not after all that have n = 1."""
    names = ["released", "fair", "scratch", "another"]
    results = [
        replace(result, place=names.index(result.start))
        for result in grid(
            {"fair": 1200, "another": None, "released": 400, "scratch": None}, ["disc"], [1, 10], draws=1
        )
        if (result.start, result.n) != ("released", 1)
    ]
    assert start_names(results) == ["scratch", "released", "fair", "another"]
    assert [g.start for g in group_cells(results) if (g.n, g.checkpoint) == (10, "best")] == start_names(results)


def test_csv_files_hold_the_unrounded_groups_and_one_row_a_cell(tmp_path: Path) -> None:
    results = draws_of("scratch", [3.0, 4.0, 8.0]) + draws_of("=ceph", [2.0])
    write_summary(tmp_path, results, title="T", dataset="phantom")
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        groups = list(csv.DictReader(file))
    assert [row["start"] for row in groups] == ["scratch", "'=ceph"]  # no spreadsheet runs it as a formula
    assert (float(groups[0]["mre_mean"]), float(groups[0]["mre_sd"])) == (5.0, pytest.approx(7**0.5, abs=1e-4))
    assert (groups[1]["mre_sd"], groups[1]["draws"], groups[1]["draws_expected"]) == ("", "1", "3")
    with (tmp_path / "cells.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [float(row["mre"]) for row in cells] == [3.0, 4.0, 8.0, 2.0]
    assert float(cells[1]["sdr_2"]) == 50.0


def test_chest_is_told_in_pixels_of_its_grid_and_without_a_column_in_mm(tmp_path: Path) -> None:
    changes = {"unit": "px256", "beyond_10mm": None, "sdr": {3.0: 50.0, 6.0: 60.0, 9.0: 70.0}}
    results = draws_of("scratch", [3.0, 4.0], **changes)
    write_summary(tmp_path, results, title="T", dataset="chest")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "| MRE, px of 256x256 |" in text
    assert "| SDR 3 px of 256x256, % |" in text
    assert "px256" not in text
    assert "10 mm" not in text.split("## The paper")[0]
    assert "px of 256x256" in _printed(results)


def test_markdown_has_facts_figures_and_what_each_thing_means(tmp_path: Path) -> None:
    facts = {"protocol": "default <", "commit": "abc"}
    results = draws_of("scratch", [3.0, 4.0]) + draws_of("ceph", [2.0, 4.0], checkpoint="last")
    paths = write_summary(tmp_path, results, title="My *grid*", dataset="isbi2015", facts=facts)
    text = paths[0].read_text(encoding="utf-8")
    assert text.startswith("# My \\*grid\\*\n\n- protocol: default \\<\n- commit: abc\n")
    for words in ("Results on 150 images", "less one", "weights best: chosen on the labelled validation images",
                  "weights last: the last weights", "![bars](bars.png)", "![curve](curve.png)",
                  "under the paper's own protocol"):  # fmt: skip
        assert words in text
    assert "pretraining.png" not in text
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}


def test_other_protocols_have_a_table_of_their_own_under_their_caution(tmp_path: Path) -> None:
    def other(mre: float) -> dict:
        rules = {"protocol": "protocol paper_b: rounded", "unit": "mm", "images": 150, "median": 1.0}
        return {"paper_b": rules | {"mre": mre, "sdr": {"2": 70.0, "2.5": 80.0}, "beyond_10mm": 0.0}}

    results = [cell(mre=3.0, other=other(2.0)), cell(draw=1, mre=3.5, other=other(4.0)), cell(draw=2, mre=3.7)]
    write_summary(tmp_path, results, title="T", dataset="phantom")
    honest, theirs = (tmp_path / "summary.md").read_text(encoding="utf-8").split("## The same under protocol paper\\_b")
    assert _row(honest, "scratch")[5] == "3.40 ± 0.36"
    assert "not to be believed" in theirs
    assert "protocol paper\\_b: rounded" in theirs
    assert _row(theirs, "scratch")[4:7] == ["2 of 3", "3.00 ± 1.41", "1.00 ± 0.00"]
    with (tmp_path / "cells.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [row["paper_b_mre"] for row in cells] == ["2.0", "4.0", ""]
    assert [row["paper_b_sdr_2.5"] for row in cells] == ["80.0", "80.0", ""]


def test_whole_numbers_fit_a_terminal_of_80_columns() -> None:
    results = []
    for start in ("scratch", "a_start_with_a_long_name"):
        for n in (1, 50):
            results += draws_of(start, [103.67, 118.62, 143.55], n, sdr={2.0: 0.0, 2.5: 1.0, 3.0: 55.0, 4.0: 100.0})
    results.pop()
    lines = _printed(results).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("121.95±20.15" in line and "100.0±0.0" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "no finished cells"),
        ([cell(), cell()], "there twice"),
        ([cell(), cell(draw=1, unit="px")], "different units"),
        ([cell(), cell(draw=1, images=20)], "different numbers of measured images"),
        ([cell(), cell(draw=1, sdr={3.0: 1.0})], "different SDR radii"),
    ],
)
def test_cells_that_cannot_share_a_table_are_refused_before_anything_is_written(tmp_path, results, message) -> None:
    with pytest.raises(UserError, match=message):
        write_summary(tmp_path, results, title="T", dataset="phantom")
    assert not list(tmp_path.iterdir())


def test_what_each_start_costs_is_said(tmp_path: Path) -> None:
    known = {"parameters": 1_234_000, "memory_gib": 1.26}
    results = [
        *draws_of("scratch", [4.0, 5.0], train_minutes=8.0, **known),
        *draws_of("scratch", [4.0], checkpoint="last", train_minutes=8.0, **known),
        cell("afpf", n=5, train_minutes=3.0, parameters=2_000_000, memory_gib=0.4),
        cell("afpf", n=10, train_minutes=4.25, parameters=2_000_000, memory_gib=0.9),
        cell("old", n=10),  # of a version that noted neither
    ]
    write_summary(tmp_path, results, title="costs", dataset="isbi2015")
    table = (tmp_path / "summary.md").read_text().partition("## What a training costs")[2]
    assert _row(table, "parameters, millions")[3:] == ["minutes, n = 5", "minutes, n = 10"]
    assert _row(table, "scratch, one_hot")[1:] == ["1.23", "1.3", "8.0", "-"]
    assert _row(table, "afpf, one_hot")[1:] == ["2.00", "0.9", "3.0", "4.2"]
    assert _row(table, "old, one_hot")[1:] == ["-", "-", "-", "8.0"]
    rows = list(csv.DictReader((tmp_path / "cells.csv").open()))
    assert {row["parameters"] for row in rows} == {"1234000", "2000000", ""}


def test_a_start_that_is_not_meant_for_all_n_lacks_nothing(tmp_path: Path) -> None:
    results = [cell("scratch", n=5), cell("scratch", n=10), cell("ten", n=10), cell("late", n=10)]
    write_summary(tmp_path, results, title="own n", dataset="isbi2015", own_n={"ten": [10, 25]})
    text = (tmp_path / "summary.md").read_text()
    assert "no cell finished: late, one" in text.replace("\\", "") and "at n = 5" in text
    assert "no cell finished: ten" not in text and "; ten" not in text


def test_draws_that_have_the_same_images_are_told(tmp_path: Path) -> None:
    images = tuple(f"{place:03d}" for place in range(5))
    same = [cell("scratch", 5, draw, train_images=images[draw:] + images[:draw]) for draw in range(3)]
    write_summary(tmp_path, [*same, *draws_of("scratch", [2.0, 2.1, 2.2], 3)], title="T", dataset="phantom")
    text = (tmp_path / "summary.md").read_text()
    assert "at n = 5 all draws have the same images" in text and "at n = 3 all" not in text
