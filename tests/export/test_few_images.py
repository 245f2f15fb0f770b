"""With 1 or 2 test images some figures cannot be known: the files say so, and an export still works."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.evaluation.annotator_view import write_annotators_csv
from landmark_diffusion.evaluation.metrics_file import write_metrics
from landmark_diffusion.evaluation.report import write_report
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.spread_view import LEAST_SPREAD, write_spread_csv
from landmark_diffusion.export.card import model_card, write_model_and_card
from landmark_diffusion.export.gather import _measured
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.modelfile.facts import facts_from_json
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.model_calibration import Calibration
from landmark_diffusion.studies.calibrate.collect import Collected
from landmark_diffusion.studies.calibrate.fitting import fit_setting
from tests.detection.tiny_model import N, facts, module

NAMES = tuple(f"point {i}" for i in range(N))


def predictions(images: int, annotators: int = 2) -> list[Prediction]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(images):
        truth = rng.uniform(20, 80, (1, N, 2)) + rng.normal(0, 2, (annotators, N, 2))
        covariance = rng.uniform(1, 9, (N, 1, 1)) * np.eye(2)
        points = truth.mean(0) + rng.normal(0, 3, (N, 2))
        spacing = (0.1, 0.1)
        found.append(Prediction(f"{index}", index, points, truth, spacing, covariance, image_size=(100, 100)))
    return found


def metrics_of(folder: Path, rows: list[Prediction], annotators: tuple[str, ...]) -> dict[str, Any]:
    results = Results(evaluate({"a": rows[::-1], "b": rows}, NAMES, annotators, (2.0, 4.0), main="b"))
    extra = {"command": "ldx test --config x.yaml", "updates": 3}
    path = write_metrics(folder / "metrics.json", results, extra)
    if results.spread is not None:
        write_spread_csv(folder / "spread.csv", results.spread)
    if results.annotators is not None:
        write_annotators_csv(folder / "annotators.csv", results.annotators)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize("images", [1, 2, 3, 5])
@pytest.mark.parametrize("annotators", [1, 2])
def test_a_test_of_few_images_can_be_handed_over(tmp_path: Path, images: int, annotators: int) -> None:
    rows = predictions(images, annotators)
    found = metrics_of(tmp_path, rows, ("senior", "junior")[:annotators])
    known, judged = images >= 3, images >= LEAST_SPREAD
    assert (found["spread"]["spearman"]["within"] is not None) == known
    assert found["spread"]["spearman"]["pooled"] is not None  # over images x landmarks points
    assert (found["intervals"] == {}) == (images == 1)
    target, card = tmp_path / "x.ldx", tmp_path / "x.md"
    write_model_and_card(target, card, replace(facts(), measured=_measured(found)), module().state_dict())
    text = card.read_text(encoding="utf-8")
    assert ("Whether the spread is true was not judged" in text) == (not judged)
    assert "unknown within" not in text and "None" not in text.split("## Limits")[0]
    assert f"{counted(images, 'image')}, {images * N} points" in text


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_report_of_few_images_is_whole(tmp_path: Path, images: int) -> None:
    rows = predictions(images)
    image = np.zeros((100, 100), dtype=np.uint8)
    results = Results(evaluate({"a": rows, "b": rows}, NAMES, ("senior", "junior"), (2.0, 4.0), main="b"))
    written = write_report(tmp_path, results, lambda _: image)
    assert ("spread.png" in [path.name for path in written]) == (images >= LEAST_SPREAD)
    assert all(path.stat().st_size for path in written)
    assert "nan" not in written[0].read_text(encoding="utf-8")


SETTINGS = {"variant": "multi-step", "steps": 8, "samples": 1, "decoder": "local_centroid", "spread": "heatmap"}


def calibration_material(images: int, alike: bool = False) -> Collected:
    rng = np.random.default_rng(0)
    points, covariance = rng.uniform(0, 90, (images, N, 2)), np.broadcast_to(4 * np.eye(2), (images, N, 2, 2))
    covariance = covariance * (1.0 if alike else rng.uniform(0.5, 2, (images, N, 1, 1)))
    truth = points + 2 * rng.standard_normal((images, N, 2))
    return Collected(Answers(points, covariance), truth, np.ones((images, 2)), "mm")


@pytest.mark.parametrize("images", [1, 18])
def test_a_calibration_on_too_few_images_is_refused(images: int) -> None:
    with pytest.raises(UserError, match=f"found {images} images"):
        fit_setting(SETTINGS, calibration_material(images))


@pytest.mark.parametrize(("images", "alike"), [(19, False), (20, False), (19, True)])
def test_a_calibration_on_few_images_can_be_written_and_read(images: int, alike: bool) -> None:
    """Also where every point is told to be as sure as any other, so that no order can be compared."""
    fitted = fit_setting(SETTINGS, calibration_material(images, alike))
    assert not alike or "spearman_within" not in fitted.figures
    content = replace(facts(), calibration=Calibration("made up", images, (fitted,)).to_dict())
    read = facts_from_json(content.to_json(), "x.ldx")
    assert read.calibration == content.calibration
    assert "| 8 x 1, heatmap |" in model_card(read, "x.ldx")


def test_a_card_that_cannot_be_made_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> str:
        raise KeyError("pooled")

    target = tmp_path / "x.ldx"
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match=r"x\.md: the file cannot be written"):
        write_model_and_card(target, tmp_path / "a file" / "x.md", facts(), module().state_dict())
    monkeypatch.setattr("landmark_diffusion.export.card.model_card", fails)
    with pytest.raises(KeyError):
        write_model_and_card(target, tmp_path / "x.md", facts(), module().state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_a_model_that_cannot_be_written_leaves_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise UserError("no room")

    monkeypatch.setattr("landmark_diffusion.export.card.atomic_write_bytes", full)
    with pytest.raises(UserError, match="no room"):
        write_model_and_card(tmp_path / "x.ldx", tmp_path / "x.md", facts(), module().state_dict())
    assert not list(tmp_path.iterdir())
