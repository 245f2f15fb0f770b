"""Requests to the service: answered, or refused in one line of JSON; never a fault, and the inside is not told."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from starlette.testclient import TestClient

from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.service.desk import Desk
from tests.detection.bad_inputs import LEVELS, write_dicom
from tests.detection.tiny_model import write_positions
from tests.fuzz.harness import COUNTS, Count, inputs
from tests.fuzz.strategies import BAD_CELLS, spoilt_bytes
from tests.fuzz.test_image_headers import WRITTEN, image_files
from tests.service.served import AS_DETECT, client_of, desk_of
from tests.service.test_application import look_at_pixels
from tests.web.processes import everything, place, started
from tests.web.test_running import PROGRAM

REFUSALS = {400, 403, 404, 405, 413, 422}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_of(write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx"), AS_DETECT) as found:
        yield found


TOLD: list[Any] = []


@pytest.fixture(scope="module")
def client(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx")
    with client_of(desk, model, told=TOLD) as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detector, "detect", look_at_pixels)
        yield found


def judge(kind: str, client: TestClient, desk: Desk, query: str, **sent: Any) -> bool:
    """Ask, and return whether it was answered; fails for whatever is neither that nor a refusal in one line."""
    count, begun = COUNTS.setdefault(f"requests: {kind}", Count()), time.perf_counter()
    found = client.post(f"/v1/detect?{query}", **sent)
    count.inputs += 1
    count.seconds += time.perf_counter() - begun
    assert not TOLD, TOLD
    if found.status_code == 200:
        count.accepted += 1
        return True
    count.refused += 1
    assert found.status_code in REFUSALS, found.text
    said = json.loads(found.text)
    assert said["status"] == found.status_code and set(said) == {"status", "kind", "error"}
    assert "\n" not in said["error"] and "Traceback" not in said["error"] and str(desk.folder) not in said["error"]
    return False


def _dicom(syntax: str) -> bytes:
    buffer = io.BytesIO()
    write_dicom(buffer, LEVELS, syntax, PixelSpacing=[0.1, 0.2])  # type: ignore[arg-type]
    return buffer.getvalue()


DICOM = [_dicom(syntax) for syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)]


@inputs(60, 1500)
@given(content=st.one_of(image_files(), st.sampled_from(DICOM).flatmap(spoilt_bytes), st.binary(max_size=300)))
def test_images(client: TestClient, desk: Desk, content: bytes) -> None:
    judge("images", client, desk, "name=x.png", content=content)


VALUES = st.one_of(
    st.sampled_from(BAD_CELLS), st.sampled_from(("json", "csv", "0.1", "0.1,0.2", "as-is")), st.text(max_size=40)
)
PAIRS = st.lists(
    st.tuples(st.sampled_from(("spacing", "orientation", "to", "name", "token", "Name", "", "x")), VALUES), max_size=4
)


def raw(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in pairs)


QUERIES = st.one_of(
    PAIRS.map(raw),
    st.text("&=%;+#?\x7f\u00e9aspcingto0123456789abcdef", max_size=60).map(lambda text: quote(text, safe="&=%;+")),
)


@inputs(60, 1500)
@given(query=QUERIES)
def test_queries(client: TestClient, desk: Desk, query: str) -> None:
    content = WRITTEN["PNG"]
    answered = judge("queries", client, desk, query, content=content)
    assert answered or query


HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'


@inputs(60, 1500)
@given(
    content=spoilt_bytes(HEAD + WRITTEN["PNG"] + b"\r\n--b--\r\n", head=len(HEAD) + 4),
    kind=st.one_of(
        st.sampled_from(
            ("multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=",
             "multipart/form-data; boundary=b; charset=utf-16", "multipart/form-data; boundary=b; charset=idna",
             'multipart/form-data; boundary="b', "Multipart/Form-Data;boundary=b", "multipart/form-data; boundary=--b")
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map("multipart/form-data; ".__add__),
    ),
)  # fmt: skip
def test_forms(client: TestClient, desk: Desk, content: bytes, kind: str) -> None:
    judge("forms", client, desk, "", content=content, headers={"content-type": kind})


REQUEST = (
    b"POST /count?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5\r\n"
    b"Authorization: Bearer x\r\nOrigin: http://localhost\r\n\r\nabcde"
)
CHUNKED = b"POST /count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    folder = tmp_path_factory.mktemp("server")
    with started(["-c", PROGRAM, "0"], folder) as (process, address):
        yield process, address, folder / "stderr.txt"


@inputs(150, 3000)
@given(
    content=st.one_of(
        spoilt_bytes(REQUEST), spoilt_bytes(CHUNKED), spoilt_bytes(REQUEST + CHUNKED), st.binary(max_size=99)
    )
)
def test_bytes_of_http(server: tuple[subprocess.Popen[str], str, Path], content: bytes) -> None:
    process, address, errors = server
    count, begun = COUNTS.setdefault("requests: bytes", Count()), time.perf_counter()
    with socket.create_connection(place(address), 10) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        found = everything(connection)
    count.inputs += 1
    count.seconds += time.perf_counter() - begun
    assert not found or found.startswith(b"HTTP/1.1 ")
    status = found[9:12]
    assert status in (b"", b"100", b"200", b"400", b"403", b"404", b"405", b"408", b"413"), found
    count.accepted += status == b"200"
    count.refused += status != b"200"
    assert process.poll() is None and errors.read_text() == ""
