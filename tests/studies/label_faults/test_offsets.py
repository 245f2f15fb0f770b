"""Constants are measured with an interval that holds, and told where they matter."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.studies.label_faults.judging import judge_labels
from landmark_diffusion.studies.label_faults.offsets import MODEL, ConstantOffset, constant_offsets, median_interval
from tests.studies.label_faults.made import material, no_looks


def test_interval_by_order_statistics() -> None:
    """By hand: of six values the median lies outside all of them with probability 2 / 64, of five with 2 / 32."""
    assert median_interval(np.array([3.0, 1, 2, 6, 5, 4]), 0.95) == (1, 6)
    assert median_interval(np.arange(5.0), 0.95) == (-np.inf, np.inf)
    assert median_interval(np.arange(9.0), 0.95) == (1, 7)  # 2 (1 + 9) / 512 is 3.9 %, with 36 more 18 %


def test_interval_holds() -> None:
    rng = np.random.default_rng(0)
    held = [low <= 0 <= high for low, high in (median_interval(rng.standard_t(3, 25), 0.9) for _ in range(2000))]
    assert 0.9 - 0.02 <= np.mean(held) <= 0.97


def _told(offset: float, annotators: int = 2) -> list[ConstantOffset]:
    made = material(seed=13, annotators=annotators)
    made.labels[:, -1, 2] += (offset, 0)
    return [each for each in constant_offsets(made, judge_labels(made, no_looks()).witnesses) if each.is_told]


def test_an_annotators_constant_is_told_with_its_direction() -> None:
    told = _told(20)
    ours = {(each.annotator, each.against): each for each in told}
    assert {each.landmark for each in told} == {2} and (1, "senior") in ours and (1, MODEL) in ours
    against = ours[1, "senior"]
    assert against.offset == pytest.approx([10, 0], abs=1) and against.low[0] > 8 and against.high[0] < 12  # mm
    assert ours[0, "junior"].offset == pytest.approx([-10, 0], abs=1) and (0, MODEL) not in ours


def test_one_annotator_is_compared_with_the_model() -> None:
    (only,) = _told(20, annotators=1)
    assert (only.against, only.landmark) == (MODEL, 2) and only.offset == pytest.approx([10, 0], abs=1)


def test_no_constant_no_word() -> None:
    assert _told(0) == [] and _told(0, annotators=1) == []
