"""Samplers: every sample once, on any number of processes, and from any place on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_diffusion.training.samplers import EpochKeyedSampler, EvalSampler


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), world=st.integers(1, 5), epoch=st.integers(0, 50), seed=st.integers(0, 2**32))
def test_processes_share_the_samples_and_take_equally_many(n: int, world: int, epoch: int, seed: int) -> None:
    parts = [list(EpochKeyedSampler(n, seed, 4, epoch, rank=rank, world_size=world)) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-n // world)}
    assert {index for part in parts for _, index in part} == set(range(n))
    assert {e for part in parts for e, _ in part} == {epoch}
    if world == 1:
        assert len({index for _, index in parts[0]}) == n


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), batch=st.integers(1, 9), skip=st.integers(0, 10))
def test_skipping_leaves_the_rest_of_the_same_order(n: int, batch: int, skip: int) -> None:
    whole = list(EpochKeyedSampler(n, 1, batch, 3))
    rest = EpochKeyedSampler(n, 1, batch, 3, skip=skip)
    assert list(rest) == whole[skip * batch :]
    assert len(rest) == n  # Lightning counts an epoch's batches by it


def test_orders_differ_between_epochs_and_seeds() -> None:
    def order(epoch: int, seed: int) -> list[int]:
        return [index for _, index in EpochKeyedSampler(100, seed, 4, epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0) != order(1, 1)
    assert order(0, 0) != list(range(100))


def test_set_epoch_keeps_the_place_in_the_resumed_epoch_and_clears_it_for_the_next() -> None:
    sampler = EpochKeyedSampler(10, 0, 2, epoch=4, skip=3)
    sampler.set_epoch(4)
    assert len(list(sampler)) == 4
    sampler.set_epoch(5)
    assert list(sampler) == list(EpochKeyedSampler(10, 0, 2, epoch=5))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), world=st.integers(1, 9))
def test_evaluation_covers_each_sample_in_dataset_order(n: int, world: int) -> None:
    parts = [list(EvalSampler(n, rank, world)) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-n // world)}  # also with fewer samples than processes
    dealt = [index for row in zip(*parts, strict=True) for index in row]
    assert dealt[:n] == list(range(n))
    assert set(dealt) == set(range(n))


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EpochKeyedSampler(0, 0, 1)
    with pytest.raises(ValueError, match="at least one"):
        EvalSampler(0)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 20), length=st.integers(1, 90), world=st.integers(1, 3), skip=st.integers(0, 5))
def test_an_epoch_of_any_length_takes_the_samples_in_turn(n: int, length: int, world: int, skip: int) -> None:
    def part(rank: int, skip: int = 0) -> EpochKeyedSampler:
        return EpochKeyedSampler(n, 1, 4, 2, skip, rank, world, length)

    parts = [list(part(rank)) for rank in range(world)]
    dealt = [place for row in zip(*parts, strict=True) for _, place in row][:length]
    assert len(dealt) == length == len(set(dealt))  # each repetition is a place of its own, so augmented anew
    for start in range(0, length - n + 1, n):
        assert {place % n for place in dealt[start : start + n]} == set(range(n))
    assert list(part(0, skip)) == list(part(0))[skip * 4 :]
    if length == n:
        assert dealt == [place for _, place in EpochKeyedSampler(n, 1, 4, 2)]
