"""``ldx serve`` as a process: what it prints, whom it lets in, how it ends, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.detection.bad_inputs import LEVELS, encoded
from tests.detection.tiny_model import write_positions
from tests.end_to_end.console import ldx
from tests.web.processes import started

TOKEN = "a-token-of-twenty-letters"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx")


def ask(address: str, path: str, content: bytes | None = None, token: str | None = None) -> tuple[int, str]:
    """Ask a service, and give its status and words."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(address.rstrip("/") + path, content, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def serve(model: Path, *options: str) -> list[str]:
    return ["-m", "landmark_diffusion", "serve", "--model", str(model), "--port", "0", *options]


def root(address: str) -> str:
    """The address that was printed, without its path."""
    return address[: address.index("/", 8)]


def parts(folder: Path) -> list[Path]:
    """Private folders of services below a folder for temporary files."""
    return sorted(folder.glob("ldx-serve-*"))


@pytest.mark.slow
def test_it_answers_and_stops_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    surroundings = {"TMPDIR": str(tmp_path), "LDX_TOKEN": TOKEN}
    with started(serve(model, "--spread", "heatmap"), tmp_path, environment=surroundings) as (process, address):
        address = root(address)
        assert address.startswith("http://127.0.0.1:") and len(parts(tmp_path)) == 1
        assert ask(address, "/v1/health") == (200, '{"status":"ready","busy":false}')
        status, words = ask(address, "/v1/detect", encoded(LEVELS, "PNG"))
        assert status == 401 and TOKEN not in words
        status, words = ask(address, "/v1/detect?name=a.png&spacing=0.5", encoded(LEVELS, "PNG"), TOKEN)
        assert status == 200 and json.loads(words)["images"][0]["spacing"] == [0.5, 0.5]
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.read().splitlines() == ["serve: stopped; 1 image was answered"]
        assert process.wait(20) == 143
    assert not parts(tmp_path) and (tmp_path / "stderr.txt").read_text() == ""


@pytest.mark.slow
def test_ctrl_c_is_how_it_is_ended(model: Path, tmp_path: Path) -> None:
    with started(serve(model), tmp_path, environment={"TMPDIR": str(tmp_path)}) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not parts(tmp_path) and (tmp_path / "stderr.txt").read_text() == ""


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
def test_a_kill_leaves_neither_processes_nor_images(model: Path, tmp_path: Path, asked: bool) -> None:
    """Also while the processes that decode are still being started."""
    with started(serve(model), tmp_path, environment={"TMPDIR": str(tmp_path)}) as (process, address):
        if asked:
            assert ask(root(address), "/v1/detect", encoded(LEVELS, "PNG"))[0] == 200
        readers = children(process.pid)
        assert len(readers) == 2
        process.send_signal(signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 20
        while parts(tmp_path) or any(Path(f"/proc/{pid}").exists() for pid in readers):
            assert time.monotonic() < end
            time.sleep(0.1)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("looks at processes as Linux shows them")
    return [int(each) for each in listed.read_text().split()]


@pytest.mark.slow
def test_opened_wider_it_makes_a_token_and_any_name_will_do(model: Path, tmp_path: Path) -> None:
    with started(serve(model, "--host", "0.0.0.0"), tmp_path) as (process, address):
        assert process.stdout is not None
        token = process.stdout.readline().removeprefix("serve: the token of this run is ").strip()
        assert len(token) > 40
        port = int(root(address).rpartition(":")[2])
        told = process.stdout.readline()
        assert told.startswith(f"serve: other computers ask http://{socket.gethostname()}:{port}/v1/detect, or ")
        here = f"http://{socket.gethostbyname(socket.gethostname())}:{port}"
        for where in (here, f"http://localhost:{port}"):
            assert ask(where, "/v1/model")[0] == 401
            assert ask(where, "/v1/model", token=token)[0] == 200


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--token", "short"), "--token: found a token of 5 characters, expected 16 to 256"),
        (("--token", TOKEN, "--token_file", "x"), "--token and --token_file: found both"),
        (("--token_file", "none"), "--token_file none: cannot be read (No such file or directory)"),
        (("--port", "70000"), "--port: found 70000"),
        (("--host", "192.0.2.7"), "--host 192.0.2.7: cannot be listened at"),
        (("--to", "slicer"), "--to: slicer makes 2 files of an image"),
        (("--to", ","), "--to: found ',', expected one form or several"),
        (("--queue", "-1"), "--queue: found -1, expected 0 or more"),
        (("--timeout", "nan"), "--timeout: found nan, expected 1 or more"),
        (("--workers", "0"), "--workers: found 0"),
        (("--quue", "1"), "ldx serve: unknown option '--quue'. Did you mean --queue?"),
        (("--decoder", "best"), "decoder: found 'best', expected one of"),
    ],
)
def test_what_is_wrong_is_one_line(
    model: Path, options: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    port = () if "--port" in options else ("--port", "0")
    outcome = ldx("serve", "--model", str(model), *port, *options)
    assert outcome.status == 1 and outcome.err.startswith(f"error: {says}") and outcome.err.count("\n") == 1
    assert not parts(tmp_path)


def test_a_taken_port_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = ldx("serve", "--model", str(tmp_path / "none.ldx"), "--port", str(taken.getsockname()[1]))
    assert outcome.status == 1 and ": is taken by another program on 127.0.0.1" in outcome.err


def test_a_short_token_of_the_environment_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_TOKEN", "short")
    outcome = ldx("serve", "--model", str(model), "--port", "0")
    assert outcome.err.startswith("error: LDX_TOKEN: found a token of 5 characters")
    assert "LDX_TOKEN" not in os.environ


def test_help_lists_the_limits() -> None:
    outcome = ldx("serve", "--help")
    assert outcome.status == 0 and "--decode_timeout" in outcome.out
