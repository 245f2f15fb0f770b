"""What ``ldx fewshot`` leaves to be read: summary.md, summary.csv, cells.csv and the figures, each whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.grid import Grid, escape
from landmark_diffusion.core.texts import counted
from landmark_diffusion.metrics.protocols import PROTOCOLS
from landmark_diffusion.studies.fewshot.figures import bars_figure, curve_figure, pretraining_figure
from landmark_diffusion.studies.fewshot.paper_figures import paper_section
from landmark_diffusion.studies.fewshot.results import CellResult
from landmark_diffusion.studies.fewshot.table import (
    NONE,
    SCRATCH,
    Difference,
    Group,
    Metric,
    choice_words,
    choices_of,
    group_cells,
    markdown_table,
    metrics_of,
    paired,
)


def write_summary(
    folder: Path,
    results: Sequence[CellResult],
    *,
    title: str,
    dataset: str,
    facts: Mapping[str, str] | None = None,
    draws: int | None = None,
    own_n: Mapping[str, Sequence[int]] | None = None,
) -> list[Path]:
    """Write the tables and figures of the finished cells into ``folder``; returns their paths, summary.md first.

    Args:
        dataset: its name in configs; the paper's figures are shown beside "isbi2015", "hand" and "chest".
        facts: what to note at the top; "stage", "split", "protocol", "network", "validation" and "pretraining" also
            fill our column of the comparison with the paper.
        draws: how many draws each group is to have; None takes the most that any group of the same n has.
        own_n: {start: n} of starts that are not meant for all n.

    Raises:
        UserError: without cells, or on cells that cannot stand in one table.
    """
    groups, metrics, folder = group_cells(results, draws), metrics_of(results), Path(folder)
    figures = [
        bars_figure(folder / "bars.png", groups, metrics, title),
        curve_figure(folder / "curve.png", groups, metrics, title, dataset),
    ]
    updates = pretraining_figure(folder / "pretraining.png", groups, metrics, title)
    figures += [updates] if updates else []
    write_csv(folder / "summary.csv", _summary_rows(groups, metrics), _number)
    write_csv(folder / "cells.csv", _cell_rows(results, metrics), _number)
    names = [path.name for path in figures]
    text = _markdown(groups, metrics, title, dataset, facts or {}, names, own_n or {})
    atomic_write_text(folder / "summary.md", text)
    return [folder / name for name in ("summary.md", "summary.csv", "cells.csv")] + figures


def _markdown(
    groups: Sequence[Group], metrics: Sequence[Metric], title: str, dataset: str, facts: Mapping[str, str],
    figures: Sequence[str], own_n: Mapping[str, Sequence[int]],
) -> str:  # fmt: skip
    most = max(group.expected for group in groups)
    measured = counted(groups[0].cells[0].images, "image") + (f", {facts['stage']}" if "stage" in facts else "")
    parts = [
        f"# {escape(title)}",
        "\n".join(f"- {escape(key)}: {escape(value)}" for key, value in facts.items()),
        f"## Results on {measured}\n\n{_SPREAD}",
        markdown_table(groups, metrics),
        "\n".join(f"- {line}" for line in _notes(groups, own_n)),
        "\n".join(f"![{Path(name).stem}]({name})" for name in figures),
        comparison_section(groups, metrics),
        _cost_section(groups),
        *(_protocol_section(groups, name) for name in _other_protocols(groups)),
        paper_section(dataset, measured, f"{counted(most, 'draw')}; ± is the spread over them", facts),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


_SPREAD = (
    "Mean ± standard deviation over draws of the labelled images (divided by the number of draws less one; "
    f"{NONE} for one draw).\nA draw brings its own seed of training, so the ± holds both."
)


def _notes(groups: Sequence[Group], own_n: Mapping[str, Sequence[int]]) -> list[str]:
    """What a reader must know of the table's rows, and what is not there yet."""
    notes = [f"weights {name}: {choice_words(name)}" for name in choices_of(groups)]
    notes.append(
        "**bold**: the best mean of its n and its choice of weights, where it beats the next best beyond the spread: "
        "the mean of their differences draw by draw is larger than the standard deviation of these differences"
    )
    waiting = [f"{_name(group)} at n = {group.n} ({group.draws})" for group in groups if " of " in group.draws]
    there = {(group.n, *_key(group)) for group in groups}
    series = {_key(group): group for group in groups}
    numbers = sorted({each.n for each in groups})
    meant = {key: [n for n in numbers if n in own_n.get(group.start, numbers)] for key, group in series.items()}
    absent = {
        _name(group): ", ".join(str(n) for n in meant[key] if (n, *key) not in there) for key, group in series.items()
    }
    notes += [f"fewer draws than the others: {'; '.join(waiting)}"] * bool(waiting)
    listed = [f"{name} at n = {gaps}" for name, gaps in absent.items() if gaps]
    notes += [f"no cell finished: {'; '.join(listed)}"] * bool(listed)
    notes += [
        f"at n = {n} all draws have the same images: ± is that of training's seed alone"
        for n in numbers
        if _draws_are_alike([cell for group in groups for cell in group.cells if group.n == n])
    ]
    return notes


