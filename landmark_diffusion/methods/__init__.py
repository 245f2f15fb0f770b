"""The LightningModules: one a method, on a shared base."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any


def import_methods() -> None:
    """Import every method, so that each is known by its short class name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def subclasses(base: Any) -> Iterator[type[Any]]:
    """Yield every imported subclass of ``base`` that can be built."""
    for cls in base.__subclasses__():
        if not getattr(cls, "__abstractmethods__", None):
            yield cls
        yield from subclasses(cls)
