"""What the service answers at which path."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.plain import plain
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.core.version import version
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.writers.points_json_reader import FORMAT_VERSION
from landmark_diffusion.export.card import model_card
from landmark_diffusion.service.asked import read_query
from landmark_diffusion.service.bodies import FORM_OVERHEAD, Body, Budget
from landmark_diffusion.service.desk import Desk, Unwanted
from landmark_diffusion.service.docs_page import docs_page
from landmark_diffusion.service.openapi import openapi
from landmark_diffusion.web.access import Access
from landmark_diffusion.web.body import BodyLimits
from landmark_diffusion.web.guard import guarded
from landmark_diffusion.web.pages import page
from landmark_diffusion.web.refusal import Refusal

HEALTH = "/v1/health"
"""Answered without the token: it tells nothing but whether the service is ready."""


def service_app(
    desk: Desk, detector: Detector, orientation: str, access: Access,
    tell: Callable[[str, Exception], object] = lambda request, error: None,
) -> ASGIApp:  # fmt: skip
    """Make the application of a desk.

    Args:
        desk: what finds landmarks.
        detector: any of its detectors, for what is said of the model.
        orientation: what is done where a request does not say.
        access: who may ask.
        tell: hears of faults of the service itself: what was asked, and the error.
    """
    service = _Service(desk, detector, orientation)
    routes = [
        Route("/v1/detect", service.detect, methods=["POST"]),
        Route(HEALTH, service.health),
        Route("/v1/version", service.version),
        Route("/v1/model", service.model),
        Route("/openapi.json", service.openapi),
        Route("/docs", service.docs),
        Route("/", service.docs),
    ]
    limits = BodyLimits(desk.limits.max_bytes, desk.limits.timeout, around=FORM_OVERHEAD)
    return guarded(routes, access, limits, tell)


@dataclass
class _Service:
    desk: Desk
    detector: Detector
    orientation: str

    def __post_init__(self) -> None:
        self.budget = Budget(self.desk.limits.held_bytes)

    async def detect(self, request: Request) -> Response:
        """An image to its landmarks."""
        query = request.query_params.multi_items()
        forms = self.desk.forms
        read_query(query, None, forms, self.orientation)  # what is wrong with it is told before the image is sent
        with Body(request, self.budget) as body:
            content, file_name = await body.read()
            asked = read_query(query, file_name, forms, self.orientation)
            if len(content) > self.desk.limits.max_bytes:
                raise Refusal(
                    413, "too_large",
                    f"{asked.name}: found {len(content)} bytes, expected at most {self.desk.limits.max_bytes}",
                )  # fmt: skip
            try:
                answer = await self.desk.answer(content, asked, request.receive)
            except DataError as error:
                raise Refusal(422, "image", str(error)) from error
            except UserError as error:
                raise Refusal(422, "form", str(error)) from error
            except Unwanted:
                raise Refusal(400, "cut", "the client did not wait for the answer") from None
        shown = answer.media_type == "application/json"
        headers = {} if shown else {"content-disposition": f'attachment; filename="{answer.ascii_name}"'}
        return Response(answer.content, headers=headers, media_type=answer.media_type)

    async def health(self, request: Request) -> Response:
        """Whether the service is ready, and whether it would send the next request away."""
        return JSONResponse({"status": "ready", "busy": self.desk.full})

    async def version(self, request: Request) -> Response:
        """Versions of the package, of these paths and of points.json."""
        return JSONResponse({"package": "landmark_diffusion", "version": version(), "api": 1, "points": FORMAT_VERSION})

    async def model(self, request: Request) -> Response:
        """What the model is, finds and was measured at."""
        return JSONResponse(self.about)

    async def openapi(self, request: Request) -> Response:
        """The description of all this for programs."""
        return JSONResponse(self.described)

    async def docs(self, request: Request) -> Response:
        """The description for people."""
        return page(docs_page(self.described, self.detector.facts.landmark_names))

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What ``/v1/model`` answers."""
        return about_model(self.detector)

    @cached_property
    def described(self) -> dict[str, Any]:
        """What ``/openapi.json`` answers."""
        return openapi(self.detector, self.desk.limits, tuple(self.desk.forms), self.orientation)


def about_model(detector: Detector) -> dict[str, Any]:
    """Say of a model what a program needs to know; its card has the rest."""
    facts, calibrated = detector.facts, detector.calibration is not None
    about = {
        "name": detector.model,
        "method": facts.class_path,
        "landmarks": list(facts.landmark_names),
        "settings": {**detector.settings, "seed": detector.seed},
        "calibrated": calibrated,
        "level": detector.level if calibrated else None,
        "tells_orientation": detector.form_network is not None,
        "network_size": list(detector.size),
        "updates": facts.updates,
        "training": dict(facts.training),
        "measured": facts.measured,
        "package_version": facts.package_version,
        "weights_sha256": facts.weights_sha256,
        "card": model_card(facts, detector.model),
    }
    found: dict[str, Any] = plain(about)
    return found


def told_on_stderr(debug: bool) -> Callable[[str, Exception], None]:
    """Make what tells of a fault: one line on stderr, with the traceback where ``debug``."""

    def tell(request: str, error: Exception) -> None:
        print(f"serve: {one_line(request)}: {type(error).__name__}: {one_line(error)}", file=sys.stderr, flush=True)
        if debug:
            traceback.print_exception(error, file=sys.stderr)

    return tell
