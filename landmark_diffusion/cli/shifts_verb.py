"""``ldx shifts MODEL.ldx``: what is left of a model on the same images as other devices would have made them."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.model_data import model_data_section, where_from
from landmark_diffusion.cli.progress import progress
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted, words
from landmark_diffusion.data.shifts import FAMILIES, SUITE_VERSION, check_family
from landmark_diffusion.hardware.memory import detection_memory_message, explain_out_of_memory

if TYPE_CHECKING:
    from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.studies.shifts.files import ShiftFolder
    from landmark_diffusion.studies.shifts.judge import FamilyErrors

DESCRIPTION = (
    "Give a model the same labelled images as other devices would have made them - other films, filters, frames, "
    "angles, marks, noise - and tell what is left: errors, coverage of its regions, images called unlike."
)
EXAMPLES = """examples:
  ldx shifts ceph.ldx --data.root ~/isbi2015 --data.split development --part val
  ldx shifts ceph.ldx --data.root ~/isbi2015 --part test --families turn,zoom,negative --output turned
  ldx shifts --list

Always on all images of the part. Each family is written as it is finished; the same command goes on where it was
stopped, and adds families that are named anew. The folder holds numbers and image ids alone, no picture of an image.
"""
PARTS = ("val", "test")


def run_shifts(arguments: list[str]) -> int:
    """Measure a model under all families and return 0. ``arguments`` are those behind ``ldx shifts``.

    Raises UserError for options, files and data that cannot be used: then nothing was measured.
    """
    options = _parse(arguments)
    if options.list:
        from landmark_diffusion.studies.shifts.table import families_grid

        families_grid().show()
        return 0
    families = _families(options.families)
    from landmark_diffusion.detection.batch import make_folder
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.studies.calibrate.material import labelled_images, seen_in_training

    path = Path(options.model)
    detector = Detector.load(path, fast=options.fast, device=options.device)
    if options.card:
        from landmark_diffusion.export.card import check_figures

        check_figures(path, detector.facts)  # before hours of measuring
    given = {"dataset": options.dataset, "root": options.root, "split": options.split}
    section = model_data_section(detector.facts, options.config, **given)
    images = labelled_images(section, options.part, landmarks=detector.facts.landmark_names)
    where = f"the {options.part} part of {where_from(section)}"
    if not len(images):
        raise UserError(f"{where} is empty; name another --part or --data.split")
    folder = _folder(options, detector, section, images)
    make_folder(folder.path)
    notes = []
    if seen_in_training(detector.facts, section, images):
        notes.append("the weights were trained on some of these images: on new ones all errors are larger")
    grid = measure(folder, detector, images, families, options, f"{counted(len(images), 'image')} of {where}", notes)
    if options.card:
        from landmark_diffusion.export.card import with_other_devices

        with_other_devices(path, grid)
        print(f"the table is in {path} and its card {path.with_suffix('.md')}")
    return 0


def measure(
    folder: ShiftFolder, detector: Detector, images: LandmarkTorchDataset, families: Sequence[str],
    options: argparse.Namespace, where: str, notes: Sequence[str],
) -> Any:  # fmt: skip
    """Measure what the folder lacks, family by family, show the table of all that it has, and give it."""
    from landmark_diffusion.studies.shifts.files import ERRORS, PICTURE, SUMMARY, TABLE
    from landmark_diffusion.studies.shifts.judge import PLAIN, judge_family

    found = folder.begin(options.overwrite)
    missing = [family for family in (PLAIN, *families) if family not in found]
    if len(found) and missing:
        print(f"shifts: {counted(len(found), 'row')} in {folder.path} are kept", flush=True)

    def message(error: BaseException) -> str:
        return detection_memory_message(error, options.batch_size, str(detector.device))

    with explain_out_of_memory(message), progress(len(missing) * len(images), "shifts") as advance:
        for family in missing:

            def count(family: str = family) -> None:
                advance(family)

            found[family] = judge_family(detector, images, family, options.seed, options.batch_size, count)
            _write(folder, found, images, detector, where, notes)
    grid = _write(folder, found, images, detector, where, notes)
    grid.show()
    print(f"in {folder.path}: {TABLE}, {SUMMARY}, {PICTURE}; {ERRORS} (every family, image and landmark)")
    return grid


def _write(
    folder: ShiftFolder, found: Mapping[str, FamilyErrors], images: LandmarkTorchDataset, detector: Detector,
    where: str, notes: Sequence[str],
) -> Any:  # fmt: skip
    """Write all that is finished, in the suite's order, and give the table."""
    from landmark_diffusion.studies.shifts.figure import shifts_figure
    from landmark_diffusion.studies.shifts.files import PICTURE
    from landmark_diffusion.studies.shifts.judge import PLAIN, study_unit
    from landmark_diffusion.studies.shifts.rows import make_rows
    from landmark_diffusion.studies.shifts.table import shifts_grid

    ordered = {family: found[family] for family in (PLAIN, *FAMILIES) if family in found}
    radius, unit = images.source.radii[0], study_unit(images)
    rows = make_rows(ordered, radius, unit)
    folder.write(ordered, rows, {"unit": unit, "radius": radius, "level": detector.level, "notes": list(notes)})
    settings = ", ".join(f"{name} {value}" for name, value in detector.settings.items() if name != "variant")
    title = f"{detector.model} as other devices would have made the images"
    shifts_figure(folder.path / PICTURE, rows, unit, detector.level, title)
    return shifts_grid(rows, radius, unit, detector.level, (f"{detector.model} ({settings})", where), notes)


