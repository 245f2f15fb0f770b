"""What an evaluation leaves: whole also where there is little to measure."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from landmark_diffusion.evaluation.results_writer import ResultsWriter, case_details
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.pictures.process_figure import choose_steps
from tests.methods import test_diffusion_heatmap, tiny_positions

VERBS = {"test": TrainerFn.TESTING, "validate": TrainerFn.VALIDATING}


def write(folder: Path, rows: list[Prediction]) -> None:
    """Let the writer write what a module with one variant found, without a report."""
    source = SimpleNamespace(name="made up", landmark_names=("sella",), annotator_names=("a", "b"), radii=(2.0,))
    data = SimpleNamespace(
        source=source, landmark_names=("sella",), stage_dataset=lambda _: SimpleNamespace(frames=[None])
    )
    module = SimpleNamespace(main_variant="heatmap", results={"heatmap": rows}, seed=0, trained_updates=1)
    state = SimpleNamespace(fn=VERBS[folder.name])
    trainer = SimpleNamespace(state=state, is_global_zero=True, datamodule=data, loggers=[])
    ResultsWriter(folder.parent, pictures=0)._write(trainer, module)


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
    made = METHODS[method].module(sampling_steps=steps)
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
    made = test_diffusion_heatmap.module(diffusion=False)
    trainer = SimpleNamespace(precision_plugin=SimpleNamespace(forward_context=nullcontext))
    monkeypatch.setattr(type(made), "trainer", property(lambda self: trainer))
    found = case_details(made, Examples(test_diffusion_heatmap.batch((0,))), 0)
    assert list(found.heatmaps) == ["baseline"] and not found.trajectory
