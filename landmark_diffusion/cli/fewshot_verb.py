"""``ldx fewshot``: run, share, continue and sum up a grid of few-shot trainings."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from landmark_diffusion.cli.arguments import PASSED_ON, VerbParser, yaml_value
from landmark_diffusion.cli.cell_runs import exit_status, run_cells
from landmark_diffusion.configuration.options import data_section
from landmark_diffusion.configuration.own_split import own_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.source import LandmarkDataset, Stage, images_beside
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.studies.fewshot.jobs import check_before, find_cell, make_job
from landmark_diffusion.studies.fewshot.manifest import agree, is_news, propose, read_manifest
from landmark_diffusion.studies.fewshot.plan import SECTION, Cell, Plan, read_plan
from landmark_diffusion.studies.fewshot.precision import with_one_precision
from landmark_diffusion.studies.fewshot.results import read_results
from landmark_diffusion.studies.fewshot.seen import seen_by_start, seen_in_words
from landmark_diffusion.studies.trainings.manifest import Manifest
from landmark_diffusion.studies.trainings.runner import state_of

DESCRIPTION = "Fine-tune, test and record a grid: each start, target, number of labelled images and draw."
HELP = """a config of ldx fewshot:
  fewshot:
    fit: [ceph_finetune_small.yaml]       # configs of `ldx fit` that every cell starts from (names or paths)
    n: [1, 5, 10, 25, 50]                 # labelled training images; draws of smaller n lie within larger ones
    draws: 3                              # independent draws
    starts:                               # name: options of `ldx fit`; scratch is what the others are compared with
      scratch: {model.optimisation.learning_rate: 0.001}
      ddpm: {model.pretrained: runs/x/checkpoints/step_8000.ckpt, model.optimisation.learning_rate: 0.0003}
      afpf: {fit: [rival_afpf_small.yaml], n: [1, 10]}  # configs of its own: another method in the same grid; its n
    targets:                              # a second axis, may be left out
      disc: {model.target.kind: disc}
      contour_hugging: {model.target.kind: one_hot}
    options: {trainer.max_steps: 600}     # options of every cell
    folder: runs/fewshot/ceph             # of the grid; default runs/fewshot/NAME of the config
    by_n: {1: {trainer.max_steps: 400}}   # options of the cells with so many labelled images, may be left out
    readings:                             # each finished training is also measured with these options, may be left out
      alone: {model.joint.enabled: false}
    order: random                         # of a draw's images; names: the first n by name (one draw)
    seed: 0                               # of the draws; a cell is trained with seed + draw
    checkpoints: [best, last]             # measured weights: best on the validation labels, last without any
    stage: test                           # part of the data that is measured: test or val
    keep_checkpoints: false               # keep each cell's checkpoints after it is measured

Options --data.X V, --model.X V and --trainer.X V go to every cell. Order: configs < options < command line < n <
start and target. Any number of processes and machines may work on one folder: a cell is done once. Ctrl-C, SIGTERM or a
kill lose nothing: the same command goes on. All images drawn are named in FOLDER/manifest.json.

examples:
  ldx fewshot --config ceph_fewshot.yaml --data.root ~/isbi2015
  ldx fewshot --config ceph_fewshot.yaml --list               cells with their numbers, and where each stands
  ldx fewshot --config ceph_fewshot.yaml --cell 17            one cell, for a job array; also by its name
  ldx fewshot --config ceph_fewshot.yaml --only-summary       tables and figures of what is finished
