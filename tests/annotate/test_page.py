"""The annotation page in a real browser: points where they were clicked, nothing lost, keyboard alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.annotate.adapting import Adapting
from landmark_diffusion.annotate.session import Session
from landmark_diffusion.annotate.suggesting import Suggester
from tests.annotate.folders import NINETEEN, SIZE, annotating, marks_of, open_session, phantoms, places, served
from tests.annotate.told import ToldPredictor
from tests.browsers import started_browser

FIRST, SECOND = "phantom_test_000000.png", "phantom_test_000001.png"
pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as browser:
        yield browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "xrays").mkdir()
    return phantoms(tmp_path / "xrays")


@pytest.fixture
def table(folder: Path) -> Path:
    return folder / "annotations.csv"


@pytest.fixture
def serve() -> Iterator[Callable[[Session], str]]:
    with ExitStack() as stack:
        yield lambda session: stack.enter_context(served(session))


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a window; afterwards no script has failed, and nothing was asked for elsewhere."""
    wrong, contexts = [], []

    def start(address: str, ratio: float = 1, width: int = 1400, height: int = 900, **more: Any) -> Any:
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, device_scale_factor=ratio, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        own = address.partition("?")[0]
        page.on("request", lambda request: request.url.startswith((own, "data:")) or wrong.append(request.url))
        page.goto(address)
        until(page, "state.image !== null && film.width > 0")
        return page

    yield start
    for context in contexts:
        context.close()
    assert not wrong


def until(page: Any, expression: str, seconds: float = 20) -> None:
    """Wait until it is true; the driver's own way needs eval within the page, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)


def on_screen(page: Any, point: np.ndarray) -> tuple[float, float]:
    """Where an image's pixel is on the screen, by the box that the browser gives to a mark of the svg put there."""
    box = page.evaluate(
        """([x, y]) => {
            const probe = draw("circle", { cx: x, cy: y, r: 1e-6 });
            view.append(probe);
            const matrix = probe.getScreenCTM();
            const at = new DOMPoint(x, y).matrixTransform(matrix);
            probe.remove();
            return [at.x, at.y];
        }""",
        [float(value) for value in point],
    )
    return box[0], box[1]


def click(page: Any, point: np.ndarray) -> None:
    page.mouse.click(*on_screen(page, point))


def zoom_in(page: Any, scale: str) -> None:
    """Turn the wheel where the mouse is until an image pixel has at least so many screen pixels."""
    while not page.evaluate(f"state.scale >= {scale} - 1e-6"):
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(30)


def drag(page: Any, start: np.ndarray, end: np.ndarray) -> None:
    page.mouse.move(*on_screen(page, start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, (np.asarray(start) + end) / 2))
    page.mouse.move(*on_screen(page, end))
    page.mouse.up()


def saved(page: Any) -> None:
    until(page, "isSaved() && byId('saved').classList.contains('good')")


def point_of(path: Path, landmark: str, image: str = FIRST, annotator: str = "annotator") -> np.ndarray:
    mark = marks_of(path, image, annotator)[landmark]
    return np.array([mark.x, mark.y])


@pytest.mark.parametrize("ratio", [1, pytest.param(1.5, marks=pytest.mark.slow), 2])
def test_a_click_is_the_pixel_under_it_at_every_zoom(serve, open_page, folder: Path, table: Path, ratio: float) -> None:
    """Pixel centres are whole numbers: the middle of the drawn pixel (x, y) is stored as x, y."""
    page = open_page(serve(open_session(folder)), ratio, 1200, 820)
    targets = [np.array([100.0, 200.0]), np.array([301.25, 77.5]), np.array([4.0, 470.0])]
    for index, (target, zooms) in enumerate(zip(targets, (1, 4, 20), strict=True)):
        page.evaluate(f"choose({index}); fitView()")
        page.mouse.move(*on_screen(page, target))
        zoom_in(page, f"Math.min({zooms} * state.fit, MOST_ZOOM)")
        click(page, target)
        saved(page)
        scale = page.evaluate("state.scale")
        error = np.abs(point_of(table, NINETEEN[index]) - target).max()
        assert error <= 0.0011 + 0.51 / scale / ratio, (target, scale)
    page.evaluate("choose(0); fitView()")
    assert page.evaluate("state.scale") * SIZE[0] <= 1200


