"""The same answer on any number of processes, also where it changes between stop and resume; kills in the middle."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.processes import COUNT, METHODS, Run, counted, evaluation_row, fit_row, ldx, measure
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.evaluation.results_writer import draft_of
from landmark_diffusion.training import RunFolder
from landmark_diffusion.training.loggers import stable_id
from landmark_diffusion.training.samplers import EpochKeyedSampler, batches, move_to_other_processes
from tests.end_to_end.console import REPOSITORY, run, start

TINY = (*METHODS["heatmap"], "--trainer.check_val_every_n_epoch=1")
LONG = (*TINY, counted(13, 3, 5), "--trainer.max_epochs=3", "--trainer.max_steps=-1", "--data.batch_size=2")


# ---- the place in an epoch, without processes ----


def at(batch: int) -> dict[str, Any]:
    """What a checkpoint says of its place, as Lightning writes it after a batch and before the batch is completed."""
    current = {"ready": batch, "started": batch, "processed": batch, "completed": batch - 1}
    return {"loops": {"fit_loop": {"epoch_loop.batch_progress": {"current": current, "is_last_batch": False}}}}


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(1, 60),
    stops=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=4),
    last=st.tuples(st.integers(1, 5), st.integers(1, 4)),
)
def test_an_epoch_shared_by_changing_numbers_of_processes_takes_each_image_once(
    length: int, stops: list[tuple[int, int, int]], last: tuple[int, int]
) -> None:
    """Any number of stops in one epoch, each followed by other processes and batch sizes: no image twice, none lost."""
    drawn, seen = 0, []
    for world, size, steps in stops:
        left = batches(length - drawn, size, world)
        if steps >= left:  # it would end the epoch: then nothing is left to hand over
            continue
        seen += deal(length, world, size, drawn)[: steps * size * world]
        drawn += steps * size * world
    world, size = last
    rest = deal(length, world, size, drawn)
    assert len(rest) - (length - drawn) < world  # repeats only where the last round is filled up
    assert sorted(seen + rest[: length - drawn]) == list(range(length))

    before = next((stop for stop in stops if stop[2] < batches(length, stop[1], stop[0])), None)
    if before is not None:
        world, size, steps = before
        checkpoint = at(steps)
        move_to_other_processes(checkpoint, length, steps * size * world, last[1], last[0])
        ready = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
        assert ready + batches(length - steps * size * world, last[1], last[0]) == batches(length, last[1], last[0])
        if last == (world, size):
            assert checkpoint == at(steps)  # nothing changes where nothing changed


def deal(length: int, world: int, size: int, drawn: int) -> list[int]:
    """What all processes draw from ``drawn`` on, in the order in which it is dealt."""
    parts = [list(EpochKeyedSampler(length, 5, size, 2, rank=r, world_size=world, drawn=drawn)) for r in range(world)]
    assert {epoch for part in parts for epoch, _ in part} <= {2}
    return [index for row in zip(*parts, strict=True) for _, index in row]


def test_an_epoch_that_was_over_is_over_for_any_number_of_processes() -> None:
    checkpoint = at(3)
    checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = True
    move_to_other_processes(checkpoint, 13, 0, 1, 1)
    assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 13


# ---- results and identities ----


def test_results_cut_short_leave_the_earlier_ones_and_no_litter(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    for text in ("old", "new"):
        with draft_of(folder) as draft:
            (draft / "report").mkdir()
            (draft / "report" / "README.md").write_text(text)
            (draft / "metrics.json").write_text(text)
            if text == "new":
                assert (folder / "metrics.json").read_text() == "old"
    assert {path.read_text() for path in folder.rglob("*.*")} == {"new"}
    told = pytest.raises(UserError, match=r"test: the results could not be written \(No space left on device\)")
    with told, draft_of(folder) as draft:
        (draft / "metrics.json").write_text("cut")
        raise OSError(28, os.strerror(28))
    assert (folder / "metrics.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_drafts_of_killed_processes_are_removed_and_others_left(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f".test-{gone.pid}.partial", f".test-{os.getppid()}.partial", ".test-mine.partial"]
    for name in names:
        (tmp_path / name).mkdir()
    with draft_of(tmp_path / "test") as draft:
        (draft / "a").write_text("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[1:], "test"])


def test_processes_that_start_together_agree_on_one_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process would otherwise keep its own name for the run at Weights & Biases."""
    folder, first = RunFolder(tmp_path / "run"), []

    def another_was_quicker(count: int) -> str:
        monkeypatch.undo()
        first.append(stable_id(folder))
        return "a" * 2 * count

    monkeypatch.setattr(secrets, "token_hex", another_was_quicker)
    assert stable_id(folder) == first[0] == stable_id(folder)
    assert list(folder.wandb_id.parent.iterdir()) == [folder.wandb_id]


# ---- real processes ----


@pytest.mark.slow
def test_one_and_two_processes_give_the_same_figures(tmp_path: Path) -> None:
    """A slice of benchmarks/processes.py, with one image on three processes."""
    rows = list(measure("position", tmp_path, most=2))
    assert len(rows) == 2 + 3 * 2 + 2
    assert [row.faults for row in rows] == [[] for _ in rows]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["heatmap", "finetune", "ddpm"])
