"""One cell: trained, measured with each choice of weights, and continued where it was left."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.evaluation.results_writer import ResultsWriter
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.studies.fewshot.results import read_results
from landmark_diffusion.studies.trainings.job import Job, check_options, run_job
from landmark_diffusion.studies.trainings.results import RESULT, measured

MILLIMETRES = (1.0, 2.0, 3.0, 4.0, 12.5)
"""Radial errors of the main variant, an image each: mean 4.5, median 3, 20 % below 2 mm, 40 % below 2.5, 20 % > 10."""


GRID = {"image_size": (256, 256)}


def write_results(folder: Path, updates: int, main: str = "multi-step", other: str = "single-step") -> None:
    """Write what ``ldx test`` writes: the writer itself, on images of 1 mm a pixel; the other variant is 50 mm off."""
    truth = np.zeros((1, 1, 2))

    def predictions(errors: Sequence[float]) -> list[Prediction]:
        return [Prediction(f"{i}", i, np.array([[0.0, e]]), truth, (1.0, 1.0), **GRID) for i, e in enumerate(errors)]

    source = SimpleNamespace(name="made up", landmark_names=("sella",), annotator_names=(), radii=(2.0, 2.5))
    data = SimpleNamespace(
        source=source, landmark_names=source.landmark_names, stage_dataset=lambda _: SimpleNamespace(frames=[])
    )
    results = {name: predictions(MILLIMETRES if name == main else [50.0] * 5) for name in sorted((main, other))}
    layer = torch.nn.Linear(3, 4)
    module = SimpleNamespace(
        main_variant=main, results=results, seed=0, trained_updates=updates, parameters=layer.parameters
    )
    verb = {"test": TrainerFn.TESTING, "validate": TrainerFn.VALIDATING}[folder.name]
    trainer = SimpleNamespace(state=SimpleNamespace(fn=verb), is_global_zero=True, datamodule=data, loggers=[])
    ResultsWriter(folder.parent, other_protocols=("paper_b",), pictures=0)._write(trainer, module)


class FakeLdx:
    """Writes what ``ldx fit`` and ``ldx test`` would; fails or is stopped at a verb."""

    def __init__(self, folder: Path, fail: str = "", stop: str = "", kept: Sequence[str] = ("best", "last")) -> None:
        self.folder, self.fail, self.stop, self.kept = folder, fail, stop, kept
        self.calls: list[list[str]] = []

    def __call__(self, line: list[str]) -> int:
        self.calls.append(line)
        if line[0] == "fit":
            (self.folder / "checkpoints").mkdir(exist_ok=True)
            for name in self.kept:
                with zipfile.ZipFile(self.folder / "checkpoints" / f"{name}.ckpt", "w") as file:
                    file.writestr("archive/data.pkl", "")
        if line[0] == self.stop:
            raise SystemExit(143)
        if line[0] == self.fail:
            return 1
        if line[0] != "fit":
            write_results(self.folder / line[0], updates=40 if "best" in line else 60)
        return 0

    @property
    def verbs(self) -> list[str]:
        return [f"{line[0]} {line[-1]}" for line in self.calls]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "cells" / "a-n2-d1"
    folder.mkdir(parents=True)
    return Job(
        "a-n2-d1", str(folder), {"start": "a", "target": "default", "n": 2, "draw": 1}, 1, ["007", "003"], None,
        ["--config", "c.yaml"], ["best", "last"], "test", False,
    )  # fmt: skip


def test_a_cell_is_recorded_in_full_and_its_weights_are_removed(job: Job, tmp_path: Path) -> None:
    ldx = FakeLdx(Path(job.folder))
    assert run_job(job, ldx) == 0
    assert ldx.verbs == ["fit true", "test best", "test last"]
    best, last = read_results(tmp_path)
    assert (best.checkpoint, last.checkpoint, best.updates, last.updates) == ("best", "last", 40, 60)
    assert (best.start, best.target, best.n, best.draw, best.seed) == ("a", "default", 2, 1, 1)
    assert (best.mre, best.median, best.sdr, best.beyond_10mm) == (4.5, 3.0, {2.0: 20.0, 2.5: 40.0}, 20.0)
    assert (best.unit, best.images, best.train_images, best.pretrain_updates) == ("mm", 5, ("007", "003"), None)
    assert best.parameters == 16 and best.memory_gib is not None and 0.1 < best.memory_gib < 100
    assert best.other["paper_b"]["mre"] < 10 and "<=" in best.other["paper_b"]["protocol"]
    for name in ("best", "last"):
        with (Path(job.folder) / f"predictions_{name}.csv").open() as file:
            assert [float(row["error"]) for row in csv.DictReader(file)] == list(MILLIMETRES)
    assert not (Path(job.folder) / "checkpoints").exists()
    content = json.loads((Path(job.folder) / RESULT).read_text())
    assert content["commands"][0] == "ldx fit --config c.yaml --overwrite true"
    assert run_job(job, ldx) == 0 and len(ldx.calls) == 3  # finished: nothing is done again


@pytest.mark.parametrize(("main", "other"), [("multi-step", "single-step"), ("a", "b"), ("b", "a")])
def test_a_cell_takes_the_variant_whose_points_are_the_prediction(tmp_path: Path, main: str, other: str) -> None:
    """Whatever the order in metrics.json; files from before it named the main variant have that one last."""
    write_results(tmp_path / "test", 60, main, other)
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["main"] == main
    turned = {**metrics, "variants": dict(reversed(metrics["variants"].items()))}
    old = {key: value for key, value in metrics.items() if key != "main"}
    for content in (metrics, turned, old):
        found = measured(content)
        assert (found["variant"], found["mre"], found["median"]) == (main, 4.5, 3.0)
        assert found["other_protocols"]["paper_b"]["mre"] < 10  # of the other variant: 48


def test_a_stopped_fit_goes_on_from_its_checkpoint(job: Job) -> None:
    folder = Path(job.folder)
    with pytest.raises(SystemExit):
        run_job(job, FakeLdx(folder, stop="fit"))
    assert not (folder / RESULT).exists()
    ldx = FakeLdx(folder)
    assert run_job(job, ldx) == 0
    assert ldx.calls[0] == ["fit", "--config", "c.yaml", "--ckpt_path", "last"]


def test_a_finished_fit_is_not_begun_again_when_the_test_was_stopped(job: Job) -> None:
    """A fit that ended by early stopping would train on, and give other weights than an undisturbed one."""
    folder = Path(job.folder)
    with pytest.raises(SystemExit):
        run_job(job, FakeLdx(folder, stop="test"))
    ldx = FakeLdx(folder)
    assert run_job(job, ldx) == 0
    assert ldx.verbs == ["test best", "test last"]


def test_a_damaged_checkpoint_begins_anew(job: Job) -> None:
    folder = Path(job.folder)
    with pytest.raises(SystemExit):
        run_job(job, FakeLdx(folder, stop="fit", kept=["last"]))
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"cut short")
    ldx = FakeLdx(folder)
    with pytest.warns(UserWarning, match="cut short"):
        assert run_job(job, ldx) == 0
    assert ldx.verbs[0] == "fit true"


@pytest.mark.parametrize("verb", ["fit", "test"])
def test_what_fails_leaves_no_result(job: Job, verb: str) -> None:
    assert run_job(job, FakeLdx(Path(job.folder), fail=verb)) == 1
    assert not (Path(job.folder) / RESULT).exists()


def test_validation_images_are_measured_where_that_is_asked(job: Job, tmp_path: Path) -> None:
    ldx = FakeLdx(Path(job.folder))
    assert run_job(Job(**{**vars(job), "stage": "val", "keep_checkpoints": True}), ldx) == 0
    assert ldx.verbs == ["fit true", "validate best", "validate last"]
    assert (Path(job.folder) / "checkpoints" / "last.ckpt").is_file()


def test_a_job_is_read_as_it_was_written(job: Job) -> None:
    assert Job.read(job.write()) == job


def test_each_reading_measures_the_same_weights_once_more(job: Job, tmp_path: Path) -> None:
    ldx = FakeLdx(Path(job.folder))
    read = Job(**{**vars(job), "checkpoints": ["last"], "readings": {"alone": ["--model.joint.enabled=false"]}})
    assert run_job(read, ldx) == 0
    assert ldx.calls[1:] == [
        ["test", "--config", "c.yaml", "--ckpt_path", "last"],
        ["test", "--config", "c.yaml", "--model.joint.enabled=false", "--ckpt_path", "last"],
    ]
    assert [cell.checkpoint for cell in read_results(tmp_path)] == ["last", "last+alone"]
    assert (Path(job.folder) / "predictions_last+alone.csv").is_file()


def test_a_damaged_result_is_named(job: Job, tmp_path: Path) -> None:
    (Path(job.folder) / RESULT).write_text("{}")
    with pytest.raises(DataError, match=r"result.json: no whole result"):
        read_results(tmp_path)


def test_options_are_checked_until_the_first_that_is_refused() -> None:
    seen: list[list[str]] = []

    def ldx(line: list[str]) -> int:
        seen.append(line)
        if "--bad" in line:
            return 1
        raise SystemExit(0)  # as --print_config does

    told: list[str] = []
    assert check_options({"a": ["fit"], "b": ["fit", "--bad"], "c": ["fit"]}, ldx, told.append) == 1
    assert told == ["a", "b"]
    assert seen == [["fit", "--print_config"], ["fit", "--bad", "--print_config"]]


def test_a_training_too_short_for_a_validation_says_what_to_change(job: Job) -> None:
    with pytest.raises(UserError, match=r"a-n2-d1: training ended before its first validation.*checkpoints: \[last\]"):
        run_job(job, FakeLdx(Path(job.folder), kept=["last"]))
    assert not (Path(job.folder) / RESULT).exists()
