"""Who may ask: the token, and the names by which a browser may have come here."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.web.refusal import Refusal

LEAST_TOKEN = 16
_TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{LEAST_TOKEN},256}}")
_READING = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = (b"same-origin", b"none")


def make_token() -> str:
    """A token that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


def check_token(token: str, where: str) -> str:
    """Return a token that a person gave; raises UserError naming ``where`` for one that is short or cannot be sent."""
    if _TOKEN.fullmatch(token) is None:
        raise UserError(
            f"{where}: found a token of {len(token)} characters, expected {LEAST_TOKEN} to 256 letters, digits and ._~-"
        )
    return token


def read_token(path: Path, option: str = "--token_file") -> str:
    """Read a token from the first line of a file; raises UserError naming it, and the option that named it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {path}: cannot be read ({one_line(error)})") from error
    return check_token(lines[0].strip() if lines else "", f"{option} {path}")


@dataclass(frozen=True)
class Access:
    """Who may ask a server.

    Attributes:
        token: demanded of every request, as ``Authorization: Bearer TOKEN`` or ``?token=TOKEN``; None: of none.
        hosts: names, in lower case and without port, that the Host header may have: a page elsewhere whose name was
            made to point here (DNS rebinding) has another one. None: any, for where a token protects.
        free: paths that are answered without the token.
    """

    token: str | None
    hosts: frozenset[str] | None
    free: frozenset[str] = frozenset()

    def check(self, method: str, path: str, query: bytes, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the query without the token; raises Refusal for who may not ask.

        ``headers`` are by names in lower case.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.hosts is not None and host_name(host) not in self.hosts:
            expected = ", ".join(sorted(self.hosts))
            raise Refusal(403, "host", f"found Host {one_line(host)!r}, expected one of {expected}")
        rest, given = _without_token(query)
        if method not in _READING:
            _check_origin(host, headers)
        if self.token is not None and path not in self.free:
            self._check_token(given, headers.get(b"authorization"))
        return rest

    def _check_token(self, given: list[bytes], authorization: bytes | None) -> None:
        assert self.token is not None
        if authorization is not None:
            kind, _, value = authorization.partition(b" ")
            given = [*given, value.strip()] if kind.lower() == b"bearer" else given
        wanted = self.token.encode()
        if not any([hmac.compare_digest(each, wanted) for each in given]):  # a list: each of them is looked at
            found = "another token" if given else "no token"
            expected = "expected the server's, as `Authorization: Bearer TOKEN` or `?token=TOKEN`"
            raise Refusal(401, "token", f"found {found}, {expected}", {"www-authenticate": 'Bearer realm="ldx"'})


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _check_origin(host: str, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what a page of another site has a browser send; other programs send neither header."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    foreign = site is not None and site.lower() not in _OWN_SITES
    if origin is not None:
        foreign = foreign or origin.decode("latin-1").lower() not in (f"http://{host}", f"https://{host}")
    if foreign:
        found = "another site" if origin is None else one_line(origin.decode("latin-1"))
        raise Refusal(403, "origin", f"found a request by a page of {found}, expected one of this server's own")


def _without_token(query: bytes) -> tuple[bytes, list[bytes]]:
    """The query without ``token=...``, and the tokens in it."""
    parts = query.split(b"&")
    given = [unquote_to_bytes(part[6:]) for part in parts if part.startswith(b"token=")]
    return b"&".join(part for part in parts if not part.startswith(b"token=")), given
