"""Where two runs of the same command differ: their checkpoints bit for bit, and the curves joined over all starts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

PARTS = ("files", "weights", "EMA", "optimiser", "schedule", "best score", "progress", "curves")


@dataclass
class Difference:
    """One value that is not the undisturbed run's; ``size`` is the largest absolute difference, inf for other kinds."""

    part: str
    where: str
    size: float


@dataclass
class Comparison:
    """How many values of each part were compared, and which of them differ."""

    compared: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def runs(self, whole: Path, other: Path) -> None:
        """Compare all checkpoints and the joined curves of two run folders."""
        names = [{path.name for path in (folder / "checkpoints").iterdir()} for folder in (whole, other)]
        self.differences += [Difference("files", name, float("inf")) for name in sorted(names[0] ^ names[1])]
        for name in sorted(names[0] & names[1]):
            self.compared["files"] += 1
            self.checkpoints(whole / "checkpoints" / name, other / "checkpoints" / name)
        curves = joined_curves(whole / "logs")
        self.compared["curves"] += len(curves)
        found = differing_points(curves, joined_curves(other / "logs"))
        self.differences += [Difference("curves", where, size) for where, size in found]

    def checkpoints(self, whole: Path, other: Path) -> None:
        """Compare two checkpoint files part by part."""
        parts, others = (parts_of(torch.load(path, weights_only=True)) for path in (whole, other))
        for part in parts.keys() | others.keys():
            self.compared[part] += count_values(parts.get(part))
            found = differences(parts.get(part), others.get(part), whole.name)
            self.differences += [Difference(part, where, size) for where, size in found]


def parts_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Sort what a checkpoint holds into the parts of the table; under ``state_dict`` lies the moving average."""
    averaged = "current_model_state" in checkpoint
    parts = {
        "weights": checkpoint["current_model_state" if averaged else "state_dict"],
        "EMA": {key: checkpoint[key] for key in ("state_dict", "averaging_state") if averaged},
        "optimiser": checkpoint["optimizer_states"],
        "schedule": [checkpoint["lr_schedulers"], checkpoint.get("reduce_lr_on_plateau")],
        "best score": checkpoint["callbacks"],
        "progress": {key: checkpoint[key] for key in ("global_step", "epoch", "loops", "row_to_log")},
    }
    # Lightning's tally of validation batches begins anew with each start; no weight depends on it
    parts["progress"]["loops"].get("fit_loop", {}).pop("epoch_loop.val_loop.batch_progress", None)
    return {name: part for name, part in parts.items() if part}


def differences(a: Any, b: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Yield where two nested states differ in any bit, and by how much."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            yield where, float("inf")
        elif a.contiguous().numpy().tobytes() != b.contiguous().numpy().tobytes():
            yield where, float((a.double() - b.double()).abs().max())
    elif isinstance(a, dict) and isinstance(b, dict):
        yield from ((f"{where}/{key}", float("inf")) for key in sorted(map(str, a.keys() ^ b.keys())))
        for key in a.keys() & b.keys():
            yield from differences(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{where}/{i}")
    elif isinstance(a, float) and isinstance(b, float):
        if a.hex() != b.hex():
            yield where, abs(a - b)
    elif type(a) is not type(b) or a != b:
        yield where, float("inf")


def count_values(state: Any) -> int:
    """Count the numbers in a nested state."""
    if isinstance(state, torch.Tensor):
        return state.numel()
    if isinstance(state, (dict, list, tuple)):
        return sum(map(count_values, state.values() if isinstance(state, dict) else state))
    return 1


Curves = dict[tuple[int, str], list[str]]
"""(step, name) -> the values logged for it, as written, in all starts of a run."""


def joined_curves(logs: Path) -> Curves:
    """Read the curves of all starts of a run."""
    curves: Curves = {}
    for path in sorted(logs.glob("version_*/metrics.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if name != "step" and value:
                        curves.setdefault((int(row["step"]), name), []).append(value)
    return curves


def differing_points(whole: Curves, other: Curves) -> Iterator[tuple[str, float]]:
    """Yield each point that is missing, that only the disturbed run has, or that was logged with another value."""
    for step, name in sorted(whole.keys() | other.keys()):
        wanted, found = set(whole.get((step, name), ())), set(other.get((step, name), ()))
        if wanted and found and wanted != found:
            yield f"{name} at step {step}", max(abs(float(a) - float(b)) for a in wanted for b in found)
        elif wanted != found:
            yield f"{name} at step {step} {'is missing' if wanted else 'is new'}", float("inf")
