"""JSON files of our own: written whole or not at all, and read with one clear line on one that is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import atomic_write_text

Read = TypeVar("Read")


def write_json(path: str | Path, content: Any, **style: Any) -> None:
    """Write plain values as JSON with a line end; ``style`` is that of ``json.dumps``."""
    atomic_write_text(path, json.dumps(content, **style) + "\n")


def read_json(path: str | Path, convert: Callable[[Any], Read], fault: str, cure: str) -> Read:
    """Read a file and give what ``convert`` makes of its values.

    Raises DataError with ``fault``, the cause and ``cure`` where the file is no JSON or ``convert`` cannot use it,
    FileNotFoundError where there is none.
    """
    text = Path(path).read_bytes()
    try:
        return convert(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{fault} ({error}); {cure}", path) from error
