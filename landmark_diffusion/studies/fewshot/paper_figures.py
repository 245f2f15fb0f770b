"""What paper B prints in its tables 1, 2, 3 and 5, and what makes it comparable with ours or not (docs/conventions.md).

Nothing here is ours, and nothing of ours is mixed into it: the images, the rules and the network all differ.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from landmark_diffusion.core.grid import Grid
from landmark_diffusion.metrics.records import unit_words

PAPER = "Di Via, Odone and Pastore, Self-Supervised Pre-Training with Diffusion Model for Few-Shot Landmark Detection"
DISC, ONE_PIXEL = "Our method", "Our method with [35]"  # as printed
METHODS = {DISC: "DDPM, Gaussian disc", ONE_PIXEL: "DDPM, contour-hugging (one pixel)"}
METHOD_OF_TARGET = {"disc": DISC, "one_hot": ONE_PIXEL, "contour_hugging": ONE_PIXEL}
"""Which of the paper's two own methods a target of ours belongs beside."""


@dataclass(frozen=True)
class PaperRow:
    """One printed row: (mean, printed ±) of MRE, and of SDR in percent by radius."""

    n: int
    method: str
    mre: tuple[float, float]
    sdr: dict[float, tuple[float, float]]


@dataclass(frozen=True)
class PaperTable:
    """One printed table, or one half of table 5.

    Args:
        number: as printed.
        pretrained_on: the dataset of the DDPM's pre-training, where it is another one.
        unit: of MRE and radii; "px256" is pixels of the 256x256 grid.
        file: CSV in ``paper_b/``: n, method, then mean and ± of MRE and of SDR at each radius, in printed order.
    """

    number: int
    pretrained_on: str | None
    unit: str
    file: str

    @property
    def radii(self) -> tuple[float, ...]:
        """Those of the SDR columns."""
        return tuple(float(name) for name in self._cells()[0][4::2])

    def rows(self) -> tuple[PaperRow, ...]:
        """Read the printed rows, in printed order."""
        return tuple(_row(cells, self.radii) for cells in self._cells()[1:])

    def _cells(self) -> list[list[str]]:
        return list(csv.reader(_text(self.file).splitlines()))


def _row(cells: list[str], radii: tuple[float, ...]) -> PaperRow:
    values = [float(cell) for cell in cells[2:]]
    mre, *sdr = zip(values[::2], values[1::2], strict=True)
    return PaperRow(int(cells[0]), cells[1], mre, dict(zip(radii, sdr, strict=True)))


TABLES: dict[str, tuple[PaperTable, ...]] = {
    "chest": (PaperTable(1, None, "px256", "chest.csv"), PaperTable(5, "hand", "px256", "hand_to_chest.csv")),
    "isbi2015": (PaperTable(2, None, "mm", "isbi2015.csv"), PaperTable(5, "hand", "mm", "hand_to_isbi2015.csv")),
    "hand": (PaperTable(3, None, "mm", "hand.csv"),),
}
"""The paper's tables by the name of the dataset in configs."""

FACTS = {
    "split": "split (train / validation / test)",
    "protocol": "protocol",
    "network": "network",
    "validation": "validation",
    "pretraining": "pre-training",
}
"""Keys of a summary's facts that fill our column of the comparison, and what the rows are called."""


@cache
def _theirs() -> dict[str, dict[str, Any]]:
    """What the paper says of itself, of every dataset and of each, and what is odd about its figures."""
    found: dict[str, dict[str, Any]] = json.loads(_text("facts.json"))
    return found


def _text(name: str) -> str:
    return files(__package__).joinpath("paper_b", name).read_text(encoding="utf-8")


def paper_section(dataset: str, images: str, runs: str, facts: Mapping[str, str]) -> str:
    """Write the paper's figures as a Markdown section of their own, headed by what differs; "" where it has none.

    Args:
        dataset: as in configs.
        images, runs: our measured images and our draws, in words.
        facts: ours, by the keys of ``FACTS``; an absent one is said to be in the config.
    """
    if dataset not in TABLES:
        return ""
    tables = "\n".join(_printed(table) for table in TABLES[dataset])
    warnings = "".join(f"- {line}\n" for line in _theirs()[dataset]["warnings"])
    head = f"## The paper's own figures, under the paper's own protocol\n\n{PAPER}.\nNot measured here.\n"
    return f"{head}\n{_comparison(dataset, images, runs, facts)}\n{warnings}\n{tables}"


def zero_spreads(dataset: str) -> tuple[int, int]:
    """Count the printed ± of the paper's own methods: how many are 0.00, and how many there are."""
    rows = [row for table in TABLES[dataset] for row in table.rows() if row.method in METHODS]
    spreads = [sd for row in rows for _, sd in (row.mre, *row.sdr.values())]
    return sum(sd == 0 for sd in spreads), len(spreads)


def _comparison(dataset: str, images: str, runs: str, facts: Mapping[str, str]) -> str:
    zero, total = zero_spreads(dataset)
    theirs = (
        f"three runs; of the ± printed for its own methods {zero} of {total} are 0.00, so they are not the spread of "
        "draws; which images were drawn is not printed"
    )
    said = _theirs()["every dataset"] | _theirs()[dataset]
    rows = [("measured images", images, said["measured"])]
    rows += [(name, facts.get(key, "see the config"), said[key]) for key, name in FACTS.items()]
    rows.append(("runs", runs, theirs))
    headings = ("what differs", "ours", "the paper")
    return Grid("", (), headings, headings, (tuple(rows),)).to_markdown().replace("---:", "---")


def _printed(table: PaperTable) -> str:
    """Lay out one printed table, n in the first column of each row."""
    unit = unit_words(table.unit)
    source = f"Table {table.number}" + (f", pre-trained on {table.pretrained_on}" if table.pretrained_on else "")
    headings = ("method", "n", f"MRE, {unit}", *(f"SDR {radius:g} {unit}, %" for radius in table.radii))
    rows = tuple(
        (METHODS.get(row.method, row.method), str(row.n), *(f"{mean:.2f} ± {sd:.2f}" for mean, sd in _pairs(row)))
        for row in table.rows()
    )
    return f"### {source} of the paper\n\n" + Grid("", (), headings, headings, (rows,)).to_markdown()


def _pairs(row: PaperRow) -> tuple[tuple[float, float], ...]:
    return (row.mre, *row.sdr.values())
