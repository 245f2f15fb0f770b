"""The HTML page in a real browser without a window: it shows what was detected, asks for nothing and runs no name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.html_page import HtmlWriter
from tests.detection.detections import make_detection

playwright = pytest.importorskip(
    "playwright.sync_api", reason="a browser's driver is needed: pip install landmark_diffusion[browser]"
)

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
NO_BROWSER = "no browser is found: `apt install chromium` or `playwright install chromium`"
HOSTILE = "</script><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
DOT = np.array([620, 1500])
"""Centre of a white square in the third image, which is larger than what the page keeps of it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a browser; skip where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        path = found or driver.chromium.executable_path
        if not Path(path).exists():
            pytest.skip(NO_BROWSER)
        browser = driver.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()


def _detections() -> list[Detection]:
    """Four images: a usual one, a hostile one that is unlike, a large one with a white square, one without numbers."""
    usual = make_detection("image 10", seed=1)
    hostile = replace(
        make_detection("x", seed=2), name=HOSTILE, path=HOSTILE, notes=(HOSTILE,), spacing_source=HOSTILE,
        landmark_names=(HOSTILE, "b", "c", "d", "e"), unlike=True, image_score=0.001,
    )  # fmt: skip
    pixels = np.zeros((2400, 1935), np.uint8)
    pixels[DOT[1] - 20 : DOT[1] + 21, DOT[0] - 20 : DOT[0] + 21] = 255
    large = make_detection("image 9", seed=3, size=(1935, 2400))
    points = np.concatenate([DOT[None].astype(float), large.points[1:]])
    large = replace(large, pixels=pixels, points=points, expected_error=3 * large.expected_error, image_score=0.9)
    bare = make_detection("image 11", seed=4, regions=False, pixels=False)
    return [usual, hostile, large, bare]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the page of the four detections; its file:// address."""
    writer = HtmlWriter(tmp_path_factory.mktemp("page"))
    for detection in _detections():
        writer.add(detection)
    return writer.close()[0].as_uri()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page in a window of some size; afterwards nothing must have been asked for, and nothing gone wrong."""
    asked, wrong, pages = [], [], []

    def start(width: int = 1280, height: int = 800) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height})
        pages.append(page)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(address)
        page.wait_for_selector("#stage[data-picture]:not([data-picture=thumbnail])")
        return page

    yield start
    for page in pages:
        page.close()
    assert not wrong
    assert {url for url in asked if not url.startswith("data:")} == {address}


def _show(page: Any, name: str) -> None:
    page.locator("#cards button", has_text=name).click()
    page.wait_for_selector("#stage[data-picture=full], #stage[data-picture=none]")


def _pixel_on_screen(page: Any, point: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where an image pixel's centre is on the screen, by the box that the browser gives to the picture."""
    box = page.locator("#view image").bounding_box()
    return np.array([box["x"], box["y"]]) + (np.asarray(point) + 0.5) / size * [box["width"], box["height"]]


def _mark_on_screen(page: Any, index: int) -> np.ndarray:
    box = page.locator(f'.mark[data-landmark="{index}"] .cross').bounding_box()
    return np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])


def _column(page: Any, key: str) -> list[str]:
    return page.locator(f"#table tbody .{key}").all_inner_texts()


