"""The service answers what ``ldx detect`` writes, byte for byte, and refuses in the same words."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from starlette.testclient import TestClient

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.version import version
from landmark_diffusion.data.readers.radiograph import Radiograph, read_radiograph
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.names import short_names
from landmark_diffusion.detection.writers.points_json import PointsJsonWriter, points_schema
from landmark_diffusion.service.desk import Desk
from tests.detection.bad_inputs import LEVELS, Input, encoded, write_dicom, write_inputs
from tests.detection.tiny_model import NAMES, make_calibration, picture, write_positions
from tests.end_to_end.console import ldx
from tests.service.served import AS_DETECT, client_of, desk_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny calibrated model."""
    folder = tmp_path_factory.mktemp("model")
    return write_positions(folder / "tiny.ldx", make_calibration(write_positions(folder / "plain.ldx")))


@pytest.fixture(scope="module")
def desk(model: Path) -> Iterator[Desk]:
    with desk_of(model) as found:
        yield found


@pytest.fixture(scope="module")
def client(desk: Desk, model: Path) -> Iterator[TestClient]:
    with client_of(desk, model) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_left(desk: Desk) -> Iterator[None]:
    yield
    assert [path for path in desk.folder.rglob("*") if not path.is_dir()] == []
    assert {path.name for path in desk.folder.iterdir()} == {"reader-0", "reader-1"}


def detect(folder: Path, model: Path, name: str, *options: str) -> Path:
    """Run ``ldx detect`` on a file of a folder, from there; returns the folder of the results."""
    with contextlib.chdir(folder):
        outcome = ldx("detect", name, "--model", str(model), "--output", "found", "--overwrite", *options)
    assert outcome.status == 0, outcome.err
    return folder / "found"


def write_kind(path: Path) -> None:
    """Write a picture as the file's suffix says."""
    if path.suffix == ".dcm":
        ids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}
        write_dicom(path, picture(3), ImagerPixelSpacing=[0.2, 0.25], **ids)
    else:
        path.write_bytes(encoded(picture(3), {"jpg": "JPEG", "tif": "TIFF"}.get(path.suffix[1:], path.suffix[1:])))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.dcm"])
