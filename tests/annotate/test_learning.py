"""What comes of marks: which image is next, and the command that learns from them."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from landmark_diffusion.annotate.adapting import Adapting
from landmark_diffusion.annotate.app import annotation_app
from landmark_diffusion.annotate.images import FolderImages
from landmark_diffusion.annotate.predictions import Predictor
from landmark_diffusion.annotate.session import Session
from landmark_diffusion.annotate.suggesting import Suggester
from landmark_diffusion.annotate.told import HARMED, HELPED, INCOMPARABLE, UNCLEAR, model_title, outcome
from landmark_diffusion.cli.adapt_verb import _parse
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.core.json_files import write_json
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.studies.adapt.outcome import BeforeAfter, Row
from landmark_diffusion.studies.adapt.places import TRAININGS
from landmark_diffusion.studies.suggest.features import edge_views
from landmark_diffusion.studies.suggest.suggestion import pool_distances, suggest
from landmark_diffusion.web.access import Access
from tests.annotate.folders import open_session, phantoms
from tests.detection.tiny_model import NAMES, facts, write_positions


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
    assert Adapting(folder, table.resolve(), None).command()[:2] == ["ldx", "fit"]


@pytest.fixture
def session(folder: Path, here: Path) -> Iterator[Session]:
    session = open_session(folder, names=NAMES)
    session.adapting = Adapting(folder, session.store.path, write_positions(here / "tiny.ldx"))
    yield session
    session.close()


@pytest.fixture
def client(session: Session) -> TestClient:
    app = annotation_app(session, Access("a-token-of-this-test", None))
    return TestClient(app, headers={"authorization": "Bearer a-token-of-this-test"}, raise_server_exceptions=False)


def test_one_that_was_stopped_is_gone_on_with_by_the_model_that_it_began_with(
    client: TestClient, here: Path, folder: Path
) -> None:
    """Another model's trainings would be refused by `ldx adapt`: their folder's name is left to them."""
    digest = hashlib.sha256((here / "tiny.ldx").read_bytes()).hexdigest()
    assert client.get("/api/adapt").json()["unfinished"] == ""
    write_json(here / TRAININGS / "mine" / "manifest.json", {"start": digest})
    assert client.get("/api/adapt").json()["unfinished"] == str(TRAININGS / "mine")
    other = Adapting(folder, folder / "annotations.csv", write_positions(here / "other.ldx", seed=4)).summary()
    assert other["target"] == "mine_2.ldx" and other["unfinished"] == ""
    (here / TRAININGS / "mine_2").mkdir()
    (here / TRAININGS / "mine_2" / "manifest.json").write_text("[")
    assert Adapting(folder, folder / "annotations.csv", here / "other.ldx").summary()["target"] == "mine_3.ldx"


def adapted(low: float, high: float, **more: Any) -> ModelFacts:
    """What a model says of itself whose error changed by low to high px on 6 images."""
    before, after, change = (Interval((a + b) / 2, a, b, 0.95, 6) for a, b in ((1, 3), (0.5, 1.5), (low, high)))
    row = Row("all 3", before, after, (2.0, 1.0), change)
    told = BeforeAfter((row,), "px", 6, 4).to_dict()
    return replace(facts(), training={"dataset": "folder", "images": 6, "adapted": {"start": "a.ldx", **told, **more}})


@pytest.mark.parametrize(("low", "high", "kind"), [(-2, -1, HELPED), (1, 2, HARMED), (-1, 1, UNCLEAR)])
def test_whether_adapting_helped_is_read_from_the_model_file(low: float, high: float, kind: str) -> None:
    found = outcome(of := adapted(low, high))
    assert found is not None and found["kind"] == kind
    assert found["words"].startswith({HELPED: "adapting helped", HARMED: "adapting did harm"}.get(kind, "no clear"))
    assert model_title(Path("x/mine.ldx"), of).endswith(f"x/mine.ldx: a.ldx adapted to 6 images; {found['words']}")


def test_a_file_of_anybody_says_what_it_likes() -> None:
    for rows in (None, 3, [], [3], [{}], [{"difference": None}]):
        assert outcome(adapted(1, 2, rows=rows, verdict=7)) == {"kind": INCOMPARABLE, "words": ""}
    for rows in ([{"difference": [1]}], [{"difference": "abc"}], [{"difference": [1, "x", 2]}]):
        assert outcome(adapted(1, 2, rows=rows, verdict=7)) == {"kind": UNCLEAR, "words": ""}
    assert outcome(replace(facts(), training={"adapted": 3})) is None
    assert model_title(Path("/m.ldx"), replace(facts(), training={"dataset": ["x"], "images": "y"})) == "/m.ldx"
    trained = replace(facts(), training={"dataset": "isbi2015", "split": "official"})
    assert model_title(Path("/m.ldx"), trained) == "/m.ldx: trained on isbi2015 (official)"


@pytest.mark.slow
def test_the_end_says_that_it_was_stopped_and_another_start_goes_on(session: Session, here: Path, folder: Path) -> None:
    assert session.adapting is not None and session.adapting.farewell() == ""
    for place in range(5):
        marks = {str(at): {"x": 100 + place, "y": 60 + 90 * at} for at in range(len(NAMES))}
        session.change(place, {"revision": session.image(place)["revision"], "marks": marks})
    session.adaptation("start")
    until(lambda: any("fold 1 of" in line for line in session.adaptation()["lines"]), 200)
    session.close()
    said = session.adapting.farewell()
    assert "was stopped; what it has learned is kept in runs/adapt/mine" in said and "ldx adapt " in said
    again = Adapting(folder, session.store.path, here / "tiny.ldx").summary()
    assert again["unfinished"] == "runs/adapt/mine" and again["target"] == "mine.ldx"


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
    assert (
        used["target"] == "mine_2.ldx" and f"adapt {here / 'tiny.ldx'} " in used["command"]
    )  # mine.ldx has learned them
    assert (used["start"], used["shown"]) == ("tiny.ldx", "mine.ldx")
    about, news = client.get("/api/session").json(), client.get("/api/news").json()
    assert about["model"] == news["model"] == "mine.ldx"
    assert about["model_title"] == news["model_title"] == str(here / "mine.ldx")
    client.get("/api/images/2")
    found = until(lambda: client.get("/api/images/2").json()["prediction"])
    expected = Detector.load(here / "mine.ldx")(here / "my x-rays" / "phantom_test_000002.png")
    np.testing.assert_allclose(found["points"], expected.points, atol=1e-3)
