"""Is the network that a file's options ask for as small as the weights beside them? Asked before memory is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import dotted

MARGIN = 1_000_000
"""Values that building may take beside the weights, for the tables of a schedule or of a window: 4 MB."""
FACTOR = 4
"""Times that a weight is counted: as it is made, as it becomes a parameter, and as its layout is changed."""


LARGEST = 10_000_000
"""Whole number among the options: a network plans its layers as a list before it makes the first."""


def check_network_size(
    network: Callable[..., object], options: Mapping[str, Any], held: int, where: str | Path
) -> None:
    """Build a network without memory (torch's meta device) and refuse one much larger than the ``held`` weights.

    A file of some kB can ask for a network of terabytes. What else is wrong with the options is left to who builds it
    in earnest. Raises UserError naming ``where``; stops as soon as there is too much, so a million layers take no time.
    """
    for name, value in dotted(options).items():
        if any(type(each) is int and abs(each) > LARGEST for each in (value if isinstance(value, list) else [value])):
            raise UserError(f"{where}: found {value!r:.60} as its option {name}, expected at most {LARGEST}")
    try:
        with torch.device("meta"), _Counting(FACTOR * held + MARGIN):
            network(**options)
    except _TooMuch as error:
        raise UserError(
            f"{where}: its options ask for a network of more than {error.most} values, but it holds at most {held}: "
            "refused before memory was taken for it. No export writes such a file; ask the one whom it is from"
        ) from None
    except Exception:
        return


def stored_values(weights: Mapping[str, Any]) -> int:
    """Count the values that weights take in memory: a tensor may be stretched over fewer than its shape says."""
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() // value.element_size()
        for value in weights.values()
        if isinstance(value, torch.Tensor)
    }
    return sum(storages.values())


class _TooMuch(Exception):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most


class _Counting(TorchDispatchMode):
    """Count the values of all tensors that are made, and stop at ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's has no types
        self.most, self.count = most, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would load its compiler, for a second or two, so that it leaves this alone."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not any(result is each for each in args):
            self.count += result.numel()
        if self.count > self.most:
            raise _TooMuch(self.most)
        return result
