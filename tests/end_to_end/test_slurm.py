"""A real ``ldx fit`` as a SLURM job: signalled before its time is up, requeued, started again by the same command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from benchmarks.chaos import METHODS
from benchmarks.compare_runs import Comparison
from landmark_diffusion.training.slurm import MARK
from tests.end_to_end.console import REPOSITORY, Outcome, start
from tests.training.test_slurm import JOB, put_scontrol

STEPS = 40
GONE = {"SLURM_RESTART_COUNT": "1"}
"""What SLURM adds when it starts a job again."""

DDP = ("--config", "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.num_nodes=1")

pytestmark = pytest.mark.slow


def command(method: str, folder: Path) -> list[str]:
    options = (f"--trainer.max_steps={STEPS}", "--seed_everything=5", "--run_folder", str(folder))
    return ["fit", *METHODS[method], *options]


def started(method: str, folder: Path, home: Path, *options: str, **more: str) -> subprocess.Popen:
    """Start the job's command with what SLURM sets, and a ``scontrol`` of our own in front."""
    variables = JOB | more | {"CHAOS_PHASE_FILE": str(home / "phase")}
    variables["PATH"] = f"{home / 'bin'}:{os.environ['PATH']}"
    variables["PYTHONPATH"] = f"{REPOSITORY}:{REPOSITORY / 'benchmarks'}"
    return start([*command(method, folder), *options], home, **variables)


def finished(process: subprocess.Popen) -> Outcome:
    out, err = process.communicate(timeout=240)
    return Outcome(process.returncode, out, err)


def signalled(process: subprocess.Popen, home: Path, number: int, after: int) -> Outcome:
    """Send a signal, to the data workers too as SLURM does, when so many updates are done."""
    while process.poll() is None and not updates(home) >= after:
        time.sleep(0.005)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, number)
    return finished(process)


def updates(home: Path) -> int:
    text = (home / "phase").read_text() if (home / "phase").is_file() else ""
    return int(text[:9]) if "training" in text else -1


@pytest.mark.parametrize("method", ["positions", "finetuning"])
def test_a_requeued_job_ends_as_one_that_was_never_stopped(tmp_path: Path, method: str) -> None:
    """Two data workers, accumulation of 2, dropout, moving average; the job is signalled and requeued twice."""
    note = put_scontrol(tmp_path)
    whole, run = tmp_path / "whole", tmp_path / "run"
    outcome = finished(started(method, whole, tmp_path))
    assert outcome.status == 0, outcome.err
    for round_, after in enumerate((3, 17)):
        (tmp_path / "phase").unlink()
        outcome = signalled(started(method, run, tmp_path, **(GONE if round_ else {})), tmp_path, signal.SIGUSR1, after)
        assert outcome.status == 128 + signal.SIGUSR1, outcome.err
        assert "the job is back in the queue" in outcome.err and "Traceback" not in outcome.err
        assert outcome.err.count("SIGUSR1: saving a checkpoint after this step") == 1, outcome.err
        assert after < torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] < STEPS
    assert note.read_text() == 2 * "requeue 4711\n"
    outcome = finished(started(method, run, tmp_path))  # without a count of restarts: our own note is enough
    assert outcome.status == 0, outcome.err
    assert "SLURM restarted job 4711: continuing from" in outcome.out
    for folder in (whole, run):
        (folder / "checkpoints" / MARK).unlink()
    found = Comparison()
    found.runs(whole, run)
    assert found.differences == [] and found.compared["curves"] > STEPS
    assert not list(run.rglob("hpc_ckpt*")) and not list(run.rglob(".*.partial"))


def test_scancel_saves_and_the_next_job_is_not_taken_for_this_one(tmp_path: Path) -> None:
    note, run = put_scontrol(tmp_path), tmp_path / "run"
    outcome = signalled(started("diffusion", run, tmp_path), tmp_path, signal.SIGTERM, 3)
    assert outcome.status == 143 and "go on with: ldx fit" in outcome.err, outcome.err
    assert not note.exists()
    before = (run / "checkpoints/last.ckpt").read_bytes()
    outcome = finished(started("diffusion", run, tmp_path, SLURM_JOB_ID="4712"))
    assert outcome.status == 1 and "--ckpt_path last" in outcome.err
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    outcome = finished(started("diffusion", run, tmp_path, **GONE))  # of one that was preempted and requeued by SLURM
    assert outcome.status == 0, outcome.err
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == STEPS


def test_all_tasks_of_a_job_stop_together_and_requeue_it_once(tmp_path: Path) -> None:
    """One task hears of it late: the others wait for the step at which all stop."""
    note, run = put_scontrol(tmp_path), tmp_path / "run"
    two = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}

    def tasks(**more: str) -> list[subprocess.Popen]:
        ranks = [{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
        return [started("pretraining", run, tmp_path, *DDP, **two, **rank, **more) for rank in ranks]

    first, second = tasks()
    while second.poll() is None and not updates(tmp_path) >= 3:
        time.sleep(0.005)
    second.send_signal(signal.SIGUSR1)
    outcomes = [finished(first), finished(second)]
    assert outcomes[0].status == 128 + signal.SIGUSR1, outcomes[0].err
    assert outcomes[1].status == 0 and "Traceback" not in outcomes[1].err, outcomes[1].err
    assert note.read_text() == "requeue 4711\n"
    assert 3 < torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] < STEPS
    outcomes = [finished(task) for task in tasks(**GONE)]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes[0].err
    assert "SLURM restarted job 4711: continuing from" in outcomes[0].out
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == STEPS


def free_port() -> str:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return str(door.getsockname()[1])