def test_page_shows_images_points_and_regions_and_runs_no_name(open_page) -> None:
    usual = _detections()[0]
    page = open_page()
    assert page.locator("#cards li").count() == 4
    # Names sort as people count: 9 before 10. The hostile name is text, and "unlike" is told.
    assert page.locator("#cards .name").all_text_contents() == [
        HOSTILE, "image 9", "image 10", "image 11",
    ]  # fmt: skip
    _show(page, HOSTILE)
    assert page.locator("#image-name").inner_text() == HOSTILE
    assert "do not use these points" in page.locator("#unlike").inner_text()
    assert page.title() == "Detected landmarks"
    assert page.locator("img[onerror]").count() == 0
    _show(page, "image 10")
    assert page.locator("#unlike").is_hidden()
    assert page.locator("#view ellipse:visible").count() == 0
    page.locator('.mark[data-landmark="2"]').hover(force=True)
    (index,) = [each.get_attribute("data-landmark") for each in page.locator("#view ellipse:visible").all()]
    matrix = _region_of(page.locator("#view ellipse.active"))
    assert index == "2"
    assert np.abs(matrix - usual.regions[2]).max() < 2e-3 * np.abs(usual.regions[2]).max()
    tip = page.locator("#tip").inner_text()
    assert usual.landmark_names[2] in tip and f"{usual.expected_error_mm[2]:.2f} mm" in tip and "90 % region" in tip
    assert page.locator('tr[data-landmark="2"]').get_attribute("class") == "active"


def _region_of(ellipse: Any) -> np.ndarray:
    """The region matrix of a drawn ellipse, from its radii and the turn that the browser makes of its transform."""
    turn, radii = ellipse.evaluate(
        "e => { const m = e.transform.baseVal.consolidate().matrix;"
        " return [[m.a, m.c, m.b, m.d], [e.rx.baseVal.value, e.ry.baseVal.value]]; }"
    )
    axes = np.array(turn).reshape(2, 2)
    return axes @ np.diag(np.square(radii)) @ axes.T


@pytest.mark.slow
def test_cross_lies_on_what_the_picture_shows_at_any_zoom(open_page) -> None:
    page = open_page()
    _show(page, "image 9")
    page.uncheck("#show-numbers")
    for turns in (0, 3, 6):
        for _ in range(turns):
            page.mouse.move(*_pixel_on_screen(page, DOT, (1935, 2400)))
            page.mouse.wheel(0, -240)
            page.wait_for_timeout(50)
        mark = _mark_on_screen(page, 0)
        assert np.abs(mark - _pixel_on_screen(page, DOT, (1935, 2400))).max() < 0.1
        page.uncheck("#show-marks")
        page.mouse.move(5, 5)
        box = page.locator("#stage").bounding_box()
        inside = {
            key: value + (-10 if key in ("width", "height") else 5) for key, value in box.items()
        }  # round corners
        shot = np.asarray(Image.open(BytesIO(page.screenshot(clip=inside))).convert("L"))
        page.check("#show-marks")
        white = np.argwhere(shot > 128)[:, ::-1].mean(0) + 0.5 + [inside["x"], inside["y"]]
        assert np.abs(mark - white).max() < 1.5  # the picture is a reduced JPEG, drawn smoothly


@pytest.mark.slow
def test_zoom_stays_under_the_pointer_and_drag_moves_the_picture(open_page) -> None:
    page = open_page()
    _show(page, "image 10")
    box = page.locator("#stage").bounding_box()
    place = np.array([box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4])
    picture, size = page.locator("#view image").bounding_box(), (300, 400)
    width, before = picture["width"], np.array([530.0, 330.0])  # whole pixels: a wheel's event tells no parts of them
    point = (before - [picture["x"], picture["y"]]) / [width, picture["height"]] * size - 0.5
    page.mouse.move(*before)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(100)
    assert page.locator("#view image").bounding_box()["width"] > 1.5 * width
    assert np.abs(_pixel_on_screen(page, point, size) - before).max() < 0.1
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(place[0] + 30, place[1] - 20, steps=4)
    page.mouse.up()
    assert np.abs(_pixel_on_screen(page, point, size) - before - [30, -20]).max() < 0.1
    page.click("#zoom-fit")
    assert page.locator("#view image").bounding_box()["width"] == pytest.approx(width, abs=0.1)


