"""Who may ask a server and how much may be sent, asked through the application itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.web.access import Access, check_token, host_name, make_token, read_token
from landmark_diffusion.web.body import BodyLimits, LimitedBody
from landmark_diffusion.web.guard import HEADERS, guarded
from landmark_diffusion.web.pages import page
from landmark_diffusion.web.refusal import Refusal
from landmark_diffusion.web.sockets import LOOPBACK_NAMES

TOKEN = "0123456789abcdefXYZ"
HERE = "http://127.0.0.1:8710"


async def count(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body()), "query": str(request.query_params)})


async def fail(request: Request) -> Response:
    kind = request.query_params.get("kind")
    if kind == "user":
        raise UserError("spacing: found <b>x</b>, expected mm")
    if kind == "refusal":
        raise Refusal(503, "busy", "come back", {"retry-after": "2"})
    raise ValueError("secret of the inside")


async def show(request: Request) -> Response:
    return page('<script nonce="{{nonce}}">1</script>')


ROUTES = [Route("/count", count, methods=["GET", "POST"]), Route("/fail", fail), Route("/page", show)]


def client(token: str | None = TOKEN, base: str = HERE, most: int = 1000, told: list[Any] | None = None) -> TestClient:
    access = Access(token, LOOPBACK_NAMES, free=frozenset({"/health"}))
    tell = (told if told is not None else []).append
    app = guarded(ROUTES, access, BodyLimits(most), lambda request, error: tell((request, error)))
    return TestClient(app, base_url=base, raise_server_exceptions=True)


BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("", {"authorization": "Bearer x"}, 401),
        ("", {"authorization": f"Basic {TOKEN}"}, 401),
        ("", {"authorization": f"Bearer {TOKEN}x"}, 401),
        ("", {"authorization": TOKEN}, 401),
        ("?token=", {}, 401),
        (f"?token={TOKEN[:-1]}", {}, 401),
        (f"?Token={TOKEN}", {}, 401),
        ("?token=%ff%00", {}, 401),
        ("", BEARER, 200),
        ("", {"authorization": f"bearer  {TOKEN}"}, 200),
        (f"?token={TOKEN}", {}, 200),
        (f"?a=1&token=%30{TOKEN[1:]}&b=2", {}, 200),
        (f"?token={TOKEN}", {"authorization": "Bearer x"}, 200),
    ],
)
def test_the_token_is_demanded(query: str, headers: dict[str, str], status: int) -> None:
    found = client().get(f"/count{query}", headers=headers)
    assert found.status_code == status
    if status == 401:
        assert found.headers["www-authenticate"].startswith("Bearer") and found.json()["kind"] == "token"
        assert TOKEN not in found.text
    else:
        assert TOKEN not in found.json()["query"]  # handlers do not see it, so they cannot tell it


def test_what_is_not_there_is_not_told_without_the_token() -> None:
    assert client().get("/nowhere").status_code == 401
    assert client().get("/nowhere", headers=BEARER).status_code == 404
    assert client().get("/health").status_code == 404  # free, and nothing is there
    assert client(token=None).get("/count").status_code == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8710", "localhost:1", "LocalHost", "[::1]:8710", "localhost."]
)
def test_names_of_this_computer_pass(host: str) -> None:
    assert client().get("/count", headers={**BEARER, "host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8710", "localhost@evil.example", "", "[::1", "0"]
)
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    """DNS rebinding: the page's own name stands in Host."""
    found = client().get("/count", headers={**BEARER, "host": host})
    assert (found.status_code, found.json()["kind"]) == (403, "host")


def test_a_server_that_is_open_with_a_token_may_have_any_name() -> None:
    app = guarded(ROUTES, Access(TOKEN, None), BodyLimits(10))
    assert TestClient(app, base_url="http://xrays.example").get("/count", headers=BEARER).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": HERE}, 200),
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8711"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": HERE, "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_write(headers: dict[str, str], status: int) -> None:
    found = client().post("/count", headers={**BEARER, **headers}, content=b"x")
    assert found.status_code == status
    if status == 403:
        assert found.json()["kind"] == "origin"


def test_every_answer_tells_browsers_to_be_careful() -> None:
    for path, asked in (("/count", BEARER), ("/count", {}), ("/nowhere", BEARER), ("/fail?kind=user", BEARER)):
        found = client().get(path, headers=asked)
        assert {name: found.headers[name] for name in HEADERS} == HEADERS


