"""``ldx suggest --data.root FOLDER``: which images to label next."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.progress import progress
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import refuse_existing
from landmark_diffusion.core.texts import counted
from landmark_diffusion.hardware.memory import detection_memory_message, explain_out_of_memory

if TYPE_CHECKING:
    import numpy as np

    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.studies.suggest.belief import Belief
    from landmark_diffusion.studies.suggest.looking import Seen
    from landmark_diffusion.studies.suggest.pool import PoolImage
    from landmark_diffusion.studies.suggest.suggestion import Suggestion

DESCRIPTION = (
    "Say which images of a folder to label next. Without a model: those that the others look most like, one after "
    "another. With a model file: those that images lie near to on which the model expects to err, by its spread and by "
    "what of its answers disagrees. Images with labels count as covered and are never suggested."
)
EXAMPLES = """examples:
  ldx suggest --data.root my_xrays --count 10
  ldx suggest --data.root my_xrays --count 10 --model mine.ldx
  ldx suggest --data.dataset isbi2015 --data.root ~/isbi2015 --count 10 --labelled done.csv

The images are PNG, JPEG, BMP, TIFF or DICOM of any size, together of one view. The first n of a longer list are the
list of n. A file that cannot be used is named and left out.
"""
OUTPUT, COUNT = "suggestions", 10
PARTS = ("train", "val", "test")
NO_TABLE = "none"
LEAST_TO_ADAPT = 5
CONFIG = "folder_diffusion_small.yaml"


def run_suggest(arguments: list[str]) -> int:
    """Write the list and its picture and return 0. ``arguments`` are those behind ``ldx suggest``.

    Raises UserError for options, files and data that cannot be used, and where no image is left; then nothing was
    written.
    """
    options = _parse(arguments)
    from landmark_diffusion.detection.batch import make_folder
    from landmark_diffusion.studies.suggest.files import (
        LIST,
        PICTURE,
        is_list,
        keep_earlier,
        suggestion_grid,
        write_list,
    )
    from landmark_diffusion.studies.suggest.pool import drawn

    folder = Path(options.output)
    for name in (LIST, PICTURE):
        refuse_existing(folder / name, options.overwrite or is_list(folder / LIST), "--output")
    images = _images(options, folder)
    labelled = _labelled(options, images)
    detector = _detector(options)
    make_folder(folder)
    asked = drawn(images, labelled, options.seed)
    if len(asked) < len(images):
        _tell(f"of {len(images)} images {len(asked)} are looked at, drawn with --seed {options.seed}")
    seen = _look([images[place] for place in asked], detector, options)
    used = [asked[place] for place in seen.places]
    pool, belief = [images[place] for place in used], seen.belief
    covered = [place for place, original in enumerate(used) if original in labelled]
    found = _choose(seen, detector, covered, options)
    where = options.root or options.dataset
    above = f"{counted(len(pool), 'image')} of {where}, {len(covered)} with labels" + (
        f"; by {detector.model}" if detector is not None else ""
    )
    suggestion_grid(found, pool, above).show()
    earlier = None if options.overwrite else keep_earlier(folder)
    write_list(folder / LIST, found, pool, belief)
    _draw(folder / PICTURE, found, pool, detector, belief)
    print(f"in {folder}: {LIST}, {PICTURE}" + (f"; the list before is now {earlier.name}" if earlier else ""))
    if len(found) < options.count:
        same = len(pool) - len(covered) - len(found)
        print(f"suggest: {len(found)} of {options.count}: {_why_fewer(same, len(covered))}")
    print(_next(options, [pool[each.place].name for each in found], [pool[place].name for place in covered]))
    return 0


def _why_fewer(same: int, covered: int) -> str:
    others = [
        *([f"{counted(covered, 'image')} with labels"] if covered else []),
        *([f"{counted(same, 'image')} that are the same as one of these"] if same else []),
    ]
    return f"beside these there are {' and '.join(others)}" if others else "these are all the images"


def _look(images: Sequence[PoolImage], detector: Detector | None, options: argparse.Namespace) -> Seen:
    """Read all images with a bar, and tell which cannot be used."""
    from landmark_diffusion.studies.suggest.looking import look_at

    def tell(error: UserError) -> None:
        _tell(f"left out: {' '.join(str(error).split())}")

    def message(error: BaseException) -> str:
        return detection_memory_message(error, options.batch_size, "cpu" if detector is None else str(detector.device))

    with explain_out_of_memory(message), progress(len(images), "suggest") as advance:
        seen = look_at(images, detector, options.batch_size, tell, advance)
    if missing := len(images) - len(seen.places):
        _tell(f"left out: {missing} of {counted(len(images), 'image')}, which could not be used")
    return seen


def _choose(
    seen: Seen, detector: Detector | None, covered: Sequence[int], options: argparse.Namespace
) -> list[Suggestion]:
    from landmark_diffusion.studies.suggest.suggestion import pool_distances, suggest

    names = () if detector is None else detector.facts.landmark_names
    found = suggest(pool_distances(seen.views, seen.belief), options.count, covered, seen.belief, names)
    if not found:
        raise UserError(
            f"nothing to suggest: all {counted(len(seen.views), 'image')} have labels or are the same as one that has; "
            "add images, or name the labelled ones by --labelled FILE (none: no image has labels)"
        )
    return found


def _draw(
    path: Path, found: Sequence[Suggestion], pool: Sequence[PoolImage], detector: Detector | None, belief: Belief | None
) -> None:
    """Draw the images as the model saw them, with its points."""
    from landmark_diffusion.studies.suggest.belief import upright
    from landmark_diffusion.studies.suggest.files import draw_sheet

    def pixels(place: int) -> np.ndarray:
        grey = pool[place].read().grey
        return grey if detector is None else upright(detector, [grey])[0]

    draw_sheet(path, found, pool, pixels, None if belief is None else belief.points.__getitem__)


def _images(options: argparse.Namespace, results: Path) -> list[PoolImage]:
    from landmark_diffusion.data.sources import takes_root
    from landmark_diffusion.studies.suggest.pool import dataset_images, folder_images

    if options.root is None and takes_root(options.dataset):
        raise UserError("ldx suggest needs --data.root PATH: the folder of the images")
    if options.dataset == "folder":
        for name in ("split", "part"):
            if getattr(options, name) is not None:
                raise UserError(
                    f"--{'data.' * (name == 'split')}{name}: all images of a folder are looked at; leave it out"
                )
        return folder_images(Path(options.root), results, _tell)
    return dataset_images(options.dataset, options.root, options.split, options.part or "train")


def _labelled(options: argparse.Namespace, images: Sequence[PoolImage]) -> set[int]:
    """Places of the images that have labels by the table named, or by the folder's own; tells which was read."""
    from landmark_diffusion.studies.suggest.pool import labelled_names, match_names, own_labels

    table = None if options.labelled in (None, NO_TABLE) else Path(options.labelled).expanduser()
    if options.labelled is None and options.dataset == "folder":
        table = own_labels(Path(options.root).expanduser())
    if table is None:
        return set()
    try:
        names = labelled_names(table)
    except DataError as error:
        raise UserError(f"{error}; --labelled names another table, or none") from error
    places, unknown = match_names([each.name for each in images], names)
    _tell(f"{counted(len(places), 'image')} with labels by {table}")
    if unknown:
        first = ", ".join(unknown[:3]) + ", ..." * (len(unknown) > 3)
        _tell(f"of {table} no image is here for {counted(len(unknown), 'name')}: {first}")
    return places