"""


def run_fewshot(argv: Sequence[str]) -> int:
    """Run the grid; return 0, or 1 when a cell failed. ``argv`` are the arguments behind ``ldx fewshot``.

    Raises UserError for what cannot be run, and SystemExit 129, 130 or 143 after a signal.
    """
    arguments, cell_options, changes = parse_arguments(argv)
    plan = read_plan(arguments.config, changes, cell_options)
    cells = plan.cells() if arguments.cell is None else [find_cell(plan.cells(), arguments.cell)]
    if arguments.list:
        return _list(plan)
    if arguments.only_summary:
        return _only_summary(plan)
    plan = with_one_precision(plan)
    proposed = _propose(plan)
    if arguments.print_command:
        for cell in cells:
            print("\n".join([f"# {cell.name}", *make_job(plan, proposed, cell).commands()]))
        return 0
    return _run(plan, proposed, cells, arguments.wait, argv)


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


def _run(plan: Plan, proposed: Manifest, cells: list[Cell], wait: bool, argv: Sequence[str]) -> int:
    if is_news(plan.folder, proposed):
        check_before(plan, proposed)
    manifest = agree(plan.folder, proposed)
    jobs = partial(make_job, plan, manifest)
    outcome = run_cells(["fewshot", *argv], plan.folder, jobs, cells, wait, plan.keep_checkpoints)
    _summarise(plan.folder, manifest)
    return exit_status(outcome, len(cells))


def _list(plan: Plan) -> int:
    cells = plan.cells()
    width = max(len(cell.name) for cell in cells)
    for number, cell in enumerate(cells, 1):
        print(f"{number:>4}  {cell.name:<{width}}  {state_of(plan.folder, cell)}")
    return 0


def _propose(plan: Plan) -> Manifest:
    """Look at the data and make the manifest of this plan."""
    for line in own_options(plan.fit, plan.options)[1]:
        print(line, flush=True)
    for name, start in plan.starts.items():
        for line in own_options(start.fit, plan.options_of(name))[1] if start.fit else ():
            print(f"fewshot.starts.{name}: {line}", flush=True)
    section = data_section(plan.base())
    stages: tuple[Stage, ...] = ("train", "val", "test")
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        dataset = build_dataset(section["name"], section["root"], **section["options"])
        parts: dict[str, list[str]] = {stage: [each.image_id for each in dataset.samples(stage)] for stage in stages}
    for doubt in doubts:
        print(f"warning: {doubt.message}", file=sys.stderr, flush=True)
    for note in dataset.notes():
        print(note, flush=True)
    checkpoints = list(plan.checkpoints)
    if not parts["val"] and "best" in checkpoints:
        checkpoints.remove("best")
        print("no validation images in this split: `best` is skipped, `last` is measured", flush=True)
    if not parts[plan.stage] or not checkpoints:
        raise UserError(
            f"the {plan.stage if checkpoints else 'val'} part of {dataset.name} is empty in this split; choose another "
            "data.split, or change fewshot.stage or fewshot.checkpoints"
        )
    counts = {stage: len(ids) for stage, ids in parts.items()}
    proposed = propose(plan, parts["train"], counts, checkpoints, dataset.patients())
    _refuse_without_unlabelled(plan, dataset, section, counts["train"])
    _note_seen(proposed, section, parts)
    return proposed


def _refuse_without_unlabelled(plan: Plan, dataset: LandmarkDataset, section: dict[str, Any], pool: int) -> None:
    """Refuse pseudo-labels where n is all training images and none without labels is beside them."""
    rounds = "data.pseudo_labels.rounds"
    cells = [cell for cell in plan.cells() if cell.n == pool and plan.all_options(cell).get(rounds)]
    if not cells:
        return
    with warnings.catch_warnings(action="ignore"):
        images = build_dataset(section["name"], section["root"], **{**section["options"], "labels": False})
        found = images_beside(dataset, images, dataset.samples("train"))
    if not found:
        raise UserError(
            f"the cell {cells[0].name}: {rounds} needs images without labels, and at n = {pool} none of {dataset.name} "
            f"is left; take {pool} out of {SECTION}.n, or give {SECTION}.starts.{cells[0].start} its own n"
        )


def _note_seen(proposed: Manifest, section: dict[str, Any], parts: dict[str, list[str]]) -> None:
    """Note at each start which images its model file has learned, and warn where these are measured."""

    def build(split: str | None) -> LandmarkDataset:
        options = {key: value for key, value in section["options"].items() if key != "split"}
        with warnings.catch_warnings(action="ignore"):  # they were told of the grid's own split
            return build_dataset(
                section["name"], section["root"], **options, **({} if split is None else {"split": split})
            )

    for name, start in proposed["starts"].items():
        if seen := seen_by_start(start["pretrained"], proposed["dataset"], build, parts):
            start["seen"] = seen
            if words := seen_in_words(start, proposed["images"], _judged(proposed)):
                print(
                    f"warning: fewshot.starts.{name}: {start['pretrained']} was trained on {words}, which are measured "
                    "here: its errors will be too small. Name a model of this split's training images",
                    file=sys.stderr, flush=True,
                )  # fmt: skip


def _judged(manifest: Manifest) -> list[str]:
    """Parts that are measured, or by which weights are chosen."""
    return [*dict.fromkeys([manifest["stage"], *(["val"] if "best" in manifest["checkpoints"] else [])])]


def _only_summary(plan: Plan) -> int:
    manifest = read_manifest(plan.folder)
    if manifest is None:
        raise UserError(f"{plan.folder}: found no manifest.json: no cell was run there yet; leave --only-summary out")
    if not _summarise(plan.folder, manifest):
        raise UserError(f"{plan.folder}: found no finished cell yet; `--list` shows where they stand")
    return 0


def _summarise(folder: Path, manifest: Manifest) -> bool:
    """Write and print tables and figures of the finished cells; False where there are none."""
    results = read_results(folder, list(manifest["starts"]))
    if not results:
        print("no cell is finished, so there is no summary")
        return False
    from rich.console import Console

    from landmark_diffusion.studies.fewshot.summary import write_summary
    from landmark_diffusion.studies.fewshot.table import terminal_table

    dataset, draws = manifest["dataset"], len(manifest["draws"])
    title = f"Few labels: {dataset}"
    facts = summary_facts(manifest, results)
    own_n = {name: start["n"] for name, start in manifest["starts"].items() if "n" in start}
    paths = write_summary(folder, results, title=title, dataset=dataset, facts=facts, draws=draws, own_n=own_n)
    Console().print(terminal_table(results, title=title, draws=draws))
    print(f"in {folder}: {', '.join(path.name for path in paths)}; the images of each draw: manifest.json")
    return True


def summary_facts(manifest: Manifest, results: Sequence[Any]) -> dict[str, str]:
    """Say what a reader of the table must know of the grid."""
    from landmark_diffusion.metrics.protocols import get_protocol

    options, images = manifest["options"], manifest["images"]
    updates = {cell.start: cell.pretrain_updates for cell in results if cell.pretrain_updates is not None}
    chosen = {"best": f"best: chosen on {images['val']} labelled images, whatever n", "last": "last: none"}
    width, height = options.get("data.size") or (None, None)
    network = options.get("model.init_args.network.class_path", "UNet")
    channels = options.get("model.init_args.network.init_args.encoder_channels")
    split = f" ({options['data.split']})" if options.get("data.split") else ""
    limits = [f"{options[key]} {key.partition('.max_')[2]}" for key in _LIMITS if options.get(key) is not None]
    parts = " / ".join(str(images[stage]) for stage in ("train", "val", "test"))
    found = {
        "dataset": manifest["dataset"],
        "split": f"{parts}{split}; {manifest['stage']} images are measured",
        "protocol": get_protocol("default").describe(sorted(results[0].sdr), results[0].unit).removeprefix("protocol "),
        "network": f"{width}x{height} px" + (f", {network} {channels}" if channels else ""),
        "training": "at most " + " and ".join(limits) if limits else "",
        "by n": "; ".join(_in_words(f"n = {n}", own) for n, own in manifest["by_n"].items()),
        "readings": "; ".join(_in_words(name, own) for name, own in manifest["readings"].items()),
        "starts": "; ".join(_start_in_words(name, start, manifest) for name, start in manifest["starts"].items()),
        "validation": "; ".join(chosen[name] for name in manifest["checkpoints"]),
        "pretraining": "; ".join(f"{start}: {count} updates" for start, count in sorted(updates.items())),
        "draws": _DRAWS[manifest["order"]].format(manifest["seed"]),
        "version": manifest["package_version"],
    }
    return {key: value for key, value in found.items() if value}


_DRAWS = {
    "random": "seed {}, the images of each are named in manifest.json",
    "names": "the first n images by name, seed {} of the training",
}


def _start_in_words(name: str, start: dict[str, Any], manifest: Manifest) -> str:
    words = seen_in_words(start, manifest["images"], _judged(manifest))
    seen = [f"trained on {words}: its errors are too small"] if words else []
    return _in_words(name, start["options"], *start.get("fit", []), *seen)


def _in_words(name: str, options: dict[str, Any], *more: str) -> str:
    own = [*(f"{key.rpartition('.')[2]} {value}" for key, value in options.items()), *more]
    return f"{name} ({', '.join(own)})" if own else name


_LIMITS = ("trainer.max_steps", "trainer.max_epochs")
