"""The cells of a grid: each done once, by however many processes, however they are stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.fewshot.jobs import find_cell, make_job
from landmark_diffusion.studies.fewshot.plan import read_plan
from landmark_diffusion.studies.fewshot.results import read_results
from landmark_diffusion.studies.trainings.claims import acquire
from landmark_diffusion.studies.trainings.results import cell_folder
from landmark_diffusion.studies.trainings.runner import state_of
from tests.studies.fewshot.grid import manifest_of, run_grid, start_process, trace, wait_until, write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return tmp_path / "grid"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list:
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = run_grid(write_config(folder))
    assert len(outcome.done) == 4 and not outcome.failed and not outcome.elsewhere
    return read_results(folder / "grid")


STARTS = {"scratch": {"model.optimisation.learning_rate": 0.001}, "other": {"model.optimisation.learning_rate": 0.01}}


def test_cells_run_draw_by_draw_and_each_is_measured_with_both_weights(tmp_path: Path, grid: Path) -> None:
    """Otherwise the first hours of a grid would show one start at one n alone."""
    config = write_config(tmp_path, starts=STARTS)
    assert run_grid(config).done == [
        *("scratch-n1-d0", "other-n1-d0", "scratch-n3-d0", "other-n3-d0"),
        *("scratch-n1-d1", "other-n1-d1", "scratch-n3-d1", "other-n3-d1"),
    ]
    results = read_results(grid)
    assert len(results) == 16
    first = [(1, 0, "best"), (1, 0, "last"), (1, 1, "best"), (1, 1, "last")]
    assert [(result.n, result.draw, result.checkpoint) for result in results[:4]] == first
    assert {len(result.train_images) - result.n for result in results} == {0}
    assert {result.seed - result.draw for result in results} == {0}
    assert not list(grid.glob("cells/*/claim-*"))


def test_finished_cells_are_not_run_again(config: Path, grid: Path) -> None:
    run_grid(config)
    before = trace(grid)
    assert run_grid(config).done == []
    assert trace(grid) == before


def test_a_failing_cell_is_told_and_the_others_go_on(config: Path, grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "scratch-n3-d0")
    lines: list[str] = []
    outcome = run_grid(config, tell=lines.append)
    assert len(outcome.done) == 3 and list(outcome.failed) == ["scratch-n3-d0"]
    told = next(line for line in lines if line.startswith("scratch-n3-d0 failed"))
    assert "exit status 3\n  | no images\n  | in the folder" in told
    assert str(grid / "cells" / "scratch-n3-d0" / "log.txt") in told
    monkeypatch.delenv("FAKE_FAIL")
    assert run_grid(config).done == ["scratch-n3-d0"]


def test_a_message_of_an_earlier_start_is_not_taken_for_this_ones(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "scratch-n3-d0")
    run_grid(config)
    monkeypatch.setenv("FAKE_FAIL", "")
    monkeypatch.setenv("FAKE_SECONDS", "not a number")
    assert "could not convert" in run_grid(config).failed["scratch-n3-d0"]


def test_two_processes_share_a_grid_and_do_each_cell_once(config: Path, grid: Path, undisturbed: list) -> None:
    processes = [start_process(config, *wait, FAKE_SECONDS="0.1") for wait in ([], ["wait"])]
    outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    done = [cell for each in outcomes for cell in each["done"]]
    assert sorted(trace(grid)) == sorted(f"{word} {cell}" for word in ("began", "ended") for cell in done)
    assert len(done) == 4
    assert all(each["done"] for each in outcomes)
    assert read_results(grid) == undisturbed


@pytest.mark.slow
def test_killed_at_random_moments_the_results_are_those_of_an_undisturbed_grid(
    config: Path, grid: Path, undisturbed: list
) -> None:
    moments = random.Random(0)
    for _ in range(6):
        process = start_process(config, FAKE_SECONDS="0.2")
        time.sleep(0.2 + moments.random())
        process.kill()
        process.communicate()
    run_grid(config)
    assert read_results(grid) == undisturbed
    ended = [line for line in trace(grid) if line.startswith("ended")]
    assert len(set(ended)) == len(ended)  # none twice; one killed between its result and its last line has no line


def test_a_kill_ends_the_cells_process_too(config: Path, grid: Path) -> None:
    """It would train on beside the process that takes the cell over."""
    process = start_process(config, FAKE_SECONDS="300")
    wait_until(lambda: trace(grid))
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    process.kill()
    process.communicate()
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), 5)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["Ctrl-C", "SIGTERM", "terminal closed"],
)
def test_a_signal_ends_the_cell_and_leaves_it_to_the_next_start(
    config: Path, grid: Path, undisturbed: list, number: signal.Signals, status: int
) -> None:
    process = start_process(config, FAKE_SECONDS="20")
    wait_until(lambda: trace(grid))
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert f"{number.name}: the cell saves a checkpoint" in err.decode()
    assert trace(grid) == ["began scratch-n1-d0"]
    plan = read_plan([str(config)])
    assert state_of(plan.folder, plan.cells()[0]) == "interrupted"
    run_grid(config)
    assert read_results(grid) == undisturbed


def test_a_cell_that_another_process_has_is_left_to_it(config: Path, grid: Path) -> None:
    claim = acquire(cell_folder(grid, "scratch-n1-d0"))
    plan = read_plan([str(config)])
    assert state_of(plan.folder, plan.cells()[0]).startswith(f"running: process {os.getpid()} on ")
    outcome = run_grid(config)
    assert len(outcome.done) == 3 and list(outcome.elsewhere) == ["scratch-n1-d0"]
    claim.release("stopped")
    assert run_grid(config).done == ["scratch-n1-d0"]


def test_cell_by_name_and_number(tmp_path: Path) -> None:
    cells = read_plan([str(write_config(tmp_path, starts=STARTS))]).cells()
    assert find_cell(cells, "other-n3-d1") == find_cell(cells, "8") == cells[7]
    with pytest.raises(UserError, match="Did you mean other-n3-d1"):
        find_cell(cells, "other-n3-1")
    with pytest.raises(UserError, match="the cells 1 to 8"):
        find_cell(cells, "0")


def test_a_job_names_images_seed_folder_and_the_options_of_its_start(tmp_path: Path, grid: Path) -> None:
    plan = read_plan([str(write_config(tmp_path, starts=STARTS))], cell_options={"data.root": "/x y"})
    manifest = manifest_of(plan)
    job = make_job(plan, manifest, plan.cells()[-1])
    assert job.name == "other-n3-d1" and job.seed == 1 and job.train_images == manifest["draws"][1]
    images = next(option for option in job.options if option.startswith("--data.train_images="))
    assert json.loads(images.partition("=")[2]) == job.train_images
    assert {"--data.root=/x y", "--model.init_args.optimisation.learning_rate=0.01", "--seed_everything=1"} <= set(
        job.options
    )
    assert f"--run_folder={grid}/cells/other-n3-d1" in job.options
    assert job.commands()[-1].startswith("ldx test --config ") and job.commands()[-1].endswith("--ckpt_path last")
