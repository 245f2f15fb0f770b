"""Protocols: how a number was measured. A table says which one it is of (docs/conventions.md)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics.functional import MetricError, check_radii, within
from landmark_diffusion.metrics.grid256 import SCALES, Scale, grid_errors
from landmark_diffusion.metrics.records import Prediction, Unit, errors, in_dataset_order, unit_words

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
        frame: where points are compared: "original" pixels of the image on disk, or "grid256", the image stretched to
            256x256 pixels (``metrics.grid256``).
        rounding: "none", or "grid": prediction and truth are rounded to the pixels of "grid256".
        scale: how differences become lengths: by each axis's "spacing", or on "grid256" one of ``grid256.SCALES``.
        strict: SDR counts error < radius; otherwise <=.
        radii: SDR radii in ``unit``; None takes the dataset's.
        unit: "mm", "px" of the original, "px256", or None: the spacing's unit where that is known.
        source: where these rules are written.
        caution: what to print above a table that is measured so, beside an honest one.
    """

    name: str
    truth: Truth = "mean"
    frame: Literal["original", "grid256"] = "original"
    rounding: Literal["none", "grid"] = "none"
    scale: Scale = "spacing"
    strict: bool = True
    radii: tuple[float, ...] | None = None
    unit: Unit | None = None
    source: str = ""
    caution: str = ""

    def __post_init__(self) -> None:
        if self.truth not in TRUTHS:
            raise UserError(f"protocol {self.name}: truth is {self.truth!r}, expected one of {', '.join(TRUTHS)}")
        if (self.frame, self.rounding) not in (("original", "none"), ("grid256", "grid")):
            raise UserError(
                f"protocol {self.name}: frame is {self.frame!r} and rounding {self.rounding!r}; expected "
                "'original' and 'none', or 'grid256' and 'grid', the only ones that are implemented"
            )
        if self.scale not in (SCALES if self.frame == "grid256" else ("spacing",)):
            raise UserError(
                f"protocol {self.name}: scale is {self.scale!r} in the frame {self.frame!r}; expected 'spacing', or on "
                f"'grid256' one of {', '.join(SCALES)}"
            )
        if self.radii is not None:
            check_radii(self.radii)

    def describe(self, radii: Sequence[float] | None = None, unit: Unit | None = None) -> str:
        """Say the rules in one line, with the radii and unit that a table used where the protocol leaves them open."""
        used, unit = radii or self.radii, unit or self.unit
        where = "original frame, unrounded"
        if self.frame == "grid256":
            where = "256x256 grid, truth and prediction rounded"
            where += f", {SCALES[self.scale]}" if unit != "px256" else ""
        sign = "<" if self.strict else "<="
        radius = "the dataset's radii" if used is None else " / ".join(f"{radius:g}" for radius in used)
        rules = f"truth: {TRUTHS[self.truth]}; {where}; hit: error {sign} {radius} {unit_words(unit or '')}".rstrip()
        return f"protocol {self.name}: {rules}" + (f" ({self.source})" if self.source else "")


# Cephalograms (mm) and chest radiographs (px256), each at its dataset's radii; hands take paper_b_hand.
_AS_PAPER_B = Protocol(
    "paper_b", frame="grid256", rounding="grid", scale="swapped", strict=False, source="released code of Di Via et al.",
    caution="As the released code of paper B measures (rounded to the 256 grid, <=): not to be believed to better than "
    "half a pixel of that grid, 0.3 mm on cephalograms",
)  # fmt: skip
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
        _AS_PAPER_B,
        replace(_AS_PAPER_B, name="paper_b_hand", scale="wrist", unit="mm"),
    )
}


def get_protocol(name: str) -> Protocol:
    """Find a protocol by name; raises UserError that names the nearest known ones."""
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name.lower(), PROTOCOLS, n=3, cutoff=0.4)
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
        by their number), ``median``, ``sdr`` {radius: percent}, ``beyond_10mm`` (percent; None unless in mm),
        ``landmark_mre`` [N], ``landmark_sdr`` {radius: [N]} (NaN for a landmark without truth anywhere), ``images``,
        ``points`` and ``missing`` (counts).
    """
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    ordered = in_dataset_order(predictions)
    if not ordered:
        raise MetricError("no predictions to evaluate")
    unit = unit or protocol.unit or _one_unit(ordered)
    chosen = check_radii(_radii(protocol, radii))
    table = error_table(ordered, protocol, unit)
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


def error_table(
    predictions: Sequence[Prediction], protocol: Protocol | str = "default", unit: Unit | None = None
) -> np.ndarray:
    """Errors of all images under a protocol as (I, N), or (I A, N) for truth "each"; NaN where there is no truth.

    Raises MetricError when images differ in their number of landmarks, or lack what the protocol needs.
    """
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    rows = [
        grid_errors(prediction, truth, protocol.scale, unit)
        if protocol.frame == "grid256"
        else errors(prediction, unit, truth)
        for prediction in predictions
        for truth in _truths(prediction, protocol.truth)
    ]
    if len({len(row) for row in rows}) > 1:
        raise MetricError(f"images of different numbers of landmarks: {sorted({len(row) for row in rows})}")
    return np.stack(rows)


def misfit(predictions: Sequence[Prediction], protocol: Protocol | str) -> str | None:
    """Say why images cannot be measured under a protocol, before there is any prediction; None where they can.

    ``predictions`` hold annotations, spacing and size of the images; their points are not looked at.
    """
    known = [replace(each, points=np.nan_to_num(each.truth)) for each in predictions]
    try:
        error_table(known, protocol, get_protocol(protocol).unit if isinstance(protocol, str) else protocol.unit)
    except MetricError as error:
        return str(error)
    return None


def _truths(prediction: Prediction, truth: Truth) -> list[np.ndarray]:
    """What a prediction is measured against: one or A times (N, 2) original pixels."""
    if truth == "mean":
        return [prediction.truth]
    if truth == "each":
        return list(prediction.annotations)
    if ANNOTATOR[truth] >= len(prediction.annotations):
        raise MetricError(
            f"{prediction.image_id}: the protocol's truth is the {TRUTHS[truth]}, found {len(prediction.annotations)} "
            "annotator(s); take a protocol with truth 'mean'"
        )
    return [prediction.annotations[ANNOTATOR[truth]]]


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


def _one_unit(predictions: Sequence[Prediction]) -> Unit:
    units = {prediction.unit for prediction in predictions}
    if len(units) == 1:
        return units.pop()
    if "px" in units:
        example = next(prediction.image_id for prediction in predictions if prediction.spacing is None)
        raise MetricError(f"some images have a spacing and others none ({example}): give it for all, or use unit 'px'")
    raise MetricError(f"images of different units: {', '.join(sorted(units))}; measure each dataset by itself")