def test_a_page_knows_its_own_scripts_by_a_number_of_its_own() -> None:
    first, second = (client().get("/page", headers=BEARER) for _ in range(2))
    policy = first.headers["content-security-policy"]
    nonce = first.text.partition('nonce="')[2].partition('"')[0]
    assert f"script-src 'nonce-{nonce}'" in policy and "unsafe" not in policy and "http" not in policy
    assert nonce not in second.text and len(nonce) > 20


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413), (10**6, 413)])
def test_a_body_is_limited_whether_it_says_its_length_or_not(size: int, status: int, streamed: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(0, size, 100):
            yield bytes(100)
        yield bytes(size % 100)

    body: Any = pieces() if streamed else bytes(size)
    found = client().post("/count", headers=BEARER, content=body)
    assert found.status_code == status
    if status == 413:
        assert "expected at most 1000" in found.json()["error"]
        assert streamed or found.headers["connection"] == "close"  # what is streamed comes in one piece from TestClient
    elif not streamed:
        assert found.json()["bytes"] == size


class Sent:
    """A client's messages, each after some seconds."""

    def __init__(self, *messages: tuple[float, bytes, bool]) -> None:
        self.messages = list(messages)

    async def __call__(self) -> Any:
        if not self.messages:
            await asyncio.sleep(60)
        seconds, body, more = self.messages.pop(0)
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([(0, b"a", True)], "idle"),
        ([(0.03, b"a", True)] * 20, "trickle"),
    ],
)
def test_a_body_that_does_not_come_is_not_waited_for(messages: list[tuple[float, bytes, bool]], what: str) -> None:
    body = LimitedBody(Sent(*messages), BodyLimits(100, seconds=0.2, idle=0.1), {b"content-length": b"50"})

    async def read() -> None:
        while not body.finished:
            await body()

    with pytest.raises(Refusal) as caught:
        asyncio.run(asyncio.wait_for(read(), 5))
    assert (caught.value.status, caught.value.kind) == (408, "slow_body")


def test_errors_are_json_for_programs_and_a_page_for_people() -> None:
    told: list[Any] = []
    asked = client(told=told)
    found = asked.get("/fail?kind=user", headers=BEARER)
    assert (found.status_code, found.json()["error"]) == (400, "spacing: found <b>x</b>, expected mm")
    seen = asked.get("/fail?kind=user", headers={**BEARER, "accept": "text/html,*/*"})
    assert seen.headers["content-type"].startswith("text/html") and "<b>" not in seen.text and "&lt;b&gt;x" in seen.text
    busy = asked.get("/fail?kind=refusal", headers=BEARER)
    assert (busy.status_code, busy.headers["retry-after"], busy.json()["kind"]) == (503, "2", "busy")
    wrong = asked.post("/fail", headers=BEARER)
    assert wrong.status_code == 405 and wrong.json()["kind"] == "method"
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert wrong.json()["error"] == f"POST /fail: found the method POST, expected {wrong.headers['allow']}"
    nowhere = asked.get("/v1/fail", headers=BEARER).json()
    assert nowhere["error"].startswith("GET /v1/fail: there is nothing at this path. Did you mean /fail")
    assert not told


def test_a_fault_is_told_to_the_server_and_not_to_the_client() -> None:
    told: list[Any] = []
    found = client(told=told).get("/fail", headers=BEARER)
    assert found.status_code == 500 and "secret" not in found.text and json.loads(found.text)["kind"] == "fault"
    ((request, error),) = told
    assert request == "GET /fail" and isinstance(error, ValueError)


def test_names_of_hosts() -> None:
    assert [host_name(each) for each in ("a:1", "[::1]:2", "a.b.", "", "[x")] == ["a", "::1", "a.b", "", ""]


def test_tokens(tmp_path: Path) -> None:
    assert len({make_token() for _ in range(100)}) == 100
    assert check_token(make_token(), "--token")
    for wrong in ("", "short", "a" * 257, "with space " * 2, "ümlaut" * 4, "a" * 20 + "\n", "a&b" * 9):
        with pytest.raises(UserError, match=r"^--token: found a token of"):
            check_token(wrong, "--token")
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN
    path.write_text("\n")
    with pytest.raises(UserError, match="found a token of 0 characters"):
        read_token(path)
    with pytest.raises(UserError, match="none: cannot be read"):
        read_token(tmp_path / "none")
