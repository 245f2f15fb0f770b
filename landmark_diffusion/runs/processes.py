"""What the processes of one run tell each other."""

from __future__ import annotations

from typing import Any

import torch


def gather_objects(value: Any) -> list[Any]:
    """Give every process's value, in the order of the processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, value)
    return parts
