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


def gather_objects(value: Any) -> list[Any]:
    """Give every process's value, in the order of the processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, value)
    return parts
