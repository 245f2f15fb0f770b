"""What an evaluation leaves: whole also where there is little to measure."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.trainer.states import TrainerFn

from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.reporting.results_writer import ResultsWriter

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
