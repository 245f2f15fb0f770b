"""How often the sets of a pooled data set come, and in which order: a pure function of (seed, epoch)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from landmark_diffusion.core.errors import check_choice

Balance = Literal["image", "set"]
Batches = Literal["mixed", "one_set"]


@dataclass(frozen=True)
class Mixing:
    """How the sets of a pooled data set are mixed.

    Args:
        balance: "image": each image comes as often as any other; "set": each set comes as often as any other.
        batches: "mixed", or "one_set": the images of a batch are of one set.

    Raises UserError for values that are not known.
    """

    balance: Balance = "image"
    batches: Batches = "mixed"

    def __post_init__(self) -> None:
        check_choice("data.mixing.balance", self.balance, get_args(Balance))
        check_choice("data.mixing.batches", self.batches, get_args(Batches))


class MixedOrder:
    """The order of an epoch over several sets: their shares are exact, and an epoch of few images repeats them.

    With balance "set" the counts of two sets differ by at most one in an epoch (with batches "one_set": by one batch),
    and over as many epochs as there are sets by none. A repetition of an image is a place of its own
    (n further on, as in EpochKeyedSampler), so that it is augmented anew.

    Args:
        sets: (n,) number of each sample's set.
        mixing: the options.
        batch_size: samples of a batch.
        length: samples of an epoch; None takes n. With batches "one_set" it is filled up to whole batches, for
            balance "image" without a length those of each set.

    Raises ValueError for no samples.
    """

    def __init__(self, sets: Sequence[int] | np.ndarray, mixing: Mixing, batch_size: int, length: int | None = None):
        numbers = np.asarray(sets)
        if not len(numbers):
            raise ValueError("sets: found none, expected at least one training sample")
        self.n = len(numbers)
        self.members = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
        self.mixing = mixing
        self.unit = batch_size if mixing.batches == "one_set" else 1
        """Samples that stay together: they are dealt to one process, one after another."""
        by_image = mixing.balance == "image"
        self._whole = [math.ceil(len(each) / self.unit) for each in self.members] if by_image and not length else None
        units = sum(self._whole) if self._whole else math.ceil((length or self.n) / self.unit)
        self.length = units * self.unit
        """Samples of an epoch."""

    def order(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        """Give the places (length,) of an epoch; place p is sample p modulo n."""
        shares = self._shares(epoch)
        drawn = [
            _draw(rng, members, share * self.unit, self.n).reshape(share, self.unit)
            for members, share in zip(self.members, shares, strict=True)
        ]
        if self.mixing.balance == "image":
            places: np.ndarray = rng.permutation(np.concatenate(drawn))
            return places.ravel()
        rounds = [[each[turn] for each in drawn if turn < len(each)] for turn in range(max(shares))]
        return np.concatenate([rng.permutation(np.stack(turn)) for turn in rounds]).ravel()

    def _shares(self, epoch: int) -> list[int]:
        """How many units each set has of an epoch; what is left over goes round the sets with the epochs."""
        if self._whole:
            return self._whole
        units, count = self.length // self.unit, len(self.members)
        weights = [1] * count if self.mixing.balance == "set" else [len(each) for each in self.members]
        shares = [units * weight // sum(weights) for weight in weights]
        left = units - sum(shares)
        for i in range(left):
            shares[(epoch * left + i) % count] += 1
        return shares


def _draw(rng: np.random.Generator, members: np.ndarray, count: int, n: int) -> np.ndarray:
    """``count`` places of a set, each image once before any comes again."""
    rounds = [repeat * n + rng.permutation(members) for repeat in range(math.ceil(count / len(members)))]
    return np.concatenate([np.empty(0, int), *rounds])[:count]
