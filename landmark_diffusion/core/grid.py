"""A grid of texts with lines above and notes below, as rich prints it and as Markdown shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

ABSENT = "\N{EN DASH}"
"""Stands for a number that is not known."""


def rounded(value: float | None, decimals: int = 2) -> str:
    """Write a number for people to read, never as -0; ``ABSENT`` where it is not known."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:z.{decimals}f}"


@dataclass(frozen=True)
class Grid:
    """Texts in rows and columns; the first column is set left, the others right.

    Args:
        title: printed bold above everything, a heading in Markdown.
        above: lines before the table: how it was measured, how much was counted.
        headings: short ones, for terminals of 80 columns.
        long_headings: what they stand for, used in Markdown.
        sections: groups of rows; a rule parts them in the terminal.
        notes: lines below the table.
        words: places of columns that hold words: set left, and broken at spaces where the terminal is narrow.
    """

    title: str
    above: tuple[str, ...]
    headings: tuple[str, ...]
    long_headings: tuple[str, ...]
    sections: tuple[tuple[tuple[str, ...], ...], ...]
    notes: tuple[str, ...] = ()
    words: tuple[int, ...] = ()

    def to_rich(self) -> RenderableType:
        """Build what ``rich.console.Console.print`` takes."""
        from rich.console import Group
        from rich.text import Text

        lines = [Text(line, style="dim") for line in self.above]
        notes = [Text(line, style="dim") for line in self.notes]
        return Group(Text(self.title, style="bold"), *lines, _Fitting(self), *notes)

    def show(self) -> None:
        """Print it."""
        from rich.console import Console

        Console().print(self.to_rich())

    def table(self) -> Table:
        """Build the rows and columns alone."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True, show_edge=False)
        for number, heading in enumerate(self.headings):
            # Numbers must never be cut; in a narrow terminal the first column's labels fold instead.
            text = not number or number in self.words
            widest = max(len(row[number]) for row in (self.headings, *(row for each in self.sections for row in each)))
            table.add_column(
                heading, justify="left" if text else "right", no_wrap=not text, overflow="fold",
                min_width=None if text else widest,
            )  # fmt: skip
        for section in self.sections:
            for row in section:
                table.add_row(*(Text(cell) for cell in row))
            table.add_section()
        return table

    def stacked(self) -> str:
        """Write each row as lines: its first cell, and below it the others with their headings."""
        lines = []
        for first, *others in (row for section in self.sections for row in section):
            lines.append(first)
            lines += [f"  {head}: {cell}" for head, cell in zip(self.headings[1:], others, strict=True) if cell]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Write the grid as a Markdown section that ends with a line end."""
        lines = [f"## {self.title}", ""] if self.title else []
        lines += [f"{escape(line)}  " for line in self.above] + [""] * bool(self.above)
        lines += [_markdown_row(self.long_headings), _markdown_row(["---"] + ["---:"] * (len(self.headings) - 1))]
        lines += [_markdown_row(row) for section in self.sections for row in section]
        lines += [""] * bool(self.notes) + [f"{escape(line)}  " for line in self.notes]
        return "\n".join(lines) + "\n"


class LaidOut:
    """What is printed by rich and written as Markdown as its ``grid`` is."""

    def grid(self) -> Grid:
        """Round the numbers and lay them out."""
        raise NotImplementedError

    def __rich__(self) -> RenderableType:
        return self.grid().to_rich()

    def to_markdown(self) -> str:
        """Write a Markdown section."""
        return self.grid().to_markdown()


@dataclass(frozen=True)
class _Fitting:
    """A grid as a table, or with a line a cell where the terminal is so narrow that words would be cut to letters."""

    grid: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        table = self.grid.table()
        fits = console.measure(table, options=options.update(max_width=1000)).minimum <= options.max_width
        yield table if fits else Text(self.grid.stacked())


def escape(text: str) -> str:
    """Keep Markdown from reading user's text (names of images, landmarks, annotators) as markup."""
    for mark in "\\`*_[]|<>":
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", " ")


def _markdown_row(cells: Sequence[str]) -> str:
    kept = [cell if set(cell) <= set("-:") else escape(cell) for cell in cells]
    return "| " + " | ".join(kept) + " |"
