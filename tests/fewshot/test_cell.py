"""One cell: trained, measured with each choice of weights, and continued where it was left."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from landmark_diffusion.errors import DataError, UserError
from landmark_diffusion.fewshot.cell import Job, check_options, run_job
from landmark_diffusion.fewshot.results import RESULT, read_results

SUMMARY = {"images": 7, "mre": 3.5, "std": 1.0, "median": 2.0, "sdr": {"2": 40.0, "2.5": 50.0}, "beyond_10mm": 1.5}


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
            metrics = {
                "protocol": "mean, <", "unit": "mm", "variants": {"heatmap": SUMMARY, "second": {}},
                "other_protocols": {"paper_b": {"protocol": "<=", "unit": "mm", "variants": {"heatmap": SUMMARY}}},
                "extra": {"updates": 40 if "best" in line else 60},
            }  # fmt: skip
            part = self.folder / line[0]
            part.mkdir(exist_ok=True)
            (part / "metrics.json").write_text(json.dumps(metrics))
            (part / "predictions.csv").write_text(line[-1])
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
    assert (best.mre, best.median, best.sdr, best.beyond_10mm) == (3.5, 2.0, {2.0: 40.0, 2.5: 50.0}, 1.5)
    assert (best.unit, best.images, best.train_images, best.pretrain_updates) == ("mm", 7, ("007", "003"), None)
    assert best.other["paper_b"]["mre"] == 3.5 and best.other["paper_b"]["protocol"] == "<="
    assert (Path(job.folder) / "predictions_best.csv").read_text() == "best"
    assert (Path(job.folder) / "predictions_last.csv").read_text() == "last"
    assert not (Path(job.folder) / "checkpoints").exists()
    content = json.loads((Path(job.folder) / RESULT).read_text())
    assert content["commands"][0] == "ldx fit --config c.yaml --overwrite true"
    assert run_job(job, ldx) == 0 and len(ldx.calls) == 3  # finished: nothing is done again


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

    assert check_options([["fit"], ["fit", "--bad"], ["fit"]], ldx) == 1
    assert seen == [["fit", "--print_config"], ["fit", "--bad", "--print_config"]]


def test_a_training_too_short_for_a_validation_says_what_to_change(job: Job) -> None:
    with pytest.raises(UserError, match=r"a-n2-d1: training ended before its first validation.*checkpoints: \[last\]"):
        run_job(job, FakeLdx(Path(job.folder), kept=["last"]))
    assert not (Path(job.folder) / RESULT).exists()
