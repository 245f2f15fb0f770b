"""The figures of a few-shot summary: bars by n, curves over n, and error over updates of pre-training (figure 2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.pictures.charts import log_axis, style_chart
from landmark_diffusion.pictures.figures import FAINT, INK, VARIANTS, Canvas, shorten
from landmark_diffusion.studies.fewshot.paper_figures import METHOD_OF_TARGET, TABLES
from landmark_diffusion.studies.fewshot.plan import NO_TARGET
from landmark_diffusion.studies.fewshot.table import SCRATCH, Group, Metric, Spread, choices_of, start_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*"
LEFT, RIGHT, BOTTOM, GAP, TITLE, LEGEND_ROW = 74, 20, 58, 46, 56, 22  # output pixels
WIDE = 10.0
"""Errors that differ by more than this factor are drawn on a logarithmic axis."""
KEY = "mean ± standard deviation over draws; small dots: the draws"


def bars_figure(path: Path, groups: Sequence[Group], metrics: Sequence[Metric], title: str) -> Path:
    """Draw MRE and SDR as bars for each n, a column of panels a target; returns the path.

    Bars are means, whiskers the standard deviation over draws, dots the draws; hatched bars are the last weights.
    """
    numbers, series = sorted({group.n for group in groups}), _series(groups)

    def draw(axes: Axes, target: str, metric: Metric) -> None:
        _draw_bars(axes, [group for group in groups if group.target == target], metric, numbers, series)

    width = max(380, min(12 * len(numbers) * (len(series) + 1), 1000))
    panels = _Panels(_targets(groups), groups, _chosen(metrics), draw, "labelled training images n")
    return panels.save(path, title, (width, 210), len(series))


def curve_figure(path: Path, groups: Sequence[Group], metrics: Sequence[Metric], title: str, dataset: str = "") -> Path:
    """Draw MRE and SDR over n (logarithmic), a line a start and choice of weights; returns the path.

    Solid: best weights, dashed: last ones, dotted: readings; dots are draws, whiskers the standard deviation over
    them. Where ``dataset`` is one of the paper's, its own lines are grey, under the paper's own protocol.
    """
    targets, numbers, series = _targets(groups), sorted({group.n for group in groups}), _series(groups)
    dodge = min(1.06, 1.35 ** (1 / len(series)))  # side by side, so that whiskers do not cover each other
    unit = groups[0].cells[0].unit
    paper = dataset in TABLES and TABLES[dataset][0].unit == unit and not METHOD_OF_TARGET.keys().isdisjoint(targets)

    def draw(axes: Axes, target: str, metric: Metric) -> None:
        if paper:
            _draw_paper(axes, dataset, target, metric)
        for number, (start, choice) in enumerate(series):
            line = [g for g in groups if (g.target, g.start, g.checkpoint) == (target, start, choice)]
            at = [group.n * dodge ** (number - (len(series) - 1) / 2) for group in line]
            _draw_line(axes, at, line, metric, _look(start, series), choice, _label(start, choice, series))
        axes.set(xscale="log", xlim=(numbers[0] / 1.35, numbers[-1] * 1.35))
        axes.set_xticks(numbers, [str(n) for n in numbers])
        axes.minorticks_off()

    panels = _Panels(targets, groups, _chosen(metrics), draw, "labelled training images n, logarithmic")
    return panels.save(path, title, (520, 250), len(series) + paper)


def pretraining_figure(path: Path, groups: Sequence[Group], metrics: Sequence[Metric], title: str) -> Path | None:
    """Draw the error over updates of pre-training, a line for each n (figure 2 of the paper; scratch stands at 0).

    One column of panels for each target and series of pre-training checkpoints (starts whose names differ in the
    number of updates alone). Returns None, and removes an older figure, unless two numbers of updates are there.
    """
    columns = _pretraining_columns(groups)
    if not columns:
        path.unlink(missing_ok=True)
        return None
    shown = [group for each in columns.values() for group in each]
    numbers = sorted({group.n for group in shown})
    choices = choices_of(shown)

    def draw(axes: Axes, column: str, metric: Metric) -> None:
        found = columns[column]
        widest = max(group.pretrain_updates or 0 for group in found)
        for (place, n), choice in product(enumerate(numbers), choices):
            aside = 0.006 * widest * (place - (len(numbers) - 1) / 2)  # whiskers side by side
            line = [group for group in found if (group.n, group.checkpoint) == (n, choice)]
            at = [float(group.pretrain_updates or 0) + aside for group in line]
            label = f"n = {n}" + (f", {choice}" if len(choices) > 1 else "")
            _draw_line(axes, at, line, metric, _look_of_n(place, len(numbers)), choice, label)
        ticks = sorted({group.pretrain_updates or 0 for group in found})
        axes.set_xticks(ticks, [f"{tick:,}" if tick else "scratch" for tick in ticks])

    panels = _Panels(list(columns), shown, _chosen(metrics)[:2], draw, "updates of pre-training")
    return panels.save(path, title, (520, 270), len(numbers) * len(choices))


def _pretraining_columns(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Heading -> groups sorted by updates: those of one target and one series of checkpoints, with scratch."""
    columns: dict[str, list[Group]] = {}
    for target in _targets(groups):
        ours = [g for g in groups if g.target == target and g.pretrain_updates is not None]
        families = {_family(g): None for g in ours if g.start != SCRATCH}
        for family in families:
            found = [g for g in ours if g.start == SCRATCH or _family(g) == family]
            if len({g.pretrain_updates for g in found if g.start != SCRATCH}) > 1:
                heading = target if len(families) == 1 else f"{target}, {family}"
                columns[heading] = sorted(found, key=lambda g: g.pretrain_updates or 0)
    return columns


