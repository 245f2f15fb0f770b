"""Limits of the service: places, time, memory; a client that goes away; what is left when it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.service.asked import Asked
from landmark_diffusion.service.bodies import FORM_OVERHEAD, Budget
from landmark_diffusion.service.desk import Desk, Unwanted
from landmark_diffusion.service.forms import load_forms
from landmark_diffusion.service.limits import Limits
from landmark_diffusion.web.refusal import Refusal
from tests.detection.bad_inputs import LEVELS, encoded
from tests.detection.tiny_model import write_positions
from tests.service.served import SMALL, client_of, desk_of, slow_jpeg, with_limits

GOOD = encoded(LEVELS, "PNG")
ASKED = Asked("a.png", "json", "as-is", None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx")


class Held:
    """Keeps every detection waiting until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.at_once, self.most = threading.Event(), 0, 0
        lock, usual = threading.Lock(), Detector.detect

        def detect(detector: Detector, *arguments: Any) -> Any:
            with lock:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
            try:
                assert self.go.wait(20)
                return usual(detector, *arguments)
            finally:
                with lock:
                    self.at_once -= 1

        monkeypatch.setattr(Detector, "detect", detect)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    found = Held(monkeypatch)
    yield found
    found.go.set()


async def stays() -> None:
    """A client that waits."""
    await asyncio.sleep(60)


async def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_so_many_are_worked_on_some_wait_and_the_others_are_sent_away(model: Path, held: Held) -> None:
    with desk_of(model, with_limits(queue=2)) as desk:

        async def ask() -> list[Any]:
            asking = [asyncio.create_task(desk.answer(GOOD, ASKED, stays)) for _ in range(5)]
            await until(lambda: desk.full)
            with pytest.raises(Refusal) as sent_away:
                await desk.answer(GOOD, ASKED, stays)
            assert (sent_away.value.status, sent_away.value.kind) == (503, "busy")
            assert 1 <= int(sent_away.value.headers["retry-after"]) <= 60
            assert sent_away.value.message.startswith("a.png: found 5 requests before it")
            held.go.set()
            return await asyncio.gather(*asking)

        answers = asyncio.run(ask())
        assert len({each.content for each in answers}) == 1 and held.most == 1
        assert desk.places == 0 and desk.answered == 5 and not desk.full


def test_as_many_are_looked_at_at_once_as_there_are_workers(model: Path, held: Held) -> None:
    with desk_of(model, with_limits(workers=2)) as desk:

        async def ask() -> None:
            asking = [asyncio.create_task(desk.answer(GOOD, ASKED, stays)) for _ in range(6)]
            await until(lambda: held.at_once == 2)
            await asyncio.sleep(0.3)
            assert held.most == 2
            held.go.set()
            assert len({each.content for each in await asyncio.gather(*asking)}) == 1

        asyncio.run(ask())


def test_an_answer_comes_in_time_or_not_at_all(model: Path, held: Held) -> None:
    with desk_of(model, with_limits(timeout=1.0, workers=1, readers=1)) as desk:

        async def ask() -> None:
            asking = [asyncio.create_task(desk.answer(GOOD, ASKED, stays)) for _ in range(4)]
            found = await asyncio.gather(*asking, return_exceptions=True)
            assert {getattr(each, "kind", None) for each in found} == {"busy"}
            assert "a.png: was not finished within 1 s" in found[0].message
            await until(lambda: desk.places <= 2)  # what had not begun has left its place
            held.go.set()
            await until(lambda: desk.places == 0)
            assert desk.answered <= 2  # nobody waited for the others: they were not looked at
            assert (await desk.answer(GOOD, ASKED, stays)).content

        asyncio.run(ask())


def test_what_nobody_waits_for_is_not_looked_at(model: Path, held: Held) -> None:
    with desk_of(model) as desk:

        async def leaves() -> None:
            await asyncio.sleep(0.3)

        async def ask() -> None:
            first = asyncio.create_task(desk.answer(GOOD, ASKED, stays))
            await until(lambda: held.at_once == 1)
            gone = await asyncio.gather(*[desk.answer(GOOD, ASKED, leaves) for _ in range(5)], return_exceptions=True)
            assert [type(each) for each in gone] == [Unwanted] * 5
            held.go.set()
            await first
            await until(lambda: desk.places == 0)
            assert desk.answered == 1

        asyncio.run(ask())


