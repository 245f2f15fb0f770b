"""One loop for both: in a graph it is one of ONNX's, in torch a loop of Python."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch._higher_order_ops.scan import scan

Tensors = tuple[torch.Tensor, ...]


def loop(step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]], state: Tensors, rows: Tensors) -> Tensors:
    """Go through ``rows`` (K, ...) each: ``step`` takes the state and a row of each and gives both anew.

    Returns what the steps gave, (K, ...) each. A step holds no loop and no tensor made of numbers: that is lost.
    """
    if torch.compiler.is_exporting():
        found: Tensors = tuple(scan(step, state, rows)[1])
        return found
    told = []
    for row in zip(*(each.unbind() for each in rows), strict=True):
        state, given = step(state, row)
        told.append(given)
    return tuple(torch.stack(each) for each in zip(*told, strict=True))