@pytest.mark.parametrize("ratio", [1, 2])
def test_the_image_and_the_marks_lie_in_one_frame(serve, open_page, folder: Path, ratio: float) -> None:
    """The canvas shows a pixel where the svg says it is: one white pixel of a black image, zoomed in."""
    pixels = np.zeros((480, 387), np.uint8)
    pixels[200:, 300:] = 90  # else it would be refused as of one grey
    pixels[123, 45] = 255
    Image.fromarray(pixels).save(folder / FIRST)
    page = open_page(serve(open_session(folder)), ratio)
    page.mouse.move(*on_screen(page, np.array([45, 123])))
    zoom_in(page, "MOST_ZOOM")
    x, y = on_screen(page, np.array([45, 123]))
    box = page.locator("#film").bounding_box()
    centre = page.evaluate(
        """() => {
            const canvas = byId("film");
            const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let [sum, right, down] = [0, 0, 0];
            for (let place = 0; place < width * height; place++) {
                if (data[4 * place] < 200) continue;
                sum += 1; right += place % width + 0.5; down += Math.floor(place / width) + 0.5;
            }
            return [right / sum, down / sum];
        }"""
    )
    found = np.array([box["x"], box["y"]]) + np.array(centre) / ratio
    assert np.abs(found - [x, y]).max() <= 0.5


def test_nineteen_points_are_marked_with_nineteen_clicks(serve, open_page, folder: Path, table: Path) -> None:
    page = open_page(serve(open_session(folder)))
    targets = places()
    for target in targets:
        click(page, target)
    saved(page)
    found = marks_of(table, FIRST)
    assert list(found) == list(NINETEEN)
    scale = page.evaluate("state.scale")
    for name, target in zip(NINETEEN, targets, strict=True):
        assert np.abs(np.array([found[name].x, found[name].y]) - target).max() <= 0.51 / scale
        assert found[name].origin == "by hand"
    assert page.locator("#image-done").inner_text() == "19 of 19"
    assert "1 of 2 images done" in page.locator("#progress-text").inner_text()
    page.keyboard.press("n")
    until(page, "state.place === 1")
    assert page.locator("#image-name").inner_text() == SECOND
    until(page, "document.querySelectorAll('#shape circle').length === 19")


def test_a_point_is_dragged_and_all_is_undone(serve, open_page, folder: Path, table: Path) -> None:
    page = open_page(serve(open_session(folder)))
    first, second, away = np.array([100.0, 100.0]), np.array([200.0, 100.0]), np.array([150.0, 220.0])
    click(page, first)
    click(page, second)
    drag(page, first, away)
    saved(page)
    assert np.abs(point_of(table, NINETEEN[0]) - away).max() < 1
    page.keyboard.press("Control+z")
    until(page, "Math.abs(state.marks[0].x - 100) < 1")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    until(page, "isSaved() && state.marks[0] === null && state.marks[1] === null")
    assert marks_of(table, FIRST) == {}
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+Shift+z")
    until(page, "isSaved() && state.marks[1] !== null")
    assert set(marks_of(table, FIRST)) == set(NINETEEN[:2])
    assert page.evaluate("state.scale === state.fit")  # no drag of a point moved the image


def test_three_predictions_are_corrected_and_the_rest_accepted(serve, open_page, folder: Path, table: Path) -> None:
    """The most doubtful landmark comes first; what the model said and what was moved are told apart on disk."""
    found, moved = places(), {3: np.array([9.0, -6.0]), 7: np.array([-7.0, 8.0]), 0: np.array([12.0, 5.0])}
    page = open_page(serve(open_session(folder, predictor=ToldPredictor())))
    assert page.evaluate("state.chosen") == 7 and page.locator("#view .mark.found").count() == 18  # one is absent
    assert page.locator("#view ellipse").count() == 18 and page.locator("#view ellipse.doubt").count() == 2
    assert page.locator("#accept-all").inner_text() == "Accept all 19 left (2 doubtful)"
    click(page, found[7] + moved[7])  # sets the chosen one, and goes on to the next doubtful one
    assert page.evaluate("state.chosen") == 3
    assert page.locator("#accept-all").inner_text() == "Accept all 18 left (1 doubtful)"
    drag(page, found[3], found[3] + moved[3])
    drag(page, found[0], found[0] + moved[0])
    page.keyboard.press("Shift+Enter")
    until(page, "isSaved() && state.marks.every((mark) => mark !== null)")
    marks = marks_of(table, FIRST)
    assert {name for name, mark in marks.items() if mark.origin == "corrected"} == {NINETEEN[at] for at in moved}
    assert sum(mark.origin == "model" for mark in marks.values()) == 16 and marks[NINETEEN[11]].flag == "absent"
    for place, name in enumerate(NINETEEN):
        if place != 11:
            off = np.array([marks[name].x, marks[name].y]) - found[place] - moved.get(place, 0)
            assert np.abs(off).max() <= (1.1 / page.evaluate("state.scale") if place in moved else 0.001)
    page.keyboard.press("Control+z")
    until(page, "isSaved() && state.marks.filter((mark) => mark !== null).length === 3")
    assert set(marks_of(table, FIRST)) == {NINETEEN[at] for at in moved}


