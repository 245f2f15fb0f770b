"""The rule of an adaptation: within its time, longer for more images and for landmarks that are new."""

from __future__ import annotations

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.adapt.rule import LEAST, rule_for

SECONDS = 0.28
"""Of an update of ceph_diffusion_small.yaml on one idle core (docs/experiments/adapt.md)."""


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_ten_images_take_less_than_five_minutes_of_a_core(known: float) -> None:
    assert max(rule_for(images, images, known).total for images in range(LEAST, 11)) * SECONDS < 5 * 60 - 15


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_more_images_are_never_learned_from_for_less_long(known: float) -> None:
    updates = [rule_for(images, images, known).updates for images in range(LEAST, 200)]
    assert updates == sorted(updates)


def test_new_landmarks_are_learned_for_longer_and_faster() -> None:
    new, known = rule_for(10, 10, 0.2), rule_for(10, 10, 0.9)
    assert new.updates > known.updates and new.learning_rate > known.learning_rate


def test_no_more_folds_than_patients() -> None:
    assert rule_for(12, 3, 1.0).folds == 3
    with pytest.raises(UserError, match="the 12 images are of one patient"):
        rule_for(12, 1, 1.0)


def test_too_few_images_say_how_many_more() -> None:
    with pytest.raises(UserError, match=r"found 4 labelled images, expected at least 5.*Label 1 image more"):
        rule_for(4, 4, 1.0)