@pytest.mark.slow
def test_table_sorts_numbers_as_numbers(open_page) -> None:
    usual = _detections()[0]
    page = open_page()
    _show(page, "image 10")
    heading = page.locator("#table th[data-key=error]")
    for direction in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        order = np.argsort(usual.expected_error_mm)[:: 1 if direction == "ascending" else -1]
        assert _column(page, "number") == [str(index + 1) for index in order]
    assert page.locator("#table th[aria-sort]").count() == 1
    x = page.locator("#table th[data-key=x] button")
    x.click()
    assert [float(each) for each in _column(page, "x")] == sorted(np.round(usual.points[:, 0], 1))


@pytest.mark.slow
def test_gallery_filters_and_sorts(open_page) -> None:
    page = open_page()
    first = page.locator("#cards li .name").first
    page.select_option("#order", "error")
    assert first.text_content() == "image 9"
    page.select_option("#order", "score")
    assert first.text_content() == HOSTILE
    assert page.locator("#cards li .name").last.text_content() == "image 11", "what is not known comes last"
    page.fill("#filter", "IMAGE 1")
    assert page.locator("#cards li").count() == 2
    assert page.locator("#shown").inner_text() == "2 of 4 shown"


@pytest.mark.slow
def test_warning_follows_the_limit_that_the_reader_sets(open_page) -> None:
    usual = _detections()[0]
    page = open_page()
    _show(page, "image 10")
    limit = float(np.sort(usual.expected_error_mm)[2:4].mean())
    page.fill("#warn", f"{limit:.5f}")
    assert page.locator("#cards button[aria-current] .badge.wide").text_content() == "2 uncertain"
    assert page.locator("#table tr.wide").count() == page.locator("#view .mark.wide").count() == 2


@pytest.mark.slow
def test_all_of_it_works_by_keyboard(open_page) -> None:
    page = open_page()
    assert page.locator("#place").inner_text() == "1 of 4"
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#stage[data-picture=full]")
    assert page.locator("#image-name").inner_text() == "image 9"
    width = page.locator("#view image").bounding_box()["width"]
    page.keyboard.press("+")
    assert page.locator("#view image").bounding_box()["width"] == pytest.approx(1.5 * width)
    left = page.locator("#view image").bounding_box()["x"]
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator("#view image").bounding_box()["x"] == pytest.approx(left + 60)
    page.keyboard.press("0")
    assert page.locator("#view image").bounding_box()["width"] == pytest.approx(width)
    page.locator("#table tbody button").first.focus()
    assert page.locator("#view ellipse:visible").get_attribute("data-landmark") == "0"
    page.keyboard.press("Tab")
    assert page.locator("#view ellipse:visible").get_attribute("data-landmark") == "1"
    page.keyboard.press("Enter")
    page.locator("#filter").focus()
    assert page.locator("#view ellipse:visible").get_attribute("data-landmark") == "1", "chosen, so it stays"
    page.locator("#next").focus()
    page.keyboard.press("Escape")
    assert page.locator("#view ellipse:visible").count() == 0
    page.locator("#filter").focus()
    page.keyboard.type("10-+0")
    assert page.locator("#image-name").inner_text() == "image 9", "typing a name is no command"


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 900, 1280])
def test_nothing_runs_over_the_edge(open_page, width) -> None:
    page = open_page(width)
    for index in range(4):
        page.locator("#cards button").nth(index).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        stage = page.locator("#stage").bounding_box()
        assert stage["width"] > 0.5 * min(width, 700) and stage["height"] >= 240


@pytest.mark.slow
def test_image_without_picture_or_regions_shows_its_points(open_page) -> None:
    bare = _detections()[3]
    page = open_page()
    _show(page, "image 11")
    assert page.locator("#view .mark").count() == 5
    assert page.locator("#table th[data-key]").count() == 6, "no columns of errors and regions"
    found = np.array([[float(each) for each in _column(page, axis)] for axis in ("x_mm", "y_mm")]).T
    assert np.abs(found - bare.points_mm).max() < 0.01
    assert re.fullmatch(r"0\.1 mm per px, from option", page.locator("#about dd").nth(2).inner_text())
