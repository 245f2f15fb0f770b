"""``ldx detect IMAGES... --model FILE``: landmarks of any radiographs, in the forms that people use."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from landmark_diffusion.cli.suggestions import did_you_mean
from landmark_diffusion.errors import UserError

if TYPE_CHECKING:
    from landmark_diffusion.data.radiograph import Radiograph
    from landmark_diffusion.prediction.detector import Detector
    from landmark_diffusion.prediction.writers.base import Writer

DESCRIPTION = (
    "Find the landmarks of radiographs (PNG, JPEG, BMP, TIFF, DICOM) with an exported model: points in the pixels of "
    "each image, in mm where the spacing is known, and how far to trust them. For research, not a medical device."
)
EXAMPLES = """examples:
  ldx detect radiograph.dcm --model ceph.ldx
  ldx detect images/ 'more/*.png' --model ceph.ldx --spacing 0.1 --to csv,overlay,html --output results
  ldx detect images/ --model ceph.ldx --fast

Nothing is overwritten without --overwrite. A file that cannot be used is named and left out; the others are finished,
and the exit status is 1 then.
"""
OUTPUT = "detections"


class _Parser(argparse.ArgumentParser):
    """Say what is wrong in one line, where argparse would print its whole usage first and end the process."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; `{self.prog} --help` lists all options")


def run_detect(arguments: list[str]) -> int:
    """Find landmarks; return 0, or 1 where a file could not be used. ``arguments`` are those behind ``ldx detect``.

    Raises UserError for options, a model or a place for results that cannot be used: then nothing was written.
    """
    options = parse(arguments)
    from landmark_diffusion.prediction.inputs import find_images, short_names
    from landmark_diffusion.prediction.writers import WRITERS, make_writers

    paths = find_images(options.images, options.recursive)
    names = short_names(paths)
    folder = Path(options.output)
    forms = _words(options.to)
    if not forms:
        raise UserError(f"--to: found {options.to!r}, expected one or several of {', '.join(WRITERS)}")
    writers = make_writers(forms, folder)
    refuse_existing(writers, names, options.overwrite)
    detector = load_detector(options)
    _make_folder(folder)
    print(f"detect: {describe(detector)}", flush=True)
    failed = _detect_all(detector, paths, names, options, writers)
    if failed:
        print(f"detect: {len(failed)} of {len(paths)} files could not be used", file=sys.stderr, flush=True)
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options; an unknown one raises UserError with the nearest known."""
    parser = _Parser(
        prog="ldx detect", description=DESCRIPTION, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders, patterns such as 'x/*.png'")
    add_detector_options(parser)
    parser.add_argument("--output", default=OUTPUT, metavar="FOLDER", help=f"results' folder, by default {OUTPUT}/")
    parser.add_argument(
        "--to", default="csv,json,overlay", metavar="FORMS",
        help="csv, json, overlay (PNG), slicer (3D Slicer), html, dicom-sr; several with commas",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace results that are in the folder already")
    parser.add_argument("--recursive", action="store_true", help="look into the sub-folders of folders")
    found, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        hint = did_you_mean(unknown[0].partition("=")[0], known)
        raise UserError(f"ldx detect: unknown option {unknown[0]!r}.{hint} `ldx detect --help` lists all.")
    return found


def add_detector_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add what decides how landmarks are found: the model and its sampling."""
    parser.add_argument("--model", required=required, metavar="FILE.ldx", help="model file of `ldx export`")
    parser.add_argument(
        "--spacing", type=float, nargs="+", metavar="MM",
        help="mm per pixel, one value or two (x y); goes before that of a DICOM file",
    )  # fmt: skip
    parser.add_argument("--fast", action="store_true", help="the fewest network evaluations that are nearly as good")
    parser.add_argument("--steps", type=int, metavar="K", help="network evaluations an image; by default the model's")
    parser.add_argument("--samples", type=int, metavar="K", help="sampled chains an image; by default the model's")
    parser.add_argument("--decoder", help="how maps become points; by default the model's")
    parser.add_argument("--spread", default="both", help="the spread is read from: heatmap, samples or both (default)")
    parser.add_argument("--level", type=float, default=0.9, help="stated coverage of the regions (default 0.9)")
    parser.add_argument("--seed", type=int, help="of sampled chains; by default the model's")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; by default a GPU where there is one")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images at once (default 4)")


