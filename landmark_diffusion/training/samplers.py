"""Samplers that know their place in the run: training order keyed by (seed, epoch), and evaluation in dataset order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Sampler

from landmark_diffusion.core.seeds import order_seed

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class EpochKeyedSampler(Sampler[tuple[int, int]]):
    """Training order as (epoch, index) pairs, a pure function of (seed, epoch).

    Each process takes every ``world_size``-th sample of one shuffled order; the order is padded with its own beginning,
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

    Raises ValueError for an empty set.
    """

    def __init__(
        self, n: int, seed: int, batch_size: int, epoch: int = 0, skip: int = 0, rank: int = 0, world_size: int = 1,
        length: int | None = None, drawn: int | None = None,
    ) -> None:  # fmt: skip
        if n < 1:
            raise ValueError(f"n: found {n}, expected at least one training sample")
        self.n, self.seed, self.batch_size = n, seed, batch_size
        self.rank, self.world_size = rank, world_size
        self.length = n if length is None else length
        self.epoch, self.drawn = epoch, skip * batch_size * world_size if drawn is None else drawn

    def set_epoch(self, epoch: int) -> None:
        """Move to another epoch, which then starts at its beginning; the present one keeps its place.

        Lightning calls it before each epoch. With workers that is too late for the first one, whose batches are
        already being fetched: the constructor has to be told the right epoch (see ``resume_position``).
        """
        if epoch != self.epoch:
            self.epoch, self.drawn = epoch, 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng(order_seed(self.seed, self.epoch))
        rounds = [repeat * self.n + rng.permutation(self.n) for repeat in range(math.ceil(self.length / self.n))]
        order = np.concatenate(rounds)[: self.length]
        start = min(self.drawn, self.length)
        rest = math.ceil((self.length - start) / self.world_size) * self.world_size
        mine = np.resize(order, start + rest)[start + self.rank :: self.world_size]
        epoch = self.epoch
        return ((epoch, int(index)) for index in mine)

    def __len__(self) -> int:
        """Samples of a whole epoch on this process: Lightning counts an epoch's batches with the skipped ones."""
        return math.ceil(self.length / self.world_size)


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


def resume_position(trainer: Trainer) -> tuple[int, int]:
    """Return (epoch, batches of it already done) where training goes on; (0, 0) for a fresh run.

    Call it in ``train_dataloader()``. With workers the first batches are fetched as soon as the loader is made, before
    Lightning calls ``set_epoch``, and an optimiser that asks for ``trainer.estimated_stepping_batches`` has the loader
    made even before Lightning restores its progress: hence the look into the checkpoint that is being loaded.
    """
    loading = trainer._checkpoint_connector._loaded_checkpoint.get("loops")
    loop = loading["fit_loop"] if loading else trainer.fit_loop.state_dict()
    epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
    epoch = int(epochs["processed"])
    if epochs["ready"] == epoch:  # no epoch has begun, or the one that did was counted already
        return epoch, 0
    if batches["is_last_batch"]:
        return epoch + 1, 0
    return epoch, int(batches["current"]["ready"])


def move_to_other_processes(
    checkpoint: dict[str, Any], length: int, drawn: int, batch_size: int, world_size: int
) -> None:
    """Change the place in the epoch at which a checkpoint goes on to that of another number of processes, in place.

    Lightning counts batches, and an epoch has another number of them now. The count is set so that the epoch ends when
    the ``length - drawn`` samples are used that are left of it.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    left = 0 if progress["is_last_batch"] else batches(length - drawn, batch_size, world_size)
    moved = batches(length, batch_size, world_size) - left - progress["current"]["ready"]
    progress["current"] = {name: count + moved for name, count in progress["current"].items()}


def batches(samples: int, batch_size: int, world_size: int) -> int:
    """Batches that each process takes of samples dealt to all in turn."""
    return math.ceil(math.ceil(samples / world_size) / batch_size)
