"""``ldx fit --help`` on one page: our own options first. Read from the sources as text, so that it imports no torch.

``--help=all`` gives Lightning's whole list.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from landmark_diffusion.cli.verbs import RUN_OPTIONS, RUN_VERBS
from landmark_diffusion.methods import METHODS

WIDTH, COLUMN = 100, 30
TRAINER = {
    "max_steps": "optimiser steps of the run; -1: no bound",
    "max_epochs": "epochs of the run; -1: no bound",
    "max_time": "the run's longest time, DD:HH:MM:SS",
    "precision": "arithmetic: auto (what is fastest and right here), 32-true, bf16-mixed or 16-mixed",
    "accelerator": "auto, cpu or gpu",
    "devices": "how many, such as 2; auto: all; [1]: the second one",
    "strategy": "auto, or ddp for several devices (--config ddp.yaml gives all of it)",
    "check_val_every_n_epoch": "epochs between two validations; null: counted in steps, by val_check_interval",
    "val_check_interval": "batches between two validations, or a share of an epoch (0.5)",
    "accumulate_grad_batches": "batches that make one optimiser step",
    "gradient_clip_val": "longest gradient; longer ones are cut",
    "limit_val_batches": "validation batches used, or a share; 0: no validation",
    "fast_dev_run": "one batch of everything, nothing is kept: does it run at all?",
}
"""Lightning's options that are used most, in our words."""

PAPERS = (
    "Paper A is Salt & Pepper Heatmaps (Wyatt and Voiculescu), paper B Self-supervised pre-training with",
    "diffusion model for few-shot landmark detection in x-ray images (Di Via, Odone and Pastore).",
)
OF_EVALUATIONS = ("precision", "accelerator", "devices")
EXAMPLES = {
    "fit": (
        ("--config ceph_diffusion_small.yaml --data.root ~/isbi2015", ""),
        ("--config ceph_diffusion_small.yaml --trainer.max_steps 5000 --run_folder runs/long", ""),
        ("--config ceph_diffusion_small.yaml --ckpt_path last", "go on with a run that was stopped"),
    ),
    "validate": (("--config ceph_diffusion_small.yaml --data.root ~/isbi2015", ""),),
    "test": (
        ("--config ceph_diffusion_small.yaml --data.root ~/isbi2015", "the run's best checkpoint"),
        ("ceph.ldx --data.root ~/isbi2015", "an exported model; its config is in the file"),
    ),
    "predict": (("--config ceph_diffusion_small.yaml --data.root ~/isbi2015", ""),),
}


class Option(NamedTuple):
    """An option's name without its dashes, its default as the source has it ("": none), and what it means."""

    name: str
    default: str
    text: str


def asks_for_help(arguments: list[str]) -> bool:
    """Tell whether the page of this module is wanted, not Lightning's (``--help=all``)."""
    return "--help" in arguments or "-h" in arguments


def run_help(verb: str) -> str:
    """Return the page of ``ldx fit|validate|test|predict --help``."""
    what = RUN_VERBS[verb]
    lines = [
        f"usage: ldx {verb} --config NAME_OR_PATH [--config MORE] [--data.OPTION VALUE] [--model.OPTION VALUE] ...",
        "",
        f"{what[0].upper()}{what[1:]}.",
        *PAPERS,
        "",
        "the run:",
        *_formatted([*_always(verb), *_run_options(verb)]),
        "",
        "data:",
        *_formatted(_class_options("training/datamodule.py", "LandmarkDataModule", "data.")),
        "",
        "model (its own options: --model.help NAME):",
        *_formatted(_models()),
        *(_formatted(_class_options("finders/method.py", "Method", "model.")) if verb == "fit" else ()),
        "",
        "trainer (Lightning's; the common ones):",
        *_formatted(_trainer(verb)),
        "",
        "examples:",
        *(_example(verb, line, note) for line, note in EXAMPLES[verb]),
        "",
        "Options on the command line go before those of a config; of several configs the last one wins. --help=all",
        "lists every option, with all of Lightning's; --print_config shows what a command line comes to.",
    ]
    return "\n".join(lines) + "\n"


def _always(verb: str) -> list[Option]:
    weights = "continue from `last`, `best` or a file" if verb == "fit" else "measure `last`, a file.ckpt or a file.ldx"
    return [
        Option("config NAME", "", "a config: a path, or one of `ldx configs`; several add up"),
        Option("ckpt_path CHECKPOINT", "" if verb == "fit" else "best", weights),
        Option("print_config", "", "print the whole config and end"),
        Option("allow_classes MODULES", "", "modules, with commas, whose classes a config may name beside ours"),
    ]


def _run_options(verb: str) -> Iterator[Option]:
    """The run's own options, as far as they concern the verb."""
    for name, default, text in RUN_OPTIONS:
        verbs, colon, rest = text.partition(": ")
        concerned = [each for each in verbs.split(", ") if each in RUN_VERBS] if colon else []
        if not concerned or verb in concerned:
            yield Option(name, repr(default), rest if concerned else text)


def _class_options(file: str, name: str, prefix: str) -> Iterator[Option]:
    """The ``Args:`` of a class's docstring with the defaults of its __init__."""
    found = _class(file, name)
    start = next(each for each in found.body if isinstance(each, ast.FunctionDef) and each.name == "__init__")
    arguments = start.args.args
    pairs = zip(reversed(arguments), reversed(start.args.defaults), strict=False)
    defaults = {argument.arg: ast.unparse(value) for argument, value in pairs}
    block = (ast.get_docstring(found) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n(?=    \w)", block)
    for entry in entries:
        names, _, text = " ".join(entry.replace("``", "").split()).partition(": ")
        known = names.split(", ")
        yield Option(f"{prefix}{', '.join(known)}", ", ".join(defaults.get(each, "") for each in known), text)


def _models() -> Iterator[Option]:
    yield Option("model NAME", "", "the method, where no config names it:")
    for name, place in METHODS.built_in.items():
        file = place.partition(":")[0].partition(".")[2].replace(".", "/") + ".py"
        yield Option(f"  {name}", "", (ast.get_docstring(_class(file, name)) or "").partition("\n")[0])
    for name, entry in METHODS.found().items():
        yield Option(f"  {name}", "", f"of another package: {entry.value}")


def _trainer(verb: str) -> Iterator[Option]:
    for name, text in TRAINER.items():
        if verb == "fit" or name in OF_EVALUATIONS:
            yield Option(f"trainer.{name}", "", text)


def _formatted(options: Iterator[Option] | list[Option]) -> list[str]:
    lines: list[str] = []
    for option in options:
        known = option.default not in ("", "None", "[]", "False", "', '") and option.default.strip(", ")
        text = option.text.rstrip(".") + (f" (default {option.default})" if known else "")
        head = f"  {option.name}" if option.name.startswith(" ") else f"  --{option.name}"
        wrapped = textwrap.wrap(text, WIDTH - COLUMN) or [""]
        if len(head) >= COLUMN - 1:
            lines.append(head)
            head = ""
        lines += [f"{head:<{COLUMN}}{wrapped[0]}", *(" " * COLUMN + more for more in wrapped[1:])]
    return lines


def _example(verb: str, line: str, note: str) -> str:
    return f"  ldx {verb} {line}" + (f"      {note}" if note else "")


def _class(file: str, name: str) -> ast.ClassDef:
    tree = ast.parse((Path(__file__).resolve().parents[1] / file).read_text(encoding="utf-8"))
    return next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name)
