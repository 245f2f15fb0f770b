"""``ldx adapt MODEL.ldx --data.root MY_XRAYS --output MINE.ldx``: a model fitted to a few labelled images."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.arguments import VerbParser, yaml_value
from landmark_diffusion.cli.progress import TimedLines
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say, warn
from landmark_diffusion.core.texts import counted

if TYPE_CHECKING:
    from landmark_diffusion.data.source import LandmarkDataset
    from landmark_diffusion.studies.adapt.adaptation import Adapted, Steps
    from landmark_diffusion.studies.adapt.plan import AdaptPlan

DESCRIPTION = (
    "Fit a model to 5, 10, 25, 50 labelled images of one's own: a short training on all of them, and one for each of "
    "a few folds that says how far the result is off on images that it has not seen, beside the model as it was. The "
    "new file finds the images' landmarks, with regions calibrated by the folds. Landmarks are matched by name; those "
    "that the model does not know are learned. How long and how fast it learns follows from the number of images."
)
EXAMPLES = """examples:
  ldx adapt weights/ceph_small.ldx --data.root my_xrays --output mine.ldx
  ldx adapt weights/ceph_small.ldx --data.root my_xrays --output mine.ldx --landmarks "A=subspinale,B=supramentale"

my_xrays holds the images and one CSV of their landmarks (docs/csv.md). Ctrl-C or a kill lose nothing: the same command
goes on. Two hundred images and more are worth a training of their own: `ldx fit`, with --model.pretrained MODEL.ldx.
"""


def run_adapt(argv: Sequence[str]) -> int:
    """Adapt a model and return 0; ``argv`` are the arguments behind ``ldx adapt``.

    Raises UserError for what cannot be used, and SystemExit 130 or 143 after a signal, with all trainings kept.
    """
    options = _parse(argv)
    target = Path(options.output)
    from landmark_diffusion.modelfile.model_file import check_target

    check_target(target, options.overwrite)
    began = time.monotonic()
    from landmark_diffusion.cli.lightning_cli import quieter

    with quieter():
        plan = _plan(options, shlex.join(["ldx", "adapt", *argv]))
    from landmark_diffusion.export.card import write_model_and_card
    from landmark_diffusion.studies.trainings.locks import exclusive

    with exclusive(plan.folder / ".running.lock", f"the adaptation in {plan.folder}", patience=0):
        check_target(target, options.overwrite)  # the other process may have written it since
        plan, adapted = _adapt(plan, options.threads)
        write_model_and_card(target, target.with_suffix(".md"), adapted.facts, adapted.weights, options.overwrite)
        shutil.rmtree(plan.folder, ignore_errors=True)
    _report(adapted, plan, target, time.monotonic() - began)
    return 0


def _adapt(plan: AdaptPlan, count: int | None) -> tuple[AdaptPlan, Adapted]:
    """Run the trainings, or go on with them; ``count`` threads. Gives the plan as it was agreed upon, and the model."""
    from landmark_diffusion.cli.lightning_cli import quieter
    from landmark_diffusion.hardware.threads import threads
    from landmark_diffusion.studies.adapt.adaptation import adapt
    from landmark_diffusion.studies.adapt.plan import MANIFEST_FILE

    if plan.set_aside_outdated():
        say("adapt: images or labels have changed since it was stopped: it begins anew")
    agreed = MANIFEST_FILE.agree(plan.folder, plan.manifest())
    plan = replace(plan, precision=agreed["precision"])
    images, rule = len(plan.ids), plan.rule
    say(f"adapt: {counted(images, 'image')}, {rule.folds} folds and all, {rule.updates} updates each, {plan.precision}")
    with quieter(), threads(count), _progress(rule.total + 2 * images) as (tell, progress):
        return plan, adapt(plan, tell, progress)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("adapt", DESCRIPTION, EXAMPLES)
    parser.add_argument("model", metavar="MODEL.ldx", help="model file to begin with, such as weights/ceph.ldx")
    parser.add_argument("--data.root", dest="root", metavar="PATH", help="folder of the images and their labels")
    parser.add_argument("--output", metavar="FILE.ldx", required=True, help="the model file to write")
    parser.add_argument(
        "--landmarks", default="", metavar="MINE=THEIRS,...", help="landmarks that the model calls otherwise"
    )
    parser.add_argument("--data.dataset", dest="dataset", default="folder", help="data set (folder)")
    parser.add_argument(
        "--data.split", dest="split", help="whose train part is fitted to; a folder's: its column split, else all"
    )
    parser.add_argument("--data.dataset_options", dest="dataset_options", help="such as '{csv: points.csv}'")
    parser.add_argument("--data.landmark_names", dest="landmark_names", help="names for a table without, or {old: new}")
    parser.add_argument("--data.train_images", dest="train_images", help="ids of the images to take, '[a, b]' (all)")
    parser.add_argument("--seed_everything", default="0", metavar="SEED", help="of folds, augmentation and noise (0)")
    parser.add_argument("--folder", metavar="PATH", help="of the trainings meanwhile; default runs/adapt/NAME")
    parser.add_argument("--threads", type=int, help="threads of torch; default its own")
    parser.add_argument(
        "--wandb", default="disabled", choices=("disabled", "offline", "online"), help="Weights & Biases"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE.ldx")
    return parser.parse(argv)


def _plan(options: argparse.Namespace, command: str) -> AdaptPlan:
    from landmark_diffusion.data.checks.labels import refuse_mixed_spacing, tell_labels
    from landmark_diffusion.data.sources import takes_root
    from landmark_diffusion.data.sources.folder.source import NO_VALIDATION
    from landmark_diffusion.detection.model import load_module
    from landmark_diffusion.hardware.precision import choose_precision, device_kind
    from landmark_diffusion.methods.start import match_start
    from landmark_diffusion.studies.adapt.places import trainings_of
    from landmark_diffusion.studies.adapt.plan import AdaptPlan, check_images
    from landmark_diffusion.studies.adapt.rule import rule_for
    from landmark_diffusion.studies.calibrate.learned_images import count_learned
    from landmark_diffusion.studies.calibrate.material import labelled_images

    start = Path(options.model)
    _, facts = load_module(start)
    if options.root is None and takes_root(options.dataset):
        raise UserError("ldx adapt needs --data.root PATH: the folder of your images and their labels")
    section = _section(options, facts.data)
    wanted = _listed(options.train_images)
    if divided := _by_column(options, section):
        section["split"] = "all"
        wanted = wanted or [sample.image_id for sample in divided.samples("train")]
    images = labelled_images(section, "train", wanted)
    names = images.source.landmark_names
    check_images(images, names)
    for note in (divided or images.source).notes():
        if NO_VALIDATION not in note:  # there is none here
            say(note)
    labelled = list(images.samples)
    refuse_mixed_spacing(labelled)
    tell_labels(labelled, images.source)
    if count := count_learned(facts, images):
        origin = facts.adapted.get("start") or "the model that it came from"
        warn(
            f"{start} was adapted to {count} of these {counted(len(labelled), 'image')} already: its errors on them, "
            f"before and after, and the regions would look better than they are. Adapt {origin} to all of them instead"
        )
    ids = [sample.image_id for sample in images.samples]
    patients = images.source.patients()
    landmark_map = _landmark_map(options.landmarks)
    places, _ = match_start(names, facts.landmark_names, landmark_map, start)
    known = sum(place is not None for place in places) / len(names)
    rule = rule_for(len(ids), len({patients.get(each, (each,)) for each in ids}), known)
    return AdaptPlan(
        start=start,
        facts=facts,
        section=section,
        images=images,
        rule=rule,
        folder=Path(options.folder or trainings_of(Path(options.output))),
        command=command,
        seed=_seed(options.seed_everything),
        landmark_map=landmark_map,
        precision=choose_precision(device_kind("auto"))[0],
        wandb=options.wandb,
    )


def _section(options: argparse.Namespace, data: dict[str, Any]) -> dict[str, Any]:
    """Options of the data module: the images as the model sees them."""
    found: dict[str, Any] = {"dataset": options.dataset, "root": options.root, "size": tuple(data["size"])}
    if data.get("resize") is not None:
        found["resize"] = data["resize"]
    if split := options.split or ("all" if options.dataset == "folder" else None):
        found["split"] = split
    if options.dataset_options is not None:
        given = yaml_value(options.dataset_options)
        if not isinstance(given, dict):
            raise UserError(f"--data.dataset_options: found {given!r}, expected options such as '{{csv: points.csv}}'")
        found["dataset_options"] = given
    if options.landmark_names is not None:
        found["landmark_names"] = yaml_value(options.landmark_names)
    return found


def _by_column(options: argparse.Namespace, section: dict[str, Any]) -> LandmarkDataset | None:
    """The folder as its column ``split`` divides it, whose training images are fitted to; None where none divides it.

    None of them is put aside for a validation, which an adaptation has not. Raises UserError where no image trains.
    """
    if options.dataset != "folder" or options.split not in (None, "auto", "column"):
        return None
    from landmark_diffusion.data.sources import build_dataset

    given = {**section.get("dataset_options", {}), "split": options.split or "auto", "val_fraction": 0.0}
    source = build_dataset("folder", options.root, **given)
    if not getattr(source, "by_column", False):
        return None
    if not source.samples("train"):
        raise UserError(
            f"ldx adapt: the split column of {options.root} has no image to fit to; call some train, or take all by "
            "--data.split all"
        )
    return source


def _listed(text: str | None) -> list[str] | None:
    if text is None:
        return None
    found = yaml_value(text)
    if not isinstance(found, list):
        raise UserError(f"--data.train_images: found {text!r}, expected a list such as '[a, b]'")
    return [str(each) for each in found]


def _landmark_map(text: str) -> dict[str, str]:
    """Read "mine=theirs, ..."; raises UserError for anything else."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        mine, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (equals and mine and theirs):
            raise UserError(f"--landmarks: found {pair!r}, expected MINE=THEIRS, separated by commas")
        if mine in found:
            raise UserError(f"--landmarks: {mine!r} is there twice")
        found[mine] = theirs
    return found


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"ldx adapt: --seed_everything: found {text!r}, expected a whole number from 0 up")
    return int(text)


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Steps]]:
    """A bar on a terminal; lines for a file or pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("adapt", total=total)

        def tell(line: str) -> None:
            if bar.disable:
                print(line, flush=True)
            else:
                bar.console.print(line, markup=False, highlight=False)

        def shown(text: str, done: int = 0, there: bool = False) -> None:
            bar.update(task, advance=done, description=text)

        yield tell, TimedLines(total, "steps") if bar.disable else shown


def _report(adapted: Adapted, plan: AdaptPlan, target: Path, seconds: float) -> None:
    from landmark_diffusion.spread.calibration import LEVELS, least_images
    from landmark_diffusion.spread.few_labels import stated_levels

    adapted.outcome.grid().show()
    stated = stated_levels(len(plan.ids))
    told = ", ".join(f"{100 * level:g} %" for level in stated)
    missing = [level for level in LEVELS if level not in stated]
    more = "".join(f"; {100 * level:g} % needs {least_images(level)} images" for level in missing[:1])
    print(f"regions are stated for {told}{more}")
    print(f"wrote {target} and its card {target.with_suffix('.md')} in {seconds / 60:.1f} min")
    what = "use it" if adapted.outcome.helped else "to use it all the same"
    print(f"{what}: ldx detect IMAGES --model {target}", file=sys.stdout)
