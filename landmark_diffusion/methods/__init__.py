"""The LightningModules: one a method, on a shared base."""

from __future__ import annotations

import importlib
import pkgutil


def import_methods() -> None:
    """Import every method, so that each is known by its short class name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
