"""Seeded splits divide all images, repeat, and follow their fractions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.splits import (
    ISBI2015_SPLITS,
    few_shot_order,
    fold_split,
    parse_folds,
    seeded_split,
    split_by_name,
)


@given(count=st.integers(1, 80), val=st.floats(0, 0.45), test=st.floats(0, 0.45), seed=st.integers(0, 5))
def test_parts_are_a_division_near_the_fractions(count: int, val: float, test: float, seed: int) -> None:
    ids = [f"{index:03d}" for index in range(count)]
    parts = seeded_split(ids, (1 - val - test, val, test), seed)
    assert sorted(parts["train"] + parts["val"] + parts["test"]) == ids
    assert len(parts["train"]) >= 1 and all(part == sorted(part) for part in parts.values())
    if count >= 3:
        for name, fraction in (("val", val), ("test", test)):
            assert abs(len(parts[name]) - fraction * count) <= 1
            assert (len(parts[name]) == 0) == (fraction == 0)


def test_split_depends_on_ids_and_seed_not_on_their_order() -> None:
    ids = [str(index) for index in range(30)]
    assert seeded_split(ids, seed=3) == seeded_split(ids[::-1], seed=3) != seeded_split(ids, seed=4)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.2, 0.0), (0.5, 0.5), (0.0, 0.5, 0.5)])
def test_fractions_that_are_no_division(fractions: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="fractions: "):
        seeded_split(["a", "b"], fractions)


def test_isbi_parts_have_the_challenges_sizes() -> None:
    sizes = {name: tuple(len(parts[s]) for s in ("train", "val", "test")) for name, parts in ISBI2015_SPLITS.items()}
    assert sizes == {
        "official": (150, 0, 150), "development": (130, 20, 150), "test2": (150, 0, 100), "paper_b": (130, 20, 250)
    }  # fmt: skip


def test_named_parts_are_counted_in_sorted_order_and_the_rest_is_test() -> None:
    names = ["c", "a", "e", "b", "d"]
    assert split_by_name(names, (2, 1, 1)) == {"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}
    assert split_by_name(names[:1], (2, 1, 1)) == {"train": ["c"], "val": [], "test": []}


def test_few_shot_draws_are_nested_and_independent_of_the_listing() -> None:
    names = [str(number) for number in range(20)]
    order = few_shot_order(names, draw=1, seed=0)
    assert sorted(order) == sorted(names) and order == few_shot_order(names[::-1], draw=1, seed=0)
    assert order != few_shot_order(names, draw=2, seed=0) and order != few_shot_order(names, draw=1, seed=1)
    with pytest.raises(UserError, match="no training image"):
        few_shot_order([], draw=0)


@given(count=st.integers(2, 40), folds=st.integers(2, 7), patients=st.integers(1, 40), seed=st.integers(0, 3))
def test_each_image_is_tested_once_and_groups_stay_together(count: int, folds: int, patients: int, seed: int) -> None:
    ids = [f"{index:03d}" for index in range(count)]
    groups = {each: f"p{int(each) % patients}" for each in ids if int(each) % 3}  # every third has no group
    owners = {each: groups.get(each, each) for each in ids}
    if folds > len(set(owners.values())):
        with pytest.raises(UserError, match=f"found {folds} folds, expected 2 to"):
            fold_split(ids, folds, 1, seed=seed, groups=groups)
        return
    tested = []
    for number in range(1, folds + 1):
        parts = fold_split(ids, folds, number, 0.2, seed, groups)
        assert sorted(parts["train"] + parts["val"] + parts["test"]) == ids
        places = [{owners[each] for each in part} for part in parts.values()]
        assert sum(map(len, places)) == len(set(owners.values()))  # no owner in two parts
        assert parts["train"] and parts["test"] and (parts["val"] or len(places[0]) == 1)
        tested += parts["test"]
    assert sorted(tested) == ids


def test_folds_without_groups_differ_by_one_image_at_most_and_repeat() -> None:
    ids = [str(index) for index in range(23)]
    sizes = [len(fold_split(ids, 5, number)["test"]) for number in range(1, 6)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    assert fold_split(ids, 5, 2, seed=3) == fold_split(ids[::-1], 5, 2, seed=3) != fold_split(ids, 5, 2, seed=4)
    assert len(fold_split(ids, 5, 5, 0.25)["val"]) == 5  # a quarter of 19, rounded
    assert fold_split(ids, 5, 1, 0.0)["val"] == []


@pytest.mark.parametrize("text", ["folds", "folds:5", "folds:1/1", "folds:5/0", "folds:5/6", "folds:5/-1", "folds:a/b"])
def test_what_is_no_fold(text: str) -> None:
    with pytest.raises(UserError, match="expected folds:K/N such as folds:5/2"):
        parse_folds(text)
    assert (parse_folds("folds:5/2"), parse_folds("seeded")) == ((5, 2), None)