def test_points_json_is_that_of_detect_byte_for_byte(
    client: TestClient, model: Path, tmp_path: Path, name: str
) -> None:
    write_kind(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for query, options in (
        ("", ()),
        ("&spacing=0.1,0.12&orientation=as-is", ("--spacing=0.1,0.12", "--orientation=as-is")),
    ):
        wanted = (detect(tmp_path, model, name, "--to", "json", *options) / "points.json").read_bytes()
        assert client.post(f"/v1/detect?name={name}{query}", content=content).content == wanted
        sent = client.post(f"/v1/detect?{query}", files={"image": (name, content, "text/plain")})
        assert sent.content == wanted and sent.headers["content-type"] == "application/json"
    jsonschema.validate(json.loads(wanted), points_schema())


@pytest.mark.parametrize(
    ("form", "file", "kind"),
    [
        ("csv", "points.csv", "text/csv; charset=utf-8"),
        ("overlay", "overlays/a.png", "image/png"),
        ("html", "detections.html", "text/html; charset=utf-8"),
        ("coco", "coco.json", "application/json"),
    ],
)
def test_other_forms_are_files_of_detect(
    client: TestClient, model: Path, tmp_path: Path, form: str, file: str, kind: str
) -> None:
    write_kind(tmp_path / "a.dcm")
    wanted = detect(tmp_path, model, "a.dcm", "--to", form) / file
    found = client.post(f"/v1/detect?to={form}&name=a.dcm", content=(tmp_path / "a.dcm").read_bytes())
    assert (found.status_code, found.headers["content-type"]) == (200, kind)
    if kind != "application/json":
        assert found.headers["content-disposition"] == f'attachment; filename="{wanted.name}"'
    assert found.content == wanted.read_bytes()


def test_a_report_is_made_of_dicom_alone(client: TestClient, tmp_path: Path) -> None:
    """Its writer opens the image's file again, which is the private one, whatever name the client gives."""
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    write_kind(tmp_path / "a.dcm")
    secret = tmp_path / "secret.dcm"
    write_kind(secret)
    found = client.post(f"/v1/detect?to=dicom-sr&name={secret}", content=(tmp_path / "a.dcm").read_bytes())
    assert found.status_code == 200 and found.headers["content-type"] == "application/dicom"
    (tmp_path / "report.dcm").write_bytes(found.content)
    report = pydicom.dcmread(tmp_path / "report.dcm")
    (referred,) = report.CurrentRequestedProcedureEvidenceSequence
    image = pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID
    assert referred.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image
    other = client.post(f"/v1/detect?to=dicom-sr&name={secret}", content=encoded(picture(3), "PNG"))
    assert other.status_code == 422
    assert other.json()["error"] == (
        "secret.dcm: dicom-sr makes no file of this image (a DICOM report refers to the image's own DICOM "
        "file, and this is none): ask for another form"
    )
    write_dicom(tmp_path / "b.dcm", picture(3))
    lacks = client.post("/v1/detect?to=dicom-sr&name=b.dcm", content=(tmp_path / "b.dcm").read_bytes())
    assert lacks.status_code == 422 and lacks.json()["kind"] == "form"
    assert lacks.json()["error"].startswith("b.dcm: a DICOM report refers to the image by StudyInstanceUID")


def look_at_pixels(
    detector: Detector, radiographs: list[Radiograph], paths: list[str], names: list[str], spacing: Any = None
) -> list[Detection]:
    """In place of a model, whose time it saves: points that tell of every pixel, and of what else was read."""
    (radiograph,) = radiographs
    points = np.array([[zlib.crc32(radiograph.grey.tobytes()), radiograph.bits]] * len(NAMES), float)
    size = radiograph.grey.shape[::-1]
    return [
        Detection(
            names[0], paths[0], size, NAMES, points, spacing=radiograph.spacing, notes=radiograph.notes, model="tiny",
            spacing_source=radiograph.spacing_source, pixels=radiograph.grey,
        )
    ]  # fmt: skip


APART = ("DICOM with JPEG lossless", "DICOM with less lossless JPEG than it says", "DICOM with JPEG-LS")
"""Inputs that gdcm decodes in a process of its own, which takes a second to start."""


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_whatever_is_sent_is_judged_as_detect_judges_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """Over 100 odd and damaged files: the same points.json, or the same words, for each."""
    monkeypatch.setattr(Detector, "detect", look_at_pixels)
    detector, faults, judged = Detector.load(model), [], {200: 0, 422: 0}
    with desk_of(model, AS_DETECT) as desk, client_of(desk, model) as client:
        for item in filter(sendable, write_inputs(tmp_path / "inputs")):
            if (item.what in APART) != apart:
                continue
            name = item.path.name
            found = client.post("/v1/detect", params={"name": name}, content=item.path.read_bytes())
            judged[found.status_code] += 1
            try:
                (detection,) = detector.detect([read_radiograph(item.path)], [name], [short_names([Path(name)])[0]])
            except DataError as error:
                wanted = str(error).removeprefix(f"{item.path}: ")
                if found.json().get("error") != f"{name}: {wanted}":
                    faults.append(f"{item.what}: {found.text} for {wanted!r}")
            else:
                PointsJsonWriter.save(tmp_path / "x.json", detection)
                if found.content != (tmp_path / "x.json").read_bytes():
                    faults.append(f"{item.what}: {found.text[:200]}")
    assert faults == []
    assert apart or (judged[200] > 60 and judged[422] > 50)


def sendable(item: Input) -> bool:
    """Whether it is a file, of a name that a query holds."""
    try:
        return item.path.is_file() and item.path.name.isprintable() and bool(item.path.name.encode())
    except (OSError, UnicodeError):
        return False


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("spacing=nan", "spacing: found 'nan', expected mm per pixel above 0"),
        ("spacing=-1", "spacing: found '-1', expected"),
        ("spacing=0", "spacing: found '0'"),
        ("spacing=1e999", "spacing: found '1e999'"),
        ("spacing=1,2,3", "spacing: found '1,2,3'"),
        ("spacing=", "spacing: found ''"),
        ("spacing=" + "1," * 5000, "spacing: found '1,1,"),
        ("orientation=left", "orientation: found 'left', expected one of auto, as-is"),
        ("to=slicer", "to: found 'slicer', expected one of json, "),
        ("to=os.system", "to: found 'os.system'"),
        ("to=json,csv", "to: found 'json,csv'"),
        ("to=../../x", "to: found '../../x'"),
        ("spaceing=1", "unknown option 'spaceing'. Did you mean spacing?"),
        ("spacing=1&spacing=2", "spacing: found twice"),
        ("name=%1b[2J", "name: found '\\x1b[2J', expected a file's name"),
        ("name=a%00b", "name: found 'a\\x00b'"),
        ("name=..", "name: found '..'"),
        ("name=" + "a" * 256, "name: found 'aaa"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_the_image_is_read(
    client: TestClient, query: str, says: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "answer", None)
    found = client.post(f"/v1/detect?{query}", content=encoded(LEVELS, "PNG"))
    assert (found.status_code, found.json()["kind"]) == (400, "bad_request")
    assert found.json()["error"].startswith(says)
    assert len(found.json()["error"]) < 400


@pytest.mark.parametrize("name", ["/etc/passwd", "..\\..\\a/x.png", "C:\\x\\x.png", "x/../../x.png"])
def test_names_lose_their_folders(client: TestClient, name: str) -> None:
    found = client.post("/v1/detect", params={"name": name}, content=encoded(LEVELS, "PNG")).json()
    (image,) = found["images"]
    assert "/" not in image["path"] and "\\" not in image["path"] and image["path"] in ("x.png", "passwd")


@pytest.mark.parametrize(
    ("name", "value"),
    [('"><script>.png', None), ("=1+1.png", "'=1+1.png"), ("Röntgen 影.png", None), ("é" * 255, None)],
)
def test_odd_names_are_texts(client: TestClient, name: str, value: str | None) -> None:
    content = encoded(LEVELS, "PNG")
    found = client.post("/v1/detect", params={"name": name, "to": "csv"}, content=content)
    rows = list(csv.DictReader(found.text.splitlines()))
    assert {row["image"] for row in rows} == {value or name}
    page = client.post("/v1/detect", params={"name": name, "to": "html"}, content=content).text
    assert '"><script>.png' not in page
    sent = client.post("/v1/detect", files={"image": (name, content)}).json()
    assert sent["images"][0]["path"] == name.replace('"', "%22")  # so browsers and httpx send quotation marks


FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("multipart/form-data", FORM, "a form without the boundary"),
        ("multipart/form-data; boundary=b", b"", "a form without a file|is damaged"),
        ("multipart/form-data; boundary=b", b"no form", "is damaged"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", "a form without a file"),
        ("multipart/form-data; boundary=b", FORM + b"x\r\n" + FORM + b"y\r\n--b--\r\n", "form with more than one"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="spacing"\r\n\r\n0.1\r\n--b--\r\n',
            "a form with fields, .*options go into the query",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: x\r\n\r\n\r\n--b--\r\n", "has no name"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A: b\r\n" * 5000 + b"\r\n", "is damaged"),
        ("multipart/form-data; boundary=" + "b" * 5000, FORM, "is damaged|without a file"),
    ],
)
def test_forms_that_cannot_be_used_are_refused(client: TestClient, kind: str, content: bytes, says: str) -> None:
    found = client.post("/v1/detect", content=content, headers={"content-type": kind})
    assert found.status_code == 400 and re.search(says, found.json()["error"])


def test_a_form_that_is_cut_is_refused(client: TestClient) -> None:
    content = FORM + encoded(picture(3), "PNG")
    found = client.post("/v1/detect", content=content, headers={"content-type": "multipart/form-data; boundary=b"})
    assert found.status_code in (400, 422)


def test_what_the_service_says_of_itself(client: TestClient, model: Path) -> None:
    assert client.get("/v1/health").json() == {"status": "ready", "busy": False}
    assert client.get("/v1/version").json() == {
        "package": "landmark_diffusion", "version": version(), "api": 1, "points": 1
    }  # fmt: skip
    about = client.get("/v1/model").json()
    detector = Detector.load(model)
    assert about["landmarks"] == list(NAMES) and about["name"] == "tiny.ldx" and about["calibrated"] is True
    assert about["settings"] == {**detector.settings, "seed": 3} and about["level"] == detector.level
    assert about["card"].startswith("# ") and about["weights_sha256"] == detector.facts.weights_sha256


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from references(each)


def test_the_description_names_every_path_and_holds_together(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    routes = {route.path for route in client.app._app.routes}  # type: ignore[union-attr]
    assert routes == {*described["paths"], "/docs", "/"}
    parts = described["components"]["schemas"]
    assert {each.removeprefix("#/components/schemas/") for each in references(described)} == set(parts)
    answer = client.post("/v1/detect", content=encoded(LEVELS, "PNG")).json()
    judge = jsonschema.Draft202012Validator({**described, "$ref": "#/components/schemas/points"})
    judge.validate(answer)
    answer["images"][0]["landmarks"][0]["point_px"] = [1]
    assert not judge.is_valid(answer)
    (form,) = [each for each in described["paths"]["/v1/detect"]["post"]["parameters"] if each["name"] == "to"]
    assert form["schema"]["enum"][0] == "json" and {"csv", "html", "overlay"} < set(form["schema"]["enum"])


def test_the_page_loads_nothing_and_runs_nothing(client: TestClient) -> None:
    for path in ("/", "/docs"):
        found = client.get(path)
        assert found.status_code == 200 and found.headers["content-type"].startswith("text/html")
        assert not re.search(r"<script|https?://|src=|@import|url\(|\son\w+=|style=", found.text)
        assert "/v1/detect" in found.text and all(name in found.text for name in NAMES)
        assert "$" not in found.text  # no place of the template was left open


def test_a_token_is_asked_for_everywhere_but_for_health(desk: Desk, model: Path) -> None:
    token = "t" * 20
    with client_of(desk, model, token=token) as client:
        paths = ("/v1/version", "/v1/model", "/openapi.json", "/docs")
        assert {client.get(path).status_code for path in paths} == {401}
        assert client.post("/v1/detect", content=encoded(LEVELS, "PNG")).status_code == 401
        assert client.get("/v1/health").status_code == 200
        assert {client.get(f"{path}?token={token}").status_code for path in paths} == {200}
        headers = {"authorization": f"Bearer {token}"}
        assert client.post("/v1/detect", content=encoded(LEVELS, "PNG"), headers=headers).status_code == 200


def test_a_fault_of_the_service_is_told_to_itself_alone(
    desk: Desk, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(Detector, "detect", lambda *_, **__: 1 / 0)
    with client_of(desk, model, told=told) as client:
        found = client.post("/v1/detect", content=encoded(LEVELS, "PNG"))
    assert found.status_code == 500 and "division" not in found.text
    ((request, error),) = told
    assert request == "POST /v1/detect" and isinstance(error, ZeroDivisionError)
