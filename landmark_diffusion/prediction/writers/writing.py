"""What the writers share: words for a place that cannot be written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landmark_diffusion.errors import UserError


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Raise UserError naming ``path`` where the block cannot write it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: the file cannot be written ({error.strerror or error})") from error
