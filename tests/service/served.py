"""A service of a tiny model in this process, and images that keep a decoder busy."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from landmark_diffusion.detection.detector import ORIENTATIONS, Detector
from landmark_diffusion.service.application import HEALTH, service_app
from landmark_diffusion.service.desk import Desk
from landmark_diffusion.service.forms import load_forms
from landmark_diffusion.service.limits import Limits
from landmark_diffusion.web.access import Access
from landmark_diffusion.web.sockets import LOOPBACK_NAMES

SMALL = Limits(max_bytes=4 * 2**20, max_pixels=2_000_000)
AS_DETECT = Limits(max_bytes=4 * 2**20, max_pixels=int(Image.MAX_IMAGE_PIXELS or 0))
"""With as many pixels as ``ldx detect`` reads, whose words for more name the number."""


@contextmanager
def desk_of(model: Path, limits: Limits = SMALL) -> Iterator[Desk]:
    """A desk of a model file."""
    views = [{each: Detector.load(model, orientation=each) for each in ORIENTATIONS} for _ in range(limits.workers)]
    desk = Desk(views, load_forms(None), limits)
    try:
        yield desk
    finally:
        desk.close()


@contextmanager
def client_of(desk: Desk, model: Path, token: str | None = None, told: list[Any] | None = None) -> Iterator[TestClient]:
    """A client of a service; ``told`` gets its faults."""
    heard = [] if told is None else told
    access = Access(token, LOOPBACK_NAMES, frozenset({HEALTH}))
    app = service_app(desk, Detector.load(model), "auto", access, lambda request, error: heard.append((request, error)))
    with TestClient(app, base_url="http://127.0.0.1:8710") as client:
        yield client


def with_limits(**changes: Any) -> Limits:
    """The small limits, changed."""
    return replace(SMALL, **changes)


def slow_jpeg(side: int = 1408, scans: int = 20_000) -> bytes:
    """200 kB of JPEG that take minutes to decode: a progressive one whose last scan comes again and again."""
    grey = np.full((side, side), 90, np.uint8)
    grey[: side // 2, : side // 2] = 160
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", progressive=True, quality=20)
    content = buffer.getvalue()
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * scans + content[-2:]
