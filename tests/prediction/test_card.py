"""The card says what a receiver has to know before using the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.prediction.card import model_card
from landmark_diffusion.reporting.metrics_file import metrics_dict
from landmark_diffusion.runs.model_facts import ModelFacts

FACTS = ModelFacts(
    class_path="DiffusionHeatmapModule",
    model={"num_landmarks": 2, "sampling_steps": 8},
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
        Prediction(image_id=str(i), index=i, points=below, annotations=truth, spacing=(0.1, 0.1))
        for i in range(2)
    ]
    found = metrics_dict({"multi-step": predictions}, ["sella", "nasion"], ["senior", "junior"], (2.0, 4.0))
    return {"verb": "test", **found}


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
        "sampling\\_steps 8",
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
