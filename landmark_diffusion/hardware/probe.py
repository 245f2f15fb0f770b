"""A step of a small network, timed: what tells this machine's threads and precisions apart."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch
from torch import nn

from landmark_diffusion.models.blocks import group_norm

Choice = TypeVar("Choice", bound=Hashable)
HOPELESS = 1.5
"""A choice this many times as slow as the fastest is not timed again."""


class Probe:
    """Forward and backward pass of two convolutions with normalisation, on maps as a small U-Net has them.

    Making it draws nothing from torch's generator.

    Args:
        channels: of the maps.
        size: (width, height) of the maps.
        batch: images.
    """

    def __init__(self, channels: int = 48, size: tuple[int, int] = (32, 40), batch: int = 4) -> None:
        with torch.random.fork_rng(devices=[]):
            first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.network = nn.Sequential(first, group_norm(channels, 8), nn.SiLU(), second)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images = torch.ones(batch, channels, size[1], size[0]).to(memory_format=torch.channels_last)

    def seconds(self, bf16: bool = False) -> float:
        """Make one step on the CPU, under bfloat16 autocast where asked, and return its seconds."""
        start = time.perf_counter()
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = self.network(self.images).sum()
        loss.backward()
        return time.perf_counter() - start


def in_turns(actions: Mapping[Choice, Callable[[], float]], budget: float, least: int = 3) -> dict[Choice, float]:
    """Time choices in turn, so that other loads hit all alike, and return the median seconds of each.

    ``actions`` give their own seconds. Each is called once before, for what is made at first use. Rounds go on for
    about ``budget`` seconds, at least ``least`` of them; a choice that is hopeless takes part no more.
    """
    for action in actions.values():
        action()
    began, rounds = time.perf_counter(), 1
    times = {choice: [action()] for choice, action in actions.items()}
    while rounds < least or time.perf_counter() - began < budget:
        best = {choice: min(each) for choice, each in times.items()}  # an interruption makes nothing hopeless
        for choice, action in actions.items():
            if best[choice] <= HOPELESS * min(best.values()):
                times[choice].append(action())
        rounds += 1
    return {choice: statistics.median(each) for choice, each in times.items()}
