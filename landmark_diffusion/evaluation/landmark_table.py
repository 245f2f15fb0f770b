"""Errors by landmark as a table, with what separates the two annotators at each: a constant offset and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landmark_diffusion.core.grid import Grid, rounded
from landmark_diffusion.metrics.annotators import Disagreement
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.pictures.figures import numbered


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
            cells = [numbered(number, name), *(rounded(errors[number]) for errors in self.mre.values())]
            if self.disagreement is not None:
                parts = (self.disagreement.distance, self.disagreement.constant, self.disagreement.rest)
                cells += [rounded(part[number]) for part in parts]
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


def landmark_table(evaluation: Evaluation) -> LandmarkTable:
    """Lay out each landmark's errors; raises what ``Evaluation`` raises."""
    return LandmarkTable(
        evaluation.landmark_names, evaluation.unit, evaluation.landmark_mre, evaluation.landmark_sdr,
        evaluation.disagreement,
    )  # fmt: skip
