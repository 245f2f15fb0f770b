"""Cells to groups: mean and spread over draws, paired differences from scratch, and the table in the paper's form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.grid import escape
from landmark_diffusion.core.texts import counted
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.metrics.summary import FAR_MM
from landmark_diffusion.studies.fewshot.results import CellResult

if TYPE_CHECKING:
    from rich.console import RenderableType


SCRATCH = "scratch"
"""The start that the others are compared with: random weights."""
CHOICES = {"best": "chosen on the labelled validation images", "last": "the last weights, no validation labels used"}
NONE = "-"


def choice_words(checkpoint: str) -> str:
    """Say how a choice of weights was made, and by which reading of the plan it was measured."""
    choice, _, reading = checkpoint.partition("+")
    return CHOICES[choice] + (f", measured by the reading {reading}" if reading else "")


def choices_of(groups: Iterable[Group]) -> list[str]:
    """The choices of weights that the groups have, best before last, each before its readings."""
    return sorted({group.checkpoint for group in groups})


Verdict = Literal["better", "worse", "within", "unknown"]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (divided by the number of draws less one) over draws; no spread of one draw."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up one value a draw; ``values`` must not be empty."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)

    def text(self, digits: int, sign: str = "") -> str:
        """Round to "8.20 ± 0.31", or "8.20 ± -" for one draw; ``sign`` "+" shows a plus."""
        return f"{self.mean:{sign}.{digits}f} ± " + (NONE if self.sd is None else f"{self.sd:.{digits}f}")


@dataclass(frozen=True)
class Metric:
    """One column: MRE, median, SDR at a radius, or the share beyond 10 mm.

    Args:
        name: in CSV files.
        heading, short: above columns, with the unit and for 80-column terminals.
        gain: whether more is better.
        radius: of an SDR.
    """

    name: str
    heading: str
    short: str
    digits: int
    gain: bool = False
    radius: float | None = None

    def of(self, cell: CellResult) -> float | None:
        """Read the cell's value; None where it is not known."""
        return cell.sdr[self.radius] if self.radius is not None else getattr(cell, self.name)


def metrics_of(results: Sequence[CellResult]) -> tuple[Metric, ...]:
    """List the columns that the cells have: MRE, median, SDR at each radius, beyond 10 mm where it is known."""
    unit, radii = unit_words(results[0].unit), sorted(results[0].sdr)
    found = [Metric("mre", f"MRE, {unit}", "MRE", 2), Metric("median", f"median, {unit}", "median", 2)]
    found += [Metric(f"sdr_{r:g}", f"SDR {r:g} {unit}, %", f"SDR {r:g}", 1, True, r) for r in radii]
    if any(cell.beyond_10mm is not None for cell in results):
        found.append(Metric("beyond_10mm", f"> {FAR_MM:g} mm, %", f"> {FAR_MM:g}", 1))
    return tuple(found)


@dataclass(frozen=True)
class Group:
    """Cells that differ in nothing but the draw, sorted by draw.

    Args:
        expected: how many draws there will be: the most that any group of this n has, or what the caller says.
    """

    n: int
    checkpoint: str
    target: str
    start: str
    cells: tuple[CellResult, ...]
    expected: int

    @property
    def draws(self) -> str:
        """ "3", or "2 of 3" where a draw is missing."""
        return f"{len(self.cells)}" + (f" of {self.expected}" if len(self.cells) < self.expected else "")

    @property
    def pretrain_updates(self) -> int | None:
        """Updates of the pre-training behind this start; 0 for scratch, None where it is not known."""
        return 0 if self.start == SCRATCH else self.cells[0].pretrain_updates

    def values(self, metric: Metric) -> list[float]:
        """One value for each draw that has one."""
        return [value for value in map(metric.of, self.cells) if value is not None]

    def spread(self, metric: Metric) -> Spread | None:
        """Mean and spread over draws, None where no draw has a value."""
        values = self.values(metric)
        return Spread.of(values) if values else None


