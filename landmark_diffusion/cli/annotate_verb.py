"""``ldx annotate FOLDER``: mark landmarks, and correct those of a model, in a browser page of this computer."""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.core.untrusted import has_control_characters

if TYPE_CHECKING:
    from landmark_diffusion.annotate.opening import TableChoice
    from landmark_diffusion.annotate.session import Session
    from landmark_diffusion.detection.detector import Detector

DESCRIPTION = (
    "Mark landmarks of the radiographs in a folder (PNG, JPEG, BMP, TIFF, DICOM), or correct those that a model finds, "
    "in a page of your browser. It is served to this computer alone. Marks go into one CSV of the folder, each change "
    "at once, which `ldx adapt`, `ldx fit` and `ldx test` read as it is."
)
EXAMPLES = """examples:
  ldx annotate my_xrays --landmarks "nasion,sella,gonion"
  ldx annotate my_xrays --model ceph.ldx --annotator anna
  ldx annotate my_xrays --model ceph.ldx --annotator bo --blind
  ldx annotate my_xrays --model ceph.ldx --suggest
  ldx annotate my_xrays --model mine.ldx --start ceph.ldx

Open the address that is printed; Ctrl-C ends it. Points of several annotators are kept apart, and a training takes
their mean: to correct somebody's points, give their name.
"""
ANNOTATOR, SUGGESTED = "annotator", 10


def run_annotate(arguments: list[str]) -> int:
    """Serve the page until a signal; ``arguments`` are those behind ``ldx annotate``.

    Raises UserError for what cannot be used, SystemExit with 130 after Ctrl-C and 143 after SIGTERM.
    """
    options = _parse(arguments)
    from landmark_diffusion.web.extra import need_server

    need_server("annotate")
    from landmark_diffusion.annotate.opening import choose_table
    from landmark_diffusion.studies.trainings.locks import exclusive
    from landmark_diffusion.web.sockets import LOOPBACK, listen

    root = _folder(options.folder)
    choice = choose_table(root, options.table)
    lock = choice.path.with_name(f".{choice.path.name}.lock")
    with listen(LOOPBACK, options.port) as listening, exclusive(lock, f"{choice.path.name} (ldx annotate)", patience=0):
        _serve(options, root, choice, listening)
    return 0


def _folder(named: str) -> Path:
    """The folder of the images; raises DataError where there is none of this name, or it is a file."""
    path = Path(named).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise DataError(
            f"found a file, expected the folder of the images: ldx annotate {shlex.quote(str(path.parent))}", path
        )
    raise DataError(f"there is no folder of this name (current folder: {Path.cwd()}); name that of the images", path)


