"""A server in a process of its own: start, stop, a port that is taken, clients that want to keep it busy."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.web import extra
from landmark_diffusion.web.extra import need_server
from landmark_diffusion.web.sockets import address, is_loopback, listen, seen_from_elsewhere
from tests.web.processes import everything, exchange, place, started

PROGRAM = """
import asyncio, sys
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import landmark_diffusion.web.protocol as protocol
from landmark_diffusion.web.access import Access
from landmark_diffusion.web.body import BodyLimits
from landmark_diffusion.web.guard import guarded
from landmark_diffusion.web.running import serve
from landmark_diffusion.web.sockets import LOOPBACK_NAMES, address, listen

protocol.HEAD_SECONDS, protocol.MOST_CONNECTIONS = 1.0, 20

async def count(request):
    return PlainTextResponse(str(len(await request.body())))

async def slow(request):
    await asyncio.sleep(float(request.query_params["s"]))
    return PlainTextResponse("done")

listening = listen("127.0.0.1", int(sys.argv[1]))
app = guarded([Route("/count", count, methods=["POST"]), Route("/slow", slow)], Access(None, LOOPBACK_NAMES),
              BodyLimits(1_000_000, seconds=3, idle=1))
serve(app, listening, lambda: print(f"answers at {address(listening)}", flush=True))
"""
SLOW = b"GET /slow?s=%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /count HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with started(["-c", PROGRAM, "0"], tmp_path) as found:
        yield found


def answers(address: str) -> bool:
    return exchange(address, SLOW % b"0").endswith(b"done")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_it_once_what_was_asked_is_answered(
    server: tuple[subprocess.Popen[str], str], number: int, status: int, tmp_path: Path
) -> None:
    process, where = server
    found: list[bytes] = []
    asking = threading.Thread(target=lambda: found.append(exchange(where, SLOW % b"1")))
    asking.start()
    time.sleep(0.4)
    process.send_signal(number)
    asking.join()
    assert found[0].endswith(b"done")
    assert process.wait(10) == status
    assert (tmp_path / "stderr.txt").read_text() == ""


def test_a_second_ctrl_c_does_not_wait(server: tuple[subprocess.Popen[str], str]) -> None:
    process, where = server
    asking = threading.Thread(target=lambda: exchange(where, SLOW % b"60", 30))
    asking.start()
    time.sleep(0.4)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # a key that bounces
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130 and time.monotonic() - begun < 5
    asking.join()


def test_a_taken_port_is_told() -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    assert address(taken) == f"http://127.0.0.1:{port}" and is_loopback(taken)
    with pytest.raises(UserError, match=rf"^--port {port}: is taken by another program on 127.0.0.1"):
        listen("127.0.0.1", port)
    taken.close()
    listen("127.0.0.1", port).close()


def test_addresses() -> None:
    everywhere = listen("0.0.0.0", 0)
    assert not is_loopback(everywhere)
    elsewhere = seen_from_elsewhere(everywhere)
    assert elsewhere == f"http://{socket.gethostname()}:{everywhere.getsockname()[1]}"
    everywhere.close()
    with listen("127.0.0.1", 0) as inside:
        assert seen_from_elsewhere(inside) is None
    for host, port, says in (
        ("192.0.2.1", 0, "--host 192.0.2.1: cannot be listened at"),  # of RFC 5737, nobody's
        ("no such host", 0, "--host no such host: cannot be listened at"),
        ("", 0, "--host: found nothing"),
        ("127.0.0.1", 65536, "--port: found 65536"),
        ("127.0.0.1", -1, "--port: found -1"),
    ):
        with pytest.raises(UserError) as caught:
            listen(host, port)
        assert str(caught.value).startswith(says)


def test_the_extra_is_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    need_server("serve")
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(UserError, match=r"^ldx serve: needs uvicorn, .* `pip install landmark_diffusion\[server\]`"):
        need_server("serve")


def test_a_large_body_is_refused_and_its_client_gets_the_answer(server: tuple[subprocess.Popen[str], str]) -> None:
    """50 MB that are sent without looking: the answer must not be lost with the connection."""
    _, where = server
    for head in (b"Content-Length: 50000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        piece = b"" if b"chunked" not in head else b"10000\r\n"
        with socket.create_connection(place(where), 20) as connection:
            connection.sendall(POST + head)
            try:
                for _ in range(763):
                    connection.sendall(piece + bytes(65536) + (b"\r\n" if piece else b""))
            except OSError:
                pass  # closed meanwhile
            found = everything(connection)
        assert found.startswith(b"HTTP/1.1 413 ") and b"expected at most 1000000" in found
    assert answers(where)


def test_who_waits_for_leave_sends_nothing_in_vain(server: tuple[subprocess.Popen[str], str]) -> None:
    begun = time.monotonic()
    found = exchange(server[1], POST + b"Content-Length: 50000000\r\nExpect: 100-continue\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 413 ") and time.monotonic() - begun < 1.5
    found = exchange(server[1], POST + b"Connection: close\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx")
    assert found.startswith(b"HTTP/1.1 100 ") and found.endswith(b"1")


def test_a_body_that_stops_is_refused(server: tuple[subprocess.Popen[str], str]) -> None:
    found = exchange(server[1], POST + b"Content-Length: 100\r\n\r\nabc")
    assert found.startswith(b"HTTP/1.1 408 ") and b"slow_body" in found


@pytest.mark.parametrize("first", [b"", SLOW.replace(b"Connection: close\r\n", b"") % b"0"])
def test_a_head_that_comes_byte_by_byte_is_not_waited_for(
    server: tuple[subprocess.Popen[str], str], first: bytes
) -> None:
    """Slow loris, on a new connection and on one that was used."""
    begun = time.monotonic()
    with socket.create_connection(place(server[1]), 20) as connection:
        connection.sendall(first)
        try:
            for letter in b"GET /slow?s=0 HTTP/1.1\r\nHost: localhost\r\n" * 3:
                connection.sendall(bytes([letter]))
                time.sleep(0.1)
        except OSError:
            pass
        everything(connection)
    assert time.monotonic() - begun < 3.5  # of 12 s


def test_many_connections_do_not_keep_others_out_for_long(server: tuple[subprocess.Popen[str], str]) -> None:
    kept = [socket.create_connection(place(server[1]), 20) for _ in range(60)]
    time.sleep(2)  # those that sent no head within a second are closed
    assert answers(server[1])
    for each in kept:
        each.close()


@pytest.mark.parametrize(
    "request_",
    [b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"A" * 200_000, b"GET /\xff\r\n\r\n"],
)
def test_what_is_no_http_is_refused(server: tuple[subprocess.Popen[str], str], request_: bytes) -> None:
    assert exchange(server[1], request_)[:12] in (b"HTTP/1.1 400", b"")
    assert answers(server[1])
