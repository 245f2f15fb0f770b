"""The attacks of this folder on images, sent by HTTP: refused in the same words, and the next image is answered."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from starlette.testclient import TestClient

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.service.desk import Desk
from tests.detection.bad_inputs import LEVELS, encoded, gdcm_compress, write_dicom
from tests.detection.tiny_model import write_positions
from tests.security.payloads import FORMS
from tests.security.test_images import BOMBS, SIDE, _deflated
from tests.service.served import AS_DETECT, client_of, desk_of

GOOD = encoded(LEVELS, "PNG")
MEMORY = 700 * 2**20
"""Bytes that a process that decodes may take: the program's own, 256 MiB of a deflated file, and a copy of it."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_of(write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx"), AS_DETECT) as found:
        yield found


@pytest.fixture(scope="module")
def client(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(desk, write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx")) as found:
        yield found


@pytest.fixture(autouse=True)
def _goes_on(desk: Desk, client: TestClient) -> Iterator[None]:
    before = desk.readers.pids()
    yield
    assert client.post("/v1/detect", content=GOOD).status_code == 200
    assert [path for path in desk.folder.rglob("*") if not path.is_dir()] == []
    assert desk.readers.pids() == before, "a process that decodes has ended"
    for pid in before:
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            assert int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 < MEMORY


def _dicom_bomb(folder: Path) -> Path:
    return _deflated(folder / "x.dcm", 300 * 10**6)


def _dicom_of_size(folder: Path) -> Path:
    return write_dicom(folder / "x.dcm", LEVELS, DeflatedExplicitVRLittleEndian, Rows=SIDE, Columns=SIDE)


def _jpeg_ls_of_size(folder: Path) -> Path:
    pytest.importorskip("gdcm")
    path = gdcm_compress(
        write_dicom(folder / "plain.dcm", LEVELS.astype("uint16"), BitsStored=12), folder / "x.dcm", "JPEGLSLossless"
    )
    content = path.read_bytes()
    place = content.index(b"\xff\xf7") + 5
    path.write_bytes(content[:place] + struct.pack(">HH", 30_000, 30_000) + content[place + 4 :])
    return path


def _nan_spacing(folder: Path) -> Path:
    path = write_dicom(folder / "x.dcm", LEVELS, PixelSpacing=[0.25, 0.75])
    path.write_bytes(path.read_bytes().replace(b"0.25\\0.75", b" nan\\nan "))
    return path


DICOM: dict[str, Callable[[Path], Path]] = {
    "deflated beyond the limit": _dicom_bomb,
    "deflated, 60000 rows and columns": _dicom_of_size,
    "JPEG-LS of 30000 x 30000": _jpeg_ls_of_size,
    "spacing of NaN": _nan_spacing,
}


SLOW = ("deflated beyond the limit", "JPEG-LS of 30000 x 30000")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in (*BOMBS, *DICOM)]


@pytest.mark.parametrize("name", NAMES)
def test_what_detect_refuses_is_refused_in_the_same_words(client: TestClient, name: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if name in BOMBS:
        path.write_bytes(BOMBS[name][0]())
    else:
        path = DICOM[name](tmp_path)
    found = client.post("/v1/detect?name=x", content=path.read_bytes())
    try:
        spacing = read_radiograph(path).spacing
    except DataError as error:
        assert found.status_code == 422
        assert found.json()["error"].partition("; ")[0] == str(error).replace(f"{path}:", "x:").partition("; ")[0]
    else:
        assert found.status_code == 200 and found.json()["images"][0]["spacing"] == spacing is None


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_is_no_image(client: TestClient, form: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert client.post("/v1/detect", content=FORMS[form](mark)).status_code == 422
    assert not mark.exists()
