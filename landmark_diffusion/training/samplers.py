"""Samplers that know their place in the run: training order keyed by (seed, epoch), and evaluation in dataset order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from landmark_diffusion.core.seeds import order_seed
from landmark_diffusion.training.mixing import MixedOrder


class EpochKeyedSampler(Sampler[tuple[int, int]]):
    """Training order as (epoch, index) pairs, a pure function of (seed, epoch).

    Each process takes every ``world_size``-th sample of one shuffled order (of several sets with batches of one set:
    every ``world_size``-th batch); the order is padded with its own beginning,
    so that all processes make equally many steps. Give the loader this sampler with ``batch_size`` and
    ``drop_last=False``.

    Args:
        n: samples in the training set.
        seed: the run's seed.
        batch_size: samples in a batch and process, for ``skip``.
        epoch: the epoch that the first iteration yields; Lightning moves it on by ``set_epoch``.
        skip: batches of that epoch which a resumed run has behind it.
        rank, world_size: this process and how many there are.
        length: samples of an epoch; None is n.
        drawn: samples of that epoch which all processes together have behind them, in place of ``skip`` where another
            number of processes drew them.
        mixed: the order of several sets, in place of that of n samples and ``length``.
        first: says how many of the samples, from the first on, an epoch draws from, when it begins; None takes all.

    Raises ValueError for an empty set.
    """

    def __init__(
        self, n: int, seed: int, batch_size: int, epoch: int = 0, skip: int = 0, rank: int = 0, world_size: int = 1,
        length: int | None = None, drawn: int | None = None, mixed: MixedOrder | None = None,
        first: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        if n < 1:
            raise ValueError(f"n: found {n}, expected at least one training sample")
        self.n, self.seed, self.batch_size = n, seed, batch_size
        self.rank, self.world_size = rank, world_size
        self.length = mixed.length if mixed is not None else n if length is None else length
        self.mixed, self.unit = mixed, 1 if mixed is None else mixed.unit
        self.first = first
        self.epoch, self.drawn = epoch, skip * batch_size * world_size if drawn is None else drawn

    def set_epoch(self, epoch: int) -> None:
        """Move to another epoch, which then starts at its beginning; the present one keeps its place.

        Lightning calls it before each epoch. With workers that is too late for the first one, whose batches are
        already being fetched: the constructor has to be told the right epoch (see ``resume_position``).
        """
        if epoch != self.epoch:
            self.epoch, self.drawn = epoch, 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = self._order(np.random.default_rng(order_seed(self.seed, self.epoch)))
        start = min(self.drawn, self.length)
        dealt = self.unit * self.world_size
        rest = math.ceil((self.length - start) / dealt) * dealt
        left = np.resize(order, start + rest)[start:].reshape(-1, self.unit)
        epoch = self.epoch
        return ((epoch, int(place)) for place in left[self.rank :: self.world_size].ravel())

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        """The epoch's places, those of all processes."""
        count = self.n if self.first is None else self.first()
        if self.mixed is not None and count == self.n:
            return self.mixed.order(rng, self.epoch)
        rounds = [repeat * self.n + rng.permutation(count) for repeat in range(math.ceil(self.length / count))]
        return np.concatenate(rounds)[: self.length]

    def __len__(self) -> int:
        """Samples of a whole epoch on this process: Lightning counts an epoch's batches with the skipped ones."""
        return math.ceil(self.length / (self.unit * self.world_size)) * self.unit


class EvalSampler(Sampler[int]):
    """Dataset order, dealt to the processes in turn and padded to equal counts with repeated indices.

    Metrics drop the repeats by their index, so that the result is exact; the padding keeps every process in step, also
    when there are fewer samples than processes (a process without any sample hangs or raises in Lightning).
    """

    def __init__(self, n: int, rank: int = 0, world_size: int = 1) -> None:
        if n < 1:
            raise ValueError(f"n: found {n}, expected at least one sample")
        self.n, self.rank, self.world_size = n, rank, world_size

    def __iter__(self) -> Iterator[int]:
        padded = np.resize(np.arange(self.n), len(self) * self.world_size)
        return iter(padded[self.rank :: self.world_size].tolist())

    def __len__(self) -> int:
        """Samples on each process, repeats included."""
        return math.ceil(self.n / self.world_size)
