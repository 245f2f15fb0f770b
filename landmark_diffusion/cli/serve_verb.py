"""``ldx serve --model FILE``: landmarks for other programs, by HTTP."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.detect_verb import add_model_options, describe, load_model, model_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted, words

if TYPE_CHECKING:
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.service.desk import Views
    from landmark_diffusion.service.limits import Limits
    from landmark_diffusion.web.access import Access

DESCRIPTION = (
    "Find landmarks for other programs: an image is sent by HTTP (PNG, JPEG, BMP, TIFF, DICOM), and points.json of "
    "`ldx detect` comes back. Nothing is kept. For research, not a medical device."
)
EXAMPLES = """examples:
  ldx serve --model ceph.ldx
  curl --data-binary @radiograph.png 'http://127.0.0.1:8710/v1/detect?spacing=0.1'
  ldx serve --model ceph.ldx --host 0.0.0.0 --token_file token.txt

/docs is a page of what can be asked, /openapi.json the same for programs. By default only programs on this computer
reach it, and no token is asked for. With another --host one is: of --token_file, --token or the variable LDX_TOKEN,
else one is made and printed. It goes over the network as it is, and so do the images: put a proxy with TLS in front
there. Ctrl-C or SIGTERM stops it once what is being answered is done.
"""
PORT = 8710
TOKEN_VARIABLE, TOKEN_FILE_VARIABLE = "LDX_TOKEN", "LDX_TOKEN_FILE"


def run_serve(arguments: list[str]) -> int:
    """Answer until a signal; ``arguments`` are those behind ``ldx serve``.

    Raises UserError for options, a model or an address that cannot be used, KeyboardInterrupt after Ctrl-C, and
    SystemExit with 143 after SIGTERM.
    """
    options = _parse(arguments)
    from landmark_diffusion.web.extra import need_server

    need_server("serve")
    from landmark_diffusion.service.limits import Limits
    from landmark_diffusion.web.sockets import listen

    names = ("max_bytes", "max_pixels", "timeout", "decode_timeout", "workers", "readers", "queue")
    limits = Limits(**{name: getattr(options, name) for name in names})
    token = _token(options)
    with listen(options.host, options.port) as listening:
        _serve(options, limits, listening, token)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("serve", DESCRIPTION, EXAMPLES)
    add_model_options(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="where to listen: 127.0.0.1 (default) for this computer alone, 0.0.0.0 for every network that it is in",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0: one that is free, which is printed")
    parser.add_argument("--token", help=f"what every request has to bring; or the variable {TOKEN_VARIABLE}")
    parser.add_argument(
        "--token_file", metavar="FILE",
        help=f"the same, from the first line of a file; or its name in {TOKEN_FILE_VARIABLE}",
    )  # fmt: skip
    parser.add_argument(
        "--allow_hosts", metavar="NAMES",
        help="further names, with commas, by which requests may come; with another --host by default any",
    )  # fmt: skip
    parser.add_argument(
        "--to", metavar="FORMS", help="forms that may be asked for, the usual one first; by default all"
    )
    parser.add_argument("--max_bytes", type=int, default=64 * 2**20, metavar="B", help="of an image's file (64 MiB)")
    parser.add_argument("--max_pixels", type=int, default=50_000_000, metavar="N", help="of an image (50,000,000)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to an answer (60)")
    parser.add_argument(
        "--decode_timeout", type=float, default=30.0, metavar="S", help="seconds to decode an image (30)"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="K",
        help="images in which landmarks are looked for at once, which divide torch's threads (1: as `ldx detect`)",
    )  # fmt: skip
    parser.add_argument("--readers", type=int, default=2, metavar="K", help="processes that decode images (2)")
    parser.add_argument("--queue", type=int, default=32, metavar="K", help="images that may wait (32)")
    return parser.parse(arguments)


def _token(options: argparse.Namespace) -> str | None:
    from landmark_diffusion.web.access import check_token, read_token

    if options.token is not None and options.token_file is not None:
        raise UserError("--token and --token_file: found both, expected one of them")
    if options.token_file is not None:
        return read_token(Path(options.token_file), "--token_file")
    if options.token is not None:
        return check_token(options.token, "--token")
    given = os.environ.pop(TOKEN_VARIABLE, "")  # taken out, so that no process that is started inherits it
    if given:
        return check_token(given, TOKEN_VARIABLE)
    file = os.environ.get(TOKEN_FILE_VARIABLE)
    return read_token(Path(file), TOKEN_FILE_VARIABLE) if file else None


def _serve(options: argparse.Namespace, limits: Limits, listening: socket.socket, token: str | None) -> None:
    from landmark_diffusion.cli.entry import debugging
    from landmark_diffusion.service.application import service_app, told_on_stderr
    from landmark_diffusion.service.desk import Desk
    from landmark_diffusion.service.forms import load_forms
    from landmark_diffusion.web.running import serve
    from landmark_diffusion.web.sockets import address, seen_from_elsewhere

    forms = load_forms(None if options.to is None else words(options.to))
    if not forms:
        raise UserError(f"--to: found {options.to!r}, expected one form or several, such as json,csv")
    access, made = _access(options, listening, token)
    views = [_views(options, first=place == 0) for place in range(limits.workers)]
    detector = views[0][options.orientation]
    print(f"serve: {describe(detector)}", flush=True)

    def ready() -> None:
        where = address(listening)
        told = f"?token={access.token}" if made else ""
        print(f"serve: answers at {where}/v1/detect; what can be asked is at {where}/docs{told}", flush=True)
        if made:
            print(f"serve: the token of this run is {access.token}", flush=True)
        if (elsewhere := seen_from_elsewhere(listening)) is not None:
            print(f"serve: other computers ask {elsewhere}/v1/detect, or this computer's address in it", flush=True)

    desk = Desk(views, forms, limits, _threads(limits.workers))
    try:
        serve(service_app(desk, detector, options.orientation, access, told_on_stderr(debugging())), listening, ready)
    finally:
        desk.close()
        verb = "was" if desk.answered == 1 else "were"
        print(f"serve: stopped; {counted(desk.answered, 'image')} {verb} answered", flush=True)


def _access(options: argparse.Namespace, listening: socket.socket, token: str | None) -> tuple[Access, bool]:
    """Who may ask, and whether a token had to be made."""
    from landmark_diffusion.service.application import HEALTH
    from landmark_diffusion.web.access import Access, make_token
    from landmark_diffusion.web.sockets import LOOPBACK_NAMES, is_loopback

    inside, more = is_loopback(listening), {each.lower() for each in words(options.allow_hosts or "")}
    made = token is None and not inside
    hosts = LOOPBACK_NAMES | {options.host.lower()} | more if inside or more else None
    return Access(make_token() if made else token, hosts, frozenset({HEALTH})), made


def _views(options: argparse.Namespace, first: bool) -> Views:
    """One model, by what it does with orientations: another request may ask for the other."""
    from landmark_diffusion.detection.detector import ORIENTATIONS, Detector
    from landmark_diffusion.detection.model import load_module

    if first:
        loaded: Detector = load_model(options)  # warns of options that are not used
        module, facts = loaded.module, loaded.facts
    else:
        module, facts = load_module(options.model)
    kept = {key: value for key, value in model_options(options).items() if key != "orientation"}
    name = Path(options.model).name or Path(options.model).resolve().name  # of a folder for a hub, which may be "."
    return {each: Detector(module, facts, name, orientation=each, **kept) for each in ORIENTATIONS}  # type: ignore[arg-type]


def _threads(workers: int) -> int | None:
    """Threads of torch in each of several workers; None: as they are, so that one gives the points of `ldx detect`."""
    import torch

    return None if workers == 1 else max(1, torch.get_num_threads() // workers)
