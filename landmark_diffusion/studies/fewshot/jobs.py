"""The trainings of a grid: the job of each cell, and a cell by its name or number."""

from __future__ import annotations

from collections.abc import Sequence

from landmark_diffusion.configuration.options import arguments, over
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.studies.fewshot.plan import Cell, Plan
from landmark_diffusion.studies.trainings.job import PRETRAINED, Job, fit_arguments
from landmark_diffusion.studies.trainings.manifest import Manifest
from landmark_diffusion.studies.trainings.results import cell_folder
from landmark_diffusion.studies.trainings.runner import check_commands


def make_job(plan: Plan, manifest: Manifest, cell: Cell) -> Job:
    """Say what a cell's process has to do."""
    folder, seed = cell_folder(plan.folder, cell.name), plan.seed + cell.draw
    images = manifest["draws"][cell.draw][: cell.n]
    options = {**over(plan.options_of(cell.start), plan.own_options(cell)), "data.train_images": images}
    return Job(
        name=cell.name,
        folder=str(folder),
        cell={"start": cell.start, "target": cell.target, "n": cell.n, "draw": cell.draw},
        seed=seed,
        train_images=images,
        pretrained=plan.all_options(cell).get(PRETRAINED),
        options=fit_arguments(plan.configs_of(cell.start), options, seed, folder),
        checkpoints=manifest["checkpoints"],
        stage=plan.stage,
        keep_checkpoints=plan.keep_checkpoints,
        readings={name: arguments(options) for name, options in plan.readings.items()},
    )


def find_cell(cells: Sequence[Cell], asked: str) -> Cell:
    """Find a cell by its name, or by its number in the plan's order from 1; raises UserError with the nearest names."""
    if asked.isdigit():
        if not 1 <= int(asked) <= len(cells):
            raise UserError(f"--cell {asked}: the plan has the cells 1 to {len(cells)} (`--list` shows them)")
        return cells[int(asked) - 1]
    for cell in cells:
        if cell.name == asked:
            return cell
    hint = did_you_mean(asked, [cell.name for cell in cells])
    raise UserError(f"--cell {asked}: no such cell.{hint} `--list` lists all")


def check_before(plan: Plan, manifest: Manifest) -> None:
    """Let the parser of ``ldx`` see the options of each start, target, n and reading: a misspelt one is told at once.

    Raises UserError with its message.
    """
    jobs = {f"the cell {cell.name}": make_job(plan, manifest, cell) for cell in plan.one_cell_each()}
    first = next(iter(jobs.values()))
    read = {f"the reading {name}": first.evaluate(first.checkpoints[0], name) for name in plan.readings}
    check_commands({**{name: job.fit() for name, job in jobs.items()}, **read})