def test_predictions_are_accepted_one_by_one_from_the_most_doubtful(serve, open_page, folder, table: Path) -> None:
    page = open_page(serve(open_session(folder, predictor=ToldPredictor())))
    for _ in range(3):
        page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")  # a model's point that is moved is corrected
    until(page, "isSaved() && state.marks.filter((mark) => mark !== null).length === 4")
    origins = {name: mark.origin for name, mark in marks_of(table, FIRST).items()}
    assert [origins.get(NINETEEN[at]) for at in (7, 3)] == ["model", "model"]
    assert sorted(origins.values()) == ["corrected", "model", "model", "model"]


def test_an_unlike_image_is_not_accepted_at_once(serve, open_page, folder: Path, table: Path) -> None:
    told = ToldPredictor(unlike=True, image_score=0.001, regions=None, expected_error=None, level=None)
    page = open_page(serve(open_session(folder, predictor=told)))
    assert "do not rely" in page.locator("#unlike").inner_text() and page.locator("#accept-all").is_disabled()
    page.keyboard.press("Shift+Enter")
    assert page.evaluate("state.marks.every((mark) => mark === null)") and not table.exists()


def test_an_image_that_cannot_be_shown_has_nothing_of_the_one_before(serve, open_page, folder: Path) -> None:
    (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:3000])
    page = open_page(serve(open_session(folder, predictor=ToldPredictor())))
    page.mouse.move(*on_screen(page, places()[3]))
    page.keyboard.press("u")
    until(page, "isSaved() && state.marks[7] !== null")
    page.keyboard.press("n")
    until(page, "state.place === 1 && byId('waiting').textContent.includes('cannot be decoded')")
    page.evaluate("showHint()")
    page.mouse.move(*on_screen(page, places()[4]))
    page.wait_for_timeout(200)
    assert page.locator("#landmarks li, #view .mark, #view ellipse").count() == 0
    texts = ("#image-done", "#chosen-name", "#chosen-words", "#shape-words")
    assert [page.locator(each).inner_text() for each in texts] == [""] * 4
    assert all(
        page.locator(f"#{each}").is_disabled() for each in ("accept", "absent", "unsure", "delete", "accept-all")
    )
    assert page.locator("#loupe").is_hidden() and page.locator("#shape").is_hidden()
    assert page.evaluate(
        "(() => { const c = byId('film'); return [...c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data].every((value) => value === 0) })()"
    )
    for name in ("zoom-fit", "zoom-in", "light-reset", "show-names"):  # no script fails
        page.evaluate(f"byId('{name}').click()")
    page.locator("#undo").click()  # goes back to the image that was changed
    until(page, "isSaved() && state.place === 0 && state.marks[7] === null")
    assert page.locator("#landmarks li").count() == 19 and page.locator("#view .mark.found").count() == 18
    assert page.locator("#accept").is_enabled() and page.locator("#accept-all").is_enabled()


@pytest.mark.slow
def test_actions_to_correct_an_image_and_to_mark_it(serve, open_page, folder: Path, table: Path) -> None:
    """docs/annotate.md: nineteen either way where all points are wrong, one where none is, one and k where k are."""
    away = np.array([10.0, 8.0])
    page = open_page(serve(open_session(folder, predictor=ToldPredictor(places() + away, outside=None))))
    actions = 0
    for target in places():
        drag(page, target + away, target)
        actions += 1
    until(page, "isSaved() && state.marks.every((mark) => mark !== null)")
    assert actions == 19 and {mark.origin for mark in marks_of(table, FIRST).values()} == {"corrected"}
    page.keyboard.press("n")
    until(page, "state.place === 1")
    page.keyboard.press("Shift+Enter")
    until(page, "isSaved() && state.marks.every((mark) => mark !== null)")
    assert {mark.origin for mark in marks_of(table, SECOND).values()} == {"model"}


