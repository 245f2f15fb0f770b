"""Examples of several data sets behind one another, each with its own landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from landmark_diffusion.core.seeds import sample_seed
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset


class JoinedTorchDataset(Dataset[dict[str, Any]]):
    """The training examples of several sets, asked for by (epoch, index) as in LandmarkTorchDataset.

    ``set`` of an example is the place of its set, whose landmarks its points are: examples of two sets do not go into
    one batch. ``index`` is that within its set.
    """

    def __init__(self, parts: Sequence[LandmarkTorchDataset]) -> None:
        self.parts = tuple(parts)
        self.sets = np.repeat(np.arange(len(parts), dtype=np.int16), [len(part) for part in parts])
        self._begins = [0, *accumulate(len(part) for part in parts)]

    def __len__(self) -> int:
        return self._begins[-1]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, place = key
        index = place % len(self)
        number = int(self.sets[index])
        part = self.parts[number]
        rng = np.random.default_rng(sample_seed(part.seed, epoch, place))
        return {**part.example(index - self._begins[number], rng), "set": number}
