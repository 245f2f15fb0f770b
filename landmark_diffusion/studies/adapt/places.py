"""Where a stopped adaptation lies, and by what it knows its start. Needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from landmark_diffusion.modelfile.model_file import file_of

TRAININGS = Path("runs", "adapt")
"""Where the trainings of a model file lie until it is written, in a folder of its name."""


def trainings_of(target: Path) -> Path:
    """The folder of the trainings of a model file."""
    return TRAININGS / target.stem


def start_digest(start: Path) -> str:
    """What the manifest of an adaptation knows its start by, a model file or a hub folder."""
    return hashlib.sha256(file_of(start).read_bytes()).hexdigest()
