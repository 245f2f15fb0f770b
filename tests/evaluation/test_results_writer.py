"""What an evaluation leaves: whole also where there is little to measure."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from landmark_diffusion.evaluation import report, results_writer
from landmark_diffusion.evaluation.annotator_view import annotator_view
from landmark_diffusion.evaluation.landmark_table import LandmarkTable
from landmark_diffusion.evaluation.metrics_file import write_metrics
from landmark_diffusion.evaluation.report import choose_images, write_report
from landmark_diffusion.evaluation.results_writer import ResultsWriter, case_details
from landmark_diffusion.evaluation.spread_view import spread_view
from landmark_diffusion.evaluation.tables import results_table
from landmark_diffusion.metrics.annotators import split_disagreement
from landmark_diffusion.metrics.bootstrap import bootstrap_interval, paired_difference
from landmark_diffusion.metrics.evaluation import Evaluation, evaluate
from landmark_diffusion.metrics.records import Prediction, in_dataset_order
from landmark_diffusion.pictures.process_figure import choose_steps
from landmark_diffusion.spread.coverage import coverage_interval
from landmark_diffusion.spread.statistics import reliability
from tests.methods import test_diffusion_heatmap, tiny_positions

VERBS = {"test": TrainerFn.TESTING, "validate": TrainerFn.VALIDATING}


def write(folder: Path, rows: list[Prediction], facts: dict[str, Any] | None = None) -> None:
    """Let the writer write what a module with one variant found, without a report."""
    source = SimpleNamespace(name="made up", landmark_names=("sella",), annotator_names=("a", "b"), radii=(2.0,))
    data = SimpleNamespace(
        source=source, landmark_names=("sella",), stage_dataset=lambda _: SimpleNamespace(frames=[None])
    )
    module = SimpleNamespace(
        main_variant="heatmap", results={"heatmap": rows}, seed=0, trained_updates=1, parameters=list
    )
    state = SimpleNamespace(fn=VERBS[folder.name])
    trainer = SimpleNamespace(state=state, is_global_zero=True, datamodule=data, loggers=[])
    ResultsWriter(folder.parent, facts, pictures=0)._write(trainer, module)


def test_a_model_file_never_replaces_another_ones_results(tmp_path: Path, capsys) -> None:
    """runs/ceph.ldx is the folder of each file of that name, and of each data set that one is tested on."""
    folder = tmp_path / "test"

    def measure(error: float, model: str | None, root: str = "a") -> float:
        facts = {"config": {"data": {"dataset": "folder", "root": root}}}
        rows = [Prediction("007", 0, np.array([[error, 0.0]]), np.zeros((2, 1, 2)), (1.0, 1.0))]
        write(folder, rows, facts if model is None else {**facts, "model_file": model})
        return mre(folder)

    def mre(where: Path) -> float:
        return json.loads((where / "metrics.json").read_text())["variants"]["heatmap"]["mre"]

    assert measure(1, "first") == 1 and measure(2, "first") == 2  # again: replaced
    assert [path.name for path in tmp_path.iterdir()] == ["test"]
    assert measure(3, "second") == 3 and mre(tmp_path / "test_before_1") == 2
    told = " ".join(capsys.readouterr().out.split())
    assert "Earlier results there, of another model file or other data, are kept in" in told
    assert measure(4, "second", "b") == 4 and mre(tmp_path / "test_before_2") == 3
    assert measure(5, None) == 5 and measure(6, None) == 6  # a run's own checkpoints, best and last
    assert measure(7, "second") == 7 and mre(tmp_path / "test_before_3") == 6
    (folder / "metrics.json").write_text("{")
    assert measure(8, "second") == 8 and (tmp_path / "test_before_4" / "metrics.json").read_text() == "{"
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("verb", list(VERBS))
def test_points_of_images_that_nobody_marked_are_kept(tmp_path: Path, verb: str, capsys) -> None:
    """An error of the figures would take the points of a long test with it."""
    write(tmp_path / verb, [Prediction("007", 0, np.array([[3.0, 4.0]]), np.full((2, 1, 2), np.nan), (0.1, 0.1))])
    assert [path.name for path in (tmp_path / verb).iterdir()] == ["predictions.csv"]
    assert "007,sella,3.0" in (tmp_path / verb / "predictions.csv").read_text()
    assert "is marked: the points are written, nothing measured" in " ".join(capsys.readouterr().out.split())


def test_one_image_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "test", [Prediction("007", 0, np.array([[3.0, 4.0]]), np.zeros((2, 1, 2)), (0.1, 0.1))])
    found = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert found["variants"]["heatmap"]["mre"] == pytest.approx(0.5) and found["main"] == "heatmap"
    assert found["intervals"] == {}


ONCE = {
    evaluate: 1, in_dataset_order: 2, results_table: 2, LandmarkTable.to_list: 1, Evaluation.landmark_mre.func: 1,
    Evaluation.landmark_sdr.func: 1, annotator_view: 1, spread_view: 1, bootstrap_interval: 3, paired_difference: 1,
    split_disagreement: 1, coverage_interval: 1, reliability: 1, write_metrics: 1, write_report: 1, choose_images: 1,
}  # fmt: skip
"""Calls in one test of two variants under two protocols: a stacking a variant, a table a protocol, an interval a
variant and one of their difference. The results table was built 3 times a protocol, and each interval drawn twice."""


def empty_picture(path: Path, *_: object, **__: object) -> Path:
    """Stand in for a figure, which takes a second to draw."""
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def test_a_test_makes_each_table_and_each_bootstrap_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variants: dict[str, list[Prediction]]
) -> None:
    sized = [
        {"image_size": (200, 200), "covariance": np.broadcast_to(np.eye(2) * (each.index + 1), (3, 2, 2))}
        for each in variants["multi-step"]
    ]
    found = {name: [replace(p, **more) for p, more in zip(rows, sized, strict=True)] for name, rows in variants.items()}
    names, image = ("sella", "nasion", "chin"), np.zeros((200, 200), np.uint8)
    source = SimpleNamespace(
        name="made up", landmark_names=names, annotator_names=("a", "b"), radii=(2.0, 4.0), load_image=lambda _: image
    )
    examples = SimpleNamespace(samples=found["multi-step"], frames=[None] * 7)
    data = SimpleNamespace(source=source, landmark_names=names, stage_dataset=lambda _: examples)
    module = SimpleNamespace(main_variant="multi-step", results=found, seed=0, trained_updates=1, parameters=list)
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.TESTING), is_global_zero=True, datamodule=data, loggers=[]
    )
    monkeypatch.setattr(results_writer, "case_details", lambda *_: None)
    for name in vars(report):
        if name.endswith("_figure"):
            monkeypatch.setattr(report, name, empty_picture)
    calls: Counter[Any] = Counter()
    codes = {each.__code__: each for each in ONCE}

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in codes:
            calls[codes[frame.f_code]] += 1

    sys.setprofile(count)  # whatever name a caller imported it by
    try:
        ResultsWriter(tmp_path, other_protocols=["paper_b"], pictures=1)._write(trainer, module)
    finally:
        sys.setprofile(None)
    assert {each.__name__: times for each, times in calls.items()} == {
        each.__name__: times for each, times in ONCE.items()
    }
    written = {path.name for path in (tmp_path / "test").rglob("*") if path.is_file()}
    assert written >= {
        "metrics.json", "predictions.csv", "predictions_single_step.csv", "spread.csv", "annotators.csv", "README.md",
        "overlay_1_best.png", "spread.png", "annotators.png", "cumulative_errors.png",
    }  # fmt: skip


class Examples:
    """One image, as the test's data set gives it."""

    def __init__(self, batch: dict) -> None:
        self.batch, self.frames = batch, [None]

    def __getitem__(self, place: int) -> dict:
        return {"image": self.batch["image"][place], "index": 0}

    def image(self, place: int) -> np.ndarray:
        return self.batch["image"][place, 0].numpy()


