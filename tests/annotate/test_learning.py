"""What comes of marks: which image is next, and the command that learns from them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from landmark_diffusion.annotate.adapting import Adapting, free_target
from landmark_diffusion.annotate.app import annotation_app
from landmark_diffusion.annotate.images import FolderImages
from landmark_diffusion.annotate.predictions import Predictor
from landmark_diffusion.annotate.suggesting import Suggester
from landmark_diffusion.cli.adapt_verb import _parse
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.studies.suggest.features import edge_views
from landmark_diffusion.studies.suggest.suggestion import pool_distances, suggest
from landmark_diffusion.web.access import Access
from tests.annotate.folders import open_session, phantoms
from tests.detection.tiny_model import NAMES, write_positions


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my x-rays").mkdir()
    return phantoms(tmp_path / "my x-rays", 5)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_next_images_are_those_of_ldx_suggest(folder: Path) -> None:
    images = FolderImages(folder, print).images
    suggester = Suggester(images, {1}, 3)
    suggester.start()
    summary = until(lambda: (found := suggester.summary())["suggesting"]["done"] and found)
    views = [edge_views(image.read().grey) for image in images]
    expected = {each.place: (each.rank, each.reason) for each in suggest(pool_distances(views), 3, [1])}
    assert {place: rank for place, rank in enumerate(summary["ranks"]) if rank} == {
        p: r for p, (r, _) in expected.items()
    }
    assert [reason for reason in summary["reasons"] if reason] == [expected[place][1] for place in sorted(expected)]
    assert summary["ranks"][1] is None and summary["suggesting"]["looked"] == 5


def test_a_model_weighs_them_and_a_broken_image_is_passed_over(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"nothing")
    images = FolderImages(folder, print).images
    predictor = Predictor(Detector.load(write_positions(tmp_path / "tiny.ldx")), images, NAMES, lambda place: False)
    suggester = Suggester(images, set(), 2, predictor)
    suggester.start()
    summary = until(lambda: (found := suggester.summary())["suggesting"]["done"] and found)
    assert summary["suggesting"]["trouble"] == "" and sorted(filter(None, summary["ranks"])) == [1, 2]
    assert "the model expects errors" in next(filter(None, summary["reasons"])) and summary["ranks"][0] is None


def test_nothing_left_to_suggest_is_no_failure(folder: Path) -> None:
    suggester = Suggester(FolderImages(folder, print).images, set(range(5)), 3)
    suggester.start()
    summary = until(lambda: (found := suggester.summary())["suggesting"]["done"] and found)
    assert summary["ranks"] == [None] * 5


def test_the_command_is_one_that_ldx_adapt_takes(folder: Path, here: Path) -> None:
    table = folder / "annotations.csv"
    table.write_text("image,landmark,x,y\n", encoding="utf-8")
    adapting = Adapting(folder, table.resolve(), Path("a model.ldx"))
    words = shlex.split(adapting.summary()["command"])
    options = _parse(words[2:])
    assert words[:2] == ["ldx", "adapt"] and options.model == "a model.ldx" and options.output == "mine.ldx"
    assert Path(options.root) == folder and options.dataset_options is None
    (folder / "labels.csv").write_text("image,x1,y1\n", encoding="utf-8")
    (here / "mine.ldx").write_bytes(b"")
    options = _parse(Adapting(folder, table.resolve(), Path("m.ldx")).command()[2:])
    assert options.dataset_options == "{csv: annotations.csv}" and options.output == "mine_2.ldx"
    assert free_target(here).name == "mine_2.ldx"
    assert Adapting(folder, table.resolve(), None).command()[:2] == ["ldx", "fit"]


@pytest.fixture
def client(folder: Path, here: Path) -> Iterator[TestClient]:
    model = write_positions(here / "tiny.ldx")
    session = open_session(folder, names=NAMES)
    session.adapting = Adapting(folder, session.store.path, model)
    app = annotation_app(session, Access("a-token-of-this-test", None))
    yield TestClient(app, headers={"authorization": "Bearer a-token-of-this-test"}, raise_server_exceptions=False)
    session.close()


@pytest.mark.slow
def test_an_adaptation_that_cannot_be_says_why(client: TestClient) -> None:
    """No image is marked: what `ldx adapt` says is what the page shows."""
    first = client.get("/api/adapt").json()
    assert first["can_run"] and first["marked"] == 0 and not first["running"] and first["code"] is None
    assert client.post("/api/adapt/start").json()["running"]
    assert "already" in client.post("/api/adapt/start").json()["error"]
    ended = until(lambda: not (found := client.get("/api/adapt").json())["running"] and found)
    assert ended["code"] == 1 and not ended["stopped"] and any("error:" in line for line in ended["lines"])
    assert "adapt first" in client.post("/api/adapt/use").json()["error"]
    assert client.post("/api/adapt/delete").status_code == 404


def test_an_adaptation_is_stopped(client: TestClient) -> None:
    client.post("/api/adapt/start")
    client.post("/api/adapt/stop")
    ended = until(lambda: not (found := client.get("/api/adapt").json())["running"] and found)
    assert ended["code"] not in (None, 0) and ended["stopped"]


def test_a_new_model_is_taken_up(client: TestClient, here: Path) -> None:
    assert client.get("/api/session").json()["model"] is None
    write_positions(here / "mine.ldx")
    used = client.post("/api/adapt/use").json()
    assert used["target"] == "mine_2.ldx" and "adapt mine.ldx" in used["command"]
    assert client.get("/api/session").json()["model"] == "mine.ldx"
    client.get("/api/images/2")
    found = until(lambda: client.get("/api/images/2").json()["prediction"])
    expected = Detector.load(here / "mine.ldx")(here / "my x-rays" / "phantom_test_000002.png")
    np.testing.assert_allclose(found["points"], expected.points, atol=1e-3)
