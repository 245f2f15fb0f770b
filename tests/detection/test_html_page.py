"""The HTML page as a file: its numbers are the detection's, nothing in it can run or load what it should not."""

from __future__ import annotations

import base64
import json
import re
import weakref
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.html_page import HtmlWriter, image_record
from landmark_diffusion.pictures import page as kit
from landmark_diffusion.pictures.page import Page, script_json
from tests.detection.detections import make_detection, make_doubted

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\u2028 $data <!-- pictures -->"


class _Page(HTMLParser):
    """Elements with their attributes, and the text of each script by its id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            key = str(self.elements[-1][1].get("id"))
            self.scripts[key] = self.scripts.get(key, "") + data


def _write(folder: Path, *detections: Detection) -> _Page:
    writer = HtmlWriter(folder)
    for detection in detections:
        writer.add(detection)
    assert writer.close() == writer.targets([each.name for each in detections]) == [folder / "detections.html"]
    return _Page((folder / "detections.html").read_text("utf-8"))


def test_numbers_of_the_page_are_those_of_the_detection(tmp_path) -> None:
    detection = make_detection(spacing=(0.1, 0.2))
    page = json.loads(_write(tmp_path, detection).scripts["data"])
    (image,) = page["images"]
    found = {key: np.array([each[key] for each in image["landmarks"]]) for key in image["landmarks"][0]}
    assert found["name"].tolist() == list(detection.landmark_names)
    assert np.abs(np.stack([found["x"], found["y"]], -1) - detection.points).max() < 0.001
    assert np.abs(np.stack([found["x_mm"], found["y_mm"]], -1) - detection.points_mm).max() < 0.001
    assert np.abs(found["error_mm"] - detection.expected_error_mm).max() < 0.001
    # The area of the ellipse of a matrix M is pi sqrt(det M), and a mm2 has 1 / (0.1 * 0.2) px2.
    area = np.pi * np.sqrt(np.linalg.det(detection.regions))
    assert np.abs(found["area_px2"] - area).max() < 0.001
    assert np.abs(found["area_mm2"] - area * 0.02).max() < 0.001
    assert page["model"] == detection.model and ["steps", "8"] in page["settings"]
    assert (image["spacing"], image["spacing_source"], image["size"]) == ([0.1, 0.2], "option", [300, 400])


def test_what_is_not_known_is_null_and_not_a_number(tmp_path) -> None:
    detection = make_detection(spacing=None, regions=False)
    detection = replace(detection, points=np.where(np.arange(5)[:, None] == 2, np.nan, detection.points))
    page = json.loads(_write(tmp_path, detection).scripts["data"])
    landmarks = page["images"][0]["landmarks"]
    assert landmarks[2]["x"] is None and landmarks[1]["x"] is not None
    assert {landmarks[1][key] for key in ("x_mm", "error_px", "error_mm", "area_mm2", "longer")} == {None}
    assert page["threshold"] is None


def test_doubt_is_in_the_list_and_a_landmark_outside_has_no_place(tmp_path) -> None:
    landmarks = json.loads(_write(tmp_path, make_doubted()).scripts["data"])["images"][0]["landmarks"]
    assert [each["mark"] for each in landmarks] == ["", "not in the image", "doubtful", "", "doubtful"]
    assert [each["doubtful"] for each in landmarks] == [False, False, True, False, True]
    assert {landmarks[1][key] for key in ("x", "y", "x_mm", "error_mm", "longer", "area_mm2")} == {None}
    assert (landmarks[1]["outside"], landmarks[2]["far"]) == (0.9, 0.4) and landmarks[0]["x"] is not None


@pytest.mark.parametrize("place", ["name", "path", "landmark_names", "notes", "model", "settings", "spacing_source"])
def test_text_of_others_stays_text(tmp_path, place) -> None:
    values = {"landmark_names": (HOSTILE,) * 5, "notes": (HOSTILE,), "settings": {HOSTILE: HOSTILE}}
    page = _write(tmp_path, replace(make_detection(), **{place: values.get(place, HOSTILE)}))
    plain = _write(tmp_path / "plain", make_detection())
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert HOSTILE in _strings(json.loads(page.scripts["data"]))


def _strings(value: object) -> set[str]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {value} if isinstance(value, str) else set().union(*map(_strings, children))


def test_json_within_a_script_cannot_end_it_and_survives_any_name() -> None:
    names = [HOSTILE, "\udcff", "<!--", "患者"]
    text = script_json(names)
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == names


def test_page_asks_for_nothing_outside_itself(tmp_path) -> None:
    page = _write(tmp_path, make_detection())
    links = [value for _, each in page.elements for key, value in each.items() if key in ("src", "href", "srcset")]
    assert links == ["data:,"]
    text = (tmp_path / "detections.html").read_text("utf-8")
    assert set(re.findall(r"\w+://[^\"' )]*", text)) == {"http://www.w3.org/2000/svg"}  # a namespace, never fetched
    assert "@import" not in text and re.findall(r"url\([^)]*\)", text) == ["url(#light-filter)"]  # within the page
    (policy,) = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def _picture(page: _Page, key: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(page.scripts[key], validate=True)))


def _state(page: _Page) -> list[str]:
    return [image["picture"] for image in json.loads(page.scripts["data"])["images"]]


RAMP = np.broadcast_to(np.linspace(0, 255, 1935).astype(np.uint8), (2400, 1935))


def test_pictures_are_jpegs_of_the_file_s_resolution(tmp_path) -> None:
    small = np.full((40, 30), 77, np.uint8)
    page = _write(tmp_path, replace(make_detection("a"), pixels=RAMP), replace(make_detection("b"), pixels=small))
    large, same, thumbnail = (_picture(page, key) for key in ("picture-0", "picture-1", "thumbnail-0"))
    assert (large.format, large.size, same.size, thumbnail.size) == ("JPEG", (1935, 2400), (30, 40), (177, 220))
    row = np.asarray(large).astype(float).mean(0)
    assert np.abs(row - RAMP[0]).max() < 3
    assert _state(page) == ["full", "full"]


def test_pictures_beyond_the_limit_are_reduced_and_then_left_out(tmp_path) -> None:
    """The first images are the sharp ones: a report gives the worst first."""
    noisy = [np.random.default_rng(i).integers(0, 256, (1500, 1300), dtype=np.uint8) for i in range(4)]
    one = len(_picture_of(noisy[0], tmp_path / "one.html"))
    page = Page(tmp_path / "page.html", "report", thumbnails=False, sharp=int(1.5 * one), most=int(2.2 * one))
    for pixels in noisy:
        page.add({"name": "x"}, pixels)
    found = _Page(page.write("t", {"kind": "report"}).read_text("utf-8"))
    assert _state(found) == ["full", "reduced", "reduced", "none"]
    assert [_picture(found, f"picture-{index}").size for index in range(3)] == [(1300, 1500), *[(1040, 1200)] * 2]
    assert "picture-3" not in found.scripts and not any(key.startswith("thumbnail") for key in found.scripts)


def _picture_of(pixels: np.ndarray, path: Path) -> str:
    page = Page(path, "report", thumbnails=False)
    page.add({}, pixels)
    return _Page(page.write("t", {"kind": "report"}).read_text("utf-8")).scripts["picture-0"]


def test_picture_that_no_browser_could_hold_is_reduced(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kit, "FULL", 2000)
    page = _write(tmp_path, replace(make_detection("a"), pixels=RAMP))
    assert _picture(page, "picture-0").size == (968, 1200) and _state(page) == ["reduced"]


def test_image_without_pixels_is_listed_without_picture(tmp_path) -> None:
    page = _write(tmp_path, make_detection(pixels=False))
    assert _state(page) == ["none"]
    assert not {"picture-0", "thumbnail-0"} & set(page.scripts)


def test_page_is_the_same_bytes_again_and_leaves_nothing_beside_it(tmp_path) -> None:
    for folder in ("a", "b"):
        _write(tmp_path / folder, make_detection())
    assert (tmp_path / "a/detections.html").read_bytes() == (tmp_path / "b/detections.html").read_bytes()
    assert len(list(tmp_path.rglob("*"))) == 4


def test_pixels_are_let_go_once_added(tmp_path) -> None:
    detection = make_detection()
    kept = weakref.ref(detection.pixels)
    writer = HtmlWriter(tmp_path)
    writer.add(detection)
    del detection
    assert kept() is None


@pytest.mark.parametrize(("second", "unit"), [((0.2, 0.2), "mm"), (None, "px")])
def test_images_are_compared_in_mm_only_where_all_have_a_spacing(tmp_path, second, unit) -> None:
    both = [make_detection("a"), make_detection("b", spacing=second, seed=1)]
    page = json.loads(_write(tmp_path, *both).scripts["data"])
    errors = np.concatenate([each.expected_error_mm if unit == "mm" else each.expected_error for each in both])
    assert page["unit"] == unit
    assert page["threshold"] == pytest.approx(2 * np.median(errors), rel=0.05)


def test_numbers_of_numpy_can_be_written() -> None:
    odd = replace(
        make_detection(), image_score=np.float32(0.25), unlike=np.bool_(True), size=(np.int64(3), np.int64(4))
    )
    assert json.loads(script_json(image_record(odd)))["unlike"] is True


def test_without_images_no_page_is_written(tmp_path) -> None:
    assert HtmlWriter(tmp_path).close() == []
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"detections\.html: the file cannot be written"):
        HtmlWriter(tmp_path / "results").add(make_detection())
