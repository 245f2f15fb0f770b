"""What stands before every handler: who may ask, how much may be sent, and headers that tell browsers to be careful."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.web.access import Access
from landmark_diffusion.web.body import BodyLimits, LimitedBody
from landmark_diffusion.web.refusal import Refusal

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy of an answer that gives none itself: it loads, runs and sends nothing."""

HEADERS = {
    "content-security-policy": NOTHING,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer, unless it has that header itself."""

KINDS = {404: "not_found", 405: "method"}


def guarded(
    routes: Sequence[BaseRoute],
    access: Access,
    limits: BodyLimits,
    tell: Callable[[str, Exception], object] = lambda request, error: None,
) -> ASGIApp:
    """Make an application of routes behind ``access`` and ``limits``, whose errors are JSON or a page.

    A handler raises Refusal; UserError is answered with 400 and its words; anything else with 500 and no words, and
    ``tell`` hears of it: what was asked, and the error.
    """
    handlers: dict[Any, Any] = {
        Refusal: _refused,
        UserError: lambda request, error: _refused(request, Refusal(400, "bad_request", str(error))),
        HTTPException: _http_error,
        ClientDisconnect: lambda request, error: _refused(request, Refusal(400, "cut", "the body ended too early")),
        Exception: lambda request, error: _refused(request, _fault()),
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), access, limits, tell)


class Guard:
    """An ASGI application around another one; see ``guarded``."""

    def __init__(
        self, app: ASGIApp, access: Access, limits: BodyLimits, tell: Callable[[str, Exception], object]
    ) -> None:
        self._app, self._access, self._limits, self._tell = app, access, limits, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        body = LimitedBody(receive, self._limits, headers)
        answer = _Answer(send, body)
        try:
            query = self._access.check(scope["method"], scope["path"], scope["query_string"], headers)
        except Refusal as refusal:
            await refusal.response(_accept(headers))(scope, receive, answer)
            return
        try:
            await self._app({**scope, "query_string": query}, body, answer)
        except Exception as error:
            self._tell(f"{scope['method']} {scope['path']}", error)
            if not answer.started:
                await _fault().response(_accept(headers))(scope, receive, answer)


class _Answer:
    """The ``send`` of one request: adds headers, and closes the connection where the body was not read to its end."""

    def __init__(self, send: Send, body: LimitedBody) -> None:
        self._send, self._body, self._close = send, body, False
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self._close = True, not self._body.finished
            _add_headers(message, self._close)
        elif self._close and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._body.drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


def _add_headers(message: MutableMapping[str, Any], close: bool) -> None:
    message.setdefault("headers", [])
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if close:
        headers["connection"] = "close"


def _accept(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"accept", b"").decode("latin-1")


def _refused(request: Request, refusal: Any) -> Response:
    return refusal.response(request.headers.get("accept", ""))  # type: ignore[no-any-return]


def _http_error(request: Request, error: Any) -> Response:
    """What Starlette itself refuses: a path or method that is not there, a form that is none."""
    message = f"{request.method} {request.url.path}: {_cure(request, error) or error.detail}"
    kind = KINDS.get(error.status_code, "bad_request")
    return _refused(request, Refusal(error.status_code, kind, message, error.headers))


def _cure(request: Request, error: Any) -> str:
    """Name the paths that there are, or the methods of this one; empty where something else is wrong."""
    if error.status_code == 404:
        routes = getattr(request.scope.get("app"), "routes", ())
        paths = list(dict.fromkeys(route.path for route in routes if isinstance(route, Route)))
        return f"there is nothing at this path.{did_you_mean(request.url.path, paths)}"
    if error.status_code == 405 and (methods := (error.headers or {}).get("Allow")):
        return f"found the method {request.method}, expected {methods}"
    return ""


def _fault() -> Refusal:
    return Refusal(500, "fault", "the server failed on this request; its own output says more")
