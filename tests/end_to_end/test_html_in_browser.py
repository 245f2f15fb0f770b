"""The HTML pages in a real browser without a window: they show what was found, ask for nothing and run no name."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.html_page import HtmlWriter
from landmark_diffusion.evaluation.report_page import write_report_page
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.records import Prediction
from tests.browsers import started_browser
from tests.detection.detections import make_detection, make_doubted

HOSTILE = "</script><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
DOT = np.array([620, 1500])
"""Centre of a white square in the third image, which is larger than what the page keeps of it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a browser; skip where there is none."""
    with started_browser() as browser:
        yield browser


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
    asked, wrong, pages, opened = [], [], [], set()

    def start(width: int = 1280, height: int = 800, address: str = address) -> Any:
        opened.add(address)
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
    assert {url for url in asked if not url.startswith("data:")} == opened


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
        assert np.abs(mark - white).max() < 1.5  # drawn smoothly, and reduced where the whole is seen


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


@pytest.mark.slow
def test_doubtful_points_are_seen_and_landmarks_outside_are_named(open_page, tmp_path) -> None:
    writer = HtmlWriter(tmp_path)
    for detection in (make_detection("a sure one", seed=6), make_doubted("b", seed=7)):
        writer.add(detection)
    page = open_page(address=writer.close()[0].as_uri())
    assert page.locator("#view .mark").count() == 5 and page.locator("#view .doubtful, #table .badge").count() == 0
    assert page.locator("#table th[data-key=far]").count() == 0
    page.select_option("#order", "doubtful")
    assert page.locator("#cards .name").all_text_contents() == ["b", "a sure one"]
    _show(page, "b")
    assert page.locator("#cards button[aria-current] .badge").all_text_contents()[:2] == [
        "2 doubtful", "1 not in the image",
    ]  # fmt: skip
    assert page.locator("#view .mark").evaluate_all("all => all.map((each) => each.dataset.landmark)") == [*"0234"]
    assert page.locator("#view .mark.doubtful").count() == 2
    assert page.locator('.mark[data-landmark="2"] .cross').evaluate("each => getComputedStyle(each).fill") == "none"
    assert _column(page, "name")[1].split() == ["landmark", "2", "not", "in", "the", "image"]
    assert _column(page, "far") == ["2", "\u2013", "40", "1", "25"]
    assert "doubtful" in page.locator("#key").inner_text()
    page.locator('.mark[data-landmark="4"]').hover(force=True)
    tip = page.locator("#tip").inner_text()
    assert "look at this point" in tip and "25 %" in tip and "not in the image: 3 %" in tip


FACE = np.array(
    [
        [835, 996], [1473, 1029], [1289, 1279], [604, 1228], [1375, 1654], [1386, 2019], [1333, 2200], [1263, 2272],
        [1305, 2252], [694, 1805], [1460, 1870], [1450, 1864], [1588, 1753], [1569, 2013], [1514, 1620], [1382, 2310],
        [944, 1506], [1436, 1569], [664, 1340],
    ],
    dtype=float,
)  # fmt: skip
"""19 points of a cephalogram, of which 8, 9 and 11, 12 lie close together."""


def _of_a_test() -> list[Prediction]:
    """Four cephalograms with two annotators; landmark i is off by a length that differs from image to image."""
    rng = np.random.default_rng(0)
    found = []
    for index, name in enumerate(["image 10", "image 9", HOSTILE, "image 11"]):
        errors = np.abs(rng.normal(0, 15 * (index + 1), (19, 1)))
        angle = rng.uniform(0, 2 * np.pi, (19, 1))
        points = FACE + errors * np.concatenate([np.cos(angle), np.sin(angle)], -1)
        found.append(Prediction(name, index, points, FACE + rng.normal(0, 6, (2, 19, 2)), (0.1, 0.1)))
    return found


def _grey(image_id: str) -> np.ndarray:
    if image_id == "image 9":
        raise OSError("the disk is gone")
    return np.tile(np.linspace(40, 120, 1935).astype(np.uint8), (2400, 1))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """Write the page of a test; its address, and the errors (4, 19) in the images' order."""
    evaluation = evaluate({"found": _of_a_test()}, (HOSTILE, *"bcdefghijklmnopqrs"), ("senior", HOSTILE), (2.0, 4.0))
    path = write_report_page(tmp_path_factory.mktemp("report") / "index.html", Results(evaluation, HOSTILE), _grey)
    return path.as_uri(), evaluation.errors_to_mean["found"]


def _names_of_list(page: Any) -> list[str]:
    return page.locator("#list tbody .name").all_inner_texts()


@pytest.mark.slow
def test_report_lists_the_worst_first_and_sorts_by_a_landmark(open_page, report) -> None:
    address, errors = report
    names = [each.image_id for each in _of_a_test()]
    page = open_page(address=address)
    assert _names_of_list(page) == [names[row] for row in np.argsort(-errors.mean(1))]
    assert page.locator("#list .mean").all_inner_texts()[1:] == [f"{each:.2f}" for each in sorted(errors.mean(1))[::-1]]
    page.select_option("#landmark", "4")
    order = np.argsort(-errors[:, 4])
    assert _names_of_list(page) == [names[row] for row in order]
    assert page.locator("#list tbody .landmark").all_inner_texts() == [f"{errors[row, 4]:.2f}" for row in order]
    assert page.locator("#list tbody .landmark.beyond").count() == (errors[:, 4] >= 2).sum()
    assert page.locator("#image-name").inner_text() == names[order[0]]
    assert page.locator('#table tr[data-landmark="4"]').get_attribute("class").split().count("active") == 1
    page.keyboard.press("ArrowRight")
    assert page.locator("#image-name").inner_text() == names[order[1]], "the keys follow the list"
    page.locator("#list th[data-key=name] button").click()
    assert _names_of_list(page) == [HOSTILE, "image 9", "image 10", "image 11"]
    page.fill("#filter", "image 1")
    assert _names_of_list(page) == ["image 10", "image 11"]


