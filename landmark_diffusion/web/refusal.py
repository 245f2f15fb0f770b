"""A request that is not done: its status and words, as JSON for programs and as a page for people."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><meta name="color-scheme" content="light dark"></head>
<body><h1>{title}</h1><p>{message}</p></body></html>
"""


class Refusal(Exception):
    """Why a request is not done.

    Args:
        status: of HTTP, 4xx or 5xx.
        kind: a word for programs, such as "token" or "too_large".
        message: for people: what was found, what was expected, what to do.
        headers: of the answer, by names in lower case.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.headers = status, kind, message, dict(headers or {})

    def response(self, accept: str = "") -> Response:
        """The answer: a page where ``accept``, the request's header, asks for one, else JSON."""
        if "text/html" in accept.lower():
            title = f"{self.status} {_phrase(self.status)}"
            page = PAGE.format(title=html.escape(title), message=html.escape(self.message))
            return Response(page, self.status, self.headers, "text/html")
        content = {"status": self.status, "kind": self.kind, "error": self.message}
        return Response(json.dumps(content) + "\n", self.status, self.headers, "application/json")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
