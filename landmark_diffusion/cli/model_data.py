"""Which images a verb takes that works on a model file: those of the file's data set, unless options say others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.data_verbs import OF_ONE_DATASET, config_section

if TYPE_CHECKING:
    from landmark_diffusion.modelfile.facts import ModelFacts


def model_data_section(facts: ModelFacts, configs: Sequence[str] = (), **given: Any) -> dict[str, Any]:
    """Options of the data module: the configs' over those in the model file, and ``given`` (unless None) over both.

    What the file says of its own data set is left out where another one is named; the network's size stays.
    """
    asked = config_section(list(configs)) | {name: value for name, value in given.items() if value is not None}
    known = facts.data
    if asked.get("dataset", known.get("dataset")) != known.get("dataset"):
        known = {name: value for name, value in known.items() if name not in OF_ONE_DATASET}
    section = {**known, **asked}
    names = ("dataset", "root", *OF_ONE_DATASET)
    return {name: section[name] for name in names if section.get(name) is not None} | {
        "size": facts.data["size"], "resize": facts.data.get("resize") or "stretch"
    }  # fmt: skip


def where_from(section: dict[str, Any]) -> str:
    """Name the data set and its split."""
    return " ".join(str(section[key]) for key in ("dataset", "split") if key in section)