def test_one_that_hangs_does_not_keep_the_others_waiting(model: Path) -> None:
    """200 kB of JPEG that would take minutes: others are answered beside it, and it is refused in the end."""
    with desk_of(model, with_limits(decode_timeout=4.0)) as desk, client_of(desk, model) as client:
        refused: list[Any] = []
        thread = threading.Thread(
            target=lambda: refused.append(client.post("/v1/detect?name=slow.jpg", content=slow_jpeg()))
        )
        thread.start()
        time.sleep(0.5)
        for _ in range(3):
            assert client.post("/v1/detect", content=GOOD).status_code == 200
        assert not refused
        thread.join()
        assert refused[0].status_code == 422
        assert refused[0].json()["error"].startswith("slow.jpg: the image was not decoded within 4 s")
        assert client.post("/v1/detect", content=GOOD).status_code == 200


def test_bodies_of_all_requests_together_are_limited(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "held_bytes", 2 * len(GOOD) + 10)
    with desk_of(model) as desk, client_of(desk, model) as client:
        assert client.post("/v1/detect", content=GOOD).status_code == 200
        found = client.post("/v1/detect", content=GOOD + bytes(2 * len(GOOD)))
        assert (found.status_code, found.json()["kind"], found.headers["retry-after"]) == (503, "busy", "5")
        for _ in range(5):  # what was held is given back
            assert client.post("/v1/detect", content=GOOD).status_code == 200
            assert client.post("/v1/detect", content=b"no image").status_code == 422
    budget = Budget(10)
    assert budget.take(6) and not budget.take(5) and budget.take(4) and budget.held == 10
    budget.give_back(10)
    assert budget.take(10)


def test_a_form_may_be_as_large_as_a_bare_image(model: Path) -> None:
    with desk_of(model, with_limits(max_bytes=len(GOOD) if len(GOOD) > 1024 else 1024)) as desk:
        most = desk.limits.max_bytes
        with client_of(desk, model) as client:
            padded = GOOD + bytes(most - len(GOOD))
            assert client.post("/v1/detect", files={"image": ("a.png", padded)}).status_code == 200
            far = bytes(most + FORM_OVERHEAD + 1)  # refused before all of it has come
            for sent in ({"content": padded + b"x"}, {"files": {"image": ("a.png", padded + b"x")}}, {"content": far}):
                found = client.post("/v1/detect", **sent)
                assert (found.status_code, found.json()["kind"]) == (413, "too_large")
                assert f"expected at most {most}" in found.json()["error"]


def test_closing_leaves_nothing(model: Path) -> None:
    with desk_of(model) as desk:
        pids, folder = desk.readers.pids(), desk.folder
        assert folder.stat().st_mode & 0o77 == 0
        asyncio.run(desk.answer(GOOD, ASKED, stays))
        threading.Thread(target=lambda: asyncio.run(_asked(desk))).start()
        time.sleep(0.5)
    assert not folder.exists() and not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def _asked(desk: Desk) -> None:
    with pytest.raises((UserError, Refusal, RuntimeError)):
        await desk.answer(slow_jpeg(), ASKED, stays)


def test_out_of_memory_is_told_as_that(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(*_: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Detector, "detect", detect)
    with desk_of(model) as desk, client_of(desk, model) as client:
        found = client.post("/v1/detect", content=GOOD)
    assert (found.status_code, found.json()["kind"]) == (503, "memory")


@pytest.mark.parametrize(
    "name", ["max_bytes", "max_pixels", "timeout", "decode_timeout", "workers", "readers", "queue"]
)
def test_limits_are_checked(name: str) -> None:
    for value in (-1, float("nan"), 2**41):
        with pytest.raises(UserError, match=f"^--{name}: found"):
            Limits(**{name: value})
    assert SMALL.at_work == 3


def test_forms() -> None:
    found = load_forms(None)
    assert next(iter(found)) == "json" and {"csv", "overlay", "html"} < set(found) and "slicer" not in found
    assert list(load_forms(["csv", "json"])) == ["csv", "json"]
    for wrong, says in (("slicer", "--to: slicer makes 2 files"), ("jsn", "--to: unknown output 'jsn'")):
        with pytest.raises(UserError, match=f"^{says}"):
            load_forms([wrong])
