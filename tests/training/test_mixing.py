"""Mixing of sets: exact shares, each image as often as its turn, any number of processes, any place to go on from."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.training.mixing import MixedOrder, Mixing
from landmark_diffusion.training.samplers import EpochKeyedSampler

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=4)
BATCH = 3


def numbers(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def order(sizes: list[int], mixing: Mixing, length: int | None = None, epoch: int = 0) -> np.ndarray:
    return MixedOrder(numbers(sizes), mixing, BATCH, length).order(np.random.default_rng(epoch), epoch)


def shares(sizes: list[int], places: np.ndarray) -> list[int]:
    found = Counter(numbers(sizes)[places % sum(sizes)].tolist())
    return [found[number] for number in range(len(sizes))]


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, length=st.one_of(st.none(), st.integers(1, 60)))
def test_sets_have_equal_shares_of_an_epoch_and_exactly_equal_ones_in_the_long_run(
    sizes: list[int], length: int | None
) -> None:
    epochs = [order(sizes, Mixing("set"), length, epoch) for epoch in range(len(sizes))]
    assert {len(places) for places in epochs} == {length or sum(sizes)}
    for places in epochs:
        assert max(shares(sizes, places)) - min(shares(sizes, places)) <= 1
    assert len(set(shares(sizes, np.concatenate(epochs)))) == 1


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, length=st.integers(1, 60))
def test_an_image_comes_again_when_all_of_its_set_came_and_as_a_place_of_its_own(sizes: list[int], length: int) -> None:
    places = order(sizes, Mixing("set"), length)
    assert len(set(places.tolist())) == length  # augmented anew
    times = Counter((places % sum(sizes)).tolist())
    for number, size in enumerate(sizes):
        of_set = [times[image] for image in np.flatnonzero(numbers(sizes) == number)]
        assert len(of_set) == size and max(of_set) - min(of_set) <= 1


def test_every_few_samples_have_one_of_each_set_in_no_fixed_order() -> None:
    """Else process 0 of three would see one of three sets alone."""
    sets = numbers([5, 9, 40])[order([5, 9, 40], Mixing("set"), 30) % 54].reshape(-1, 3)
    assert (np.sort(sets, 1) == [0, 1, 2]).all()
    assert len({tuple(each) for each in sets.tolist()}) > 2


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, balance=st.sampled_from(["image", "set"]), length=st.one_of(st.none(), st.integers(1, 50)))
def test_a_batch_of_one_set_is_of_one_set(sizes: list[int], balance: str, length: int | None) -> None:
    mixed = MixedOrder(numbers(sizes), Mixing(balance, "one_set"), BATCH, length)
    places = mixed.order(np.random.default_rng(0), 0)
    assert len(places) == mixed.length and mixed.length % BATCH == 0
    batches = numbers(sizes)[places % sum(sizes)].reshape(-1, BATCH)
    assert (batches == batches[:, :1]).all()
    counts = [int((batches[:, 0] == number).sum()) for number in range(len(sizes))]
    if balance == "set":
        assert max(counts) - min(counts) <= 1
    elif length is None:
        assert counts == [math.ceil(size / BATCH) for size in sizes]
        assert set((places % sum(sizes)).tolist()) == set(range(sum(sizes)))


@settings(max_examples=60, deadline=None)
@given(
    sizes=SIZES, world=st.integers(1, 4), skip=st.integers(0, 4),
    mixing=st.sampled_from([Mixing("set"), Mixing("set", "one_set"), Mixing("image", "one_set")]),
)  # fmt: skip
def test_processes_share_the_order_and_go_on_within_it(sizes: list[int], world: int, skip: int, mixing: Mixing) -> None:
    mixed = MixedOrder(numbers(sizes), mixing, BATCH)

    def part(rank: int, world: int, **place: int) -> EpochKeyedSampler:
        return EpochKeyedSampler(sum(sizes), 1, BATCH, 2, rank=rank, world_size=world, mixed=mixed, **place)

    whole = [place for _, place in part(0, 1)]
    parts = [list(part(rank, world)) for rank in range(world)]
    assert {len(each) for each in parts} == {len(part(0, world))}
    units = [np.array([place for _, place in each]).reshape(-1, mixed.unit) for each in parts]
    dealt = np.stack(units, 1).ravel()  # one unit a process in turn
    assert dealt[: len(whole)].tolist() == whole
    assert set(dealt.tolist()) == set(whole)
    assert list(part(0, world, skip=skip)) == parts[0][skip * BATCH :]
    drawn = min(skip * BATCH * 2, len(whole))  # two processes drew so many: the others are dealt anew, each once
    rest = [place for rank in range(world) for _, place in part(rank, world, drawn=drawn)]
    assert set(rest) >= set(whole[drawn:]) and len(rest) - len(whole[drawn:]) < mixed.unit * world


def test_one_set_alone_in_mixed_batches_is_a_plain_epoch() -> None:
    mixed = MixedOrder(np.zeros(10, int), Mixing("image"), BATCH)
    assert sorted(EpochKeyedSampler(10, 0, BATCH, mixed=mixed)) == sorted(EpochKeyedSampler(10, 0, BATCH))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"balance": "sets"}, "data.mixing.balance: found 'sets', expected one of image, set"),
        ({"batches": "pure"}, "data.mixing.batches: found 'pure', expected one of mixed, one_set"),
    ],
)
def test_an_unknown_way_is_refused(options: dict[str, str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        Mixing(**options)  # type: ignore[arg-type]


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MixedOrder([], Mixing(), 1)
