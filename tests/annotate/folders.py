"""Folders of phantoms, and servers of them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from landmark_diffusion.annotate.app import annotation_app
from landmark_diffusion.annotate.images import FolderImages
from landmark_diffusion.annotate.opening import choose_table
from landmark_diffusion.annotate.session import Session
from landmark_diffusion.annotate.store import Store
from landmark_diffusion.annotate.table import MarksTable
from landmark_diffusion.data.labels.label_set import Mark
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.web.access import Access, make_token
from landmark_diffusion.web.sockets import LOOPBACK, LOOPBACK_NAMES, address, listen
from tests.web.processes import started

SIZE = (387, 480)
NINETEEN = tuple(f"landmark {letter}" for letter in "ABCDEFGHIJKLMNOPQRS")


@cache
def _picture(number: int, size: tuple[int, int]) -> bytes:
    dataset = PhantomDataset((0, 0, number + 1), size)
    buffer = BytesIO()
    Image.fromarray(dataset.load_image(dataset.samples("test")[number])).save(buffer, "PNG")
    return buffer.getvalue()


def phantoms(folder: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """Write phantom_test_000000.png and so on; returns the folder."""
    for number in range(count):
        (folder / f"phantom_test_{number:06d}.png").write_bytes(_picture(number, size))
    return folder


def places(count: int = 19, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Places for landmarks (N, 2) px, not on whole pixels, none near another."""
    columns = 5
    across, down = np.arange(count) % columns, np.arange(count) // columns
    return np.stack([size[0] * (0.13 + 0.18 * across) + 0.25, size[1] * (0.15 + 0.2 * down) + 0.4], -1)


def marks_of(path: Path, image: str, annotator: str = "annotator") -> dict[str, Mark]:
    """Marks of one image as the table on disk has them."""
    found = MarksTable.read(path).marks() if path.exists() else {}
    return {key.landmark: mark for key, mark in found.items() if (key.image, key.annotator) == (image, annotator)}


@contextmanager
def annotating(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``ldx annotate`` of a folder in a process of its own; gives it and the address with its token."""
    command = ["-m", "landmark_diffusion", "annotate", str(folder), *options]
    with started(command, folder.parent) as found:
        yield found


@contextmanager
def served(session: Session) -> Iterator[str]:
    """Serve a session from a thread of this process; gives the address with its token."""
    access = Access(make_token(), LOOPBACK_NAMES)
    config = uvicorn.Config(annotation_app(session, access), lifespan="off", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    with listen(LOOPBACK, 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"{address(listening)}/?token={access.token}"
        finally:
            server.should_exit = True
            thread.join()
            session.close()


def open_session(
    folder: Path, annotator: str = "annotator", names: Sequence[str] = NINETEEN, **options: Any
) -> Session:
    """What ``ldx annotate`` makes of a folder."""
    images = FolderImages(folder, print)
    choice = choose_table(folder, None)
    store = Store(choice.path, choice.content(), names)
    images.take_names(store.images())
    return Session(images, store, annotator, **options)
