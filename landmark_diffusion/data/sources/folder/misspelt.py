"""Names in a table that hardly any image has: a slip of the pen makes a landmark or an annotator of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from landmark_diffusion.core.suggestions import nearest
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.sources.folder.table import LabelTable

_FEW = 0.05
_TIMES = 3
"""The name that was meant stands at least so many times as often."""
_NAMED = 5


def rare_names(table: LabelTable) -> list[str]:
    """Say which landmarks and annotators stand in hardly any image, and which other name was meant where one is alike.

    That other one is marked in many images, but not where the rare name is. Names without any mark share a sentence.
    """
    images = len(table.rows)
    if not images:
        return []
    marks: Counter[tuple[str, str]] = Counter()
    for row in table.rows.values():
        marks.update(row.marked)
    return [
        *_unmarked([name for name in table.landmark_names if not any(mark[1] == name for mark in marks)], images),
        *_rare("landmark {!r} is marked in {} of {}", table, marks, 1),
        *_rare("annotator {!r} marked {} of {}", table, marks, 0),
    ]


def _unmarked(names: list[str], images: int) -> Iterator[str]:
    if names:
        shown = ", ".join(map(repr, names[:_NAMED])) + (f" and {len(names) - _NAMED} more" * (len(names) > _NAMED))
        subject = f"landmark {shown} is" if len(names) == 1 else f"landmarks {shown} are"
        yield f"{subject} marked in 0 of {counted(images, 'image')}"


def _rare(words: str, table: LabelTable, marks: Counter[tuple[str, str]], at: int) -> Iterator[str]:
    """Doubt the names at place ``at`` of the marks (annotator, landmark)."""
    images, totals = len(table.rows), Counter[str]()
    for mark, count in marks.items():
        totals[mark[at]] += count
    most = max(1.0, _FEW * images)
    for name in (name for name, total in totals.items() if total <= most * len({mark[1 - at] for mark in marks})):
        rows = [row for row in table.rows.values() if any(mark[at] == name for mark in row.marked)]
        if len(rows) > most:
            continue
        beside = {
            mark[at] for row in rows for mark in row.marked
            if any(other[at] == name and other[1 - at] == mark[1 - at] for other in row.marked)
        }  # fmt: skip
        others = [each for each, total in totals.items() if total >= _TIMES * totals[name] and each not in beside]
        meant = nearest(name, others, 1)
        if meant or len(rows) < _FEW * images:
            question = f"; did you mean {meant[0]!r}?" if meant else ""
            yield words.format(name, len(rows), counted(images, "image")) + question