def test_undo_goes_back_to_the_image_that_was_changed(serve, open_page, folder: Path, table: Path) -> None:
    page = open_page(serve(open_session(folder)))
    click(page, np.array([100.0, 100.0]))
    page.keyboard.press("n")
    until(page, "state.place === 1 && state.image !== null")
    click(page, np.array([200.0, 100.0]))
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    until(page, "isSaved() && state.place === 0 && state.marks[0] === null")
    assert marks_of(table, FIRST) == {} and marks_of(table, SECOND) == {}


def test_keyboard_alone_marks_an_image(serve, open_page, folder: Path, table: Path) -> None:
    page = open_page(serve(open_session(folder, names=NINETEEN[:3])))
    assert page.evaluate("document.activeElement.id") == "stage"
    page.keyboard.press("Enter")
    until(page, "state.marks[0] !== null")
    start = page.evaluate("[state.marks[0].x, state.marks[0].y]")
    for keys in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "Control+ArrowLeft", "Control+Shift+ArrowUp", "u"):
        page.keyboard.press(keys)
    saved(page)
    mark = marks_of(table, FIRST)[NINETEEN[0]]
    assert (mark.x - start[0], mark.y - start[1]) == pytest.approx((0.2 - 10, 1 - 50)) and mark.flag == "unsure"
    page.keyboard.press("Tab")
    assert page.evaluate("state.chosen") == 1
    page.keyboard.press("a")
    until(page, "isSaved() && state.chosen === 2")
    assert marks_of(table, FIRST)[NINETEEN[1]].flag == "absent"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("state.chosen") == 1
    page.keyboard.press("Delete")
    until(page, "isSaved() && state.marks[1] === null")
    assert NINETEEN[1] not in marks_of(table, FIRST)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # behind the last landmark the focus goes on: no trap
    assert page.evaluate("document.activeElement.id") != "stage"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_every_control_has_a_name(serve, open_page, folder: Path) -> None:
    page = open_page(serve(open_session(folder)))
    for control in page.locator("button:visible, input:visible, select:visible").all():
        names = "e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim()"
        name = control.evaluate(f"(e) => {names}")
        assert name, control.evaluate("(e) => e.outerHTML")


def test_a_stale_page_does_not_overwrite(serve, open_page, folder: Path, table: Path) -> None:
    address = serve(open_session(folder))
    one, other = open_page(address), open_page(address)
    other.route(
        "**/api/news", lambda route: route.fulfill(status=503, body="{}")
    )  # it does not hear of the first one's change in time
    click(one, np.array([100.0, 100.0]))
    saved(one)
    click(other, np.array([300.0, 300.0]))
    other.wait_for_selector("#trouble:visible")
    assert "changed on another page" in other.locator("#trouble").inner_text()
    assert other.locator("#saved").inner_text() == "NOT SAVED"
    assert np.abs(point_of(table, NINETEEN[0]) - 100).max() < 1
    other.locator("#trouble-act").click()
    until(other, "isSaved() && Math.abs(state.marks[0]?.x - 100) < 1")
    other.evaluate("choose(1)")
    click(other, np.array([300.0, 300.0]))
    saved(other)
    assert set(marks_of(table, FIRST)) == set(NINETEEN[:2])
    until(one, "state.marks[1] !== null")  # and the first page hears of it


def test_the_choice_goes_on_when_another_page_has_set_the_landmark(serve, open_page, folder, table: Path) -> None:
    address = serve(open_session(folder))
    one, other = open_page(address), open_page(address)
    click(one, np.array([100.0, 100.0]))
    saved(one)
    until(other, "state.marks[0] !== null")
    assert other.evaluate("state.chosen") == 1
    click(other, np.array([300.0, 300.0]))
    saved(other)
    assert np.abs(point_of(table, NINETEEN[0]) - 100).max() < 1
    assert np.abs(point_of(table, NINETEEN[1]) - 300).max() < 1


def test_a_page_that_got_no_answer_goes_on_when_there_is_one(serve, open_page, folder: Path, table: Path) -> None:
    page = open_page(serve(open_session(folder)))
    page.route("**/api/**", lambda route: route.abort())
    click(page, np.array([100.0, 100.0]))
    page.wait_for_selector("#trouble:visible")
    assert page.locator("#saved").inner_text() == "NOT SAVED"
    page.unroute("**/api/**")
    saved(page)
    until(page, "byId('trouble').hidden")
    assert set(marks_of(table, FIRST)) == {NINETEEN[0]}


