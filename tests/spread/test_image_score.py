"""An image that the model cannot read must come out as unlike; the calibration images' own kind must not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.image_score import UNLIKE, ImageScore

COUNT = 8
HEAD = np.random.default_rng(7).uniform(0, 300, (COUNT, 2))


def answers(images: int, seed: int, spread: float = 4.0, moved: float = 1.0) -> Answers:
    """Heads that differ in place, size and a little in shape."""
    rng = np.random.default_rng(seed)
    size, place = rng.uniform(0.9, 1.1, (images, 1, 1)), rng.uniform(-30, 30, (images, 1, 2))
    points = HEAD * size + place + rng.normal(0, 5, (images, COUNT, 2))
    covariance = spread * rng.lognormal(0, 0.3, (images, COUNT, 1, 1)) * np.eye(2)
    first = points + moved * rng.standard_normal((images, COUNT, 2))
    return Answers(points, covariance, first, 3 * covariance)


def test_new_images_of_the_same_kind_have_even_p_values() -> None:
    shares = []
    for seed in range(20):
        score = ImageScore.fit(answers(100, seed))
        shares.append(score.p_values(answers(200, 1000 + seed)) <= 0.2)
    assert abs(np.mean(shares) - 0.2) < 0.04


@pytest.mark.parametrize("kind", ["spread", "moved", "mirrored", "upside down", "scattered"])
def test_what_is_unlike_is_told(kind: str) -> None:
    score = ImageScore.fit(answers(150, 0))
    odd = {
        "spread": lambda: answers(5, 1, spread=40.0),
        "moved": lambda: answers(5, 1, moved=30.0),
        "mirrored": lambda: _with_points(answers(5, 1), lambda p: p * [-1, 1] + [400, 0]),
        "upside down": lambda: _with_points(answers(5, 1), lambda p: 400 - p),
        "scattered": lambda: _with_points(answers(5, 1), lambda p: p + np.random.default_rng(5).normal(0, 60, p.shape)),
    }[kind]()
    assert (score.p_values(odd) <= UNLIKE).all()


def test_place_and_size_of_the_head_do_not_matter() -> None:
    score, some = ImageScore.fit(answers(150, 0)), answers(20, 1)
    moved = _with_points(some, lambda p: 1.7 * p + [90, -40])
    assert np.allclose(score.p_values(Answers(some.points, some.covariance, some.points, some.covariance)),
                       score.p_values(moved))  # fmt: skip


def test_a_method_without_first_guess_has_a_score_too_and_json_keeps_it() -> None:
    some = answers(60, 3)
    score = ImageScore.fit(Answers(some.points, some.covariance))
    again = ImageScore.from_dict(json.loads(json.dumps(score.to_dict())), COUNT)
    new = Answers(*(getattr(answers(20, 4), name) for name in ("points", "covariance")))
    assert np.allclose(score.p_values(new), again.p_values(new), atol=2 / 61)
    with pytest.raises(ValueError, match="shape_mean"):
        ImageScore.from_dict(score.to_dict(), COUNT + 1)


def _with_points(some: Answers, change) -> Answers:  # type: ignore[no-untyped-def]
    points = change(some.points)
    return Answers(points, some.covariance, points, some.covariance)
