"""What a finished few-shot cell leaves: result.json, and its reading as one CellResult a choice of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import atomic_write_text

RESULT = "result.json"
"""Its presence in a cell's folder means: this cell is finished."""
CELLS = "cells"


@dataclass(frozen=True)
class CellResult:
    """One measured set of weights: a start, a target, n labelled images, a draw, and which weights.

    Attributes:
        start, target: names in the plan; the target is "default" where the plan has no such axis.
        n: labelled training images.
        draw: number of the draw, from 0.
        checkpoint: "best" (chosen on the labelled validation images) or "last".
        seed: of the training.
        unit: of mre, median and the radii: "mm", "px256" or "px".
        images: measured images.
        mre, median: radial error in ``unit``.
        sdr: {radius: percent}.
        beyond_10mm: percent; None unless in mm.
        updates: optimiser steps behind these weights.
        train_minutes: of fine-tuning.
        train_images: ids of the n images, in the draw's order.
        pretrain_updates: optimiser steps of the pre-training; None from scratch.
        other: the same measured under other protocols, {name: {protocol, unit, mre, ...}}.
    """

    start: str
    target: str
    n: int
    draw: int
    checkpoint: str
    seed: int
    unit: str
    images: int
    mre: float
    median: float
    sdr: dict[float, float]
    beyond_10mm: float | None
    updates: int
    train_minutes: float
    train_images: tuple[str, ...]
    pretrain_updates: int | None
    other: dict[str, Any]


def cell_folder(folder: Path, name: str) -> Path:
    """Return the folder of one cell in the grid's folder."""
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
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write_text(Path(cell) / RESULT, text + "\n")


def read_results(folder: str | Path) -> list[CellResult]:
    """Read all finished cells of a grid, sorted by start, target, n, draw and checkpoint; empty where there are none.

    Raises DataError for a result that is damaged.
    """
    found = [result for path in sorted((Path(folder) / CELLS).glob(f"*/{RESULT}")) for result in _read(path)]
    return sorted(found, key=lambda cell: (cell.start, cell.target, cell.n, cell.draw, cell.checkpoint))


def _read(path: Path) -> list[CellResult]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [_cell_result(content, name, found) for name, found in content["checkpoints"].items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"no whole result of `ldx fewshot` ({error}); remove it to run the cell again", path) from error


def _cell_result(content: Mapping[str, Any], checkpoint: str, found: Mapping[str, Any]) -> CellResult:
    return CellResult(
        **{key: content["cell"][key] for key in ("start", "target", "n", "draw")},
        checkpoint=checkpoint,
        seed=content["seed"],
        **{key: found[key] for key in ("unit", "images", "mre", "median", "beyond_10mm", "updates")},
        sdr={float(radius): percent for radius, percent in found["sdr"].items()},
        train_minutes=content["train_minutes"],
        train_images=tuple(content["train_images"]),
        pretrain_updates=content["pretrain_updates"],
        other=dict(found.get("other_protocols") or {}),
    )
