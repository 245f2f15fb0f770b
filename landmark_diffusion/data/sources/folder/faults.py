"""Faults of a table that repeat themselves line by line, said once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from landmark_diffusion.core.errors import DataError

MOST = 3
"""So many faults of one kind are told each by itself."""
_LINES = 5
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|-?[\d.,]+(e[+-]?\d+)?")


def folded(faults: Sequence[DataError], most: int = MOST) -> list[DataError]:
    """Keep the first fault of a kind, with the number and lines of the others, where there are more than ``most``.

    Faults are of one kind where they stand in the same file and differ in names and numbers alone.
    """
    kinds: dict[tuple[object, ...], list[DataError]] = {}
    for place, fault in enumerate(faults):
        own = (place,) if fault.line is None else ()
        kinds.setdefault((str(fault.path), _VALUES.sub("", text(fault)), *own), []).append(fault)
    return [each for group in kinds.values() for each in (group if len(group) <= most else [joined(group)])]


def text(fault: DataError) -> str:
    """The message without its file and line."""
    line = "" if fault.line is None else f"{fault.line}: "
    return str(fault).removeprefix(f"{fault.path}:{line or ' '}")


def joined(group: Sequence[DataError]) -> DataError:
    """Return the first fault, with the number and lines of the others behind it."""
    first, *others = group
    if not others:
        return first
    if first.line is None:
        return DataError(f"{text(first)} (and {len(others)} more like it)", first.path)
    lines = list(dict.fromkeys(str(each.line) for each in others))
    shown = ", ".join(lines[:_LINES]) + (", ..." if len(lines) > _LINES else "")
    word = "line" if len(lines) == 1 else "lines"
    return DataError(f"{text(first)} (and {len(others)} more like it, in {word} {shown})", first.path, first.line)
