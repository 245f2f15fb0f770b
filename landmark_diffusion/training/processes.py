"""The processes of a run: which of them live, and what they tell each other."""

from __future__ import annotations

import os
from typing import Any

import torch


def is_running(pid: int) -> bool:
    """Tell whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs as somebody else
        return True
    return True


def is_distributed() -> bool:
    """Tell whether this process is one of several of a run, which can talk to each other."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def first_place(count: int) -> int:
    """Place of this process's first value among all that ``gather_tensors`` joins, ``count`` of each process."""
    return torch.distributed.get_rank() * count if is_distributed() else 0


def gather_tensors(values: torch.Tensor, gradients: bool = False) -> torch.Tensor:
    """Join every process's values (B, ...), as many of each, in the order of the processes: (P B, ...).

    With ``gradients`` those of every process's loss come back to whose values they are, summed.
    """
    if not is_distributed():
        return values
    if gradients:
        from torch.distributed.nn.functional import all_gather

        return torch.cat(list(all_gather(values.contiguous())))
    parts = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def gather_objects(value: Any) -> list[Any]:
    """Give every process's value, in the order of the processes."""
    if not is_distributed():
        return [value]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, value)
    return parts
