"""``ldx crossval``: train and test on every fold of a small set, with one table at the end."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.cell_runs import exit_status, run_cells
from landmark_diffusion.configuration.config_files import config_name, find_config, shown_config
from landmark_diffusion.configuration.options import arguments, checked
from landmark_diffusion.configuration.own_split import own_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.crossval import summary
from landmark_diffusion.studies.crossval.plan import SPLIT, CrossvalPlan, agree, propose
from landmark_diffusion.studies.trainings.manifest import MANIFEST
from landmark_diffusion.studies.trainings.runner import check_commands, state_of

DESCRIPTION = (
    "Cross-validation on a folder of your own images: K trainings, each tested on the K-th of the images that it left "
    "out, and one table of all images, with intervals over images. For sets whose test part would be a handful."
)
EXAMPLES = """Options --data.X V, --model.X V and --trainer.X V go to every training. A part of the other images
validates (--data.dataset_options.val_fraction 0.15); --data.dataset_options.seed 1 makes other folds. Any number of
processes and machines may work on one folder. Ctrl-C, SIGTERM or a kill lose nothing: the same command goes on.

examples:
  ldx crossval --config folder_diffusion_small.yaml --data.root my_xrays --folds 5
  ldx crossval --config folder_diffusion_small.yaml --data.root my_xrays --folds 5 --list
  ldx compare runs/crossval/folder_diffusion_small runs/crossval/folder_finetune_small
"""


def run_crossval(argv: Sequence[str]) -> int:
    """Run the folds; return 0, or 1 when one failed. ``argv`` are the arguments behind ``ldx crossval``.

    Raises UserError for what cannot be run, and SystemExit 130 or 143 after a signal.
    """
    options, plan = _parse(argv)
    if options.list:
        for cell in plan.cells():
            print(f"{cell.name}  {state_of(plan.folder, cell)}")
        return 0
    if options.only_summary:
        return 0 if _summarise(plan) else 1
    for line in own_options(plan.configs, plan.options)[1]:
        print(line, flush=True)
    manifest = propose(plan)
    if not (plan.folder / MANIFEST).is_file():
        check_commands({"the folds": plan.job(plan.cells()[0]).fit()})
    agree(plan.folder, manifest)
    command = ["crossval", *argv]
    outcome = run_cells(command, plan.folder, plan.job, plan.cells(), options.wait, plan.keep_checkpoints, "folds")
    _summarise(plan)
    return exit_status(outcome, plan.folds, "folds")


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, CrossvalPlan]:
    parser = VerbParser("crossval", DESCRIPTION, EXAMPLES)
    parser.add_argument("--config", "-c", action="append", default=[], help="config of `ldx fit`, for your own images")
    parser.add_argument("--folds", default="5", metavar="K", help="how many parts the images are divided into (5)")
    parser.add_argument("--folder", metavar="PATH", help="of folds and results; default runs/crossval/NAME")
    parser.add_argument("--seed_everything", metavar="SEED", help="of each training; default the config's")
    parser.add_argument("--keep-checkpoints", action="store_true", help="keep the folds' checkpoints after their test")
    parser.add_argument("--list", action="store_true", help="list the folds and where each stands")
    parser.add_argument("--only-summary", action="store_true", help="write the table of the folds that are finished")
    parser.add_argument("--wait", action="store_true", help="stay until other processes have finished their folds")
    options, given = parser.parse_passing_on(argv)
    return options, _plan(options, dict(given))


def _plan(options: argparse.Namespace, given: dict[str, Any]) -> CrossvalPlan:
    if not options.config:
        raise UserError("ldx crossval needs --config NAME: folder_diffusion_small.yaml (`ldx configs` lists all)")
    configs = tuple(find_config(name) for name in options.config)
    if SPLIT in given:
        raise UserError(f"ldx crossval: --{SPLIT} is decided for each fold and cannot be set; remove it")
    return CrossvalPlan(
        configs=configs,
        options=checked(given, "the command line"),
        folds=_number("--folds", options.folds, 2),
        folder=Path(options.folder or Path("runs", "crossval", config_name(configs[0]))),
        seed=None if options.seed_everything is None else _number("--seed_everything", options.seed_everything, 0),
        keep_checkpoints=options.keep_checkpoints,
    )


def _number(option: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise UserError(f"ldx crossval: {option}: found {text!r}, expected a whole number from {least} up")
    return int(text)


def _summarise(plan: CrossvalPlan) -> bool:
    """Write and print the table of the finished folds; False where there are none."""
    results = summary.read_folds(plan.folder, plan.cells())
    if not results:
        print(f"{plan.folder}: no fold is finished, so there is no table")
        return False
    figures = summary.summarise(results, plan.folds)
    grid = summary.write_summary(plan.folder, results, figures, f"Cross-validation: {plan.folder.name}")
    grid.show()
    files = f"{summary.TABLE}, {summary.METRICS}, {summary.PREDICTIONS} (all images)"
    print(f"in {plan.folder}: {files}; {MANIFEST} names each fold's images")
    if len(results) == plan.folds:
        configs = [word for path in plan.configs for word in ("--config", shown_config(path))]
        command = shlex.join(["ldx", "fit", *configs, *arguments(plan.options)])
        print(f"for a model to use, train on more of the images: {command}")
    return True