def _draws_are_alike(cells: Sequence[CellResult]) -> bool:
    """Tell whether several draws have the same images, as where n is all that there are."""
    drawn = {cell.draw: frozenset(cell.train_images) for cell in cells}
    return len(drawn) > 1 and len(set(drawn.values())) == 1


def _cost_section(groups: Sequence[Group]) -> str:
    """Lay out what the trainings of each start and target took, without what it began with took before."""
    numbers = sorted({group.n for group in groups})
    cells: dict[tuple[str, str], list[CellResult]] = {}
    for group in groups:
        cells.setdefault((group.start, group.target), []).extend(group.cells)
    rows = []
    for (start, target), mine in cells.items():
        parameters = {cell.parameters for cell in mine if cell.parameters is not None}
        memory = [cell.memory_gib for cell in mine if cell.memory_gib is not None]
        row = [f"{start}, {target}", f"{max(parameters) / 1e6:.2f}" if parameters else NONE]
        row.append(f"{max(memory):.1f}" if memory else NONE)
        for n in numbers:
            minutes = {cell.draw: cell.train_minutes for cell in mine if cell.n == n}
            row.append(f"{sum(minutes.values()) / len(minutes):.1f}" if minutes else NONE)
        rows.append(tuple(row))
    headings = ("start, target", "parameters, millions", "memory, GiB", *(f"minutes, n = {n}" for n in numbers))
    grid = Grid("", (), headings, headings, (tuple(rows),)).to_markdown()
    return f"## What a training costs\n\n{_COST}\n\n{grid}"


_COST = (
    "Mean minutes of one training on the machine that ran it, with whatever ran beside it; the most memory of its "
    "process, without that of a GPU.\nPre-training is not in it."
)


def _key(group: Group) -> tuple[str, str, str]:
    return group.checkpoint, group.target, group.start


def _name(group: Group) -> str:
    return escape(f"{group.start}, {group.target}, {group.checkpoint}")


