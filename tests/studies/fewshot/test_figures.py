"""Figures of a few-shot grid: bars and dots stand where the numbers are, nothing is cut off, none is drawn in vain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.pictures.figures import Canvas
from landmark_diffusion.studies.fewshot import figures
from landmark_diffusion.studies.fewshot.table import group_cells, metrics_of
from tests.studies.fewshot.cells import draws_of, grid


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """The matplotlib figures of the test, as they are saved."""
    kept: list = []
    save = Canvas.save

    def keep(canvas, path):
        kept.append(canvas.figure)
        return save(canvas, path)

    monkeypatch.setattr(Canvas, "save", keep)
    return kept


def _draw(kind, folder: Path, results, *rest):
    return kind(folder / "a.png", group_cells(results), metrics_of(results), "title", *rest)


def _labels(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_bars_are_means_whiskers_deviations_and_dots_draws(tmp_path, drawn) -> None:
    results = draws_of("scratch", [3.0, 4.0, 8.0]) + draws_of("ceph", [2.0, 3.0, 4.0])
    _draw(figures.bars_figure, tmp_path, results)
    axes = drawn[0].axes[0]
    scratch, ceph = (container for container in axes.containers if hasattr(container, "patches"))
    assert [bar.get_height() for bar in (*scratch, *ceph)] == pytest.approx([5.0, 3.0])
    whiskers = [line.get_segments()[0][:, 1] for line in axes.collections if hasattr(line, "get_segments")]
    assert np.diff(whiskers, axis=1).ravel() == pytest.approx([2 * 7**0.5, 2.0])
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections if not hasattr(c, "get_segments")])
    assert sorted(dots[:, 1]) == [2.0, 3.0, 3.0, 4.0, 4.0, 8.0]
    assert scratch[0].get_x() + scratch[0].get_width() <= ceph[0].get_x()


def test_many_starts_are_told_apart_and_stand_beside_each_other(tmp_path, drawn) -> None:
    starts = ["scratch", *(f"start_{number:02d}" for number in range(14))]
    results = [cell for start in starts for n in (5, 10) for cell in draws_of(start, [3.0, 4.0], n)]
    kept = [cell for cell in results if cell.n == 10 or cell.start in ("scratch", "start_00", "start_13")]
    _draw(figures.bars_figure, tmp_path, kept)
    bars = [container for container in drawn[0].axes[0].containers if hasattr(container, "patches")]
    assert len({bar[0].get_edgecolor() for bar in bars}) == len(starts)
    at_five = sorted(patch.get_x() + patch.get_width() / 2 for bar in bars for patch in bar if patch.get_x() < 0.5)
    assert np.diff(at_five) == pytest.approx([1 / 16, 1 / 16]) and np.mean(at_five) == pytest.approx(0)  # no gaps


def test_errors_are_logarithmic_only_where_they_differ_tenfold(tmp_path, drawn) -> None:
    _draw(figures.bars_figure, tmp_path, draws_of("scratch", [3.0, 4.0, 8.0]))
    _draw(figures.bars_figure, tmp_path, draws_of("scratch", [3.0, 4.0, 80.0]))
    assert [figure.axes[0].get_yscale() for figure in drawn] == ["linear", "log"]
    assert [figure.axes[0].get_ylabel() for figure in drawn] == ["MRE, mm", "MRE, mm, log"]
    assert all(axes.get_yscale() == "linear" for axes in drawn[1].axes[1:])  # rates


def test_whole_grid_has_a_line_a_start_and_choice_solid_for_best_dashed_for_last(tmp_path, drawn) -> None:
    results = grid({"scratch": None, "ceph_8k": 8000}, ["disc", "one_hot"], [1, 5, 10, 25, 50])
    _draw(figures.curve_figure, tmp_path, results)
    figure = drawn[0]
    assert _labels(figure) == ["scratch, best", "scratch, last", "ceph_8k, best", "ceph_8k, last"]
    lines = [container[0] for container in figure.axes[0].containers]
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-", "--"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "5", "10", "25", "50"]
    assert figure.axes[0].get_title(loc="left") == "target: disc"
    groups = [g for g in group_cells(results) if (g.target, g.start, g.checkpoint) == ("disc", "scratch", "best")]
    means = [np.mean([cell.mre for cell in group.cells]) for group in groups]
    assert lines[0].get_ydata() == pytest.approx(means)


def test_missing_cells_leave_gaps_not_errors(tmp_path, drawn) -> None:
    results = grid({"scratch": None, "ceph_8k": 8000}, ["disc", "one_hot"], [1, 5])
    kept = [cell for cell in results if not (cell.start == "ceph_8k" and cell.target == "disc" and cell.n == 5)]
    for kind in (figures.bars_figure, figures.curve_figure):
        _draw(kind, tmp_path, kept)
    bars = [len(container.patches) for container in drawn[0].axes[0].containers if hasattr(container, "patches")]
    assert bars == [2, 2, 1, 1]


def test_papers_line_is_grey_labelled_and_only_beside_its_own_datasets(tmp_path, drawn) -> None:
    results = grid({"scratch": None}, ["disc", "other"], [1, 5, 10, 25, 50], draws=1)
    for dataset in ("isbi2015", "phantom"):
        _draw(figures.curve_figure, tmp_path, results, dataset)
    ours, other = drawn
    paper = [line for line in ours.axes[0].lines if line.get_label() == "paper, own protocol"]
    assert list(paper[0].get_ydata()) == [15.71, 8.30, 3.52, 2.84, 2.50]  # table 2, "Our method"
    assert paper[0].get_color() == figures.FAINT
    assert "paper, own protocol" in _labels(ours)
    assert "paper, own protocol" not in _labels(other)
    assert not [line for line in ours.axes[1].lines if line.get_label() == "paper, own protocol"]  # target "other"


def test_papers_line_needs_the_papers_unit(tmp_path, drawn) -> None:
    results = draws_of("scratch", [30.0, 40.0], unit="px", beyond_10mm=None)
    _draw(figures.curve_figure, tmp_path, results, "isbi2015")
    assert "paper, own protocol" not in _labels(drawn[0])


STARTS = {"scratch": None, "ceph_4k": 4000, "ceph_6000": 6000, "ceph step 10000": 10000}


def test_pre_training_figure_puts_each_checkpoint_at_its_updates_and_scratch_at_nought(tmp_path, drawn) -> None:
    assert _draw(figures.pretraining_figure, tmp_path, grid(STARTS, ["disc"], [1, 10])) == tmp_path / "a.png"
    axes = drawn[0].axes[0]
    assert list(axes.get_xticks()) == [0, 4000, 6000, 10000]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["scratch", "4,000", "6,000", "10,000"]
    assert _labels(drawn[0]) == ["n = 1, best", "n = 1, last", "n = 10, best", "n = 10, last"]
    for container in axes.containers:
        assert container[0].get_xdata() == pytest.approx([0, 4000, 6000, 10000], abs=50)


def test_pre_training_on_another_dataset_has_panels_of_its_own(tmp_path, drawn) -> None:
    starts = STARTS | {"hand_4k": 4000, "hand_10k": 10000}
    _draw(figures.pretraining_figure, tmp_path, grid(starts, ["disc"], [1], draws=1))
    assert [axes.get_title(loc="left") for axes in drawn[0].axes[:2]] == ["target: disc, ceph", "target: disc, hand"]


@pytest.mark.parametrize("starts", [{"scratch": None}, {"scratch": None, "ceph_4k": 4000}, {"a": None, "b": None}])
def test_pre_training_figure_needs_two_numbers_of_updates_and_leaves_no_stale_one(tmp_path, starts) -> None:
    (tmp_path / "a.png").write_bytes(b"older")
    assert _draw(figures.pretraining_figure, tmp_path, grid(starts, ["disc"], [1], draws=1)) is None
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("starts", "targets"),
    [
        ({"scratch": None}, ["disc"]),
        ({"scratch": None, "ceph_8k": 8000}, ["disc", "one_hot"]),
        pytest.param(
            STARTS | {"hand_8k": 8000, "a_start_with_quite_a_long_name": 9000}, ["disc", "one_hot", "disc_rounded"],
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_nothing_reaches_the_edge_or_another_panel(tmp_path, drawn, starts, targets) -> None:
    results = grid(starts, targets, [1, 5, 50], draws=1)
    for kind in (figures.bars_figure, figures.curve_figure, figures.pretraining_figure):
        path = _draw(kind, tmp_path, results)
        if path is None:
            continue
        picture = np.asarray(Image.open(path).convert("L"))
        edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
        assert min(edge.min() for edge in edges) == 255, "something is cut off"
        boxes = [axes.get_tightbbox() for axes in drawn[-1].axes]
        boxes.append(drawn[-1].legends[0].get_window_extent())
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :]), (kind.__name__, place)
