"""A model as a folder for a model hub: weights, config, a card with metadata, an example. Nothing is uploaded."""

from __future__ import annotations

import math
import os
import shutil
import uuid
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_bytes, writing
from landmark_diffusion.export.card import model_card
from landmark_diffusion.modelfile.facts import ModelFacts, facts_from_json
from landmark_diffusion.modelfile.hub_folder import ATTRIBUTES, CARD, CONFIG, EXAMPLE, WEIGHTS, config_text
from landmark_diffusion.modelfile.model_file import model_content

LICENSE_NAME = "terms-of-the-training-data"
"""Hubs ask for a licence by name; the weights' terms are those of the data, and stand in the card."""

_SCORES = {"mre": "Mean radial error", "median": "Median radial error"}


def write_hub_folder(folder: Path, facts: ModelFacts, weights: Mapping[str, Any], overwrite: bool = False) -> list[str]:
    """Write a model as a folder, whole or not at all; returns the names of its files.

    A folder that is there and not empty is refused (UserError) unless ``overwrite``, which replaces these files alone.
    Raises UserError as ``write_model_file``.
    """
    check_folder(folder, overwrite)
    facts, content = model_content(facts, weights)
    facts = facts_from_json(facts.to_json(), folder)
    texts = {
        CONFIG: config_text(facts),
        CARD: hub_card(facts, folder.resolve().name),
        EXAMPLE: files(__package__).joinpath("hub_example.py.template").read_text("utf-8"),
        ATTRIBUTES: "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    }
    made = {WEIGHTS: content, **{name: text.encode("utf-8") for name, text in texts.items()}}
    if folder.is_dir() and any(folder.iterdir()):
        for name, data in made.items():
            atomic_write_bytes(folder / name, data)
        return list(made)
    _write_new(folder, made)
    return list(made)


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse (UserError) a folder that is there and not empty, and a file of that name."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--hub {folder}: found a file, expected the name of a folder to make")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UserError(
            f"--hub {folder}: the folder is not empty and was left as it is; name another one, or give --overwrite "
            f"(which replaces {', '.join((WEIGHTS, CONFIG, CARD, EXAMPLE))} alone)"
        )


def hub_card(facts: ModelFacts, name: str) -> str:
    """Write README.md: metadata for hubs, and the card of the model."""
    metadata = yaml.safe_dump(card_metadata(facts, name), sort_keys=False, allow_unicode=True, width=110)
    use = (
        f"    ldx detect IMAGES --model {name}\n\nIn Python: `python {EXAMPLE} IMAGE`. The package is "
        "`landmark_diffusion`; nothing in this folder is run when the model is read."
    )
    return f"---\n{metadata}---\n\n{model_card(facts, name, use)}"


def card_metadata(facts: ModelFacts, name: str) -> dict[str, Any]:
    """What a hub lists of the model: terms, task, tags, and the figures that were measured, none where none were."""
    diffusion = ["diffusion"] if "Diffusion" in facts.class_path else []
    found: dict[str, Any] = {
        "license": "other",
        "license_name": LICENSE_NAME,
        "library_name": "landmark_diffusion",
        "pipeline_tag": "keypoint-detection",
        "tags": ["landmark-detection", "radiograph", "x-ray", "medical-imaging", *diffusion],
    }
    results = _results(facts)
    return found | ({"model-index": [{"name": name, "results": results}]} if results else {})


def _results(facts: ModelFacts) -> list[dict[str, Any]]:
    """The main row of the figures, as hubs have them."""
    measured = facts.measured
    if measured is None:
        return []
    main = measured.get("main")
    rows = [row for row in measured["table"] if row["label"] == main] or measured["table"][:1]
    if not rows:
        return []
    row, unit = rows[0], measured["unit"]
    metrics = [
        _metric(f"{key}_{unit}", f"{words}, {unit}", row.get(key)) for key, words in _SCORES.items()
    ] + [
        _metric(f"sdr_{radius}_{unit}", f"Success detection rate within {radius} {unit}, %", value)
        for radius, value in row["sdr"].items()
    ]  # fmt: skip
    known = [each for each in metrics if each is not None]
    part = {"test": "test", "validate": "validation"}.get(str(measured.get("verb")))
    where = " ".join(str(facts.data[key]) for key in ("dataset", "split") if facts.data.get(key))
    dataset = {"name": where, "type": str(facts.data.get("dataset", "unknown")), **({"split": part} if part else {})}
    task = {"type": "keypoint-detection", "name": "Anatomical landmark detection"}
    return [{"task": task, "dataset": dataset, "metrics": known}] if known else []


def _metric(kind: str, name: str, value: Any) -> dict[str, Any] | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return {"type": kind, "name": name, "value": round(float(value), 4)}


def _write_new(folder: Path, made: Mapping[str, bytes]) -> None:
    """Write a new folder beside its place and give it its name: it is there whole or not at all."""
    draft = folder.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    with writing(folder):
        try:
            draft.mkdir(parents=True)
            for name, data in made.items():
                atomic_write_bytes(draft / name, data)
            if folder.is_dir():
                folder.rmdir()  # an empty one
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
