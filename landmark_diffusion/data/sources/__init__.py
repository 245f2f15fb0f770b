"""Sources of labelled images by name: isbi2015, hand, chest, folder (one's own images and a table), phantom, pooled."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import Registry
from landmark_diffusion.core.suggestions import did_you_mean, nearest
from landmark_diffusion.data.source import UNITS, Finding, LandmarkDataset, Stage

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
        "pooled": "landmark_diffusion.data.sources.pooled:PooledDataset",
    },
)
"""What ``data.dataset`` knows by a short name; a class path of one's own does as well."""

__all__ = [
    "DATASETS",
    "Finding",
    "LandmarkDataset",
    "Stage",
    "build_dataset",
    "dataset_options",
    "said_of",
    "takes_root",
]


def build_dataset(name: str, root: str | Path | None = None, **options: Any) -> LandmarkDataset:
    """Build a dataset by its name in configs, or by its class path.

    ``root`` is the folder with its files; the phantom, which has none, ignores it. ``options`` are the class's own.
    Raises UserError that names the nearest known dataset or option, DataError on a missing root.
    """
    cls = DATASETS.load(name)
    known = inspect.signature(cls).parameters
    for option in options:
        if option not in known and not _open_ended(cls):
            names = [parameter for parameter in known if parameter != "root"]
            hint = did_you_mean(option, nearest(option, names, 1) or names)
            raise UserError(f"data.dataset_options: the dataset {name} has no option {option!r}.{hint}")
    rooted = {"root": root} if "root" in known or (_open_ended(cls) and root is not None) else {}
    built: LandmarkDataset = cls(**rooted, **options)
    _check_declared(built, name)
    return built


def dataset_options(name: str) -> set[str]:
    """Names of a dataset's own options; empty for one that is not known or takes any."""
    try:
        cls = DATASETS.load(name)
    except UserError:
        return set()
    return set() if _open_ended(cls) else set(inspect.signature(cls).parameters) - {"root"}


def takes_root(name: str) -> bool:
    """Tell whether a dataset lies in a folder (``data.root``); true for one that is not known."""
    try:
        cls = DATASETS.load(name)
    except UserError:
        return True
    return "root" in inspect.signature(cls).parameters or _open_ended(cls)


def said_of(name: str) -> type[LandmarkDataset]:
    """Give the class of a dataset for what it says of itself; for one that cannot be loaded, what is true of any."""
    try:
        return DATASETS.load(name)
    except UserError:
        return LandmarkDataset


def _open_ended(cls: type[LandmarkDataset]) -> bool:
    kinds = [each.kind for each in inspect.signature(cls).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _check_declared(dataset: LandmarkDataset, name: str) -> None:
    """Refuse a dataset that does not say what every one has to say."""
    for attribute in ("name", "landmark_names", "annotator_names", "radii", "unit"):
        if not hasattr(dataset, attribute):
            raise UserError(f"data.dataset: {name} does not say its {attribute}, as every LandmarkDataset has to")
    if dataset.unit not in UNITS:
        raise UserError(f"data.dataset: found the unit {dataset.unit!r} of {name}, expected one of {', '.join(UNITS)}")