def group_cells(results: Sequence[CellResult], draws: int | None = None) -> list[Group]:
    """Sort cells into groups: by n, "best" before "last", target, then scratch before the other starts.

    The order does not depend on that of ``results``. Raises UserError on no cells, a cell given twice, and cells of
    different units, radii or numbers of measured images, which no table can hold together.
    """
    _check(results)
    found: dict[tuple[int, str, str, str], list[CellResult]] = {}
    for cell in results:
        found.setdefault((cell.n, cell.checkpoint, cell.target, cell.start), []).append(cell)
    most = {n: max(len(cells) for key, cells in found.items() if key[0] == n) for n, *_ in found}
    starts = start_names(results)
    order = sorted(found, key=lambda key: (*key[:3], starts.index(key[3])))
    sort = {key: tuple(sorted(found[key], key=lambda cell: cell.draw)) for key in order}
    return [Group(*key, cells, max(draws or 0, most[key[0]])) for key, cells in sort.items()]


def start_names(results: Iterable[CellResult]) -> list[str]:
    """Names of the starts: scratch first, then as in the config, by updates of pre-training (None last) and name."""
    known = {cell.start: (cell.place, cell.pretrain_updates is None, cell.pretrain_updates or 0) for cell in results}
    return sorted(known, key=lambda name: (name != SCRATCH, *known[name], name))


def _check(results: Sequence[CellResult]) -> None:
    if not results:
        raise UserError("few-shot summary: found no finished cells; run `ldx fewshot` until at least one is done")
    for what, kinds in (
        ("units", {cell.unit for cell in results}),
        ("SDR radii", {tuple(sorted(cell.sdr)) for cell in results}),
        ("numbers of measured images", {cell.images for cell in results}),
    ):
        if len(kinds) > 1:
            raise UserError(
                f"few-shot summary: found cells of different {what}: {sorted(map(str, kinds))}; they cannot stand in "
                "one table. Keep the cells of one dataset and protocol in one folder"
            )
    seen = set()
    for cell in results:
        key = (cell.start, cell.target, cell.n, cell.draw, cell.checkpoint)
        if key in seen:
            raise UserError(f"few-shot summary: the cell {key} (start, target, n, draw, checkpoint) is there twice")
        seen.add(key)


@dataclass(frozen=True)
class Difference:
    """What one group has more than another of the same draws: one value a draw, and whether more is better.

    Args:
        by_draw: (draw, first minus second).
        unlike: draws left out because the two were trained on different images.
    """

    by_draw: tuple[tuple[int, float], ...]
    gain: bool
    unlike: tuple[int, ...] = ()

    @property
    def spread(self) -> Spread | None:
        """Mean and standard deviation of the differences over draws."""
        return Spread.of([value for _, value in self.by_draw]) if self.by_draw else None

    @property
    def better(self) -> int:
        """In how many draws the first is better."""
        return sum((value > 0) if self.gain else (value < 0) for _, value in self.by_draw)

    @property
    def verdict(self) -> Verdict:
        """Beyond the spread: the mean difference is larger than the standard deviation of the differences."""
        if self.spread is None or self.spread.sd is None:
            return "unknown"
        if not abs(self.spread.mean) > self.spread.sd:
            return "within"
        return "better" if (self.spread.mean > 0) == self.gain else "worse"


def paired(first: Group, second: Group, metric: Metric) -> Difference:
    """Subtract ``second`` from ``first`` in each draw that both have, where they were trained on the same images."""
    others = {cell.draw: cell for cell in second.cells}
    pairs = [(cell, others[cell.draw]) for cell in first.cells if cell.draw in others]
    alike = [(a, b) for a, b in pairs if set(a.train_images) == set(b.train_images)]
    values = [(a.draw, metric.of(a), metric.of(b)) for a, b in alike]
    known = tuple((draw, x - y) for draw, x, y in values if x is not None and y is not None)
    return Difference(known, metric.gain, tuple(a.draw for a, b in pairs if (a, b) not in alike))


def clear_best(groups: Sequence[Group], metric: Metric) -> Group | None:
    """Find the group with the best mean, if it beats the next one beyond the spread of their paired differences."""
    known = [(group, spread) for group in groups if (spread := group.spread(metric)) is not None]
    known.sort(key=lambda pair: pair[1].mean, reverse=metric.gain)
    if len(known) < 2 or paired(known[0][0], known[1][0], metric).verdict != "better":
        return None
    return known[0][0]


