"""``ldx shifts`` on a tiny model: a row a family, nothing finished is lost, and what cannot be used is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.cli import main
from landmark_diffusion.data.shifts import FAMILIES
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from landmark_diffusion.studies.calibrate import material
from landmark_diffusion.studies.shifts import judge
from tests.detection.tiny_model import tiny_options
from tests.methods.tiny_positions import module

SIZE = (64, 80)
DATA: dict[str, Any] = {
    "dataset": "phantom", "size": list(SIZE), "dataset_options": {"count": [3, 22, 4], "image_size": [97, 120]}
}  # fmt: skip
SOURCE = PhantomDataset(**DATA["dataset_options"])
MODEL = Path("tiny.ldx")


@pytest.fixture(autouse=True)
def _model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(seed=0)


def _write(seed: int) -> None:
    names = SOURCE.landmark_names
    options = tiny_options({"num_landmarks": len(names)})
    training = {"dataset": "phantom"}
    facts = ModelFacts("PositionDiffusionModule", options, names, DATA, updates=7, seed=seed, training=training)
    write_model_file(MODEL, facts, module(n=len(names)).state_dict(), overwrite=True)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Families that were measured, in order."""
    told: list[str] = []
    real = judge.judge_family

    def counting(detector: Any, images: Any, family: str, *rest: Any) -> Any:
        told.append(family)
        return real(detector, images, family, *rest)

    monkeypatch.setattr(judge, "judge_family", counting)
    return told


def shifts(*arguments: str) -> int:
    return main(["shifts", str(MODEL), "--output", "out", *arguments])


def table() -> dict[str, dict[str, str]]:
    with Path("out/shifts.csv").open() as file:
        return {row["family"]: row for row in csv.DictReader(file)}


