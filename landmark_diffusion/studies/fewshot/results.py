"""The result.json of finished few-shot cells, read as one CellResult a choice of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landmark_diffusion.core.json_files import read_json
from landmark_diffusion.studies.trainings.results import CELLS, DAMAGED, RESULT


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
        parameters: of the method's networks; None where an earlier version did not note them.
        memory_gib: most memory that the training's process held, without that of a GPU; None likewise.
        place: of the start in the grid's config, from 0.
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
    parameters: int | None = None
    memory_gib: float | None = None
    place: int = 0


def read_results(folder: str | Path, starts: Sequence[str] = ()) -> list[CellResult]:
    """Read all finished cells of a grid, sorted by start, target, n, draw and checkpoint; empty where there are none.

    ``starts`` are the config's, in its order. Raises DataError for a result that is damaged.
    """
    places = {name: place for place, name in enumerate(starts)}
    read = [result for path in sorted((Path(folder) / CELLS).glob(f"*/{RESULT}")) for result in _read(path)]
    found = [replace(result, place=places.get(result.start, len(places))) for result in read]
    return sorted(found, key=lambda cell: (cell.start, cell.target, cell.n, cell.draw, cell.checkpoint))


def _read(path: Path) -> list[CellResult]:
    def convert(content: Mapping[str, Any]) -> list[CellResult]:
        return [_cell_result(content, name, found) for name, found in content["checkpoints"].items()]

    return read_json(path, convert, *DAMAGED)


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
        parameters=found.get("parameters"),
        memory_gib=content.get("memory_gib"),
    )
