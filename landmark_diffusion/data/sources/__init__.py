"""Sources of labelled images by name: isbi2015, hand, chest, folder (one's own images and a table) and phantom."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import Registry
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.data.source import Finding, LandmarkDataset, Stage

DATASETS = Registry(
    what="dataset",
    option="data.dataset",
    group="landmark_diffusion.datasets",
    base="landmark_diffusion.data.source:LandmarkDataset",
    built_in={
        "isbi2015": "landmark_diffusion.data.sources.isbi2015:Isbi2015Dataset",
        "hand": "landmark_diffusion.data.sources.hand:HandDataset",
        "chest": "landmark_diffusion.data.sources.chest:ChestDataset",
        "folder": "landmark_diffusion.data.sources.folder.source:FolderDataset",
        "phantom": "landmark_diffusion.data.sources.phantom:PhantomDataset",
    },
)
"""What ``data.dataset`` knows by a short name; a class path of one's own does as well."""

__all__ = ["DATASETS", "Finding", "LandmarkDataset", "Stage", "build_dataset", "dataset_options"]


def build_dataset(name: str, root: str | Path | None = None, **options: Any) -> LandmarkDataset:
    """Build a dataset by its name in configs, or by its class path.

    ``root`` is the folder with its files; the phantom, which has none, ignores it. ``options`` are the class's own.
    Raises UserError that names the nearest known dataset or option, DataError on a missing root.
    """
    cls = DATASETS.load(name)
    known = inspect.signature(cls).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    for option in options:
        if option not in known and not open_ended:
            hint = did_you_mean(option, [parameter for parameter in known if parameter != "root"])
            raise UserError(f"data.dataset_options: the dataset {name} has no option {option!r}.{hint}")
    built: LandmarkDataset = cls(root, **options) if "root" in known else cls(**options)
    return built


def dataset_options(name: str) -> set[str]:
    """Names of a dataset's own options; empty for one that is not known."""
    try:
        return set(inspect.signature(DATASETS.load(name)).parameters) - {"root"}
    except UserError:
        return set()
