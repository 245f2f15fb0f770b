"""``ldx detect IMAGES... --model FILE``: landmarks of any radiographs, in the forms that people use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.arguments import VerbParser, spacing_option
from landmark_diffusion.cli.progress import progress
from landmark_diffusion.configuration.repeated import warn_user
from landmark_diffusion.core.errors import UserError, print_error
from landmark_diffusion.core.texts import words
from landmark_diffusion.detection.batch import detect_all, make_folder, refuse_existing
from landmark_diffusion.detection.forms import WRITERS, make_writers
from landmark_diffusion.detection.inputs import find_images
from landmark_diffusion.detection.names import short_names
from landmark_diffusion.hardware.memory import detection_memory_message, explain_out_of_memory

if TYPE_CHECKING:
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.detection.writer import Writer

DESCRIPTION = (
    "Find the landmarks of radiographs (PNG, JPEG, BMP, TIFF, DICOM) with an exported model: points in the pixels of "
    "each image, in mm where the spacing is known, and how far to trust them. For research, not a medical device."
)
EXAMPLES = """examples:
  ldx detect radiograph.dcm --model ceph.ldx
  ldx detect images/ 'more/*.png' --model ceph.ldx --spacing 0.1 --to csv,overlay,html --output results
  ldx detect images/ --model ceph.ldx --fast

Nothing is overwritten without --overwrite. A file that cannot be used is named and left out; the others are finished,
and the exit status is 1 then. Images that are unlike those of the model's calibration are told and counted at the end,
and marked in the results; they do not change the exit status, since one ordinary image in a hundred is called so. Nor
do doubtful points and landmarks that are not in their image, which a model that can tell of these counts there too.
"""
OUTPUT = "detections"


def run_detect(arguments: list[str]) -> int:
    """Find landmarks; return 0, or 1 where a file could not be used. ``arguments`` are those behind ``ldx detect``.

    Raises UserError for options, a model or a place for results that cannot be used: then nothing was written.
    """
    options = _parse(arguments)
    from landmark_diffusion.detection.tally import Tally

    folder = Path(options.output)
    paths = find_images(options.images, options.recursive, folder, lambda line: print(f"detect: {line}", flush=True))
    names = short_names(paths)
    forms = words(options.to)
    if not forms:
        raise UserError(f"--to: found {options.to!r}, expected one or several of {', '.join(WRITERS.names())}")
    writers = make_writers(forms, folder)
    refuse_existing(writers, names, options.overwrite)
    detector = load_detector(options)
    make_folder(folder)
    print(f"detect: {describe(detector)}", flush=True)
    tally = Tally(folder)
    failed = detect_files(detector, paths, names, [*writers, tally], options)
    print(f"detect: {tally.summary(len(failed))}", flush=True)
    if failed:
        print(f"detect: {len(failed)} of {len(paths)} files could not be used", file=sys.stderr, flush=True)
    for warning in tally.warnings():
        print(f"detect: {warning}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def detect_files(
    detector: Detector, paths: Sequence[Path], names: Sequence[str], writers: Sequence[Writer],
    options: argparse.Namespace,
) -> list[Path]:  # fmt: skip
    """Run all files with a bar, naming those that cannot be used, which are returned.

    Raises UserError where the memory does not suffice.
    """

    def message(error: BaseException) -> str:
        return detection_memory_message(error, options.batch_size, str(detector.device))

    with explain_out_of_memory(message), progress(len(paths), "detect") as advance:
        return detect_all(
            detector, paths, names, writers, spacing=options.spacing, batch_size=options.batch_size,
            tell=lambda error: print_error(UserError(" ".join(str(error).split()))), advance=advance,
        )  # fmt: skip


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("detect", DESCRIPTION, EXAMPLES)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders, patterns such as 'x/*.png'")
    add_detector_options(parser)
    parser.add_argument("--output", default=OUTPUT, metavar="FOLDER", help=f"results' folder, by default {OUTPUT}/")
    parser.add_argument(
        "--to", default="csv,json,overlay", metavar="FORMS",
        help="csv, json, overlay (PNG), slicer (3D Slicer), html, dicom-sr, and to correct in tools: coco, labelme, "
        "cvat, label-studio; several with commas",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace results that are in the folder already")
    parser.add_argument("--recursive", action="store_true", help="look into the sub-folders of folders")
    return parser.parse(arguments)


def add_detector_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add what decides how landmarks are found in files: the model and its sampling, the spacing, the batch."""
    add_model_options(parser, required)
    parser.add_argument(
        "--spacing", type=spacing_option, metavar="MM[,MM]",
        help="mm per pixel, one value or two for x and y; goes before that of a DICOM file",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images at once (default 4)")


def add_model_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add what decides how landmarks are found: the model and its sampling."""
    parser.add_argument(
        "--model", required=required, metavar="FILE.ldx", help="model file of `ldx export`, or its --hub folder"
    )  # fmt: skip
    parser.add_argument("--fast", action="store_true", help="the fewest network evaluations that are nearly as good")
    parser.add_argument("--steps", type=int, metavar="K", help="network evaluations an image; by default the model's")
    parser.add_argument("--samples", type=int, metavar="K", help="sampled chains an image; by default the model's")
    parser.add_argument("--decoder", help="how maps become points; by default the model's")
    parser.add_argument("--spread", default="both", help="the spread is read from: heatmap, samples or both (default)")
    parser.add_argument("--level", type=float, help="stated coverage of the regions (default 0.9)")
    parser.add_argument("--seed", type=int, help="of sampled chains; by default the model's")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; by default a GPU where there is one")
    parser.add_argument(
        "--orientation", choices=("auto", "as-is"), default="auto",
        help="auto (default): a model that has learned to recognises mirrored, turned and negative images; as-is: none "
        "is changed",
    )  # fmt: skip


def load_detector(options: argparse.Namespace) -> Detector:
    """Load the model with the options of ``add_detector_options``."""
    if options.batch_size < 1:
        raise UserError(f"--batch-size: found {options.batch_size}, expected at least 1")
    return load_model(options)


def load_model(options: argparse.Namespace) -> Detector:
    """Load the model with the options of ``add_model_options``; warns of those that are not used."""
    from landmark_diffusion.detection.detector import Detector

    detector = Detector.load(options.model, **model_options(options))
    if options.fast and options.steps is not None:
        warn_user("--fast gives way to --steps")
    if options.level is not None and detector.calibration is None:
        warn_user("--level is not used: without a calibration there are no regions (`ldx calibrate` makes one)")
    return detector


def model_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of ``add_model_options`` as ``Detector`` takes them."""
    names = ("fast", "steps", "samples", "decoder", "spread", "level", "seed", "device", "orientation")
    return {name: getattr(options, name) for name in names}


def describe(detector: Detector) -> str:
    """Say in one line what looks at the images, and whether its regions are calibrated."""
    settings = ", ".join(f"{key} {value}" for key, value in detector.settings.items() if key != "variant")
    if detector.calibration is None:
        why = "for these settings" if detector.facts.calibration else "yet: `ldx calibrate` does it"
        return f"{detector.model} ({settings}); not calibrated {why}, so there are no regions"
    share = f"regions hold {100 * detector.level:g} % of the points"
    return f"{detector.model} ({settings}); {share} of images like the calibration's"
