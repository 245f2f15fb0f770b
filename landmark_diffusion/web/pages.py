"""Pages that load nothing from elsewhere: their own scripts and styles are known to the browser by a random number."""

from __future__ import annotations

import secrets

from starlette.responses import Response

NONCE = "{{nonce}}"
"""Stands in a page's text as ``<script nonce="{{nonce}}">`` and ``<style nonce="{{nonce}}">``."""


def page_policy(nonce: str) -> str:
    """The content security policy of a page: what this server has, scripts and styles with ``nonce``, nothing else."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def page(text: str, status: int = 200) -> Response:
    """Answer with a page whose ``NONCE`` are filled in. ``style="..."`` within it is not heeded, by that policy."""
    nonce = secrets.token_urlsafe(16)
    headers = {"content-security-policy": page_policy(nonce)}
    return Response(text.replace(NONCE, nonce), status, headers, "text/html")
