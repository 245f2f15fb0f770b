"""Classes found by what they derive from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def subclasses(base: Any) -> Iterator[type[Any]]:
    """Yield every imported subclass of ``base`` that can be built."""
    for cls in base.__subclasses__():
        if not getattr(cls, "__abstractmethods__", None):
            yield cls
        yield from subclasses(cls)
