"""A model as a folder in the form that model hubs keep: model.safetensors, config.json, README.md.

model.safetensors is a model file under another name, its facts within; config.json says them again for who reads it
there, and has to agree with them. Importing this needs no torch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.facts import ModelFacts, parse_json

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
EXAMPLE = "example.py"
ATTRIBUTES = ".gitattributes"

MAX_CONFIG = 100_000_000
"""Bytes of a config.json: a calibration of many images takes some MB."""


def is_hub_folder(path: str | Path) -> bool:
    """Tell whether a path is a folder with a model in it."""
    return os.path.isfile(os.path.join(path, WEIGHTS))  # not Path.is_file, which raises for some names


def config_text(facts: ModelFacts) -> str:
    """Write config.json: the facts of the model file as it has them, an option a line."""
    content = {"library_name": "landmark_diffusion", **json.loads(facts.to_json())}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def check_config(folder: Path, facts: ModelFacts) -> None:
    """Raise UserError where config.json cannot be read or is not of one export with the facts in the file beside it."""
    config = folder / CONFIG
    said, held = _read_config(config), json.loads(facts.to_json())
    for name in held:  # what somebody added beside it says nothing of the model
        if name not in said or said[name] != held[name]:
            raise UserError(
                f"{config}: {name!r} is not what {WEIGHTS} beside it says, so the two are not of one export; copy or "
                "export the folder again (a model is changed by exporting it anew, not by its config.json)"
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MAX_CONFIG:
            raise UserError(f"{path}: found {size} bytes, expected at most {MAX_CONFIG}")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); expected the config.json of `ldx export --hub`") from error
    return parse_json(text, path, "the file")