@pytest.mark.slow
def test_report_shows_an_image_with_truth_and_all_its_errors(open_page, report) -> None:
    address, errors = report
    page = open_page(address=address)
    page.locator("#list tbody button", has_text="image 11").click()
    page.wait_for_selector("#stage[data-picture=full]")
    assert _column(page, "found") == [f"{each:.2f}" for each in errors[3]]
    assert page.locator("#view .ring.person0").count() == page.locator("#view .ring.person1").count() == 19
    assert page.locator("#view line.error").count() == 19
    truth = _of_a_test()[3].truth[2]
    line = page.locator('#view line.error[data-landmark="2"]')
    assert [float(line.get_attribute(key)) for key in ("x2", "y2")] == pytest.approx(truth, abs=1e-3)
    page.locator("#list tbody button", has_text="image 9").click()
    page.wait_for_selector("#stage[data-picture=none]")
    assert "the disk is gone" in page.locator("#notes").inner_text()
    assert _column(page, "found") == [f"{each:.2f}" for each in errors[1]]
    page.get_by_role("button", name="Tables and figures").click()
    assert page.locator("#stage").is_hidden()
    assert page.locator("#tables td", has_text=f"{errors.mean():.2f} ±").count() == 1
    assert HOSTILE in page.locator("#tables").inner_text() and page.title() == HOSTILE
    assert page.locator("img[onerror]").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1280, 800), (800, 900)])
def test_numbers_of_19_landmarks_do_not_overlap(open_page, report, size) -> None:
    page = open_page(*size, address=report[0])
    for turns in range(3):
        boxes = [each.bounding_box() for each in page.locator("#view .mark text").all()]
        low = np.array([[box["x"], box["y"] + 2.5] for box in boxes])  # a digit has no descender
        high = low + [[box["width"], box["height"] - 5] for box in boxes]
        overlap = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).min(-1)
        assert len(boxes) == 19 and overlap[np.triu_indices(19, 1)].max() <= 0, f"after {turns} zooms"
        page.keyboard.press("+")


@pytest.mark.slow
def test_zoomed_picture_is_the_file_s(open_page, report) -> None:
    page = open_page(address=report[0])
    for _ in range(4):
        page.keyboard.press("+")
    size = page.evaluate(
        "async () => { const image = new Image(); image.src = document.querySelector('#view image')"
        ".getAttribute('href'); await image.decode(); return [image.naturalWidth, image.naturalHeight]; }"
    )
    assert size == [1935, 2400]


def _mean_grey(page: Any, part: tuple[float, float] = (0.0, 1.0)) -> float:
    """Mean grey between two parts of the stage's height in a strip at its middle."""
    box = page.locator("#stage").bounding_box()
    clip = {
        "x": box["x"] + box["width"] * 0.48, "y": box["y"] + part[0] * box["height"], "width": box["width"] * 0.04,
        "height": (part[1] - part[0]) * box["height"],
    }  # fmt: skip
    return float(np.asarray(Image.open(BytesIO(page.screenshot(clip=clip))).convert("L")).mean())


@pytest.mark.slow
def test_window_and_level_change_the_picture_and_come_back(open_page, report) -> None:
    """The ramp of 40 to 120 has 80 at its middle: (80 - low) / window of white."""
    page = open_page(address=report[0])
    page.uncheck("#show-marks")
    page.uncheck("#show-truth")
    page.mouse.move(2, 2)
    assert _mean_grey(page) == pytest.approx(80, abs=3)
    page.locator("#window").fill("100")
    page.locator("#level").fill("80")
    assert page.locator("#light").inner_text() == "30 to 130"
    assert _mean_grey(page) == pytest.approx(127.5, abs=4)
    page.keyboard.press("Tab")  # from the slider, whose keys are its own
    page.keyboard.press("r")
    assert _mean_grey(page) == pytest.approx(80, abs=3) and page.locator("#light").inner_text() == "0 to 255"
    box = page.locator("#stage").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down(button="right")
    page.mouse.move(middle[0], middle[1] - 100, steps=4)
    page.mouse.up(button="right")
    page.mouse.move(2, 2)
    assert _mean_grey(page) == pytest.approx(80 + 100 * 255 / 600, abs=4), "up is brighter"


@pytest.mark.slow
def test_local_contrast_is_that_of_opencv(open_page, report) -> None:
    page = open_page(address=report[0])
    href = page.locator("#view image").get_attribute("href")
    page.check("#local")
    page.wait_for_function("was => document.querySelector('#view image').getAttribute('href') !== was", arg=href)
    stored, local = (
        np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L"))
        for address in (href, page.locator("#view image").get_attribute("href"))
    )
    expected = cv2.createCLAHE(3.0, (8, 8)).apply(stored).astype(float)
    off = np.abs(local - expected)
    assert off.mean() < 2 and np.abs(local - stored.astype(float)).mean() > 5 * off.mean()
    page.keyboard.press("c")
    page.wait_for_function("was => document.querySelector('#view image').getAttribute('href') === was", arg=href)


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_nothing_of_a_report_runs_over_the_edge(open_page, report, width) -> None:
    page = open_page(width, address=report[0])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Tables and figures").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
