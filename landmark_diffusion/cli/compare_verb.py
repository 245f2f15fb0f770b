"""``ldx compare``: any number of runs in one table, with paired intervals against the first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.grid import Grid
from landmark_diffusion.core.texts import counted, words

if TYPE_CHECKING:
    from landmark_diffusion.core.interval import Interval
    from landmark_diffusion.metrics.comparison import Comparison, Run

DESCRIPTION = (
    "Compare runs that were tested on the same images: means with 95 % intervals over images, and each run's paired "
    "difference to the first. Images that not all runs have are left out and counted."
)
EXAMPLES = """RUN: a run folder (its test/ is read), a folder with predictions.csv, or such a file. NAME=RUN names it,
and NAME=RUN,RUN,... takes several seeds of one method, over which an image's errors are averaged.

examples:
  ldx compare runs/baseline runs/diffusion
  ldx compare runs/mine/test/predictions_single_step.csv runs/mine --output compared.csv
  ldx compare plain=runs/a_s0,runs/a_s1,runs/a_s2 new=runs/b_s0,runs/b_s1,runs/b_s2
"""
COLUMNS = (
    *("figure", "run", "unit", "mean", "low", "high"),
    *("difference", "difference_low", "difference_high", "images", "seeds"),
)
"""Of the table that ``--output`` writes."""


def run_compare(arguments: list[str]) -> int:
    """Print the table, and write it where asked for; return 0. Raises UserError for runs that are not comparable."""
    options = _parse(arguments)
    named = _named(options.runs)
    from landmark_diffusion.metrics.comparison import compare, find_predictions, known_radii, read_run

    for places in named.values():  # all that is missing is told before the first file is read
        for place in places:
            find_predictions(place)
    runs = [read_run(name, places) for name, places in named.items()]
    radii = options.radii or known_radii(runs[0])
    found = compare(runs, radii)
    if options.output:
        write_csv(options.output, table_rows(found, runs))
    comparison_grid(found, runs).show()
    if options.output:
        print(f"wrote {options.output}")
    return 0


def comparison_grid(found: Comparison, runs: Sequence[Run]) -> Grid:
    """Lay the figures out: a section each, a row for each run."""
    from landmark_diffusion.metrics.records import unit_words

    first, unit = runs[0].name, unit_words(found.unit)
    figures = list(dict.fromkeys(each.figure for each in found.figures))
    sections = [
        tuple(
            (
                _label(each.figure, unit) if each.run == first else "",
                each.run,
                f"{each.median:.2f}" if each.value is None else _text(each.value),
                "" if each.difference is None else _text(each.difference, "+"),
            )
            for each in found.figures
            if each.figure == figure
        )
        for figure in figures
    ]
    headings = ("", "run", "mean, 95 % interval", "minus the first")
    seeds = "" if all(len(run.files) == 1 for run in runs) else f"; seeds: {_seeds(runs)}"
    return Grid(
        title=f"Comparison with {first}",
        above=(
            f"{counted(len(found.images), 'image')} that all runs have, {counted(found.landmarks, 'landmark')}{seeds}",
        ),
        headings=headings,
        long_headings=headings,
        sections=tuple(sections),
        notes=(*_left_out(found), "an interval of the difference without 0: the runs differ on images like these"),
    )


def table_rows(found: Comparison, runs: Sequence[Run]) -> list[tuple[str | int | float | None, ...]]:
    """Give ``COLUMNS`` and a row for each figure; percent where the figure is a share, None where not known."""
    seeds = {run.name: len(run.files) for run in runs}
    rows: list[tuple[str | int | float | None, ...]] = [COLUMNS]
    for each in found.figures:
        unit = found.unit if each.figure in ("MRE", "median") else "%"
        value = (each.median, None, None) if each.value is None else _numbers(each.value)
        counts = len(found.images), seeds[each.run]
        rows.append((each.figure, each.run, unit, *value, *_numbers(each.difference), *counts))
    return rows


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser("compare", DESCRIPTION, EXAMPLES)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="two or more; the others are compared with the first")
    parser.add_argument("--radii", type=_radii, help="of the success detection rate, 2,2.5,3,4; default: of the test")
    parser.add_argument("--output", metavar="FILE.csv", help="write the table, with more decimals")
    options = parser.parse(arguments)
    if len(options.runs) < 2:
        raise UserError(f"ldx compare: found {len(options.runs)} runs, expected two or more: ldx compare RUN RUN ...")
    return options


def _radii(text: str) -> tuple[float, ...]:
    try:
        radii = tuple(float(word) for word in words(text))
    except ValueError:
        radii = ()
    if not radii or not all(0 < radius < float("inf") for radius in radii):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected lengths above 0 in the runs' unit: 2,2.5,3,4")
    return radii


def _named(runs: Sequence[str]) -> dict[str, list[str]]:
    """Places of each run by its name: the given one, else the shortest end of the path that tells it apart."""
    given = [_split(run) for run in runs]
    paths = [Path(places[0]) for name, places in given if not name]
    found: dict[str, list[str]] = {}
    for name, places in given:
        label = name or _short(Path(places[0]), paths)
        if label in found:
            raise UserError(f"ldx compare: found {label!r} twice; tell the runs apart by NAME=RUN")
        found[label] = places
    return found


def _split(run: str) -> tuple[str, list[str]]:
    name, equals, places = run.partition("=")
    if Path(run).exists() or not equals or not name:
        return "", [run]
    return name, words(places)


def _short(path: Path, others: Sequence[Path]) -> str:
    """Leave out what all runs have: test/predictions.csv, and the folders above the last one that differs."""
    parts = {each: [part for part in each.parts if part not in ("test", "predictions.csv")] for each in others}
    for length in range(1, max(map(len, parts.values())) + 1):
        label = "/".join(parts[path][-length:])
        if sum("/".join(each[-length:]) == label for each in parts.values()) == 1:
            return label
    return str(path)


def _label(figure: str, unit: str) -> str:
    return f"{figure}, {unit}" if figure in ("MRE", "median") else f"{figure} {unit}, %"


def _text(value: Interval, sign: str = "") -> str:
    return f"{value.mean:{sign}.2f} [{value.low:{sign}.2f}, {value.high:{sign}.2f}]"


def _numbers(value: Interval | None) -> tuple[float | None, ...]:
    return (None, None, None) if value is None else (value.mean, value.low, value.high)


def _seeds(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.name} {len(run.files)}" for run in runs)


def _left_out(found: Comparison) -> list[str]:
    return [
        f"left out of {name}: {len(images)} images that not all runs have ({', '.join(images[:3])}"
        f"{', ...' if len(images) > 3 else ''})"
        for name, images in found.left_out.items()
        if images
    ]
