"""Results: what a test is told in - each table, view and interval made once, for the screen, the files and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from landmark_diffusion.evaluation.annotator_view import AnnotatorView, annotator_view
from landmark_diffusion.evaluation.landmark_table import LandmarkTable
from landmark_diffusion.evaluation.spread_view import LEAST_SPREAD, SpreadView, spread_view
from landmark_diffusion.evaluation.tables import ResultsTable, other_table, results_table
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.protocols import Protocol
from landmark_diffusion.spread.calibration import Spreads


@dataclass(frozen=True)
class Results:
    """An evaluation and what is laid out of it, each when it is first asked for.

    Args:
        evaluation: under the protocol of the first table.
        title: of that table.
        other_protocols: measure by these too.
        spreads: calibrated ones of the main variant; None takes its own covariance.
    """

    evaluation: Evaluation
    title: str = "Results"
    other_protocols: Sequence[Protocol | str] = ()
    spreads: Spreads | None = None

    @cached_property
    def table(self) -> ResultsTable:
        """All variants, and the annotators beside them."""
        return results_table(self.evaluation, self.title)

    @cached_property
    def others(self) -> tuple[Evaluation, ...]:
        """The same predictions under the other protocols."""
        return tuple(self.evaluation.under(protocol) for protocol in self.other_protocols)

    @cached_property
    def other_tables(self) -> tuple[ResultsTable, ...]:
        """A small table for each of ``others``."""
        return tuple(other_table(each) for each in self.others)

    @cached_property
    def landmarks(self) -> LandmarkTable:
        """Errors by landmark."""
        return LandmarkTable(self.evaluation)

    @cached_property
    def annotators(self) -> AnnotatorView | None:
        """The main variant beside the annotators; None without two."""
        return annotator_view(self.evaluation)

    @cached_property
    def spread(self) -> SpreadView | None:
        """What the main variant's spread is worth; None where it has none."""
        return spread_view(self.evaluation, self.spreads)

    @property
    def shown_spread(self) -> SpreadView | None:
        """``spread`` where there are images enough for its tables to say anything."""
        return None if self.spread is None or self.spread.images < LEAST_SPREAD else self.spread
