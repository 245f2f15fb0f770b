"""Why an image is unlike: only what, undone, makes it like the others is a reason; each is undone by its opposite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from landmark_diffusion.detection.reasons import (
    MOST_LOOKS,
    REASONS,
    TURNS,
    balanced,
    exposure,
    find_reasons,
    reason_note,
)
from tests.detection.tiny_model import picture

UPRIGHT = picture(3, size=(70, 90))

FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda g: g[:, ::-1],
    "negative": lambda g: 255 - g,
    "upside down": lambda g: g[::-1, ::-1],
    "turned left": lambda g: np.rot90(g),  # numpy turns against the clock: what was up lies left
    "turned right": lambda g: np.rot90(g, -1),
    "flipped": lambda g: g[::-1],
    "turned left and mirrored": lambda g: g.T,  # rows taken for columns
    "turned right and mirrored": lambda g: np.rot90(g[:, ::-1], -1),
}


class OnlyUpright:
    """A model to which nothing but the upright picture is like the calibration's."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, greys: list[np.ndarray]) -> np.ndarray:
        self.looks += len(greys)
        return np.array([0.5 if np.array_equal(each, UPRIGHT) else 0.01 for each in greys])


@pytest.mark.parametrize("reason", FAULTS)
def test_each_fault_is_named(reason: str) -> None:
    grey = np.ascontiguousarray(FAULTS[reason](UPRIGHT))
    assert find_reasons([grey], OnlyUpright()) == [reason]
    assert reason_note(reason).startswith(f"It is {reason}: undone, it is like them.")


def test_every_reason_has_a_fault_here_and_a_note() -> None:
    assert set(FAULTS) == set(TURNS)
    assert all(reason_note(each).endswith(".") for each in REASONS)
    assert "It is also dark" in reason_note("unknown", "dark")


def test_what_nothing_undoes_is_unknown_and_costs_a_bounded_number_of_looks() -> None:
    model = OnlyUpright()
    assert find_reasons([picture(4, size=(70, 90))] * 3, model) == ["unknown"] * 3
    assert model.looks <= 3 * MOST_LOOKS


def test_images_of_a_batch_have_reasons_of_their_own_and_none_costs_nothing() -> None:
    model = OnlyUpright()
    assert find_reasons([], model) == [] and model.looks == 0
    greys = [FAULTS["upside down"](UPRIGHT), picture(4, size=(70, 90)), 255 - UPRIGHT]
    assert find_reasons(greys, model) == ["upside down", "unknown", "negative"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda g: g // 4, "dark"),
        (lambda g: (255 * (g / 255) ** 4).astype(np.uint8), "dark"),
        (lambda g: 191 + g // 4, "bright"),
        (lambda g: 96 + g // 4, "low contrast"),
        (lambda g: g, ""),
    ],
)
def test_brightness_is_a_reason_only_where_evening_it_out_helps(
    change: Callable[[np.ndarray], np.ndarray], word: str
) -> None:
    grey = change(UPRIGHT)
    assert exposure(grey) == word

    def even(greys: list[np.ndarray]) -> np.ndarray:
        return np.array([0.5 if 96 <= np.median(each) <= 160 and np.ptp(each) > 200 else 0.01 for each in greys])

    if word:
        assert find_reasons([grey], even) == [word]
        assert find_reasons([grey], lambda greys: np.full(len(greys), 0.01)) == ["unknown"]


def test_evened_out_values_span_the_range_and_keep_their_order() -> None:
    grey = 20 + UPRIGHT // 8
    even = balanced(grey)
    assert (even.min(), even.max()) == (0, 255) and np.median(even) == pytest.approx(127.5, abs=10)
    order = np.argsort(grey, axis=None, kind="stable")
    assert (np.diff(even.ravel()[order].astype(int)) >= 0).all()
    assert balanced(np.full((4, 4), 7, np.uint8)).shape == (4, 4)  # one grey: nothing to spread
