"""Which images that a grid trains on or measures a start has seen: a model file says what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.source import LandmarkDataset
from landmark_diffusion.modelfile.model_file import is_model_file, read_facts


def seen_by_start(
    path: str | None, dataset: str, build: Callable[[str | None], LandmarkDataset], parts: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Count the images of each part ({part: ids}) that a start has learned; parts of which it has seen none are absent.

    ``build`` gives the data set for a split (None: its own default). A checkpoint, and a model file of another data
    set, say nothing. Raises UserError for a damaged model file.
    """
    if path is None or not is_model_file(path):
        return {}
    known: set[str] = set()
    for split in read_facts(Path(path)).trained_splits(dataset):
        try:
            known |= {sample.image_id for sample in build(split).samples("train")}
        except UserError:
            continue  # a split that this copy of the data does not allow
    counts = {part: len(known & set(ids)) for part, ids in parts.items()}
    return {part: count for part, count in counts.items() if count}


def seen_in_words(start: Mapping[str, Any], parts: Mapping[str, int], measured: Sequence[str]) -> str:
    """Say of a start of the manifest which of the ``measured`` parts it has learned; "" for none."""
    seen = start.get("seen") or {}
    return ", ".join(f"{seen[part]} of {parts[part]} {part} images" for part in measured if part in seen)