def _serve(options: argparse.Namespace, root: Path, choice: TableChoice, listening: socket.socket) -> None:
    from landmark_diffusion.annotate.app import annotation_app
    from landmark_diffusion.web.access import Access, make_token
    from landmark_diffusion.web.running import serve
    from landmark_diffusion.web.sockets import LOOPBACK_NAMES, address

    session = _session(options, root, choice)
    access = Access(make_token(), LOOPBACK_NAMES)

    def ready() -> None:
        where = f"{address(listening)}/?token={access.token}"
        print(f"annotate: open {where}", flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(where)

    try:
        serve(annotation_app(session, access, _tell_fault), listening, ready)
    finally:
        session.close()
        if session.adapting is not None and (said := session.adapting.farewell()):
            _tell(said)
        _tell(f"ended; the marks are in {choice.path}" if choice.path.exists() else "ended; nothing was marked")


def _session(options: argparse.Namespace, root: Path, choice: TableChoice) -> Session:
    from landmark_diffusion.annotate.adapting import Adapting
    from landmark_diffusion.annotate.images import FolderImages
    from landmark_diffusion.annotate.landmarks import landmark_list
    from landmark_diffusion.annotate.session import Session
    from landmark_diffusion.annotate.store import Store

    images = FolderImages(root, _tell)
    table = choice.content()
    if choice.note and not choice.path.exists():
        _tell(choice.note)
    detector = _detector(options)
    known = () if detector is None else detector.facts.landmark_names
    store = Store(choice.path, table, landmark_list(options.landmarks, known, table.landmarks()))
    unknown, twice = images.take_names(store.images())
    for names, what in ((unknown, "no image here, or several"), (twice, "an image that another name means as well")):
        if names:
            more = ", ..." * (len(names) > 3)
            _tell(f"{counted(len(names), 'name')} of {choice.path.name} mean {what}: {', '.join(names[:3])}{more}")
    who = store.spelled(options.annotator)
    if who != options.annotator:
        _tell(f"the table has the annotator {who!r}: {options.annotator!r} goes on as that")
        options.annotator = who
    what = f"{counted(len(images), 'image')} of {root}, {counted(len(store.landmarks), 'landmark')}"
    _tell(f"{what}, as {options.annotator}{', blind' * options.blind}")
    session = Session(images, store, options.annotator, options.blind)
    if detector is not None:
        _add_model(session, detector, Path(options.model))
    if options.suggest is not None:
        _add_suggestions(session, options.suggest)
    shown, start = (None if each is None else Path(each) for each in (options.model, options.start or options.model))
    session.adapting = Adapting(root, choice.path, start, shown)
    return session


def _detector(options: argparse.Namespace) -> Detector | None:
    if options.model is None:
        for name in ("fast", "level", "device"):
            if getattr(options, name):
                raise UserError(f"--{name}: is of a model; give one by --model FILE.ldx")
        return None
    from landmark_diffusion.cli.detect_verb import describe
    from landmark_diffusion.detection.detector import Detector

    detector = Detector.load(options.model, fast=options.fast, level=options.level, device=options.device)
    if not options.blind:
        _tell(describe(detector))
    return detector


def _add_model(session: Session, detector: Detector, path: Path) -> None:
    """Let the model tell where landmarks usually lie, and where they are in each image to who is not blind."""
    from landmark_diffusion.annotate.landmarks import places_of
    from landmark_diffusion.annotate.predictions import Predictor, model_shape
    from landmark_diffusion.annotate.told import model_title

    names = session.landmarks
    unknown = sum(place is None for place in places_of(names, detector.facts.landmark_names))
    if unknown:
        _tell(
            f"{counted(unknown, 'landmark')} of {len(names)} {'is' if unknown == 1 else 'are'} not known to the model"
        )
    session.shape = model_shape(detector, names)
    if not session.blind:
        session.model_title = model_title(path, detector.facts)
        session.predictor = Predictor(detector, session.images.images, names, session.is_finished)
        session.predictor.start()


def _add_suggestions(session: Session, count: int) -> None:
    from landmark_diffusion.annotate.suggesting import Suggester

    marked = set(session.store.images())
    labelled = {place for place, name in enumerate(session.images.table_names) if name in marked}
    session.suggester = Suggester(session.images.images, labelled, count, session.predictor)
    session.suggester.start()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("annotate", DESCRIPTION, EXAMPLES)
    parser.add_argument("folder", metavar="FOLDER", help="folder of the images")
    parser.add_argument(
        "--landmarks", default="", metavar="NAMES",
        help="names with commas, or a file with one a line; default the model's and those of the table",
    )  # fmt: skip
    parser.add_argument("--model", metavar="FILE.ldx", help="model file whose points are shown, to accept or correct")
    parser.add_argument(
        "--start", metavar="FILE.ldx",
        help="model file that learning from the marks begins with (that of --model); to show one that was adapted",
    )  # fmt: skip
    parser.add_argument("--fast", action="store_true", help="the fewest network evaluations that are nearly as good")
    parser.add_argument("--level", type=float, help="stated coverage of the model's regions (default 0.9)")
    parser.add_argument("--device", help="of the model: cpu, cuda or cuda:1; by default a GPU where there is one")
    parser.add_argument(
        "--annotator", default=ANNOTATOR, metavar="NAME", help=f"whose marks are made (default {ANNOTATOR})"
    )
    parser.add_argument(
        "--blind", action="store_true", help="show neither the model's points nor those of other annotators"
    )
    parser.add_argument(
        "--suggest", type=int, nargs="?", const=SUGGESTED, metavar="N",
        help=f"order the images by what to mark next, N of them ({SUGGESTED}), as ldx suggest does",
    )  # fmt: skip
    parser.add_argument(
        "--table", metavar="FILE.csv", help="where marks are written; default the folder's own, or annotations.csv"
    )
    parser.add_argument("--port", type=int, default=0, help="of this computer; default one that is free")
    parser.add_argument("--open", action="store_true", help="open the page in the browser of this computer")
    options = parser.parse(arguments)
    if options.suggest is not None and options.suggest < 1:
        raise UserError(f"--suggest: found {options.suggest}, expected at least 1")
    if options.start is not None:
        _check_start(options.start)
    options.annotator = options.annotator.strip()
    if not options.annotator or has_control_characters(options.annotator) or len(options.annotator) > 100:
        raise UserError(f"--annotator: found {options.annotator!r:.40}, expected a name of at most 100 letters")
    return options


def _check_start(path: str) -> None:
    from landmark_diffusion.modelfile.model_file import read_facts

    try:
        read_facts(path)
    except OSError as error:
        raise UserError(f"--start {path}: cannot be read ({error.strerror or error})") from error


def _tell(line: str) -> None:
    print(f"annotate: {line}", flush=True)


def _tell_fault(request: str, error: Exception) -> None:
    import traceback

    print(f"annotate: {request} failed:", file=sys.stderr)
    traceback.print_exception(error, limit=-4)
