"""Whatever becomes of the terminal, the work is finished and its files are whole."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from landmark_diffusion.cli import entry, main
from landmark_diffusion.cli.terminal import SafeStream, protect_streams, safe_output
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from tests.cli.terminals import FAILING, ascii_console, closed_pipe, full_disk


@pytest.mark.parametrize("kind", FAILING)
def test_fit_trains_on(
    kind: str, ldx: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, status = FAILING[kind]
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr("landmark_diffusion.cli.progress_lines.SECONDS_BETWEEN_LINES", 0.0)
    assert ldx("fit --config tiny.yaml --trainer.max_epochs 3") == status
    last = read_checkpoint(Path("runs/tiny/checkpoints/last.ckpt"))
    assert last["global_step"] == 6
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert ("nothing more can be printed" in told) == (kind in ("closed pipe", "full disk"))
    assert ("what was printed is not whole (No space left on device)" in told) == (kind == "full disk")


def test_what_is_only_printed_ends_with_its_reader(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """`ldx configs | head -1` has nothing to finish and nothing to say; on a full disk its output is missing."""
    for make, status, told in ((closed_pipe, 0, ""), (full_disk, 1, "error: what was printed is not whole")):
        for command in (["configs"], ["--help"], ["configs", "ddp.yaml"]):
            monkeypatch.setattr(sys, "stdout", make())
            assert main(command) == status
            error = capsys.readouterr().err
            assert error.startswith(told) and (told or not error)


def test_a_refusal_is_a_refusal_with_no_terminal_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for make in (closed_pipe, full_disk):
        monkeypatch.setattr(sys, "stdout", make())
        monkeypatch.setattr(sys, "stderr", make())
        assert main(["fti"]) == 1


def test_characters_that_the_encoding_lacks() -> None:
    """Also bytes of a file name that are no UTF-8, which Python holds as lone surrogates."""
    for encoding, text, expected in (
        ("ascii", "Müller ± 2 °", b"M?ller ? 2 ?"),
        ("cp1252", "Müller → 2 °", "Müller ? 2 °".encode("cp1252")),
        ("utf-8", "x\udcff.png", b"x?.png"),
    ):
        raw = io.BytesIO()
        stream = SafeStream(io.TextIOWrapper(raw, encoding))
        assert stream.write(text) == len(text)
        stream.flush()
        assert raw.getvalue() == expected
        assert stream.failure is None


def test_a_slow_reader_of_a_non_blocking_terminal_loses_no_later_line() -> None:
    """Programs such as ssh and node leave O_NONBLOCK behind: a full pipe is then an error to Python."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = SafeStream(os.fdopen(writer, "w", encoding="utf-8"))
    while os.get_blocking(writer) is False:
        stream.write("x" * 4096)
        stream.flush()
    assert stream.failure is None
    os.set_blocking(reader, False)
    while True:
        try:
            os.read(reader, 1 << 20)
        except BlockingIOError:
            break
    stream.write("later\n")
    stream.flush()
    assert os.read(reader, 1 << 20).endswith(b"later\n")
    os.close(reader)


def test_later_processes_and_buffers_meet_the_null_device() -> None:
    """Else Python's own flush at the end fails, and so does each child that prints."""
    stream = closed_pipe()
    safe = SafeStream(stream)
    safe.write("a line\n")
    assert isinstance(safe.failure, BrokenPipeError)
    os.write(stream.fileno(), b"a child's line\n")
    stream.close()


def test_the_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    with safe_output():
        assert isinstance(sys.stdout, SafeStream) and isinstance(sys.stderr, SafeStream)
    assert (sys.stdout, sys.stderr) == before


def test_a_process_of_lightning_protects_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that strategy ddp_spawn starts has not come through main."""
    monkeypatch.setattr(sys, "stdout", ascii_console())
    monkeypatch.setattr(sys, "stderr", ascii_console())
    protect_streams()
    first = sys.stdout
    print("Müller")
    protect_streams()
    assert sys.stdout is first


def test_closed_descriptors_are_not_given_to_results() -> None:
    """After `>&-` the next file that is opened would be descriptor 1, and get what is printed in C."""
    code = """
import os
from landmark_diffusion.cli.terminal import safe_output
with safe_output():
    file = os.open(os.devnull, os.O_RDONLY)
    assert file > 2, file
    assert os.get_inheritable(1)
    os.write(1, b"somewhere")
    print("nowhere")
"""
    command = ["bash", "-c", '"$0" -c "$1" <&- >&-', sys.executable, code]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_terminal_is_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """SIGHUP; what finds landmarks then writes what it has, as at Ctrl-C."""
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(entry, "_dispatch", lambda _: os.kill(os.getpid(), signal.SIGHUP))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert main(["detect"]) == 129
        assert "interrupted" in capsys.readouterr().err
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        monkeypatch.setattr(entry, "_dispatch", lambda _: os.kill(os.getpid(), signal.SIGHUP) or 0)
        assert main(["detect"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
