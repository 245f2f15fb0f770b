"""Datasets by name: isbi2015, hand, chest, folder (one's own images and a CSV) and phantom (made on the spot)."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.base import Finding, LandmarkDataset, Stage

DATASETS: dict[str, str] = {
    "isbi2015": "landmark_diffusion.data.sources.isbi2015:Isbi2015Dataset",
    "hand": "landmark_diffusion.data.sources.hand:HandDataset",
    "chest": "landmark_diffusion.data.sources.chest:ChestDataset",
    "folder": "landmark_diffusion.data.sources.folder.source:FolderDataset",
    "phantom": "landmark_diffusion.data.sources.phantom:PhantomDataset",
}
"""Names in configs, and the class behind each as ``module:class``: imported when it is asked for."""

__all__ = ["DATASETS", "Finding", "LandmarkDataset", "Stage", "build_dataset"]


def build_dataset(name: str, root: str | Path | None = None, **options: Any) -> LandmarkDataset:
    """Build a dataset by its name in configs.

    ``root`` is the folder with its files; the phantom, which has none, ignores it. ``options`` are the class's own.
    Raises UserError that names the nearest known dataset or option, DataError on a missing root.
    """
    if name not in DATASETS:
        raise UserError(f"data.dataset: unknown dataset {name!r}.{_suggest(name, DATASETS)}")
    module, class_name = DATASETS[name].split(":")
    cls = getattr(import_module(module), class_name)
    known = inspect.signature(cls).parameters
    for option in options:
        if option not in known:
            raise UserError(
                f"data.dataset_options: the dataset {name} has no option {option!r}."
                f"{_suggest(option, [parameter for parameter in known if parameter != 'root'])}"
            )
    return cls(root, **options) if "root" in known else cls(**options)


def _suggest(name: str, known: Any) -> str:
    close = get_close_matches(str(name).lower(), known, n=1)
    return (f" Did you mean {close[0]}?" if close else "") + f" Known: {', '.join(known)}."