def test_an_answer_that_comes_in_the_middle_of_a_drag_does_not_undo_it(serve, open_page, folder, table: Path) -> None:
    page = open_page(serve(open_session(folder)))
    waiting: list[Any] = []
    page.route("**/marks", lambda route: route.continue_() if waiting else waiting.append(route))
    start, end = np.array([100.0, 100.0]), np.array([180.0, 150.0])
    click(page, start)
    page.mouse.move(*on_screen(page, start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, end), steps=3)
    waiting[0].continue_()
    until(page, "isSaved()")
    page.mouse.up()
    until(page, "isSaved() && Math.abs(state.marks[0].x - 180) < 1")
    saved(page)
    assert np.abs(point_of(table, NINETEEN[0]) - end).max() < 1


def test_after_a_click_on_a_button_the_keys_mean_the_image(serve, open_page, folder: Path) -> None:
    page = open_page(serve(open_session(folder)))
    page.locator("#landmarks button").nth(4).click()
    page.keyboard.press("Enter")
    page.locator("#unsure").click()
    before = page.evaluate("state.marks[4].x")
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate("[state.marks[4].x, state.marks[4].flag]") == [before + 1, "unsure"]


def test_two_annotators_are_kept_apart(serve, open_page, folder: Path, table: Path) -> None:
    anna = open_page(serve(open_session(folder, "anna")))
    click(anna, np.array([100.0, 100.0]))
    saved(anna)
    bo = open_page(serve(open_session(folder, "bo")))
    assert bo.evaluate("state.marks.every((mark) => mark === null)")
    assert bo.locator("#view .mark.other").count() == 1 and bo.locator("#others-label").is_visible()
    click(bo, np.array([200.0, 100.0]))
    saved(bo)
    assert np.abs(point_of(table, NINETEEN[0], annotator="anna") - 100).max() < 1
    assert np.abs(point_of(table, NINETEEN[0], annotator="bo") - [200, 100]).max() < 1
    blind = open_page(serve(open_session(folder, "cy", blind=True)))
    assert blind.locator("#view .mark").count() == 0 and "blind" in blind.locator("#who").inner_text()


def test_window_and_level_change_what_is_seen_and_no_point(serve, open_page, folder: Path) -> None:
    page = open_page(serve(open_session(folder)))
    grey = "(() => film.canvas.getContext('2d').getImageData(200, 60, 1, 1).data[0])()"
    before = page.evaluate(grey)
    x, y = on_screen(page, np.array([200.0, 200.0]))
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x - 200, y + 40, steps=4)
    page.mouse.up(button="right")
    until(page, f"{grey} !== {before}")
    assert page.evaluate("state.marks.every((mark) => mark === null)")
    page.keyboard.press("w")
    until(page, f"{grey} === {before}")
    page.keyboard.press("i")
    until(page, f"{grey} === {255 - before}")


def test_suggested_images_come_first_and_the_command_is_shown(serve, open_page, folder: Path) -> None:
    phantoms(folder, 4)
    session = open_session(folder)
    session.suggester = Suggester(session.images.images, {0}, 2)
    session.adapting = Adapting(folder, session.store.path, Path("ceph.ldx"))
    page = open_page(serve(session))
    assert page.locator("#work").inner_text() == "Comparing the images, 0 of 4: the order follows."
    session.suggester.start()
    until(page, "suggested && state.news.ranks.filter(Boolean).length === 2 && byId('work').hidden")
    assert page.evaluate("state.place === 0 && arranged[0] === 0 && state.news.ranks[arranged[1]] === 1")
    page.reload()
    until(page, "state.image !== null && state.news.ranks[arranged[0]] === 1 && state.news.ranks[arranged[1]] === 2")
    first = page.locator("#images button").first.inner_text()
    assert "label 1." in first and "Why: " in first and not page.locator("#why").is_visible()
    page.set_viewport_size({"width": 800, "height": 700})
    assert page.locator("#why").is_visible() and page.locator("#why").inner_text() in first
    page.set_viewport_size({"width": 1400, "height": 900})
    page.evaluate("names().forEach((_, index) => putPoint(index, [20 * index, 100]))")
    until(page, "isSaved() && cards[state.place].item.classList.contains('whole')")
    done = page.locator("#images button").first.inner_text()
    assert "label" not in done and "Why" not in done
    page.keyboard.press("Control+z")
    page.locator("#adapt-open").click()
    until(page, "byId('adapt-words').textContent.includes('1 image has marks')")  # at first as it was on loading
    assert page.locator("#adapt-command").inner_text().startswith("ldx adapt ceph.ldx --data.root ")
    assert page.locator("#adapt-start").is_disabled()


