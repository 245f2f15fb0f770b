"""Several data sets as a config describes them: a list of ``dataset: NAME`` with the options of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.data.source import LandmarkDataset

OPTIONS = ("dataset", "root", "name", "split", "dataset_options")
"""What may be said of a set."""
_NAME = re.compile(r"[\w-]+")


def build_sets(
    sets: Sequence[Mapping[str, Any]], root: str | Path | None, where: str, labels: bool
) -> dict[str, LandmarkDataset]:
    """Build each set that a config describes, by its name.

    Args:
        sets: for each ``dataset``, and where it needs them ``root``, ``split``, ``dataset_options`` and ``name``.
        root: the folder that relative roots lie in; None is the current folder.
        where: the option that lists them, for messages.
        labels: whether their annotations are read.

    Raises UserError for a set that cannot be understood or a name that comes twice, what the set raises otherwise.
    """
    if isinstance(sets, (str, Mapping)) or len(sets) < 1:
        raise UserError(
            f"{where}: found {sets!r:.60}, expected a list of at least one set, such as "
            "[{dataset: isbi2015, root: isbi2015}, {dataset: hand, root: hand}]"
        )
    built: dict[str, LandmarkDataset] = {}
    for place, described in enumerate(sets):
        name, each = _build(described, root, f"{where}[{place}]", labels)
        if name in built:
            raise UserError(f"{where}[{place}]: found a second set called {name!r}; give it another `name`")
        built[name] = each
    return built


def _build(described: Any, root: str | Path | None, where: str, labels: bool) -> tuple[str, LandmarkDataset]:
    """Build one set from what a config says of it, under its name; its own errors say which set it is."""
    from landmark_diffusion.data.sources import DATASETS, build_dataset, takes_root

    if not isinstance(described, Mapping) or not isinstance(described.get("dataset"), str):
        raise UserError(f"{where}: found {described!r:.60}, expected `dataset: NAME` with the set's options")
    for option in described:
        if option not in OPTIONS:
            raise UserError(f"{where}: unknown option {option!r:.60}.{did_you_mean(str(option), OPTIONS)}")
    dataset = described["dataset"]
    name = str(described.get("name") or dataset.rpartition(".")[2])
    if not _NAME.fullmatch(name):
        raise UserError(f"{where}.name: found {name!r:.60}, expected letters, digits, _ and -: folders are called so")
    options = dict(described.get("dataset_options") or {})
    if described.get("split") is not None:
        options["split"] = described["split"]
    own_root = described.get("root")
    place = Path(root or ".").expanduser() / Path(own_root or ".").expanduser()
    try:
        DATASETS.load(dataset)
        if own_root is None and root is None and takes_root(dataset):
            raise UserError("its `root` is missing: say where its images lie")
        return name, build_dataset(dataset, place, labels=labels, **options)
    except DataError as error:
        if place.is_dir():
            raise  # it names the file
        raise UserError(
            f"{where} ({name}).root: found no folder {place}; mend it, or data.root, where sets lie"
        ) from error
    except UserError as error:
        raise UserError(f"{where} ({name}): {error}") from error
