"""The methods that find landmarks, as plain networks: what prediction needs. ``methods`` trains them with Lightning."""

from __future__ import annotations

import importlib
import pkgutil


def import_finders() -> None:
    """Import every finder, so that each is known by its name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