def _folder(
    options: argparse.Namespace, detector: Detector, section: dict[str, Any], images: LandmarkTorchDataset
) -> ShiftFolder:
    """Name all that decides the errors."""
    from landmark_diffusion.studies.shifts.files import ShiftFolder

    ids = tuple(images.samples[place].image_id for place in range(len(images)))
    with Path(options.model).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made_of = {
        "model file": digest,
        "settings": {**detector.settings, "seed": detector.seed},
        "data set": section["dataset"],
        "images": list(ids),
        "landmarks": list(images.source.landmark_names),
        "seed": options.seed,
        "suite": SUITE_VERSION,
    }
    folder = Path(options.output or f"shifts_{Path(options.model).stem}")
    return ShiftFolder(folder, made_of, ids, tuple(images.source.landmark_names))


def _families(text: str | None) -> list[str]:
    found = words(text) if text is not None else list(FAMILIES)
    if not found:
        raise UserError(f"--families: found {text!r}, expected one or several of {', '.join(FAMILIES)}")
    for name in found:
        check_family(name, "--families")
    return list(dict.fromkeys(found))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("shifts", DESCRIPTION, EXAMPLES)
    parser.add_argument("model", nargs="?", metavar="FILE.ldx", help="model file of `ldx export`")
    parser.add_argument("--config", "-c", action="append", default=[], help="its data section goes before the file's")
    parser.add_argument("--data.dataset", dest="dataset", metavar="NAME", help="data set; by default the model's")
    parser.add_argument("--data.root", dest="root", metavar="PATH", help="folder of the data set")
    parser.add_argument("--data.split", dest="split", metavar="NAME", help="split; by default the model's")
    parser.add_argument("--part", choices=PARTS, default="test", help="part of the data (default test)")
    parser.add_argument("--families", metavar="A,B", help="some of the families; by default all")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (default 0)")
    parser.add_argument("--fast", action="store_true", help="the fewest network evaluations that are nearly as good")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; by default a GPU where there is one")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images at once (default 4)")
    parser.add_argument("--output", metavar="FOLDER", help="results' folder, by default shifts_NAME of the model")
    parser.add_argument("--overwrite", action="store_true", help="discard results of another model or options")
    parser.add_argument("--card", action="store_true", help="also put the table into the model file and its card")
    parser.add_argument("--list", action="store_true", help="list the families")
    options = parser.parse(arguments)
    if options.model is None and not options.list:
        raise UserError("ldx shifts needs a model file: ldx shifts FILE.ldx --data.root PATH")
    for option, least in (("batch_size", 1), ("seed", 0)):
        if getattr(options, option) < least:
            name = option.replace("_", "-")
            raise UserError(f"--{name}: found {getattr(options, option)}, expected a whole number from {least}")
    return options