METHODS = {"heatmaps": test_diffusion_heatmap, "positions": tiny_positions}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_shown_image_costs_its_evaluations_once(method: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 200 steps of a large image a second chain would be minutes a picture."""
    made = METHODS[method].module({"sampling.steps": steps})
    batch = METHODS[method].batch((0,))
    maps, chain = made.predict_maps(batch), list(made.reverse_process(batch))
    trainer = SimpleNamespace(precision_plugin=SimpleNamespace(forward_context=nullcontext))
    monkeypatch.setattr(type(made), "trainer", property(lambda self: trainer))
    seen: list[str] = []
    for name, network in made.named_children():
        network.register_forward_hook(lambda *_, name=name: seen.append(name))
    found = case_details(made, Examples(batch), 0)
    assert len(seen) == steps  # the first at the coarse network, where positions are moved
    assert found.heatmaps.keys() == maps.keys()
    for name, value in maps.items():
        np.testing.assert_array_equal(found.heatmaps[name], value[0].numpy())
    wanted = [chain[place] for place in choose_steps(steps)]
    assert [step[0] for step in found.trajectory] == [step.t for step in wanted]
    for ours, theirs in zip(found.trajectory, wanted, strict=True):
        assert torch.equal(torch.from_numpy(ours[1]), theirs.x_t[0]) and np.array_equal(ours[2], theirs.x0[0].numpy())


def test_a_method_without_diffusion_has_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made = test_diffusion_heatmap.module({"diffusion": False})
    trainer = SimpleNamespace(precision_plugin=SimpleNamespace(forward_context=nullcontext))
    monkeypatch.setattr(type(made), "trainer", property(lambda self: trainer))
    found = case_details(made, Examples(test_diffusion_heatmap.batch((0,))), 0)
    assert list(found.heatmaps) == ["baseline"] and not found.trajectory