def load_detector(options: argparse.Namespace) -> Detector:
    """Load the model with the options of ``add_detector_options``."""
    from landmark_diffusion.prediction.detector import Detector, check_spacing

    if options.batch_size < 1:
        raise UserError(f"--batch-size: found {options.batch_size}, expected at least 1")
    if options.spacing is not None:
        check_spacing(options.spacing)
    names = ("fast", "steps", "samples", "decoder", "spread", "level", "seed", "device")
    return Detector.load(options.model, **{name: getattr(options, name) for name in names})


def describe(detector: Detector) -> str:
    """Say in one line what looks at the images, and whether its regions are calibrated."""
    settings = ", ".join(f"{key} {value}" for key, value in detector.settings.items() if key != "variant")
    if detector.calibration is None:
        why = "for these settings" if detector.facts.calibration else "yet: `ldx calibrate` does it"
        return f"{detector.model} ({settings}); not calibrated {why}, so there are no regions"
    return f"{detector.model} ({settings}); regions hold {100 * detector.level:g} % of the points"


def refuse_existing(writers: Sequence[Writer], names: Sequence[str], overwrite: bool) -> None:
    """Raise UserError where results would be overwritten, before anything is run."""
    # not Path.exists, which raises where a folder may not be looked into: _make_folder says that better
    there = [path for writer in writers for path in writer.targets(names) if os.path.exists(path)]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UserError(
            f"{there[0]}{more} exist already and were left as they are; name another --output, or give --overwrite"
        )


def _make_folder(folder: Path) -> None:
    from landmark_diffusion.data.image_io import one_line

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"--output {folder}: cannot be written to ({one_line(error)}); name another folder") from error


def _detect_all(
    detector: Detector, paths: Sequence[Path], names: Sequence[str], options: argparse.Namespace,
    writers: Sequence[Writer],
) -> list[Path]:  # fmt: skip
    """Run all files in batches and hand each detection to the writers; returns the files that could not be used.

    What was found is written out also where the work is interrupted.
    """
    failed: list[Path] = []
    try:
        with progress(len(paths)) as advance:
            for start in range(0, len(paths), options.batch_size):
                batch = slice(start, start + options.batch_size)
                failed += _detect_batch(detector, paths[batch], names[batch], options.spacing, writers, advance)
    finally:
        _close_all(writers)
    return failed


def _close_all(writers: Sequence[Writer]) -> None:
    """Close the writers, and raise the first error after that: one that fails must not cost the others' results."""
    errors: list[UserError] = []
    for writer in writers:
        try:
            for path in writer.close():
                print(f"wrote {path}", flush=True)
        except UserError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _detect_batch(
    detector: Detector, paths: Sequence[Path], names: Sequence[str], spacing: Any, writers: Sequence[Writer],
    advance: Callable[[str], None],
) -> list[Path]:  # fmt: skip
    from landmark_diffusion.cli.entry import print_error
    from landmark_diffusion.data.radiograph import read_radiograph

    failed: list[Path] = []
    whole: list[tuple[Radiograph, str, str]] = []
    for path, name in zip(paths, names, strict=True):
        try:
            whole.append((read_radiograph(path), str(path), name))
        except UserError as error:
            print_error(error)
            failed.append(path)
    if whole:
        radiographs, texts, short = (list(column) for column in zip(*whole, strict=True))
        for detection in detector.detect(radiographs, texts, short, spacing):  # type: ignore[arg-type]
            for writer in writers:
                writer.add(detection)
    for path in paths:
        advance(path.name)
    return failed


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on a terminal; in a file or pipe, where it would leave rubbish, nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("detect", total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=name[:40])

        yield advance


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
