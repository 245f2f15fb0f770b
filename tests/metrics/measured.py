"""One variant's evaluation as plain values, for tests that know what these must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.protocols import Protocol
from landmark_diffusion.metrics.records import Prediction, Unit


def measured(
    predictions: Sequence[Prediction],
    protocol: Protocol | str = "default",
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
) -> dict[str, Any]:
    """Summary, errors by landmark and counts of predictions under a protocol."""
    found = evaluate({"a": predictions}, radii=radii, unit=unit, protocol=protocol)
    return {
        **vars(found.summaries["a"]), "unit": found.unit, "protocol": found.protocol.describe(found.radii, found.unit),
        "landmark_mre": found.landmark_mre["a"], "landmark_sdr": found.landmark_sdr["a"],
        "images": len(found.image_ids), "missing": found.missing,
    }  # fmt: skip


def radial_errors(
    predictions: Sequence[Prediction], protocol: Protocol | str = "default", unit: Unit | None = None
) -> np.ndarray:
    """Errors (I, N) under a protocol."""
    return evaluate({"a": predictions}, unit=unit, protocol=protocol).errors["a"]
