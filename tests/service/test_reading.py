"""Processes that decode images: what hangs, crashes or wants more than it may costs nothing but its own image."""

from __future__ import annotations

import io
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.service import reading
from landmark_diffusion.service.frames import BrokenFrame, read_frame, write_frame
from landmark_diffusion.service.limits import Limits
from landmark_diffusion.service.reading import Reader, Readers
from tests.detection.bad_inputs import LEVELS, encoded, write_dicom
from tests.service.served import SMALL, slow_jpeg, with_limits

GOOD = encoded(LEVELS, "PNG")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    found = Reader(tmp_path, 0, SMALL)
    yield found
    found.close()


def test_it_reads_as_detect_does(reader: Reader, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", LEVELS, ImagerPixelSpacing=[0.2, 0.25], WindowCenter=0, WindowWidth=0)
    wanted, found = read_radiograph(path), reader.read(path.read_bytes(), "a.dcm")
    assert np.array_equal(found.grey, wanted.grey) and wanted.notes
    assert (found.spacing, found.spacing_source, found.notes, found.bits) == (
        wanted.spacing, wanted.spacing_source, wanted.notes, wanted.bits,
    )  # fmt: skip
    assert list((tmp_path / "reader-0").iterdir()) == []


def test_a_decode_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    reader = Reader(tmp_path, 0, with_limits(decode_timeout=1.0))
    try:
        assert reader.read(GOOD, "good.png").grey.shape == LEVELS.shape
        before, begun = reader.pid, time.monotonic()
        with pytest.raises(DataError, match=r"^slow\.jpg: the image was not decoded within 1 s; export it again"):
            reader.read(slow_jpeg(), "slow.jpg")
        assert time.monotonic() - begun < 5
        assert not Path(f"/proc/{before}").exists() and list((tmp_path / "reader-0").iterdir()) == []
        assert np.array_equal(reader.read(GOOD, "good.png").grey, LEVELS)
    finally:
        reader.close()


def test_a_decoder_that_crashes_is_replaced(reader: Reader) -> None:
    reader.read(GOOD, "good.png")
    threading.Timer(0.5, os.kill, (reader.pid, signal.SIGSEGV)).start()
    with pytest.raises(DataError, match=rf"^slow\.jpg: the decoder ended on this image \(status -{signal.SIGSEGV:d}\)"):
        reader.read(slow_jpeg(), "slow.jpg")
    os.kill(reader.pid, signal.SIGKILL)  # and while nothing is decoded
    time.sleep(0.2)
    assert np.array_equal(reader.read(GOOD, "good.png").grey, LEVELS)


def test_pixels_are_limited_before_they_are_decoded(reader: Reader) -> None:
    many = encoded(np.zeros((2000, 1001), np.uint8), "PNG")
    with pytest.raises(DataError, match=r"^many\.png: the image claims to be larger than 2000000 pixels \("):
        reader.read(many, "many.png")


def test_it_holds_no_secret_and_nothing_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_TOKEN", "hush-hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    reader = Reader(tmp_path, 0, SMALL)
    try:
        reader.read(GOOD, "good.png")
        process = Path(f"/proc/{reader.pid}")
        if not process.exists():
            pytest.skip("looks at processes as Linux shows them")
        assert b"hush" not in (process / "environ").read_bytes()
        libraries = (process / "maps").read_text()
        assert "numpy" in libraries and "torch" not in libraries
        opened = {os.readlink(each) for each in (process / "fd").iterdir()}
        assert not any(each.startswith("socket:") for each in opened)
        (limit,) = [line for line in (process / "limits").read_text().splitlines() if "address space" in line]
        assert int(limit.split()[3]) < 2 * 2**30
    finally:
        reader.close()


def test_a_process_is_replaced_after_many_images(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_READ", 2)
    pids = []
    for _ in range(4):
        reader.read(GOOD, "good.png")
        pids.append(reader.pid)
    assert pids[0] != pids[1] == pids[2] != pids[3]


def test_closing_ends_a_decode_that_goes_on(tmp_path: Path) -> None:
    readers = Readers(tmp_path, with_limits(readers=1))
    errors: list[BaseException] = []

    def read() -> None:
        try:
            readers.read(slow_jpeg(), "slow.jpg")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(1.5)
    begun = time.monotonic()
    readers.close()
    thread.join()
    assert time.monotonic() - begun < 3 and len(errors) == 1


def test_a_reader_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading.sys, "executable", "/bin/false")
    reader = Reader(tmp_path, 0, SMALL)
    with pytest.raises(RuntimeError, match=r"the process that decodes images does not start \(status 1\)"):
        reader.read(GOOD, "good.png")
    monkeypatch.undo()
    assert reader.read(GOOD, "good.png").grey.shape == LEVELS.shape
    reader.close()


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"shape": [40, 48]},
        {"shape": [40, 49], "spacing": None, "spacing_source": "", "notes": [], "bits": 8},
        {"shape": [-40, -48], "spacing": None, "spacing_source": "", "notes": [], "bits": 8},
        {"shape": [40, 48], "spacing": [0, 1], "spacing_source": "", "notes": [], "bits": 8},
        {"shape": [40, 48], "spacing": ["nan", 1], "spacing_source": "", "notes": [], "bits": 8},
        {"shape": [40, 48], "spacing": [1], "spacing_source": "", "notes": [], "bits": 8},
        {"shape": [40, 48], "spacing": None, "spacing_source": "", "notes": 3, "bits": 8},
        {"shape": "ab", "spacing": None, "spacing_source": "", "notes": [], "bits": 8},
    ],
)
def test_an_answer_that_is_none_is_not_believed(head: dict[str, object]) -> None:
    """A decoder that was taken over may say anything."""
    with pytest.raises(BrokenFrame):
        reading._radiograph(dict(head), bytearray(40 * 48), "x")


def test_frames() -> None:
    stream = io.BytesIO()
    write_frame(stream, {"a": [1, "é"]}, b"content")
    written = stream.getvalue()
    assert read_frame(io.BytesIO(written), 7) == ({"a": [1, "é"]}, b"content")
    for wrong in (
        b"", written[:-1], written[:5], struct.pack("<IQ", 2**31, 0), struct.pack("<IQ", 2, 8) + b"{}" + bytes(8),
        struct.pack("<IQ", 2, 0) + b"[]", struct.pack("<IQ", 2, 0) + b"{a",
    ):  # fmt: skip
        with pytest.raises(BrokenFrame):
            read_frame(io.BytesIO(wrong), 7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["grey of 16 bits", "colour of 16 bits", "DICOM", "DICOM in colour", "JPEG", "JPEG 2000"]
)
def test_the_limit_of_memory_lets_every_kind_of_the_most_pixels_pass(kind: str, tmp_path: Path) -> None:
    import cv2

    limits = Limits(max_pixels=12_000_000, decode_timeout=200.0, max_bytes=100 * 2**20)
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (3000, 4000), dtype=np.uint16)
    path = tmp_path / "x"
    if kind.startswith("DICOM"):
        write_dicom(path, np.dstack([deep] * 3) if "colour" in kind else deep)
    elif kind == "JPEG":
        Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB").save(path, "JPEG")
    elif kind == "JPEG 2000":
        Image.fromarray((deep[:1000] >> 8).astype(np.uint8)).save(path, "JPEG2000")
    else:
        path.write_bytes(cv2.imencode(".png", np.dstack([deep] * 3) if "colour" in kind else deep)[1].tobytes())
    reader = Reader(tmp_path, 0, limits)
    try:
        assert reader.read(path.read_bytes(), "x").grey.shape[1] == 4000
    finally:
        reader.close()
