"""Errors by landmark as a table, with what separates the two annotators at each: a constant offset and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landmark_diffusion.core.grid import Grid
from landmark_diffusion.metrics.annotators import Disagreement, split_disagreement, stack_predictions
from landmark_diffusion.metrics.protocols import Protocol, evaluate, get_protocol
from landmark_diffusion.metrics.records import Prediction, Unit, unit_words
from landmark_diffusion.pictures.figures import ABSENT, numbered


@dataclass(frozen=True)
class LandmarkTable:
    """Mean radial error of each landmark and variant, and the annotators' disagreement where there are two.

    Args:
        names: N landmarks.
        mre: variant -> N mean errors in ``unit``; NaN for a landmark without truth.
        sdr: variant -> radius -> N percents of images within it.
        disagreement: between the first two annotators, in ``unit``; None with fewer.
    """

    names: tuple[str, ...]
    unit: Unit
    mre: Mapping[str, Sequence[float]]
    sdr: Mapping[str, Mapping[float, Sequence[float]]]
    disagreement: Disagreement | None

    def grid(self) -> Grid:
        """Round the numbers and lay them out, in the landmarks' order."""
        people = self.disagreement is not None
        heads = ["landmark", *self.mre, *(["people", "offset", "rest"] if people else [])]
        rows = []
        for number, name in enumerate(self.names):
            cells = [numbered(number, name), *(_text(errors[number]) for errors in self.mre.values())]
            if self.disagreement is not None:
                parts = (self.disagreement.distance, self.disagreement.constant, self.disagreement.rest)
                cells += [_text(part[number]) for part in parts]
            rows.append(tuple(cells))
        note = (
            "people: mean distance between the two annotators; offset: its constant part (the length of the mean "
            "vector from one to the other); rest: root mean square of what varies from image to image",
        )
        return Grid(
            "Errors by landmark", (f"mean radial error in {unit_words(self.unit)}",), tuple(heads), tuple(heads),
            (tuple(rows),), note if people else (),
        )  # fmt: skip

    def __rich__(self) -> Any:
        return self.grid().to_rich()

    def to_markdown(self) -> str:
        """Write a Markdown section."""
        return self.grid().to_markdown()

    def to_list(self) -> list[dict[str, Any]]:
        """Turn into plain values, one dict a landmark, unrounded."""
        return [self._entry(number, name) for number, name in enumerate(self.names)]

    def _entry(self, number: int, name: str) -> dict[str, Any]:
        methods = {
            variant: {
                "mre": float(errors[number]),
                "sdr": {f"{radius:g}": float(rates[number]) for radius, rates in self.sdr[variant].items()},
            }
            for variant, errors in self.mre.items()
        }
        entry: dict[str, Any] = {"number": number + 1, "name": name, "variants": methods}
        if (split := self.disagreement) is not None:
            entry["annotators"] = {
                "distance": float(split.distance[number]), "offset": [float(value) for value in split.offset[number]],
                "constant": float(split.constant[number]), "rest": float(split.rest[number]),
                "images": int(split.count[number]),
            }  # fmt: skip
        return entry


def landmark_table(
    variants: Mapping[str, Sequence[Prediction]],
    landmark_names: Sequence[str],
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
    protocol: Protocol | str = "default",
) -> LandmarkTable:
    """Measure each landmark under a protocol; arguments and errors are those of ``tables.results_table``."""
    rules = get_protocol(protocol) if isinstance(protocol, str) else protocol
    found = {name: evaluate(predictions, rules, radii, unit) for name, predictions in variants.items()}
    shown: Unit = next(iter(found.values()))["unit"]
    return LandmarkTable(
        names=tuple(landmark_names),
        unit=shown,
        mre={name: each["landmark_mre"] for name, each in found.items()},
        sdr={name: each["landmark_sdr"] for name, each in found.items()},
        disagreement=disagreement_of(next(iter(variants.values())), shown, rules),
    )


def disagreement_of(predictions: Sequence[Prediction], unit: Unit, rules: Protocol) -> Disagreement | None:
    """Split the first two annotators' disagreement; None where no image was marked by both, or on another grid."""
    _, annotations, spacing = stack_predictions(predictions, unit)
    if annotations.shape[1] < 2 or rules.frame != "original":
        return None
    split = split_disagreement(annotations, spacing)
    return split if split.count.any() else None


def _text(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else ABSENT