def comparison_section(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """Compare each pre-trained start with scratch draw by draw, and each reading with none, as Markdown sections."""
    scratch = {(group.n, *_key(group)[:2]): group for group in groups if group.start == SCRATCH}
    helps = _compared(groups, metrics, lambda group: scratch.get((group.n, *_key(group)[:2])), _MEANING)
    missing = f"No comparison: it needs the start called {SCRATCH} and another one at the same n and target."
    parts = [f"## What does each start bring?\n\n{helps or missing}"]
    plain = {(group.n, *_key(group)): group for group in groups if "+" not in group.checkpoint}
    read = [group for group in groups if "+" in group.checkpoint]
    changes = _compared(
        read, metrics, lambda group: plain.get((group.n, group.checkpoint.partition("+")[0], *_key(group)[1:])),
        f"Each reading minus none, of the same weights. {_VERDICT}",
    )  # fmt: skip
    return "\n\n".join([*parts, *([f"## What do the readings change?\n\n{changes}"] if changes else [])])


def _compared(
    groups: Sequence[Group], metrics: Sequence[Metric], other_of: Callable[[Group], Group | None], meaning: str
) -> str:
    """Groups minus those that they are compared with: a table and what it says in words; empty where there are none."""
    rates = [metric for metric in metrics if metric.radius is not None]
    shown = [metric for metric in metrics if metric.name in ("mre", "beyond_10mm") or metric in rates[:1]]
    others = {id(group): other for group in groups if (other := other_of(group)) not in (None, group)}
    rows, lines = [], []
    for key in dict.fromkeys(_key(group) for group in groups if id(group) in others):
        mine = [(group, others[id(group)]) for group in groups if _key(group) == key and id(group) in others]
        pairs = [(group, [paired(group, other, metric) for metric in shown]) for group, other in mine]
        rows += [_difference_row(group, found, shown) for group, found in pairs]
        lines += _verdict_lines(pairs, shown)
    if not rows:
        return ""
    headings = ("start, target, weights", "n", *(text for metric in shown for text in (metric.heading, "better in")))
    grid = Grid("", (), headings, headings, (tuple(rows),)).to_markdown()
    return f"{meaning}\n\n{grid}\n" + "\n".join(f"- {line}" for line in lines)


_VERDICT = (
    '"Beyond the spread" means: the mean difference is larger than its standard deviation over draws.\n'
    "That is no significance test: of comparisons over three draws without any true effect, about one in nine would be "
    "called better, over two draws one in five."
)
_MEANING = (
    f"Each start minus {SCRATCH} in the same draw, that is on the same labelled images: mean difference ± its standard "
    f"deviation over draws,\nand in how many draws the start is better. {_VERDICT}"
)
# Mean > sd is t > sqrt(draws) at draws - 1 degrees of freedom: 0.113 on one side with three draws, 0.196 with two.


def _difference_row(group: Group, found: Sequence[Difference], shown: Sequence[Metric]) -> tuple[str, ...]:
    cells = [f"{group.start}, {group.target}, {group.checkpoint}", str(group.n)]
    for difference, metric in zip(found, shown, strict=True):
        spread = difference.spread
        cells.append(NONE if spread is None else spread.text(metric.digits, "+"))
        cells.append(f"{difference.better} of {len(difference.by_draw)}" if spread else NONE)
    return tuple(cells)


_WORDS = {
    "better": "better beyond the spread at n = {}",
    "worse": "worse beyond the spread at n = {}",
    "within": "within the spread at n = {}",
    "unknown": "too few draws for a spread at n = {}",
}


def _verdict_lines(pairs: Sequence[tuple[Group, Sequence[Difference]]], shown: Sequence[Metric]) -> list[str]:
    """Say for each metric at which n one start helps; and which draws could not be compared."""
    lines = []
    for number, metric in enumerate(shown):
        found = {kind: [str(group.n) for group, each in pairs if each[number].verdict == kind] for kind in _WORDS}
        words = "; ".join(_WORDS[kind].format(", ".join(numbers)) for kind, numbers in found.items() if numbers)
        what = escape(metric.heading.partition(",")[0])
        lines.append(f"{_name(pairs[0][0])}: {what} {words}")
    for group, each in pairs:
        if each[0].unlike:
            draws = ", ".join(map(str, each[0].unlike))
            lines.append(f"{_name(group)} at n = {group.n}: not compared in draw {draws}, trained on other images")
    return lines


def under_protocol(results: Iterable[CellResult], name: str) -> list[CellResult]:
    """Take what the cells measured under another protocol in place of their own figures; others are left out."""
    found = [(cell, cell.other[name]) for cell in results if name in cell.other]
    return [
        replace(
            cell, unit=other["unit"], images=other["images"], mre=other["mre"], median=other["median"],
            sdr={float(radius): percent for radius, percent in other["sdr"].items()}, beyond_10mm=other["beyond_10mm"],
        )
        for cell, other in found
    ]  # fmt: skip


def _other_protocols(groups: Sequence[Group]) -> list[str]:
    return sorted({name for group in groups for cell in group.cells for name in cell.other})


def _protocol_section(groups: Sequence[Group], name: str) -> str:
    """Write the table of the same weights and images, measured under another protocol, below the honest one."""
    cells = [cell for group in groups for cell in group.cells]
    results = under_protocol(cells, name)
    rules = next(cell.other[name]["protocol"] for cell in cells if name in cell.other)
    caution = PROTOCOLS[name].caution if name in PROTOCOLS else ""
    lines = "  \n".join(escape(line) for line in (caution, rules) if line)
    expected = max(group.expected for group in groups)
    table = markdown_table(group_cells(results, expected), metrics_of(results))
    return f"## The same under protocol {escape(name)}\n\n{lines}\n\n{table}"


def _summary_rows(groups: Sequence[Group], metrics: Sequence[Metric]) -> list[list[Any]]:
    """A heading and a row a group."""
    rows: list[dict[str, Any]] = []
    for group in groups:
        first = group.cells[0]
        row: dict[str, Any] = {name: getattr(group, name) for name in ("start", "target", "checkpoint", "n")}
        row |= {"draws": len(group.cells), "draws_expected": group.expected, "images": first.images, "unit": first.unit}
        row["pretrain_updates"] = group.pretrain_updates
        for metric in metrics:
            spread = group.spread(metric)
            row[f"{metric.name}_mean"], row[f"{metric.name}_sd"] = (spread.mean, spread.sd) if spread else (None, None)
        rows.append(row)
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def _cell_rows(results: Sequence[CellResult], metrics: Sequence[Metric]) -> list[list[Any]]:
    """A heading and a row a cell and checkpoint, in the table's order."""
    others = {name: metrics_of(under_protocol(results, name)) for name in _other_protocols(group_cells(results))}
    rows: list[dict[str, Any]] = []
    for group in group_cells(results):
        for cell in group.cells:
            row: dict[str, Any] = {name: getattr(cell, name) for name in _OF_CELL}
            row["pretrain_updates"] = group.pretrain_updates
            row |= {metric.name: metric.of(cell) for metric in metrics}
            for name, each in others.items():
                found = under_protocol([cell], name)
                row |= {f"{name}_{metric.name}": metric.of(found[0]) if found else None for metric in each}
            rows.append(row)
    return [list(rows[0]), *(list(row.values()) for row in rows)]


_OF_CELL = (
    "start", "target", "checkpoint", "n", "draw", "seed", "images", "unit", "updates", "train_minutes", "parameters",
    "memory_gib",
)  # fmt: skip


def _number(value: float) -> str:
    return str(round(value, 4))
