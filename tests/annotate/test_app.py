"""What the page asks for, by HTTP: who may ask, what comes back, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from landmark_diffusion.annotate.app import annotation_app, page_text
from landmark_diffusion.annotate.opening import choose_table
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.readers.image_io import read_grey
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.web.access import Access
from tests.annotate.folders import SIZE, marks_of, open_session, phantoms
from tests.annotate.told import ToldPredictor
from tests.detection.bad_inputs import write_dicom

NAMES = ("nasion", "sella", "gonion")
TOKEN = "a-token-of-this-test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return phantoms(tmp_path)


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[..., TestClient]]:
    sessions = []

    def client(annotator: str = "anna", **options: Any) -> TestClient:
        session = open_session(folder, annotator, NAMES, **options)
        sessions.append(session)
        app = annotation_app(session, Access(TOKEN, frozenset({"testserver"})))
        return TestClient(app, headers={"authorization": f"Bearer {TOKEN}"}, raise_server_exceptions=False)

    yield client
    for session in sessions:
        session.close()


def point(x: float, y: float, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "flag": "visible", "origin": "by hand"} | more


def mark(client: TestClient, revision: int, marks: dict[str, Any], image: int = 0) -> Any:
    return client.post(f"/api/images/{image}/marks", json={"revision": revision, "marks": marks})


def test_nothing_is_told_without_the_token(make: Callable[..., TestClient]) -> None:
    client = make()
    client.headers.clear()
    for path in ("/", "/api/session", "/api/news", "/api/hint", "/api/images/0", "/api/images/0/pixels"):
        assert client.get(path).status_code == 401
    assert client.post("/api/images/0/marks", json={}).status_code == 401
    assert client.get(f"/?token={TOKEN}").status_code == 200
    assert client.get(f"/?token={TOKEN}", headers={"host": "evil.example"}).status_code == 403


def test_another_site_cannot_mark_even_with_the_token(make: Callable[..., TestClient], folder: Path) -> None:
    client = make()
    body = {"revision": 1, "marks": {"0": point(1, 2)}}
    answer = client.post("/api/images/0/marks", json=body, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403 and not (folder / "annotations.csv").exists()


def test_the_page_is_whole_and_its_own(make: Callable[..., TestClient]) -> None:
    answer = make().get("/")
    assert "<!--" not in answer.text.split("<body>")[1].split("<script")[0].replace("<!-- more -->", "")
    assert "{{nonce}}" not in answer.text and "/* script */" not in answer.text and "/* style */" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy
    assert "http" not in page_text().replace("http://www.w3.org/2000/svg", "")


def test_pixels_are_the_greys_that_the_model_sees(make: Callable[..., TestClient], folder: Path) -> None:
    answer = make().get("/api/images/1/pixels")
    width, height, levels, size = (int(answer.headers[f"x-{name}"]) for name in ("width", "height", "levels", "bytes"))
    body = answer.content if answer.content[:2] != b"\x1f\x8b" else gzip.decompress(answer.content)
    table = np.frombuffer(body[:levels], np.uint8)
    values = np.frombuffer(body[levels + levels % 2 :], "<u2" if size == 2 else np.uint8).reshape(height, width)
    np.testing.assert_array_equal(table[values], read_grey(folder / "phantom_test_000001.png"))


def test_a_dicom_file_is_marked_with_all_of_its_values(make: Callable[..., TestClient], folder: Path) -> None:
    grey = read_grey(folder / "phantom_test_000000.png")
    write_dicom(folder / "a.dcm", grey.astype(np.uint16) * 16, BitsStored=12, WindowCenter=2000, WindowWidth=1000)
    client = make()
    answer = client.get("/api/images/0/pixels")
    assert answer.headers["x-levels"] == "4096" and answer.headers["x-bytes"] == "2"
    values = np.frombuffer(answer.content[4096:], "<u2").reshape(grey.shape)
    np.testing.assert_array_equal(values, grey.astype(np.uint16) * 16)
    table = np.frombuffer(answer.content[:4096], np.uint8)
    np.testing.assert_array_equal(table[values], read_radiograph(folder / "a.dcm").grey)
    assert table[1400] == 0 and table[2600] == 255  # the window of the file, which another may widen
    assert mark(client, 1, {"0": point(1, 2)}).status_code == 200
    (sample,) = FolderDataset(folder, split="all").samples("train")
    assert sample.image_id == "a.dcm" and sample.mean_points[0].tolist() == [1, 2]


def test_a_mark_is_saved_and_told(make: Callable[..., TestClient], folder: Path) -> None:
    client = make()
    about = client.get("/api/session").json()
    assert about["landmarks"] == list(NAMES) and about["annotator"] == "anna" and not about["blind"]
    assert about["images"] == ["phantom_test_000000.png", "phantom_test_000001.png"]
    first = client.get("/api/images/0").json()
    assert first["size"] == list(SIZE) and first["marks"] == [None] * 3 and first["revision"] == 1
    answer = mark(client, 1, {"0": point(10.12345, 20), "2": {"x": None, "y": None, "flag": "absent", "origin": None}})
    assert answer.status_code == 200 and answer.json()["revision"] == 2
    found = marks_of(folder / "annotations.csv", "phantom_test_000000.png", "anna")
    assert (found["nasion"].x, found["nasion"].y, found["nasion"].origin) == (10.123, 20, "by hand")
    assert found["gonion"].flag == "absent"
    news = client.get("/api/news").json()
    assert news["done"] == [2, 0] and news["revisions"] == [2, 1]
    assert client.get("/api/images/0").json()["marks"] == answer.json()["marks"]


def test_a_stale_page_is_refused(make: Callable[..., TestClient], folder: Path) -> None:
    client = make()
    mark(client, 1, {"0": point(1, 2)})
    answer = mark(client, 1, {"0": point(9, 9)})
    assert answer.status_code == 409 and answer.json()["kind"] == "stale"
    assert marks_of(folder / "annotations.csv", "phantom_test_000000.png", "anna")["nasion"].x == 1


@pytest.mark.parametrize(
    ("image", "body", "status", "said"),
    [
        (0, b"{", 400, "no JSON"), (0, b"[" * 100_000, 400, "no JSON"), (0, b"[]", 400, "revision and marks"),
        (0, b'{"revision": "1", "marks": {"0": null}}', 400, "revision"),
        (7, b'{"revision": 1, "marks": {"0": null}}', 404, "image 7"),
        (0, b'{"revision": 1, "marks": {"3": null}}', 400, "landmark '3'"),
        (0, b'{"revision": 1, "marks": {"-1": null}}', 400, "landmark '-1'"),
        (0, b'{"revision": 1, "marks": {"0": {"x": NaN, "y": 1}}}', 400, "number of pixels"),
        (0, b'{"revision": 1, "marks": {"0": {"x": 387, "y": 1}}}', 400, "outside the image"),
        (0, b'{"revision": 1, "marks": {"0": {"x": 1, "y": 1, "evil": 1}}}', 400, "or null"),
        (0, b"x" * (2**20 + 1), 413, "at most"),
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused_in_words(
    make: Callable[..., TestClient], folder: Path, image: int, body: bytes, status: int, said: str
) -> None:
    answer = make().post(f"/api/images/{image}/marks", content=body)
    assert answer.status_code == status and said in answer.json()["error"]
    assert not (folder / "annotations.csv").exists()


def test_two_annotators_see_each_other_and_a_blind_one_sees_nobody(
    make: Callable[..., TestClient], folder: Path
) -> None:
    mark(make("anna"), 1, {"0": point(1, 2), "1": point(3, 4)})
    bo = make("bo")
    assert bo.get("/api/images/0").json()["marks"] == [None] * 3
    (others,) = bo.get("/api/images/0").json()["others"]
    assert others["annotator"] == "anna" and others["marks"][1]["x"] == 3 and others["marks"][2] is None
    mark(bo, bo.get("/api/images/0").json()["revision"], {"0": point(5, 6)})
    for who, x in (("anna", 1), ("bo", 5)):
        assert marks_of(folder / "annotations.csv", "phantom_test_000000.png", who)["nasion"].x == x
    cy = make("cy", blind=True)
    assert "anna" not in json.dumps([cy.get(path).json() for path in ("/api/session", "/api/news", "/api/images/0")])
    assert cy.get("/api/images/0").json()["others"] == [] and cy.get("/api/hint").json() == [None] * 3


def test_a_model_is_asked_for_the_image_that_is_looked_at(make: Callable[..., TestClient]) -> None:
    told = ToldPredictor()
    client = make(predictor=told)
    assert client.get("/api/session").json()["model"] == "told.ldx"
    assert client.get("/api/images/1").json()["prediction"]["level"] == 0.9 and told.asked == [1]
    assert client.get("/api/news").json()["doubtful"] == [2, 2]


def test_the_hint_is_where_landmarks_lie_on_the_mean(make: Callable[..., TestClient]) -> None:
    client = make()
    mark(client, 1, {"0": point(100, 200)})
    mark(client, 1, {"0": point(200, 100)}, image=1)
    (x, y), *rest = client.get("/api/hint").json()
    assert (x * SIZE[0] - 0.5, y * SIZE[1] - 0.5) == pytest.approx((150, 150)) and rest == [None, None]


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_marked(
    make: Callable[..., TestClient], folder: Path
) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    client = make()
    assert client.get("/api/session").json()["images"][0] == "broken.png"
    for path in ("/api/images/0", "/api/images/0/pixels"):
        answer = client.get(path)
        assert answer.status_code == 422 and "broken.png" in answer.json()["error"]
    assert mark(client, 1, {"0": point(1, 2)}, image=1).status_code == 200


def test_a_broken_table_is_told_and_left_alone(make: Callable[..., TestClient], folder: Path) -> None:
    client = make()
    mark(client, 1, {"0": point(1, 2)})
    (folder / "annotations.csv").write_text("image,landmark,x,y\na.png,nasion,?,2\n", encoding="utf-8")
    assert "annotations.csv:2" in client.get("/api/news").json()["trouble"]
    answer = mark(client, 2, {"0": point(5, 5)})
    assert answer.status_code == 422 and "annotations.csv:2" in answer.json()["error"]


def test_names_of_a_table_are_kept_as_it_spells_them(make: Callable[..., TestClient], folder: Path) -> None:
    (folder / "labels.csv").write_text("image,landmark,x,y\nphantom_test_1,nasion,5,6\n", encoding="utf-8")
    client = make("annotator")
    assert client.get("/api/images/1").json()["marks"][0]["x"] == 5
    mark(client, 1, {"1": point(7, 8)}, image=1)
    assert set(marks_of(folder / "labels.csv", "phantom_test_1")) == {"nasion", "sella"}


def test_a_wide_table_stays_and_a_new_one_begins_with_its_points(make: Callable[..., TestClient], folder: Path) -> None:
    text = "image,nasion_x,nasion_y\nphantom_test_000000.png,5,6\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    choice = choose_table(folder, None)
    assert choice.path.name == "annotations.csv" and "wide" in choice.note
    client = make("annotator")
    assert client.get("/api/images/0").json()["marks"][0]["x"] == 5 and not choice.path.exists()
    mark(client, 1, {"1": point(7, 8)})
    assert set(marks_of(choice.path, "phantom_test_000000.png")) == {"nasion", "sella"}
    assert (folder / "labels.csv").read_text(encoding="utf-8") == text
    assert choose_table(folder, None).path == choice.path


def test_several_tables_are_asked_about(folder: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("image,landmark,x,y\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2 tables.*--table"):
        choose_table(folder, None)
    assert choose_table(folder, "b.csv").path == (folder / "b.csv").resolve()
    with pytest.raises(UserError, match=r"ends in \.csv"):
        choose_table(folder, "b.txt")
    (folder / "wide.csv").write_text("image,x1,y1\na.png,1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"wide.*another --table"):
        choose_table(folder, "wide.csv")


def test_names_that_no_table_can_hold_are_left_out(make: Callable[..., TestClient], folder: Path) -> None:
    for name in (b"\xff.png", b" blank.png"):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(
            (folder / "phantom_test_000000.png").read_bytes()
        )
    assert len(make().get("/api/session").json()["images"]) == 2


def test_names_that_are_markup_stay_text(make: Callable[..., TestClient], folder: Path) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    Image.open(folder / "phantom_test_000000.png").save(folder / name)
    client = make()
    about = client.get("/api/session")
    assert name in about.json()["images"] and about.headers["content-type"] == "application/json"
    assert name not in client.get("/").text
