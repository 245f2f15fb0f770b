"""``ldx analyse``: the cephalometric measures of detected points, or how often two observers agree on their classes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.detect_verb import add_detector_options, detect_files, load_detector
from landmark_diffusion.cli.progress import progress
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import refuse_existing, writing
from landmark_diffusion.core.grid import Grid
from landmark_diffusion.core.texts import counted
from landmark_diffusion.detection.batch import make_folder
from landmark_diffusion.detection.batch import refuse_existing as refuse_results
from landmark_diffusion.detection.inputs import find_images
from landmark_diffusion.detection.names import short_names

if TYPE_CHECKING:
    from landmark_diffusion.detection.detection import Detection
    from landmark_diffusion.studies.cephalometry.writer import MeasuresWriter

DESCRIPTION = (
    "Work out the eight cephalometric measures of the ISBI 2015 challenge (ANB, SNB, SNA, ODI, APDI, FHI, FHA, MW), "
    "their classes and how sure these are, from points of `ldx detect` or straight from radiographs. Or measure how "
    "often two doctors, and a model with them, come to the same classes."
)
EXAMPLES = """examples:
  ldx analyse found/points.json --output measures                           what `ldx detect --to json` wrote
  ldx analyse xrays/*.png --model ceph_small.ldx --output measures          finds the points first
  ldx analyse --annotations ~/isbi2015 --part test --output agreement       the two doctors against each other
  ldx analyse --annotations ~/isbi2015 --points found/points.json --output agreement     and a model with them

FOLDER holds measures.csv, measures.json and tracings/NAME.png, or agreement.csv and agreement.json.
For research: not a medical device.
"""


FEW = 3
"""Of so many images each has a table of its own; of more the classes are counted."""
NAMED = 10
"""Images that are unlike the training images and named on the terminal; measures.csv has all."""

POINTS_JSON = "points.json"

_OWN = ("input", "output", "overwrite")
_OF_MEASURES = ("facing", "no_tracings", "spacing")
_OF_AGREEMENT = ("annotations", "part", "points")


def run_analyse(arguments: list[str]) -> int:
    """Analyse points, images or annotations; return 0, or 1 where an image could not be analysed.

    ``arguments`` are those behind ``ldx analyse``. Raises UserError for what cannot be used at all.
    """
    options = _parse(arguments)
    folder = Path(options.output)
    if options.annotations:
        return _agreement(options, folder)
    from landmark_diffusion.studies.cephalometry.writer import MeasuresWriter

    writer = MeasuresWriter(folder, options.facing, not options.no_tracings)
    if options.model is None:
        total = _from_points(options, writer)
        unread = 0
    else:
        total, unread = _from_images(options, writer)
    return _tell(writer, total, unread)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("analyse", DESCRIPTION, EXAMPLES)
    words = "one points.json or its folder, or radiographs and folders"
    parser.add_argument("input", nargs="*", metavar="INPUT", help=words)
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--facing", choices=("right", "left"), help="the faces' side; by default found from the points")
    parser.add_argument("--no-tracings", action="store_true", help="leave the pictures out")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    doctors = parser.add_argument_group("the doctors of ISBI 2015")
    doctors.add_argument("--annotations", metavar="ROOT", help="folder of the data set: compare its doctors")
    doctors.add_argument("--part", choices=("train", "test", "all"), help="of the official split; by default all")
    doctors.add_argument("--points", metavar="JSON", help="points of a model, compared with the doctors")
    add_detector_options(parser.add_argument_group("finding points in radiographs"), required=False)  # type: ignore[arg-type]
    options = parser.parse(arguments)
    given = [name for name, value in vars(options).items() if value != parser.get_default(name) and value != []]
    _check(options, given)
    return options


def _check(options: argparse.Namespace, given: Sequence[str]) -> None:
    """Refuse options that do not go together: one that is silently ignored would be taken for done."""

    def refuse(allowed: Iterable[str], why: str) -> None:
        if wrong := [name for name in given if name not in (*_OWN[1:], *allowed)]:
            named = ["INPUT" if name == "input" else f"--{name.replace('_', '-')}" for name in wrong]
            raise UserError(f"{', '.join(named)}: {why}")

    if options.annotations:
        options.points = None if options.points is None else _points_of(options.points)
        refuse(_OF_AGREEMENT, "leave it out: --annotations compares points that are there already")
        return
    if wrong := [f"--{name}" for name in _OF_AGREEMENT if name in given]:
        raise UserError(f"{', '.join(wrong)}: only with --annotations ROOT, the folder of ISBI 2015")
    if not options.input:
        raise UserError("nothing to analyse: give a points.json, radiographs with --model FILE, or --annotations ROOT")
    if options.model is None:
        options.input = [_points_of(each) for each in options.input]
    tables = [each for each in options.input if each.lower().endswith(".json")]
    if options.model is not None and tables:
        raise UserError(f"{tables[0]} holds points already: leave --model out")
    if options.model is None and (len(tables) != 1 or len(options.input) > 1):
        raise UserError(
            f"found {len(options.input)} inputs and no --model: expected one points.json of `ldx detect --to json`, or "
            "radiographs with --model FILE"
        )
    if options.model is None:
        refuse(("input", *_OF_MEASURES), "only with --model FILE, which finds the points in radiographs")


def _points_of(name: str) -> str:
    """The points.json of a folder that `ldx detect` wrote; another name as it is."""
    found = Path(name) / POINTS_JSON
    if not os.path.isdir(name):  # not Path.is_dir, which raises for some names
        return name
    if found.is_file():
        return str(found)
    raise UserError(
        f"{name}: the folder holds no {POINTS_JSON}; write one by `ldx detect ... --to json`, or give --model FILE for "
        "a folder of radiographs"
    )


def _from_points(options: argparse.Namespace, writer: MeasuresWriter) -> int:
    """Analyse the detections of a points.json; returns how many there are."""
    from landmark_diffusion.detection.spacing import OPTION_SPACING
    from landmark_diffusion.detection.writers.points_json_reader import read_points_json

    detections = read_points_json(options.input[0])
    if options.spacing is not None:
        given = {"spacing": options.spacing, "spacing_source": OPTION_SPACING}
        detections = [replace(each, **given) for each in detections]
    _check_names(options.input[0], detections)
    refuse_results([writer], [each.name for each in detections], options.overwrite)
    make_folder(writer.folder)
    with progress(len(detections), "analyse") as advance:
        for each in detections:
            writer.add(each)
            advance(each.name)
    for path in writer.close():
        print(f"wrote {path}")
    return len(detections)


def _from_images(options: argparse.Namespace, writer: MeasuresWriter) -> tuple[int, int]:
    """Find the points of radiographs and analyse them; returns how many there are, and how many could not be read."""
    paths = find_images(options.input, False, writer.folder, lambda line: print(f"analyse: {line}", flush=True))
    names = short_names(paths)
    refuse_results([writer], names, options.overwrite)
    detector = load_detector(options)
    make_folder(writer.folder)
    return len(paths), len(detect_files(detector, paths, names, [writer], options))


def _check_names(source: str, detections: Sequence[Detection]) -> None:
    """Refuse names that are no files' names of their own: the file may have been written by hand."""
    if not detections:
        raise UserError(f"{source}: found no image in it")
    names = [each.name for each in detections]
    if odd := [name for name in names if name in ("", ".", "..") or set(name) & set("/\\\0")]:
        raise UserError(f"{source}: found the image name {odd[0]!r}, expected one that can name a file")


def _tell(writer: MeasuresWriter, total: int, unread: int) -> int:
    """Print the measures of few images or the classes of many, and what went wrong; returns the exit status."""
    from landmark_diffusion.studies.cephalometry.tables import counts_grid, image_grid, legible

    found = writer.analyses
    usable = {name: each for name, each in found.items() if name not in writer.unlike}
    if len(found) <= FEW:
        _print([image_grid(*each) for each in found.items()])
    elif usable:
        _print([counts_grid(usable)])
    lines = [f"warning: {each}" for each in writer.warnings]
    lines += [f"error: {name}: {error}" for name, error in writer.failures.items()]
    failed, doubtful = unread + len(writer.failures), len(writer.doubtful)
    if failed:
        lines.append(f"{failed} of {total} images have no measures")
    if doubtful:
        lines.append(f"{doubtful} of {total} images have measures or points that no head has")
    if writer.look_at:
        lines.append(_doubtful_words(writer.look_at, total))
    if writer.unlike:
        lines.append(_unlike_words(writer.unlike, total))
    if len(usable) < total:
        print(
            f"analyse: {counted(total, 'image')}: {len(usable) - doubtful} analysed, {doubtful} with warnings, "
            f"{len(writer.unlike)} unlike the training images, {failed} without measures",
            flush=True,
        )  # fmt: skip
    for line in lines:
        print(legible(line), file=sys.stderr, flush=True)
    return 1 if failed or doubtful else 0


def _doubtful_words(look_at: Mapping[str, Sequence[str]], total: int) -> str:
    named = [f"{name} ({', '.join(landmarks)})" for name, landmarks in look_at.items()]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return (
        f"{len(look_at)} of {counted(total, 'image')} {'has' if len(look_at) == 1 else 'have'} measures that rest on "
        f"doubtful points, look at these: {'; '.join(named[:NAMED])}{more}"
    )


def _unlike_words(unlike: Mapping[str, str], total: int) -> str:
    named = [name if reason == "unknown" else f"{name} ({reason})" for name, reason in unlike.items()]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return (
        f"{len(unlike)} of {total} images are unlike those that the model was calibrated on: they have no classes and "
        f"count nowhere: {', '.join(named[:NAMED])}{more}"
    )


def _agreement(options: argparse.Namespace, folder: Path) -> int:
    from landmark_diffusion.detection.writers.points_json_reader import read_points_json
    from landmark_diffusion.studies.cephalometry.observers import pairs, read_doctors, with_model
    from landmark_diffusion.studies.cephalometry.tables import (
        AGREEMENT_CSV,
        AGREEMENT_JSON,
        agreement_grids,
        write_agreement,
    )

    for name in (AGREEMENT_CSV, AGREEMENT_JSON):
        refuse_existing(folder / name, options.overwrite, "--output")
    part = options.part or "all"
    samples, observers = read_doctors(options.annotations, part)
    detections = None if options.points is None else read_points_json(options.points)
    model = None
    if detections is not None:
        observers = with_model(observers, samples, detections)
        model = detections[0].model
    for doubt in observers.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    rows = observers.compare(pairs(observers))
    ids = observers.image_ids
    above = [
        f"{counted(len(ids), 'image')}, {ids[0]} to {ids[-1]}" + (f"; model: {model}" if model else ""),
        "in brackets 95 % intervals over images; shift: mean of second less first",
    ]
    _print(agreement_grids(rows, f"Agreement on classes, ISBI 2015, part {part}", above))
    facts = {"format": "landmark_diffusion agreement", "version": 1, "dataset": "isbi2015", "part": part,
             "images": list(ids), "model": model}  # fmt: skip
    with writing(folder):
        print(f"wrote {', '.join(map(str, write_agreement(folder, rows, facts)))}")
    return 0


def _print(grids: Iterable[Grid]) -> None:
    for grid in grids:
        grid.show()
        print()
