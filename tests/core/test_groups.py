"""Groups of options: given whole, or as a mapping laid over the defaults; anything else is refused by its place."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group, at_least_one, dotted, plain_options


@dataclass(frozen=True)
class Walk:
    """How one walks."""

    steps: int = 8
    pace: float = 1.5
    places: tuple[str, ...] = ("here",)

    def __post_init__(self) -> None:
        at_least_one("model.walk", self, "steps")


def test_a_group_is_taken_as_it_is() -> None:
    given = Walk(3)
    assert as_group(Walk, given, "model.walk") is given


@pytest.mark.parametrize("kind", [dict, MappingProxyType])
def test_a_mapping_is_laid_over_the_defaults(kind: Any) -> None:
    assert as_group(Walk, kind({"pace": 2.0}), "model.walk") == Walk(8, 2.0)
    assert as_group(Walk, kind({}), "model.walk") == Walk()
    assert as_group(Walk, kind({"places": ["a", "b"]}), "model.walk") == Walk(places=("a", "b"))  # as yaml has it


@pytest.mark.parametrize("given", [None, 3, "fast", ["steps", 3], Walk])
def test_what_is_no_mapping_is_refused_with_the_options(given: Any) -> None:
    with pytest.raises(
        UserError, match=r"^model\.walk: found .*, expected a Walk or its options: steps, pace, places$"
    ):
        as_group(Walk, given, "model.walk")


def test_an_unknown_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^model\.walk: unknown option 'step'\. Did you mean steps"):
        as_group(Walk, {"pace": 1.0, "step": 3}, "model.walk")


def test_a_group_s_own_check_names_its_place() -> None:
    with pytest.raises(UserError, match=r"^model\.walk\.steps: found 0, expected at least 1$"):
        as_group(Walk, {"steps": 0}, "model.walk")


def test_options_become_what_json_and_yaml_know() -> None:
    given = {"walk": Walk(), "more": [(1, (2, 3)), {"walks": (Walk(1),)}], "none": None}
    plain = {"steps": 8, "pace": 1.5, "places": ["here"]}
    assert plain_options(given) == {
        "walk": plain,
        "more": [[1, [2, 3]], {"walks": [{**plain, "steps": 1}]}],
        "none": None,
    }
    assert plain_options(Walk) is Walk  # a class is no group
    assert plain_options({"walk": MappingProxyType({"a": (1,)})}) == {"walk": {"a": [1]}}


def test_dotted_names_lead_into_groups() -> None:
    assert dotted({"walk": Walk(3), "a": {"b": {"c": (1, 2)}}, "d": 4}) == {
        "walk.steps": 3, "walk.pace": 1.5, "walk.places": ["here"], "a.b.c": [1, 2], "d": 4
    }  # fmt: skip
