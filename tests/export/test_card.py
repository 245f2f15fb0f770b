"""The card says what a receiver has to know before using the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.core.grid import ABSENT
from landmark_diffusion.evaluation.metrics_file import metrics_dict
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.export import card as cards
from landmark_diffusion.export.card import model_card
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_facts
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.model_calibration import Calibration
from landmark_diffusion.studies.calibrate.collect import Collected
from landmark_diffusion.studies.calibrate.fitting import fit_setting

FACTS = ModelFacts(
    class_path="DiffusionHeatmapModule",
    model={"num_landmarks": 2, "sampling": {"steps": 8}},
    landmark_names=("sella", "nasion"),
    data={"dataset": "isbi2015", "size": [96, 120], "split": "official", "resize": "stretch"},
    updates=2000,
    seed=0,
    precision="bf16-mixed",
    training={"dataset": "isbi2015", "split": "official", "recipe": "mild", "seed": 4},
    note="Trained on ISBI 2015, for research use.",
    package_version="0.1.0",
)


def measured() -> dict[str, Any]:
    """Two images of two points, each 1 mm from the mean of two annotators that lie 2 mm apart."""
    truth = np.array([[[10.0, 10.0], [20.0, 20.0]], [[30.0, 10.0], [40.0, 20.0]]])
    below = truth.mean(0) + np.array([0.0, 10.0])
    predictions = [
        Prediction(image_id=str(i), index=i, points=below, annotations=truth, spacing=(0.1, 0.1)) for i in range(2)
    ]
    found = evaluate({"multi-step": predictions}, ["sella", "nasion"], ["senior", "junior"], (2.0, 4.0))
    return {"verb": "test", **metrics_dict(Results(found))}


def test_it_says_data_limits_and_terms() -> None:
    card = model_card(FACTS, "x.ldx")
    assert card.startswith("# x.ldx\n")
    for text in (
        "2 landmarks (sella, nasion)",
        "96x120 network px",
        "Trained on isbi2015, split official: images 001-150",
        "2000 updates, seed 4",
        "Not a medical device",
        "Trained on ISBI 2015, for research use.",
        "MIT licence does not cover them",
        "divided by 255",
        "sampling.steps 8",
        "ldx test x.ldx --data.root PATH",
        "None came with the export",
    ):
        assert text in card, text


def test_it_shows_the_figures_with_their_protocol_and_people() -> None:
    card = model_card(replace(FACTS, measured=measured()), "x.ldx")
    assert "protocol default: truth: mean of the annotators" in card
    assert "the test images of isbi2015, official: 2 images, 4 points" in card
    row = next(line for line in card.splitlines() if line.startswith("| multi-step |"))
    assert [cell.strip() for cell in row.split("|")[2:6]] == ["1.00 ± 0.00", "1.00", "100", "100"]
    assert "senior to junior" in card and "flattering" in card
    assert "95 % interval over 2 images 1.00 to 1.00" in card


def test_figures_that_cannot_be_known_are_no_fault() -> None:
    """metrics.json writes null for them."""
    found = measured()
    found["table"][0] |= {"mre": None, "median": None, "sdr": {"2": None, "4": 50.0}}
    assert "| multi-step | nan ± 0.00 | nan | nan | 50.0 |" in model_card(replace(FACTS, measured=found), "x.ldx")


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"dataset": "isbi2015", "split": "development"}, "split development: images 001-130"),
        ({"dataset": "isbi2015", "split": "official", "images": 10}, "split official: 10 images of its training part"),
        ({"dataset": "folder"}, "Trained on folder\n"),
        ({}, "Trained on unknown\n"),
    ],
)
def test_it_claims_no_more_training_images_than_there_were(training: dict[str, Any], expected: str) -> None:
    assert expected in model_card(replace(FACTS, training=training), "x.ldx")


def test_it_says_how_true_the_spread_came_out() -> None:
    overall = {"coverage": 0.865, "low": 0.849, "high": 0.88, "expected": 1.06, "actual": 1.13}
    spread = {"level": 0.9, "unit": "mm", "overall": overall, "spearman": {"pooled": 0.431, "within": 0.318}}
    card = model_card(replace(FACTS, measured={**measured(), "spread": spread}), "x.ldx")
    assert "86.5 % of the points lie in their 90 % regions (95 % interval 84.9 to 88.0, over images)" in card
    assert "1.06 mm expected, 1.13 found; rank correlation of both 0.43 over all points, 0.32 within landmarks" in card
    raw = model_card(replace(FACTS, measured={**measured(), "spread": {**spread, "level": None}}), "x.ldx")
    assert "regions" not in raw and "(not calibrated)" in raw


def test_it_says_how_the_calibration_does_on_images_it_was_not_fitted_on() -> None:
    rng = np.random.default_rng(0)
    points, covariance = rng.uniform(0, 90, (80, 2, 2)), np.broadcast_to(4 * np.eye(2), (80, 2, 2, 2))
    truth = points + 2 * rng.standard_normal((80, 2, 2))
    collected = Collected(Answers(points, covariance), truth, np.ones((80, 2)), "mm")
    settings = {"variant": "multi-step", "steps": 8, "samples": 1, "decoder": "local_centroid", "spread": "heatmap"}
    calibration = Calibration("80 made-up images", 80, (fit_setting(settings, collected),))
    card = model_card(replace(FACTS, calibration=calibration.to_dict()), "x.ldx")
    row = next(line for line in card.splitlines() if line.startswith("| 8 x 1, heatmap |"))
    *cells, _, within = row.strip("| ").split(" | ")[1:]
    mre, *shares, area, expected = map(float, cells)
    assert within == ABSENT  # each point is told to be as sure as the others of its landmark: no order to compare
    assert "80 made-up images" in card
    assert mre == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.1) and expected == pytest.approx(mre, rel=0.05)
    assert shares == pytest.approx([50, 80, 90, 95], abs=5)
    assert area == pytest.approx(np.pi * 4 * 4.605, rel=0.25)  # a 90 % region: -2 ln 0.1 = 4.605


def test_the_table_of_other_devices_stands_beside_the_figures() -> None:
    told = {"about": ["x.ldx <b>"], "headings": ["family", "MRE, mm"], "rows": [["turn", "1.20"], ["a|b<script>", "9"]]}
    card = model_card(replace(FACTS, measured={**measured(), "other_devices": told}), "x.ldx")
    assert "| family | MRE, mm |\n| --- | ---: |\n| turn | 1.20 |\n" in card
    assert "<script>" not in card and "<b>" not in card and "a|b" not in card


ALWAYS, OUTSIDE, DOUBTFUL = "It always gives every landmark", "`outside_probability`", "`doubtful`"


@pytest.mark.parametrize(
    ("options", "settings", "said"),
    [
        ({}, None, {ALWAYS}),
        ({"joint": {"enabled": False}}, [{"doubt": None}], {ALWAYS}),
        ({"joint": {"enabled": True}}, None, {OUTSIDE}),
        ({"joint": {"enabled": True}}, [{"doubt": None}, {"doubt": {"limit": 9.0}}], {OUTSIDE, DOUBTFUL}),
        ({}, [{"doubt": {"limit": 9.0}}], {ALWAYS, DOUBTFUL}),
    ],
)
def test_it_says_what_the_model_tells_of_absent_landmarks(
    options: dict[str, Any], settings: list[dict[str, Any]] | None, said: set[str]
) -> None:
    """The card of a model that calls landmarks outside said that it always gives every one."""
    known = replace(FACTS, model={**FACTS.model, **options}, calibration=settings and {"settings": settings})
    told = " ".join(cards._presence(known))
    assert {each for each in (ALWAYS, OUTSIDE, DOUBTFUL) if each in told} == said


@pytest.mark.parametrize("name", ["ceph", "ceph_small"])
def test_the_shipped_cards_say_it(name: str) -> None:
    weights = Path(__file__).parents[2] / "weights"
    written = (weights / f"{name}.md").read_text("utf-8")
    assert all(f"- {line}" in written for line in cards._presence(read_facts(weights / f"{name}.ldx")))
