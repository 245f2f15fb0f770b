"""Under SLURM a run stops on the requeue signal, puts its job back, and only that job goes on by itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion.cli.checkpoint_choice import choose_checkpoint
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training import RunFolder
from landmark_diffusion.training.slurm import mark_job, requeue, restarted_job
from landmark_diffusion.training.stopping import StopRequested
from tests.training.tiny import TinyData, TinyModule, differences, tiny_trainer, trained_state

JOB = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0",
       "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "n1"}  # fmt: skip
"""What a job of one task finds in its environment, as far as Lightning looks."""


def put_scontrol(folder: Path, status: int = 0) -> Path:
    """Make a ``scontrol`` in ``folder/bin`` that notes its arguments; return the note's path."""
    (folder / "bin").mkdir()
    program, note = folder / "bin" / "scontrol", folder / "scontrol.txt"
    program.write_text(f'#!/bin/sh\necho "$@" >> {note}\necho no such job >&2\nexit {status}\n')
    program.chmod(0o755)
    return note


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return put_scontrol(tmp_path)


def stop(folder: Path, number: int, kill_at: int = 3, **options: Any) -> StopRequested:
    trainer = tiny_trainer(folder, **({"max_epochs": 3, "checkpoint_every": 0} | options))
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(StopRequested) as caught:
        trainer.fit(TinyModule(kill_at, number), datamodule=TinyData())
    assert signal.getsignal(signal.SIGUSR1) == before
    return caught.value


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2, "max_epochs": 4}], ids=["plain", "gathered"])
def test_the_requeued_job_goes_on_to_the_weights_of_an_undisturbed_run(
    tmp_path: Path, scontrol: Path, options: dict[str, int]
) -> None:
    """Lightning alone saves within the step, where the signal finds it."""
    whole = tiny_trainer(tmp_path / "whole", **({"max_epochs": 3} | options))
    whole.fit(TinyModule(), datamodule=TinyData())
    stopped = stop(tmp_path / "run", signal.SIGUSR1, **options)
    assert stopped.code == 128 + signal.SIGUSR1 and "the job is back in the queue" in str(stopped)
    assert scontrol.read_text() == "requeue 4711\n"
    run = RunFolder(tmp_path / "run")
    assert not list(run.path.glob("*.ckpt"))  # Lightning's own
    start = choose_checkpoint("fit", run, None)
    assert start == run.checkpoints / "last.ckpt" and read_checkpoint(start)["global_step"] == 4
    tiny_trainer(run.path, **({"max_epochs": 3} | options)).fit(TinyModule(), datamodule=TinyData(), ckpt_path=start)
    ends = [trained_state(read_checkpoint(tmp_path / name / "checkpoints/last.ckpt")) for name in ("whole", "run")]
    assert list(differences(*ends)) == []


def test_sigterm_saves_without_a_requeue(tmp_path: Path, scontrol: Path) -> None:
    """scancel means an end; Lightning's handler would leave without a checkpoint."""
    stopped = stop(tmp_path / "run", signal.SIGTERM)
    assert stopped.code == 143 and "go on with: " in str(stopped)
    assert not scontrol.exists()
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 4


class SignalledTwice(TinyModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 2:
            for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM):
                os.kill(os.getpid(), number)
        return super().training_step(batch, batch_idx)


def test_what_slurm_sends_after_the_requeue_signal_does_not_spoil_the_checkpoint(
    tmp_path: Path, scontrol: Path
) -> None:
    with pytest.raises(StopRequested, match="back in the queue"):
        tiny_trainer(tmp_path / "run", max_epochs=3, checkpoint_every=0).fit(SignalledTwice(), datamodule=TinyData())
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 3
    assert scontrol.read_text() == "requeue 4711\n"


def test_a_job_that_cannot_be_requeued_says_how_to_go_on(tmp_path: Path, scontrol: Path) -> None:
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho 'Job violates policy' >&2\nexit 1\n")
    text = str(stop(tmp_path / "run", signal.SIGUSR1))
    assert "could not be put back into the queue (scontrol requeue 4711: Job violates policy); go on with: ldx" in text


def test_outside_of_slurm_nothing_is_marked(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, max_steps=1).fit(TinyModule(), datamodule=TinyData())
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} <= {"last.ckpt", "best.ckpt"}


def test_one_task_of_an_array_is_requeued_alone(
    tmp_path: Path, scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4700")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "11")
    assert requeue() == ""
    assert scontrol.read_text() == "requeue 4700_11\n"


def test_without_scontrol_it_is_told(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(scontrol.parent))
    assert requeue() == "scontrol requeue 4711: No such file or directory"


# ---- which start goes on by itself ----


@pytest.mark.parametrize(
    ("requeued", "restarts", "job", "expected"),
    [
        (True, None, "4711", True),  # by us
        (False, "1", "4711", True),  # by SLURM: a node failed
        (False, "0", "4711", False),  # a second command of one job
        (False, None, "4711", False),
        (True, "1", "4712", False),  # another job
    ],
)
def test_only_a_restarted_job_goes_on_by_itself(
    tmp_path: Path, scontrol: Path, monkeypatch: pytest.MonkeyPatch, requeued: bool, restarts: str, job: str,
    expected: bool,
) -> None:  # fmt: skip
    run = RunFolder(tmp_path / "run")
    tiny_trainer(run.path, max_steps=1).fit(TinyModule(), datamodule=TinyData())
    mark_job(run.checkpoints, requeued)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    if restarts is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    assert (restarted_job(run.checkpoints) == job) == expected
    if expected:
        assert choose_checkpoint("fit", run, None) == run.checkpoints / "last.ckpt"
        with pytest.raises(UserError, match=r"SLURM restarted job 4711.*Leave --overwrite out"):
            choose_checkpoint("fit", run, None, overwrite=True)
    else:
        with pytest.raises(UserError, match="--overwrite true"):
            choose_checkpoint("fit", run, None)
        assert choose_checkpoint("fit", run, None, overwrite=True) is None


def test_a_restarted_job_without_a_checkpoint_starts_afresh(tmp_path: Path, scontrol: Path) -> None:
    run = RunFolder(tmp_path / "run")
    mark_job(run.checkpoints, requeued=True)
    assert choose_checkpoint("fit", run, None) is None