class ToldAdapting(Adapting):
    """Says what a test wants of the process."""

    told: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """As the real one, but for what is told."""
        return {**super().summary(), "can_run": True, **self.told}


def test_the_header_names_the_model_and_says_that_learning_has_ended(serve, open_page, folder: Path) -> None:
    session = open_session(folder, predictor=ToldPredictor(), model_title="/models/told.ldx: trained on phantom")
    session.adapting = adapting = ToldAdapting(folder, session.store.path, Path("told.ldx"))
    adapting.told = {"running": True}
    page = open_page(serve(session))
    assert page.locator("#model").inner_text() == "points of told.ldx"
    assert page.locator("#model").get_attribute("title") == "/models/told.ldx: trained on phantom"
    until(page, "byId('adapt-open').textContent.startsWith('Learning')")
    harm = {"kind": "harmed", "words": "adapting did harm: the error rose by 3 px [2, 4]; use the model as it was"}
    adapting.told = {"code": 0, "outcome": harm}
    until(page, "byId('adapt-news').textContent === 'mine.ldx is ready'")
    page.locator("#adapt-open").click()
    until(page, "!byId('adapt-use').hidden && byId('adapt-news').textContent === ''")
    assert "Adapting did harm: the error rose by 3 px" in page.locator("#adapt-words").inner_text()
    assert "errs more on your images than told.ldx" in page.locator("#adapt-harm").inner_text()
    assert page.locator("#adapt-use").inner_text() == "Use the new model all the same"
    adapting.told = {"code": 0, "outcome": {"kind": "helped", "words": "adapting helped"}}
    until(page, "byId('adapt-use').textContent === 'Use the new model' && byId('adapt-harm').hidden")
    session.predictor.model, session.model_title = "mine.ldx", "/models/mine.ldx"  # taken up, maybe on another page
    adapting.told = {"shown": "mine.ldx", "unfinished": "runs/adapt/mine_2"}
    until(page, "byId('model').textContent === 'points of mine.ldx' && byId('model').title === '/models/mine.ldx'")
    until(page, "byId('adapt-start').textContent === 'Go on with it here'")
    assert "begins with told.ldx, not with mine.ldx" in page.locator("#adapt-start-words").inner_text()


def test_what_eight_bits_hide_is_seen_with_another_window(serve, open_page, folder: Path) -> None:
    """A 12-bit image: two halves that differ by 8 of 4095, half a grey level, are told apart with a narrow window."""
    values = np.full((480, 387), 1000, np.uint16)
    values[:, 200:] = 1008
    values[:40] = 4095
    Image.fromarray(values).save(folder / FIRST)
    page = open_page(serve(open_session(folder)))
    greys = "[100, 300].map((x) => film.canvas.getContext('2d').getImageData(x, 300, 1, 1).data[0])"
    assert np.ptp(page.evaluate(greys)) <= 1
    page.evaluate("setLight(40 / 4095, 1004 / 4095)")
    until(page, f"Math.abs(({greys})[0] - ({greys})[1]) > 40")


@pytest.mark.slow
def test_a_killed_server_loses_at_most_the_last_move(open_page, folder: Path, table: Path) -> None:
    """The page says that nothing answers and keeps what was not saved; a new start goes on where the table is."""
    targets = places(10)
    names = ",".join(NINETEEN)
    with annotating(folder, "--landmarks", names) as (process, address):
        page = open_page(address)
        for target in targets[:6]:
            click(page, target)
        saved(page)
        process.send_signal(signal.SIGKILL)
        process.wait()
        click(page, targets[6])
        page.wait_for_selector("#trouble:visible")
        assert "does not answer" in page.locator("#trouble").inner_text()
        assert page.locator("#saved").inner_text() == "NOT SAVED" and page.evaluate("queue.length") == 1
    assert list(marks_of(table, FIRST)) == list(NINETEEN[:6])
    with annotating(folder, "--landmarks", names) as (_, address):
        page = open_page(address)
        assert page.evaluate("state.chosen") == 6
        for target in targets[6:]:
            click(page, target)
        saved(page)
    assert list(marks_of(table, FIRST)) == list(NINETEEN[:10])


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (800, "dark")])
def test_it_fits_the_window(serve, open_page, folder: Path, width: int, scheme: str) -> None:
    page = open_page(serve(open_session(folder)), width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#stage").bounding_box()
    assert box["width"] > 0.55 * width and box["height"] > 500
    low = page.locator("#delete").bounding_box()
    assert low["y"] + low["height"] < 900  # the buttons are seen without scrolling