def _family(group: Group) -> str:
    """Name of a start without its number of updates: "ceph_4k", "ceph_4000" and "ceph step 6000" lose the number."""
    updates = group.pretrain_updates or 0
    return re.sub(rf"[ _-]*(?:(?:step|updates)[ _-]*)?(?:{updates}|{updates / 1000:g}k)(?![0-9])", "", group.start)


def _chosen(metrics: Sequence[Metric]) -> list[Metric]:
    """What is drawn: MRE, SDR at the smallest and greatest radius, the share beyond 10 mm."""
    rates = [metric for metric in metrics if metric.radius is not None]
    names = {"mre", "beyond_10mm", *(metric.name for metric in (*rates[:1], *rates[-1:]))}
    return [metric for metric in metrics if metric.name in names]


def _targets(groups: Sequence[Group]) -> list[str]:
    return sorted({group.target for group in groups})


def _series(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Pairs of start and checkpoint choice, in the table's order of starts."""
    there = {(group.start, group.checkpoint) for group in groups}
    names = start_names(cell for group in groups for cell in group.cells)
    return [(start, choice) for start in names for choice in choices_of(groups) if (start, choice) in there]


def _label(start: str, choice: str, series: Sequence[tuple[str, str]]) -> str:
    return shorten(start, 26) + (f", {choice}" if len({name for _, name in series}) > 1 else "")


def _look(start: str, series: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Colour and marker of a start: scratch is black, the others by their place; once round, darker, then lighter."""
    names = list(dict.fromkeys(name for name, _ in series if name != SCRATCH))
    if start == SCRATCH:
        return INK, MARKERS[0]
    turn, place = divmod(names.index(start), len(VARIANTS))
    return _shade(VARIANTS[place], turn), MARKERS[(names.index(start) + 1) % len(MARKERS)]


def _shade(colour: str, turn: int) -> str:
    """A colour as it is, mixed with black, with white, ..."""
    from matplotlib.colors import to_hex, to_rgb

    share = (0.0, 0.5, 0.55)[turn % 3]
    red, green, blue = (value * (1 - share) + share * (turn % 3 == 2) for value in to_rgb(colour))
    return to_hex((red, green, blue))


def _look_of_n(place: int, count: int) -> tuple[str, str]:
    """Colour and marker of an n: from dark to light along cividis, which colour-blind readers see alike."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["cividis"](0.9 * place / max(count - 1, 1))), MARKERS[place % len(MARKERS)]


@dataclass(frozen=True)
class _Panels:
    """A figure of panels: a column a heading, a row a metric, drawn by ``draw(axes, heading, metric)``."""

    columns: Sequence[str]
    groups: Sequence[Group]
    metrics: Sequence[Metric]
    draw: Callable[[Axes, str, Metric], None]
    below: str

    def save(self, path: Path, title: str, size: tuple[float, float], entries: int) -> Path:
        """Draw panels of at least ``size`` (width, height) output pixels under a title and ``entries`` of a legend."""
        width, height = max(size[0], 700 / len(self.columns)), size[1]
        across = LEFT + len(self.columns) * width + (len(self.columns) - 1) * GAP + RIGHT
        legend_columns = max(1, int((across - 24) // 230))
        top = TITLE + LEGEND_ROW * -(-entries // legend_columns) + 34
        canvas = Canvas(across, top + len(self.metrics) * height + (len(self.metrics) - 1) * 30 + BOTTOM)
        canvas.write(12, 12, shorten(title, int(across / 9)), 12, weight="bold", va="top", color="black")
        canvas.write(12, 34, KEY, 9, color=FAINT, va="top")
        found: dict[str, Any] = {}
        for line, metric in enumerate(self.metrics):
            lefts = [LEFT + column * (width + GAP) for column in range(len(self.columns))]
            row = [canvas.chart(left, top + line * (height + 30), width, height) for left in lefts]
            for axes, column in zip(row, self.columns, strict=True):
                self.draw(axes, column, metric)
                found |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
                if line == 0:
                    axes.set_title("" if column == NO_TARGET else f"target: {column}", fontsize=10.5, loc="left", pad=8)
                if line == len(self.metrics) - 1:
                    axes.set_xlabel(self.below, fontsize=10)
            _value_axis(row, self.groups, metric)
        corner = 4 / canvas.width, 1 - (TITLE - 4) / canvas.height
        canvas.figure.legend(
            found.values(), found.keys(), loc="upper left", bbox_to_anchor=corner, frameon=False, fontsize=9.5,
            ncols=legend_columns, handlelength=2.6, columnspacing=1.6,
        )  # fmt: skip
        return canvas.save(path)


def _draw_bars(
    axes: Axes, groups: Sequence[Group], metric: Metric, numbers: Sequence[int], series: Sequence[tuple[str, str]]
) -> None:
    step = 1 / (len(series) + 1)
    shown = [group for group in groups if group.values(metric)]
    found = {(group.n, group.start, group.checkpoint) for group in shown}
    there = {n: [each for each in series if (n, *each) in found] for n in numbers}
    for start, choice in series:
        mine = [group for group in shown if (group.start, group.checkpoint) == (start, choice)]
        if not mine:
            continue
        places = [there[group.n].index((start, choice)) - (len(there[group.n]) - 1) / 2 for group in mine]
        at = np.array([numbers.index(group.n) + place * step for group, place in zip(mine, places, strict=True)])
        hollow = choice != "best" and len({name for _, name in series}) > 1
        means, spreads = _means(mine, metric)
        colour, _ = _look(start, series)
        axes.bar(
            at, means, 0.86 * step, color=colour + ("40" if hollow else "B0"), edgecolor=colour, linewidth=1,
            hatch=_HATCHES[_style(choice)] if hollow else None, label=_label(start, choice, series), zorder=2,
        )  # fmt: skip
        axes.errorbar(at, means, yerr=spreads, fmt="none", ecolor=INK, elinewidth=1.2, capsize=2.5, zorder=4)
        _draw_draws(axes, at, mine, metric, INK)
    axes.set_xticks(range(len(numbers)), [str(n) for n in numbers])
    axes.set_xlim(-0.55, len(numbers) - 0.45)
    axes.tick_params(axis="x", length=0)


def _style(choice: str) -> str:
    """Lines of the best weights are whole, of the last ones dashed, of readings dotted."""
    return ":" if "+" in choice else "--" if choice == "last" else "-"


_HATCHES = {"-": None, "--": "////", ":": "...."}


def _draw_line(
    axes: Axes, at: Sequence[float], groups: Sequence[Group], metric: Metric, look: tuple[str, str], choice: str,
    label: str,
) -> None:  # fmt: skip
    """Draw one line of means with whiskers and the draws as dots."""
    kept = [(x, group) for x, group in zip(at, groups, strict=True) if group.values(metric)]
    if not kept:
        return
    places, mine = np.array([x for x, _ in kept]), [group for _, group in kept]
    means, spreads = _means(mine, metric)
    colour, marker = look
    axes.errorbar(
        places, means, yerr=spreads, color=colour, marker=marker, markersize=5.5, linewidth=1.6, capsize=3,
        elinewidth=1.1, linestyle=_style(choice), label=label, zorder=3,
        markerfacecolor="white" if choice != "best" else colour,
    )  # fmt: skip
    _draw_draws(axes, places, mine, metric, colour, small=True)


def _draw_draws(
    axes: Axes, at: Iterable[float], groups: Sequence[Group], metric: Metric, colour: str, small: bool = False
) -> None:
    """Draw each draw as a dot: white on a bar, ``small`` and beneath the marker on a line."""
    places = [x for x, group in zip(at, groups, strict=True) for _ in group.values(metric)]
    values = [value for group in groups for value in group.values(metric)]
    if small:
        axes.scatter(places, values, s=7, color=colour, linewidths=0, zorder=2.5)
    else:
        axes.scatter(places, values, s=11, color="white", edgecolors=colour, linewidths=0.8, zorder=5)


def _draw_paper(axes: Axes, dataset: str, target: str, metric: Metric) -> None:
    """Draw the paper's own line of the same kind of target, grey, where the metric and unit are printed there."""
    table, method = TABLES[dataset][0], METHOD_OF_TARGET.get(target)
    rows = [row for row in table.rows() if row.method == method]
    if metric.name == "mre":
        values = [row.mre[0] for row in rows]
    else:
        values = [row.sdr[metric.radius][0] for row in rows if metric.radius in row.sdr]
    if values:
        axes.plot(
            [row.n for row in rows], values, color=FAINT, linewidth=1.4, linestyle=":", marker="x", markersize=5,
            label="paper, own protocol", zorder=1,
        )  # fmt: skip


def _means(groups: Sequence[Group], metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Means (K,) and standard deviations (K,), 0 where there is one draw."""
    spreads = [Spread.of(group.values(metric)) for group in groups]
    return np.array([spread.mean for spread in spreads]), np.array([spread.sd or 0.0 for spread in spreads])


def _value_axis(row: Sequence[Axes], groups: Sequence[Group], metric: Metric) -> None:
    """Give the panels of one metric the same axis: logarithmic where errors differ much, percent from 0 to 100."""
    values = np.array([value for group in groups for value in group.values(metric)])
    printed = np.concatenate([np.asarray(line.get_ydata(), float) for axes in row for line in axes.lines] + [values])
    positive = printed[np.isfinite(printed) & (printed > 0)]
    wide = metric.radius is None and positive.size > 0 and positive.max() > WIDE * positive.min()
    wide = wide and metric.name != "beyond_10mm"
    for column, axes in enumerate(row):
        if wide:
            log_axis(axes, "y", positive.min() / 1.5, positive.max() * 1.3)
        else:
            most = 1.1 * positive.max() if positive.size else None
            axes.set_ylim(0, most if most is None or metric.name == "mre" else min(103.0, most))
        if column == 0:
            axes.set_ylabel(metric.heading + (", log" if wide else ""), fontsize=10)
        style_chart(axes, "y")
