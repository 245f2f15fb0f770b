"""How many threads torch computes with on a CPU: its own default, or what a short trial shows for small networks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from landmark_diffusion.hardware.probe import Probe, in_turns

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""A user who sets one of them has chosen the number."""
BUDGET = 0.6
"""Seconds of the trial."""
WORTH = 1.05
"""More threads have to be this many times as fast as fewer: otherwise the cores are left to others."""
SMALL = 96 * 120 * 16
"""Pixels of a batch of network images up to which a trial is made; larger ones keep all cores busy (measured)."""


def set_by_user(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the number of threads where the environment says one, else None."""
    if any(environment.get(name) for name in VARIABLES):
        return torch.get_num_threads()
    return None


def candidates(most: int) -> list[int]:
    """Return the numbers of threads worth a trial: powers of two, and ``most``."""
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def fastest(seconds: Mapping[int, float]) -> int:
    """Return the smallest number of threads that is as fast as any, within ``WORTH``."""
    return min(number for number, each in seconds.items() if each <= WORTH * min(seconds.values()))


def try_threads(bf16: bool = False, budget: float = BUDGET) -> dict[int, float]:
    """Time a small network's step with each number of threads, {threads: seconds}, under the load of this moment."""
    probe, before = Probe(), torch.get_num_threads()

    def step(number: int) -> float:
        torch.set_num_threads(number)
        return probe.seconds(bf16)

    try:
        actions = {number: (lambda number=number: step(number)) for number in candidates(before)}
        return in_turns(actions, budget)
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch compute with ``number`` threads within the block; None: as it is."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batch_pixels(data: Mapping[str, Any], factor: int = 1) -> int:
    """Pixels of a batch at the network's size, from the options of the data; ``factor`` is the first network's own."""
    size: tuple[int, int] = data["size"]
    return int(data.get("batch_size") or 1) * (size[0] // factor) * (size[1] // factor)