def test_a_fit_on_two_processes_draws_each_image_once_and_ends_alike(tmp_path: Path, method: str) -> None:
    options = (*METHODS[method], counted(), "--trainer.check_val_every_n_epoch=1")
    short = ("--trainer.max_epochs=2", "--trainer.max_steps=-1")
    fits = [ldx("fit", (*options, *short), 2, tmp_path / name) for name in "ab"]
    assert fit_row(method, *fits).faults == []
    chosen = (*options, f"--ckpt_path={fits[0].folder / 'checkpoints' / 'best.ckpt'}")
    one, two = (ldx("test", chosen, number, tmp_path / f"test{number}") for number in (1, 2))
    assert evaluation_row(method, "test", two, one, COUNT[2]).faults == []


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Stopped by a signal to the second of two processes, in the middle of the second epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    done = ldx("fit", (*LONG, "--wandb=offline"), 2, folder, LDX_STOP_AT="5", LDX_STOP_RANK="1")
    assert done.status == 143 and "stopped at step 6 of 12 (epoch 1)" in done.err, done.err
    return done


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_another_number_of_processes_goes_on_with_the_same_epoch(stopped: Run, tmp_path: Path, processes: int) -> None:
    folder = tmp_path / "run"
    subprocess.run(["cp", "-r", stopped.folder, folder], check=True)
    options = (*LONG, "--wandb=offline", "--ckpt_path=last")
    resumed = ldx("fit", options, processes, folder)
    assert resumed.status == 0, resumed.err
    notes = re.findall("the checkpoint was written by 2 processes, this run has .*", resumed.out)
    assert len(notes) == (processes != 2)
    if notes:
        assert "5 images left of epoch 1 are dealt anew" in notes[0] and "not bit for bit" in notes[0]
    first = Counter({image: count for image, count in stopped.ids("train", 1).items()})
    assert sum(first.values()) == 8  # steps 5 and 6: two processes, two images
    repeats = -(13 - 8) % processes
    both = first + resumed.ids("train", 1)
    assert len(both) == 13 and sum(both.values()) == 13 + repeats  # none lost; again only what fills the last round
    assert len(resumed.ids("train", 2)) == 13
    assert not resumed.ids("train", 0)
    steps = [record["step"] for record in resumed.values("train")[0]]
    assert steps == list(range(6, 6 + len(steps)))
    assert len({record["weights"] for rank in resumed.values("trained") for record in rank}) == 1
    ids = {path.stem for path in (folder / "wandb").glob("offline-run-*/run-*.wandb")}
    starts = list((folder / "wandb").glob("offline-run-*"))
    assert len(ids) == 1 and len(starts) == 2  # one run, one file a start, whatever the number of processes


@pytest.mark.slow
def test_a_finished_run_is_prolonged_on_another_number_of_processes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = (*LONG[:-3], "--trainer.max_steps=-1", "--data.batch_size=2")
    assert ldx("fit", (*options, "--trainer.max_epochs=1"), 2, folder).status == 0
    more = ldx("fit", (*options, "--trainer.max_epochs=2", "--ckpt_path=last"), 1, folder)
    assert more.status == 0, more.err
    assert not more.ids("train", 0)
    assert more.ids("train", 1) == Counter({f"phantom_train_{i:06d}": 1 for i in range(13)})


@pytest.mark.slow
def test_processes_and_programs_fill_one_empty_cache_together(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ["fit", *TINY, counted(40, 5, 1), "--trainer.max_steps=1", "--trainer.accelerator=cpu"]
    several = ["--config", "ddp.yaml", "--trainer.devices=3", "--trainer.accelerator=cpu"]
    programs = [
        start([*options, *more, "--run_folder", str(tmp_path / f"run{place}")], tmp_path, LDX_CACHE=str(cache))
        for place, more in enumerate((several, []))
    ]
    for program in programs:
        _, err = program.communicate(timeout=600)
        assert program.returncode == 0, err
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 45 and {path.suffix for path in files} == {".png"}
    assert not [path for path in files if path.name.startswith(".")]
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert image.size == (32, 40)


KILLED = """
import os, signal, sys
from landmark_diffusion.cli import main
real, seen = os.replace, []
def replace(source, target):
    if f"{os.sep}.{sys.argv[1]}-" in str(target) or f"{os.sep}{sys.argv[1]}{os.sep}" in str(target):
        seen.append(target)
        if len(seen) == int(os.environ["KILL_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
os.replace = replace
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["test", "predict"])
def test_a_kill_while_results_are_written_leaves_the_earlier_ones(tmp_path: Path, verb: str) -> None:
    folder = tmp_path / "run"
    options = [*TINY, counted(4, 2, 3), "--trainer.accelerator=cpu", "--run_folder", str(folder)]
    assert run(["fit", *options, "--trainer.max_steps=2"], tmp_path).status == 0
    assert run([verb, *options], tmp_path).status == 0
    before = contents(folder / verb)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    other = [*options, "--seed_everything=9"]  # other noise, so other points
    for at_file in (1,) if verb == "predict" else (2, 9):
        done = subprocess.run(
            [sys.executable, str(script), verb, *other], cwd=tmp_path, env=environment | {"KILL_AT": str(at_file)},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL
        assert contents(folder / verb) == before
    outcome = run([verb, *other], tmp_path)
    assert outcome.status == 0, outcome.err
    after = contents(folder / verb)
    assert after.keys() == before.keys() and after["predictions.csv"] != before["predictions.csv"]
    if verb == "test":
        assert json.loads(after["metrics.json"])["extra"]["seed"] == 9
    assert not list(folder.glob(".*partial"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