def _detector(options: argparse.Namespace) -> Detector | None:
    if options.model is None:
        return None
    from landmark_diffusion.detection.detector import Detector

    return Detector.load(options.model, fast=options.fast, device=options.device, seed=options.seed)


def _next(options: argparse.Namespace, names: Sequence[str], labelled: Sequence[str]) -> str:
    """Say what to do with the list; ``labelled`` are the images that have labels already."""
    if options.dataset != "folder":
        root = [] if options.root is None else ["--data.root", options.root]
        words = ["ldx", "fit", "--config", "CONFIG", "--data.dataset", options.dataset, *root]
        images = json.dumps([*labelled, *names])
        return f"next: label them, then {shlex.join([*words, '--data.train_images', images])}"
    folder = shlex.quote(str(options.root))
    label = f"next: label them by ldx annotate {folder}, or in the table beside the images (docs/csv.md), then"
    start = options.model or "MODEL.ldx"
    target = "mine.ldx" if Path(start).name != "mine.ldx" else "mine_next.ldx"
    adapt = f"ldx adapt {shlex.quote(start)} --data.root {folder} --output {target}"
    fit = f"ldx fit --config {CONFIG} --data.root {folder} --data.split all"
    few = f" (from {LEAST_TO_ADAPT} labelled images on)" * (len(labelled) + len(names) < LEAST_TO_ADAPT)
    model = "" if options.model else ", without a model of this view,"
    return f"{label} {adapt}{few}; or{model} {fit}"


def _tell(line: str) -> None:
    print(f"suggest: {line}", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("suggest", DESCRIPTION, EXAMPLES)
    parser.add_argument("--data.root", dest="root", metavar="PATH", help="folder of the images")
    parser.add_argument("--data.dataset", dest="dataset", default="folder", metavar="NAME", help="data set (folder)")
    parser.add_argument("--data.split", dest="split", metavar="NAME", help="split of a data set")
    parser.add_argument("--part", choices=PARTS, help="part of a data set (train)")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"images to suggest ({COUNT})")
    parser.add_argument("--model", metavar="FILE.ldx", help="model file; without one the images alone count")
    parser.add_argument(
        "--labelled",
        metavar="CSV",
        help="table that names the images with labels; default the folder's own; none: none",
    )
    parser.add_argument("--output", default=OUTPUT, metavar="FOLDER", help=f"results' folder, by default {OUTPUT}/")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a list that is in the folder already, which else gets a number",
    )
    parser.add_argument("--seed", type=int, default=0, help="of a draw from too many images, and of sampled chains (0)")
    parser.add_argument("--fast", action="store_true", help="the fewest network evaluations that are nearly as good")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; by default a GPU where there is one")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images at once (default 4)")
    options = parser.parse(arguments)
    for option, least in (("count", 1), ("batch_size", 1), ("seed", 0)):
        if getattr(options, option) < least:
            name = option.replace("_", "-")
            raise UserError(f"--{name}: found {getattr(options, option)}, expected a whole number from {least}")
    for option in ("fast", "device"):
        if options.model is None and getattr(options, option):
            raise UserError(f"--{option}: only with --model FILE.ldx, which it is for; without one no network runs")
    return options
