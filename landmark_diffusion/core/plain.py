"""Values as JSON knows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Turn numpy and torch values, tuples, paths and non-finite floats into what JSON knows; keys become texts."""
    if isinstance(value, Mapping):
        return {f"{key:g}" if isinstance(key, float) else str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray) or hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
