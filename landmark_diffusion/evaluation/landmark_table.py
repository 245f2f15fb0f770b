"""Errors by landmark as a table, with what separates the two annotators at each: a constant offset and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from landmark_diffusion.core.grid import Grid, LaidOut, rounded
from landmark_diffusion.metrics.annotators import Disagreement
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.pictures.figures import numbered


@dataclass(frozen=True)
class LandmarkTable(LaidOut):
    """Mean radial error of each landmark and variant, and the annotators' disagreement where there are two.

    ``people`` False leaves the annotators out. All methods raise what ``Evaluation`` raises.
    """

    evaluation: Evaluation
    people: bool = True

    @property
    def disagreement(self) -> Disagreement | None:
        """Of the first two annotators; None with fewer."""
        return self.evaluation.disagreement if self.people else None

    def grid(self) -> Grid:
        """Round the numbers and lay them out, in the landmarks' order."""
        split, mre = self.disagreement, self.evaluation.landmark_mre
        people: dict[str, Any] = (
            {} if split is None else {"people": split.distance, "offset": split.constant, "rest": split.rest}
        )
        heads = ("landmark", *mre, *people)
        rows = tuple(
            (numbered(number, name), *(rounded(each[number]) for each in (*mre.values(), *people.values())))
            for number, name in enumerate(self.evaluation.landmark_names)
        )
        note = (
            "people: mean distance between the two annotators; offset: its constant part (the length of the mean "
            "vector from one to the other); rest: root mean square of what varies from image to image",
        )
        above = (f"mean radial error in {unit_words(self.evaluation.unit)}",)
        return Grid("Errors by landmark", above, heads, heads, (rows,), note if people else ())

    def to_list(self) -> list[dict[str, Any]]:
        """Turn into plain values, one dict a landmark, unrounded."""
        return [self._entry(number, name) for number, name in enumerate(self.evaluation.landmark_names)]

    def _entry(self, number: int, name: str) -> dict[str, Any]:
        methods = {
            variant: {
                "mre": float(errors[number]),
                "sdr": {
                    f"{radius:g}": rates[number] for radius, rates in self.evaluation.landmark_sdr[variant].items()
                },
            }
            for variant, errors in self.evaluation.landmark_mre.items()
        }
        entry: dict[str, Any] = {"number": number + 1, "name": name, "variants": methods}
        if (split := self.disagreement) is not None:
            parts = {each: getattr(split, each)[number].tolist() for each in ("distance", "offset", "constant", "rest")}
            entry["annotators"] = {**parts, "images": int(split.count[number])}
        return entry
