"""The annotation page as an ASGI application: routes around a Session."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from landmark_diffusion.annotate.session import NoImageError, Session
from landmark_diffusion.annotate.store import StaleError
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import WriteError
from landmark_diffusion.core.texts import RESEARCH_ONLY
from landmark_diffusion.web.access import Access
from landmark_diffusion.web.body import BodyLimits
from landmark_diffusion.web.guard import guarded
from landmark_diffusion.web.pages import page
from landmark_diffusion.web.refusal import Refusal

MOST_BYTES = 2**20
"""Of a request: the marks of 1000 landmarks are 100 kB."""
SCRIPTS = ("base", "state", "light", "view", "loupe", "saving", "editing", "landmarks", "images", "adapt", "actions")


def annotation_app(
    session: Session, access: Access, tell: Callable[[str, Exception], object] = lambda request, error: None
) -> ASGIApp:
    """Make the application; it is reached by who ``access`` lets in."""
    return guarded(_Handlers(session).routes(), access, BodyLimits(MOST_BYTES), tell)


class _Handlers:
    """One method a route."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def routes(self) -> list[Route]:
        """What can be asked for."""
        return [
            Route("/", self.page),
            Route("/api/session", self.about),
            Route("/api/news", self.news),
            Route("/api/hint", self.hint),
            Route("/api/adapt", self.adaptation),
            Route("/api/adapt/{order:str}", self.adapt, methods=["POST"]),
            Route("/api/images/{place:int}", self.image),
            Route("/api/images/{place:int}/pixels", self.pixels),
            Route("/api/images/{place:int}/marks", self.change, methods=["POST"]),
        ]

    def page(self, request: Request) -> Response:
        return page(page_text())

    def about(self, request: Request) -> Response:
        return JSONResponse(self.session.about())

    def news(self, request: Request) -> Response:
        return JSONResponse(self.session.news())

    def hint(self, request: Request) -> Response:
        return JSONResponse(self.session.hint())

    def adaptation(self, request: Request) -> Response:
        return JSONResponse(_answered(self.session.adaptation))

    def adapt(self, request: Request) -> Response:
        order = str(request.path_params["order"])
        if order not in ("start", "stop", "use"):
            raise Refusal(404, "not_found", f"found {order!r:.20}, expected start, stop or use")
        return JSONResponse(_answered(lambda: self.session.adaptation(order)))

    def image(self, request: Request) -> Response:
        return JSONResponse(_answered(lambda: self.session.image(_place(request))))

    def pixels(self, request: Request) -> Response:
        picture = _answered(lambda: self.session.picture(_place(request)))
        width, height = picture.size
        levels = picture.levels
        headers = {
            "content-encoding": "gzip", "x-width": str(width), "x-height": str(height),
            "x-levels": str(len(levels.table)), "x-bytes": str(levels.values.itemsize),
        }  # fmt: skip
        return Response(picture.body, headers=headers, media_type="application/octet-stream")

    async def change(self, request: Request) -> Response:
        sent = _read_json(await request.body())
        place = _place(request)
        return JSONResponse(await run_in_threadpool(_answered, lambda: self.session.change(place, sent)))


def _place(request: Request) -> int:
    return int(request.path_params["place"])


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_request", "found no JSON in the request") from error


def _answered(ask: Callable[[], Any]) -> Any:
    """Run it, with HTTP's word for what is raised."""
    try:
        return ask()
    except NoImageError as error:
        raise Refusal(404, "not_found", str(error)) from error
    except StaleError as error:
        raise Refusal(409, "stale", str(error)) from error
    except WriteError as error:
        raise Refusal(507, "not_written", str(error)) from error
    except DataError as error:
        raise Refusal(422, "unusable", str(error)) from error
    except UserError as error:
        raise Refusal(400, "bad_request", str(error)) from error


@cache
def page_text() -> str:
    """The page in one piece, with a place for the random number of its script and style."""
    labels = files("landmark_diffusion.pictures").joinpath("page", "labels.js").read_text("utf-8")
    script = labels + "".join(_part(f"{name}.js") for name in SCRIPTS)
    text = _part("page.html")
    parts = {"/* style */": _part("page.css"), "/* script */": script, "<!-- research -->": RESEARCH_ONLY}
    for mark, content in parts.items():
        text = text.replace(mark, content)
    return text


def _part(name: str) -> str:
    return files("landmark_diffusion.annotate").joinpath("page", name).read_text("utf-8")
