"""Protocols: how a number was measured. Evaluation takes one by name and prints it beside every table (design 6)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from landmark_diffusion.errors import UserError
from landmark_diffusion.metrics.functional import MetricError, check_radii, within
from landmark_diffusion.metrics.records import Prediction, Unit, errors, in_dataset_order

Truth = Literal["mean", "senior", "junior", "each"]
TRUTHS: dict[str, str] = {
    "mean": "mean of the annotators",
    "senior": "senior (first) annotator",
    "junior": "junior (second) annotator",
    "each": "each annotator in turn",
}
ANNOTATOR: dict[str, int] = {"senior": 0, "junior": 1}
FAR_MM = 10.0
"""Beyond this a point is not imprecise but another structure."""


@dataclass(frozen=True)
class Protocol:
    """How errors are measured.

    Args:
        name: what configs and tables call it.
        truth: "mean" of the annotators, the first ("senior") or second ("junior") of them, or "each" in turn, pooled.
        frame: the grid in which points are compared; "original" pixels of the image on disk.
        rounding: what is rounded before points are compared; "none".
        strict: SDR counts error < radius; otherwise <=.
        radii: SDR radii in ``unit``; None takes the dataset's.
        unit: "mm", "px" of ``frame``, or None: mm where the spacing is known.
        source: where these rules are written.
    """

    name: str
    truth: Truth = "mean"
    frame: Literal["original"] = "original"
    rounding: Literal["none"] = "none"
    strict: bool = True
    radii: tuple[float, ...] | None = None
    unit: Unit | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.truth not in TRUTHS:
            raise UserError(f"protocol {self.name}: truth is {self.truth!r}, expected one of {', '.join(TRUTHS)}")
        if (self.frame, self.rounding) != ("original", "none"):
            raise UserError(
                f"protocol {self.name}: frame is {self.frame!r} and rounding {self.rounding!r}; expected "
                "'original' and 'none', the only ones that are implemented"
            )
        if self.radii is not None:
            check_radii(self.radii)

    def describe(self, radii: Sequence[float] | None = None, unit: Unit | None = None) -> str:
        """Say the rules in one line, with the radii and unit that a table used where the protocol leaves them open."""
        used, unit = radii or self.radii, unit or self.unit
        truth = TRUTHS[self.truth]
        rounding = "unrounded" if self.rounding == "none" else f"rounding: {self.rounding}"
        sign = "<" if self.strict else "<="
        radius = "the dataset's radii" if used is None else " / ".join(f"{radius:g}" for radius in used)
        rules = f"truth: {truth}; {self.frame} frame, {rounding}; hit: error {sign} {radius} {unit or ''}".rstrip()
        return f"protocol {self.name}: {rules}" + (f" ({self.source})" if self.source else "")


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("default", source="the rules of paper_a at the dataset's radii"),
        Protocol("paper_a", radii=(2.0, 2.5, 4.0), unit="mm", source="Wyatt and Voiculescu, sections 4 and 5, table 1"),
        # Their code compares in the padded network grid times mm per network pixel. One factor serves both axes, so
        # the distances are those of the original frame.
        Protocol(
            "contour_hugging", radii=(2.0, 2.5, 3.0, 4.0), unit="mm", source="released code of McCouat and Voiculescu"
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """Find a protocol by name; raises UserError that names the nearest known ones."""
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PROTOCOLS)}"
        raise UserError(f"protocol: found {name!r}; {hint}")
    return PROTOCOLS[name]


def evaluate(
    predictions: Sequence[Prediction],
    protocol: Protocol | str = "default",
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
) -> dict[str, Any]:
    """Measure predictions under a protocol; each image counts once, landmarks without truth are left out.

    ``radii`` and ``unit`` fill in, or override, what the protocol says. Raises MetricError without predictions,
    radii, or a needed spacing, and on images of different units or numbers of landmarks.

    Returns:
        dict of plain Python values: ``protocol`` (the line to print), ``unit``, ``mre``, ``std`` (over points, divided
        by their number), ``median``, ``sdr`` {radius: percent}, ``beyond_10mm`` (percent; None in pixels),
        ``landmark_mre`` [N], ``landmark_sdr`` {radius: [N]} (NaN for a landmark without truth anywhere), ``images``,
        ``points`` and ``missing`` (counts).
    """
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    ordered = in_dataset_order(predictions)
    if not ordered:
        raise MetricError("no predictions to evaluate")
    unit = _one_unit(ordered, unit or protocol.unit)
    chosen = check_radii(_radii(protocol, radii))
    table = error_table(ordered, protocol.truth, unit)
    there = ~np.isnan(table)
    if not there.any():
        raise MetricError("none of the predictions has a truth to be measured against")
    points = table[there]
    hits = {radius: _hits(table, radius, protocol.strict) for radius in chosen}
    return {
        "protocol": protocol.describe(chosen, unit),
        "unit": unit,
        "mre": float(points.mean()),
        "std": float(points.std()),
        "median": float(np.median(points)),
        "sdr": {radius: 100.0 * float(hit[there].mean()) for radius, hit in hits.items()},
        "beyond_10mm": 100.0 * float((points > FAR_MM).mean()) if unit == "mm" else None,
        "landmark_mre": _by_landmark(table, there),
        "landmark_sdr": {radius: _by_landmark(100.0 * hit, there) for radius, hit in hits.items()},
        "images": len(ordered),
        "points": int(there.sum()),
        "missing": int((~there).sum()),
    }


def error_table(predictions: Sequence[Prediction], truth: Truth = "mean", unit: Unit | None = None) -> np.ndarray:
    """Errors of all images as (I, N), or (I A, N) for truth "each"; NaN where there is no truth.

    Raises MetricError when images differ in their number of landmarks, or lack the annotator.
    """
    rows = [row for prediction in predictions for row in _errors(prediction, truth, unit)]
    if len({len(row) for row in rows}) > 1:
        raise MetricError(f"images of different numbers of landmarks: {sorted({len(row) for row in rows})}")
    return np.stack(rows)


def _errors(prediction: Prediction, truth: Truth, unit: Unit | None) -> list[np.ndarray]:
    if truth == "mean":
        return [errors(prediction, unit)]
    if truth == "each":
        return [errors(prediction, unit, points) for points in prediction.annotations]
    if ANNOTATOR[truth] >= len(prediction.annotations):
        raise MetricError(
            f"{prediction.image_id}: the protocol's truth is the {TRUTHS[truth]}, found {len(prediction.annotations)} "
            "annotator(s); take a protocol with truth 'mean'"
        )
    return [errors(prediction, unit, prediction.annotations[ANNOTATOR[truth]])]


def _hits(table: np.ndarray, radius: float, strict: bool) -> np.ndarray:
    return within(torch.from_numpy(table), radius, strict).numpy()


def _by_landmark(values: np.ndarray, there: np.ndarray) -> list[float]:
    """Average (I, N) over the images where the landmark is there."""
    count = there.sum(0)
    total = np.where(there, values, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).tolist()


def _radii(protocol: Protocol, radii: Sequence[float] | None) -> Sequence[float]:
    chosen = protocol.radii if radii is None else radii
    if chosen is None:
        raise MetricError(f"protocol {protocol.name} leaves the radii to the dataset: pass radii=dataset.radii")
    return chosen


def _one_unit(predictions: Sequence[Prediction], unit: Unit | None) -> Unit:
    if unit is not None:
        return unit
    units = {prediction.unit for prediction in predictions}
    if len(units) > 1:
        example = next(prediction.image_id for prediction in predictions if prediction.spacing is None)
        raise MetricError(f"some images have a spacing and others none ({example}): give it for all, or use unit 'px'")
    return units.pop()
