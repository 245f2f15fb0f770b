"""Arguments of ``ldx fewshot``: its own, changes of its config, and options that every cell is given."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from landmark_diffusion.cli.arguments import PASSED_ON, VerbParser, yaml_value
from landmark_diffusion.core.errors import UserError

DESCRIPTION = "Fine-tune, test and record a grid: each start, target, number of labelled images and draw."
HELP = """a config of ldx fewshot:
  fewshot:
    fit: [ceph_finetune_small.yaml]       # configs of `ldx fit` that every cell starts from (names or paths)
    n: [1, 5, 10, 25, 50]                 # labelled training images; draws of smaller n lie within larger ones
    draws: 3                              # independent draws
    starts:                               # name: options of `ldx fit`; scratch is what the others are compared with
      scratch: {model.learning_rate: 0.001}
      ddpm: {model.pretrained: runs/x/checkpoints/step_8000.ckpt, model.learning_rate: 0.0003}
    targets:                              # a second axis, may be left out
      disc: {model.target: disc}
      contour_hugging: {model.target: one_hot}
    options: {trainer.max_steps: 600}     # options of every cell
    folder: runs/fewshot/ceph             # of the grid; default runs/fewshot/NAME of the config
    seed: 0                               # of the draws; a cell is trained with seed + draw
    checkpoints: [best, last]             # measured weights: best on the validation labels, last without any
    stage: test                           # part of the data that is measured: test or val
    keep_checkpoints: false               # keep each cell's checkpoints after it is measured

Options --data.X V, --model.X V and --trainer.X V go to every cell. Order: configs < options < command line < start
and target. Any number of processes and machines may work on one folder: a cell is done once. Ctrl-C, SIGTERM or a
kill lose nothing: the same command goes on. All images drawn are named in FOLDER/manifest.json.

examples:
  ldx fewshot --config ceph_fewshot.yaml --data.root ~/isbi2015
  ldx fewshot --config ceph_fewshot.yaml --list               cells with their numbers, and where each stands
  ldx fewshot --config ceph_fewshot.yaml --cell 17            one cell, for a job array; also by its name
  ldx fewshot --config ceph_fewshot.yaml --only-summary       tables and figures of what is finished
"""


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any], dict[str, Any]]:
    """Divide the arguments into our own, options of every cell, and changes of the plan.

    Raises UserError that names the nearest known option.
    """
    arguments, given = _parser().parse_passing_on(argv)
    cell_options: dict[str, Any] = {}
    changes: dict[str, Any] = {} if arguments.folder is None else {"folder": arguments.folder}
    for name, value in [*given, *map(_assignment, arguments.set)]:
        if name.partition(".")[0] in PASSED_ON:
            cell_options[name] = value
        else:
            changes[name.removeprefix("fewshot.")] = value
    return arguments, cell_options, changes


def _parser() -> VerbParser:
    parser = VerbParser("fewshot", DESCRIPTION, HELP)
    parser.add_argument("--config", "-c", action="append", default=[], help="config with the section fewshot")
    parser.add_argument("--folder", help="folder of the grid, shared by its processes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the config")
    parser.add_argument("--cell", metavar="NAME", help="run this cell alone, by name or by number from 1")
    parser.add_argument("--list", action="store_true", help="list the cells and where each stands")
    parser.add_argument("--only-summary", action="store_true", help="write the tables and figures of what is finished")
    parser.add_argument("--print-command", action="store_true", help="print what each cell would run")
    parser.add_argument("--wait", action="store_true", help="stay until other processes have finished their cells")
    return parser


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set {text}: expected KEY=VALUE, such as --set draws=1 or --set trainer.max_steps=100")
    return name, yaml_value(value)
