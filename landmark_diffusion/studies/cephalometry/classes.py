"""Class limits and names of the eight measures (Wang et al., Medical Image Analysis 31, 2016, table of measures).

Class 1 is the normal range, and a value on one of its limits belongs to it. Values are not rounded before they are
classed. The table leaves MW between 0 and 2 mm without a class: 2 (edge to edge) is printed as "= 0 mm", 1 begins at
2 mm. Measured values are never exactly 0, so class 2 would stay empty and those from 0 to 2 would have none; here class
2 is 0 <= MW < 2. That is the one reading that adds no limit to the table's, keeps class 3 to what is negative, and
keeps the classes in the order of the overjet. (Some public code lets such values fall through to class 3, which calls
a positive overjet a crossbite.) docs/experiments/cephalometry.md has the doctors' agreement under each reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Class:
    """One class: its number in the challenge, its name, and where it ends on the way up.

    ``upper`` is its upper limit in the measure's unit; ``closed`` says whether the limit itself belongs to it.
    """

    number: int
    name: str
    upper: float = np.inf
    closed: bool = False


@dataclass(frozen=True)
class Scheme:
    """The classes of one measure in the order of rising values; each begins where the one before it ends."""

    classes: tuple[Class, ...]

    def classify(self, values: np.ndarray | float) -> np.ndarray:
        """Give the class number of each value (...), int; 0 for NaN."""
        values = np.asarray(values, dtype=np.float64)
        inside = [values <= each.upper if each.closed else values < each.upper for each in self.classes]
        return np.select(inside, [each.number for each in self.classes], 0)

    def name(self, number: int) -> str:
        """Return the name of a class."""
        return next(each.name for each in self.classes if each.number == number)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The class numbers, 1 first."""
        return tuple(sorted(each.number for each in self.classes))

    @property
    def normal(self) -> tuple[float, float]:
        """Lower and upper limit of class 1; both belong to it."""
        place = [each.number for each in self.classes].index(1)
        return self.classes[place - 1].upper, self.classes[place].upper

    def words(self, number: int) -> str:
        """Say which values a class takes: "< 3.2", "3.2 to 5.7", "0 to < 2" or "> 5.7"."""
        place = [each.number for each in self.classes].index(number)
        upper = self.classes[place].upper
        if place == 0:
            return f"< {upper:g}"
        before = self.classes[place - 1]
        if upper == np.inf:
            return f"> {before.upper:g}"
        return f"{before.upper:g} to {'' if self.classes[place].closed else '< '}{upper:g}"


def _around(low: float, high: float, below: tuple[int, str], normal: str, above: tuple[int, str]) -> Scheme:
    return Scheme((Class(*below, upper=low), Class(1, normal, high, closed=True), Class(*above)))


SCHEMES: dict[str, Scheme] = {
    "ANB": _around(3.2, 5.7, (3, "skeletal class III"), "skeletal class I", (2, "skeletal class II")),
    "SNB": _around(74.6, 78.7, (2, "retrognathic mandible"), "normal mandible", (3, "prognathic mandible")),
    "SNA": _around(79.4, 83.2, (3, "retrognathic maxilla"), "normal maxilla", (2, "prognathic maxilla")),
    "ODI": _around(68.4, 80.5, (3, "open bite tendency"), "normal bite", (2, "deep bite tendency")),
    "APDI": _around(77.6, 85.2, (2, "class II tendency"), "class I", (3, "class III tendency")),
    "FHI": _around(0.65, 0.75, (3, "long face tendency"), "normal height", (2, "short face tendency")),
    "FHA": _around(26.8, 31.4, (3, "low mandible angle"), "normal mandible angle", (2, "high mandible angle")),
    "MW": Scheme(
        (
            Class(3, "anterior crossbite", 0.0),
            Class(2, "edge to edge", 2.0),
            Class(1, "normal overjet", 4.5, closed=True),
            Class(4, "large overjet"),
        )
    ),
}
"""Measure's name to its classes. A class "class III" is of the jaws' relation, not this list's number."""
