"""The program that decodes strangers' images: a process of its own, with limits, that the service can end.

It gets images at its standard input and gives greys at its standard output (``frames``). It knows neither torch nor the
model, the token or the network. Started as ``python -m landmark_diffusion.service.reader FOLDER ROOT PIXELS BYTES
SERVICE``, the last the number of the service's process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.readers.radiograph import Radiograph, read_radiograph
from landmark_diffusion.service.frames import BrokenFrame, read_frame, write_frame

NAME = "image"
"""Of the file: it has no suffix, so that its content alone tells what it is."""
BASE, PIXEL = 2**30, 48
"""Bytes of address space, and how many more for each pixel (4 for each byte of the file): see ``docs/security.md``."""


def main() -> None:
    """Decode what comes until the input ends; then, where the service has ended, remove what it left."""
    folder, root, pixels, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    answers, orders, service = _private_streams(), sys.stdin.buffer, int(sys.argv[5])  # it may have ended by now
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's, which ends this one
    os.chdir(folder)
    Image.MAX_IMAGE_PIXELS = pixels
    _limit_memory(BASE + PIXEL * pixels + 4 * most)
    import pydicom.pixels  # noqa: F401 - so that the first DICOM file does not wait for it

    try:
        write_frame(answers, {"ready": True})
        while True:
            head, content = read_frame(orders, most)
            _limit_time(float(head["seconds"]))
            write_frame(answers, *_answer(content))
            _limit_time(0)
    except (BrokenFrame, BrokenPipeError):
        pass
    if os.getppid() != service:
        os.chdir("/")
        shutil.rmtree(root, ignore_errors=True)


def _answer(content: bytearray) -> tuple[dict[str, Any], memoryview]:
    """Decode an image; its file is gone by the time that the answer is sent."""
    path = Path(NAME)
    try:
        path.write_bytes(content)
        found = read_radiograph(path)
    except UserError as error:
        return {"error": str(error).removeprefix(f"{NAME}: ")}, memoryview(b"")
    except Exception as error:
        return {"error": f"the image cannot be read ({one_line(error)})"}, memoryview(b"")
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return _described(found), memoryview(found.grey.tobytes())


def _described(found: Radiograph) -> dict[str, Any]:
    return {
        "shape": found.grey.shape, "spacing": found.spacing, "spacing_source": found.spacing_source,
        "notes": found.notes, "bits": found.bits,
    }  # fmt: skip


def _private_streams() -> BinaryIO:
    """Keep the way back for answers alone: decoders' own words go nowhere, as they hold parts of strangers' files."""
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(null, number)
    return answers


def _limit_memory(most: int) -> None:
    """Limit the address space, softly: gdcm's process, which this one starts, sets a limit of its own."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass  # Windows has no such limit, macOS does not keep to it


def _limit_time(seconds: float) -> None:
    """End this process in some seconds, were the service itself gone by then; 0: never."""
    with contextlib.suppress(AttributeError):  # Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