def test_plain_row_is_what_the_detector_finds(capsys: pytest.CaptureFixture[str]) -> None:
    own = Detector.load(MODEL).settings
    chosen = f"{own['steps']}x{own['samples']}"
    assert main(["calibrate", "--checkpoint", str(MODEL), "--part", "val", "--settings", chosen]) == 0
    capsys.readouterr()
    assert shifts("--families", "turn,negative") == 0
    printed = capsys.readouterr().out
    assert "as they are" in printed and "4 images of the test part of phantom" in printed
    detector, errors, inside = Detector.load(MODEL), [], []
    for sample in SOURCE.samples("test"):
        found = detector(SOURCE.load_image(sample))
        away = found.points - sample.mean_points
        errors.append(np.hypot(*away.T) * SOURCE.spacing[0])
        assert found.regions is not None
        inside.append(np.einsum("ni,nij,nj->n", away, np.linalg.inv(found.regions), away) <= 1)
    row = table()["as they are"]
    assert float(row["mre"]) == pytest.approx(np.mean(errors), rel=1e-4)
    assert float(row["near"]) == pytest.approx(100 * np.mean(np.array(errors) < 2), abs=0.1)
    assert float(row["coverage"]) == pytest.approx(100 * np.mean(inside), abs=2.5)
    assert list(table()) == ["as they are", "turn", "negative", "mean"]
    with Path("out/errors.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 4 * len(SOURCE.landmark_names)
    summary = json.loads(Path("out/shifts.json").read_text())
    assert summary["unit"] == "mm" and summary["radius"] == 2.0 and len(summary["made_of"]["images"]) == 4
    assert Path("out/shifts.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_finished_is_not_measured_again(
    judged: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = judge.judge_family

    def stopped(detector: Any, images: Any, family: str, *rest: Any) -> Any:
        if family == "dark":
            raise KeyboardInterrupt
        return counting(detector, images, family, *rest)

    monkeypatch.setattr(judge, "judge_family", stopped)
    assert shifts("--families", "turn,dark,zoom") == 130
    assert judged == ["as they are", "turn"] and list(table()) == ["as they are", "turn"]
    first = table()["turn"]
    monkeypatch.setattr(judge, "judge_family", counting)
    assert shifts("--families", "turn,dark,zoom") == 0 and judged == ["as they are", "turn", "dark", "zoom"]
    assert "2 rows in out are kept" in capsys.readouterr().out
    assert list(table()) == ["as they are", "zoom", "turn", "dark", "mean"] and table()["turn"] == first
    assert shifts("--families", "turn") == 0 and len(judged) == 4
    assert list(table()) == ["as they are", "zoom", "turn", "dark", "mean"]
    assert shifts("--families", "turn", "--overwrite") == 0 and judged[4:] == ["as they are", "turn"]
    assert list(table()) == ["as they are", "turn"] and table()["turn"] == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "1"], "results that differ from these in seed"),
        (["--part", "val"], "results that differ from these in images"),
        (["--fast"], "results that differ from these in settings"),
        ([], "results that differ from these in model file"),
    ],
)
def test_another_study_is_not_mixed_in(
    change: list[str], message: str, judged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shifts("--families", "dark") == 0
    before = Path("out/errors.csv").read_bytes()
    if not change:
        _write(seed=1)
    assert shifts("--families", "dark", *change) == 1 and len(judged) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error and "--overwrite" in error and Path("out/errors.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--families", "trun"], "--families: found 'trun'. Did you mean turn?"),
        (["--families", ","], "--families: found ',', expected one or several of film_curve,"),
        (["--seed", "-1"], "--seed: found -1, expected a whole number from 0"),
        (["--batch-size", "0"], "--batch-size: found 0, expected a whole number from 1"),
        (["--part", "train"], "invalid choice: 'train'"),
        (["--limit", "3"], "unknown option '--limit'"),
        (["--data.dataset", "isbi2015", "--data.root", "nowhere"], "nowhere"),
        (["--device", "gpu"], "expected cpu, cuda or cuda:1"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shifts(*arguments) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert message in error and "Traceback" not in error and not Path("out").exists()


def test_a_table_that_no_card_can_take_is_refused_before_it_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shifts("--card") == 1 and "tiny.ldx: has no figures that a table could be put beside" in capsys.readouterr().err
    )
    assert main(["export", str(MODEL), "--hub", "hub"]) == 0
    assert main(["shifts", "hub", "--output", "out", "--card"]) == 1
    assert "hub: found a hub's folder, expected a model file" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_model_is_needed_and_the_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shifts"]) == 1 and "ldx shifts needs a model file" in capsys.readouterr().err
    assert main(["shifts", "nothing.ldx", "--output", "out"]) == 1 and "nothing.ldx" in capsys.readouterr().err
    assert main(["shifts", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in FAMILIES)


def test_an_empty_part_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("data:\n  dataset: phantom\n  dataset_options: {count: [0, 0, 0]}\n")
    assert shifts("--config", "c.yaml") == 1 and "the test part of phantom is empty" in capsys.readouterr().err


def test_images_of_the_training_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shifts("--families", "dark") == 0 and "trained on" not in capsys.readouterr().out
    monkeypatch.setattr(material, "seen_in_training", lambda *_: True)
    assert shifts("--families", "dark") == 0
    note = "the weights were trained on some of these images"
    assert note in " ".join(capsys.readouterr().out.split())
    assert note in json.loads(Path("out/shifts.json").read_text())["notes"][0]


def test_results_lie_in_a_folder_of_the_model_unless_another_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Another model's were refused, or discarded by --overwrite, in one folder for all."""
    other = MODEL.with_name("other.ldx")
    other.write_bytes(MODEL.read_bytes())
    for model in (MODEL, other):
        assert main(["shifts", str(model), "--families", "negative"]) == 0
        assert f"in shifts_{model.stem}: shifts.csv" in capsys.readouterr().out
        assert (Path(f"shifts_{model.stem}") / "shifts.csv").is_file()
