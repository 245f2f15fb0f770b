"""Running the cells of a grid, or folds, from a verb: progress, how to go on after a stop, and what is not done."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from landmark_diffusion.studies.trainings.job import Job
from landmark_diffusion.studies.trainings.runner import Each, Outcome, Runner, Stopped, tidy


def run_cells(
    command: Sequence[str], folder: Path, jobs: Callable[[Each], Job], cells: Sequence[Each], wait: bool, keep: bool,
    what: str = "cells",
) -> Outcome:  # fmt: skip
    """Run the open cells; returns what became of them.

    Args:
        command: that goes on after a stop, without ``ldx``.
        folder: of all cells.
        jobs: makes the job of a cell.
        cells: what is to be done.
        wait: stay until other processes have finished theirs.
        keep: keep the checkpoints of finished cells.
        what: a word for the cells.

    Raises SystemExit 129, 130 or 143 after a signal.
    """
    if not keep:
        tidy(folder, cells)
    with _progress(len(cells), what) as (tell, progress):
        try:
            outcome = Runner(folder, jobs, tell, progress).run(cells, wait)
        except Stopped:
            print(f"stopped; go on with: {shlex.join(['ldx', *command])}", file=sys.stderr, flush=True)
            raise
    return outcome


def exit_status(outcome: Outcome, total: int, what: str = "cells") -> int:
    """Say what is not done, and return the exit status."""
    for name, holder in outcome.elsewhere.items():
        print(f"{name} is still run by {holder}")
    if outcome.elsewhere:
        print(f"{len(outcome.elsewhere)} of {total} {what} are run by others; `--wait` stays until they are done")
    if not outcome.failed:
        return 0
    print(f"{len(outcome.failed)} of {total} {what} failed: {', '.join(outcome.failed)}", file=sys.stderr)
    print("their logs are named above; the same command tries them again", file=sys.stderr)
    return 1


@contextmanager
def _progress(total: int, what: str) -> Iterator[tuple[Callable[[str], None], Callable[[int, int, str], None]]]:
    """Show progress: a bar on a terminal, a line for each cell into a file or pipe; ``what`` is a word for them."""
    if not sys.stdout.isatty():
        lines = _Lines(what)
        yield lines.tell, lines.progress
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TextColumn("{task.fields[cell]}"))
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=total, cell="")
        yield (
            lambda line: bar.console.print(line, markup=False, highlight=False, soft_wrap=True),
            lambda done, all_, cell: bar.update(task, completed=done, total=all_, cell=cell),
        )


class _Lines:
    """Plain lines; progress is told when the cell changes."""

    def __init__(self, what: str) -> None:
        self._what, self._last = what, ""

    def tell(self, line: str) -> None:
        print(line, flush=True)

    def progress(self, done: int, total: int, cell: str) -> None:
        if cell != self._last:
            self._last = cell
            print(f"{done}/{total} {self._what} are finished; now {cell}", flush=True)