@dataclass(frozen=True)
class TableLine:
    """One row of the table as texts: what the group is, then one cell a metric and whether it is the clear best."""

    group: Group
    cells: tuple[tuple[str, bool], ...]


def blocks(groups: Sequence[Group], metrics: Sequence[Metric]) -> Iterator[tuple[int, list[TableLine]]]:
    """Yield each n and its lines; the best is sought among the lines of the same checkpoint choice."""
    for n in sorted({group.n for group in groups}):
        block = [group for group in groups if group.n == n]
        best = {
            (metric.name, choice): clear_best([group for group in block if group.checkpoint == choice], metric)
            for metric in metrics
            for choice in choices_of(block)
        }
        yield n, [_line(group, metrics, best) for group in block]


def _line(group: Group, metrics: Sequence[Metric], best: dict[tuple[str, str], Group | None]) -> TableLine:
    spreads = [group.spread(metric) for metric in metrics]
    texts = [NONE if s is None else s.text(metric.digits) for s, metric in zip(spreads, metrics, strict=True)]
    bold = [best.get((metric.name, group.checkpoint)) is group for metric in metrics]
    return TableLine(group, tuple(zip(texts, bold, strict=True)))


def markdown_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """Write the table in the paper's form: a block for each n, a row for each checkpoint choice, target and start."""
    headings = ("n", "start", "target", "weights", "draws", *(metric.heading for metric in metrics))
    rows = [headings, ("---:", "---", "---", "---", "---:", *("---:" for _ in metrics))]
    for n, lines in blocks(groups, metrics):
        for number, line in enumerate(lines):
            names = (line.group.start, line.group.target, line.group.checkpoint, line.group.draws)
            texts = (f"**{text}**" if bold else text for text, bold in line.cells)
            rows.append((f"**{n}**" if number == 0 else "", *map(escape, names), *texts))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def terminal_table(
    results: Sequence[CellResult], *, title: str = "Few labels", draws: int | None = None
) -> RenderableType:
    """Build tables for rich's console, one for each target and choice of weights, which fit 80 columns.

    Raises UserError like :func:`group_cells`.
    """
    from rich.console import Group as Renderables
    from rich.text import Text

    groups = group_cells(results, draws)
    metrics = [metric for metric in metrics_of(results) if metric.name != "median"]
    unit = unit_words(results[0].unit)
    above = f"{counted(results[0].images, 'image')}; MRE and radii in {unit}, rates in %; mean ± deviation over draws"
    below = "bold: best of its n and choice of weights, beyond the spread of the paired differences"
    parts: list[RenderableType] = [Text(title, style="bold"), Text(above, style="dim")]
    lines = [line for _, block in blocks(groups, metrics) for line in block]
    for target, choice in dict.fromkeys((group.target, group.checkpoint) for group in groups):
        mine = [line for line in lines if (line.group.target, line.group.checkpoint) == (target, choice)]
        parts += [Text(f"\ntarget {target}, weights {choice}: {choice_words(choice)}"), _rich_table(mine, metrics)]
    return Renderables(*parts, Text(below, style="dim"))


def _rich_table(lines: Sequence[TableLine], metrics: Sequence[Metric]) -> RenderableType:
    """Lay out lines sorted by n, a rule's breadth between one n and the next."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("n", justify="right", no_wrap=True)
    # Numbers must never be cut; in a narrow terminal the starts' names fold instead.
    table.add_column("start", overflow="fold", min_width=6)
    missing = any(" of " in line.group.draws for line in lines)
    for heading in (*["draws"] * missing, *(metric.short for metric in metrics)):
        table.add_column(heading, justify="right", no_wrap=True)
    for n, block in groupby(lines, key=lambda line: line.group.n):
        for number, line in enumerate(block):
            texts = [Text(text.replace(" ± ", "±"), style="bold" if bold else "") for text, bold in line.cells]
            counts = [Text(line.group.draws.replace(" of ", "/"))] * missing
            table.add_row(str(n) if number == 0 else "", Text(line.group.start), *counts, *texts)
        table.add_section()
    return table
