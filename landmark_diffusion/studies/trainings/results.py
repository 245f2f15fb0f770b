"""What a finished training leaves: result.json in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landmark_diffusion.core.json_files import write_json

RESULT = "result.json"
"""Its presence in a cell's folder means: this cell is finished."""
CELLS = "cells"
DAMAGED = ("no whole result of a training", "remove it to run that one again")
"""What a damaged one is called, and its cure."""


def cell_folder(folder: Path, name: str) -> Path:
    """Return the folder of one cell in the folder of all."""
    return Path(folder) / CELLS / name


def is_finished(folder: Path, name: str) -> bool:
    """Tell whether a cell has its result."""
    return (cell_folder(folder, name) / RESULT).is_file()


def measured(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Take what a cell keeps out of a run's metrics.json: the main variant's figures, those of its prediction."""
    variant = main_variant(metrics)
    figures = metrics["variants"][variant]
    kept = ("images", "mre", "std", "median", "sdr", "beyond_10mm", "points", "missing")
    return {
        "variant": variant,
        "protocol": metrics["protocol"],
        "unit": metrics["unit"],
        **{key: figures.get(key) for key in kept},
        "updates": metrics["extra"]["updates"],
        "parameters": metrics["extra"].get("parameters"),
        "other_protocols": {
            name: {"protocol": other["protocol"], "unit": other["unit"], **other["variants"][variant]}
            for name, other in (metrics.get("other_protocols") or {}).items()
        },
    }


def main_variant(metrics: Mapping[str, Any]) -> str:
    """Name the variant in a metrics.json whose points are the prediction; files from before ``main`` have it last."""
    return str(metrics.get("main") or list(metrics["variants"])[-1])


def write_result(cell: Path, content: Mapping[str, Any]) -> None:
    """Write result.json into a cell's folder, whole or not at all: the cell is finished from then on."""
    write_json(Path(cell) / RESULT, content, indent=2, ensure_ascii=False, allow_nan=False)
