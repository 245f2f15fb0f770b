"""Class limits of the challenge's table: what lies on one, between two, and who is called what."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.measures import MEASURES

TABLE = {  # ../shared/cephalometry.md: class of values below, on the lower limit, on the upper limit, above
    "ANB": (3.2, 5.7, (3, 1, 1, 2)),
    "SNB": (74.6, 78.7, (2, 1, 1, 3)),
    "SNA": (79.4, 83.2, (3, 1, 1, 2)),
    "ODI": (68.4, 80.5, (3, 1, 1, 2)),
    "APDI": (77.6, 85.2, (2, 1, 1, 3)),
    "FHI": (0.65, 0.75, (3, 1, 1, 2)),
    "FHA": (26.8, 31.4, (3, 1, 1, 2)),
    "MW": (2.0, 4.5, (2, 1, 1, 4)),
}


@pytest.mark.parametrize("measure", list(TABLE))
def test_limits_belong_to_the_normal_range(measure: str) -> None:
    low, high, expected = TABLE[measure]
    around = [np.nextafter(low, -np.inf), low, high, np.nextafter(high, np.inf)]
    assert SCHEMES[measure].classify(np.array(around)).tolist() == list(expected)
    assert SCHEMES[measure].normal == (low, high)


def test_every_measure_has_its_classes() -> None:
    assert tuple(SCHEMES) == tuple(each.name for each in MEASURES)


def test_an_overjet_from_zero_to_two_is_edge_to_edge_and_only_a_negative_one_a_crossbite() -> None:
    numbers = SCHEMES["MW"].classify(np.array([-30.0, -1e-9, 0.0, 1.0, 1.999]))
    assert numbers.tolist() == [3, 3, 2, 2, 2]


def test_what_was_not_measured_has_no_class() -> None:
    assert SCHEMES["ANB"].classify(np.nan) == 0


def test_classes_are_described_by_the_values_they_take() -> None:
    assert [SCHEMES["MW"].words(number) for number in (1, 2, 3, 4)] == ["2 to 4.5", "0 to < 2", "< 0", "> 4.5"]
    assert [SCHEMES["SNB"].words(number) for number in (1, 2, 3)] == ["74.6 to 78.7", "< 74.6", "> 78.7"]
    assert SCHEMES["SNB"].name(2) == "retrognathic mandible"
