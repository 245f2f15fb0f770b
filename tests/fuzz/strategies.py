"""Valid files, and how they go wrong: rows and cells dropped, repeated, swapped or spoilt; bytes flipped and cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

Rows = list[list[str]]

BAD_CELLS = (
    "", " ", "nan", "NaN", "inf", "-inf", "+Infinity", "1e309", "-1e309", "1e-400", "1e300", "-1e300", "abc", "1.5.2",
    "0x10", "1_000", "\u0661\u0662", "\u00bd", "\u00b2", "--5", "+", ".", "1e", "1e1", "-1", "-0", "-0.5", "-0.51",
    "63.49", "63.5", "79.49", "79.5", "99999999999999999999", "9" * 400, "9" * 5000, "null", "None", "12 13", "1,2",
    "1;2", "=1+1", '"', '"7"', '7"', "\x00", "7\x00", "\u00a05", "7px", "7\x1c8", "\u2028", "x" * 300, "../a.png",
)  # fmt: skip
"""What may stand where a number, a name or nothing should."""

OTHER_ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252")


def mostly(usual: str, *others: str) -> st.SearchStrategy[str]:
    """Draw the usual value in most cases, so that one fault is found without others before it."""
    return st.sampled_from([usual] * (3 * len(others) + 3) + list(others))


def valid_pairs(seed: int, count: int, size: tuple[int, int]) -> Rows:
    """Points inside an image of ``size`` as texts, with or without decimals; quicker than to draw each of them."""
    rng = np.random.default_rng(seed)
    decimals = int(rng.integers(0, 4))
    points = rng.uniform(0, np.array(size) - 1, (count, 2))
    return [[f"{value:.{decimals}f}" for value in point] for point in points]


@st.composite
def spoilt_rows(draw: st.DrawFn, rows: Rows, bad_cells: Sequence[str] = BAD_CELLS) -> Rows:
    """Apply none to three mutations to rows of cells."""
    rows = [list(row) for row in rows]
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3)))):
        if rows:
            draw(st.sampled_from(_MUTATIONS))(draw, rows, bad_cells)
    return rows


def _index(draw: st.DrawFn, items: Sequence[object]) -> int:
    return draw(st.integers(0, len(items) - 1))


def _drop_row(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    del rows[_index(draw, rows)]


def _repeat_row(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    rows.insert(_index(draw, rows), list(rows[_index(draw, rows)]))


def _overwrite_row(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    rows[_index(draw, rows)] = list(rows[_index(draw, rows)])


def _swap_rows(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    first, second = _index(draw, rows), _index(draw, rows)
    rows[first], rows[second] = rows[second], rows[first]


def _empty_row(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    rows.insert(_index(draw, rows), draw(st.sampled_from(([], [""], ["", ""], [" "]))))


def _drop_cell(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    if row := rows[_index(draw, rows)]:
        del row[_index(draw, row)]


def _repeat_cell(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    if row := rows[_index(draw, rows)]:
        row.insert(_index(draw, row), row[_index(draw, row)])


def _swap_cells(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    if row := rows[_index(draw, rows)]:
        first, second = _index(draw, row), _index(draw, row)
        row[first], row[second] = row[second], row[first]


def _spoil_cell(draw: st.DrawFn, rows: Rows, bad_cells: Sequence[str]) -> None:
    if row := rows[_index(draw, rows)]:
        row[_index(draw, row)] = draw(st.one_of(st.sampled_from(bad_cells), st.text(max_size=4)))


def _copy_cell(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    row, other = rows[_index(draw, rows)], rows[_index(draw, rows)]
    if row and other:
        row[_index(draw, row)] = other[_index(draw, other)]


def _drop_column(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    if rows[0]:
        column = _index(draw, rows[0])
        for row in rows:
            del row[column : column + 1]


def _swap_columns(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    if rows[0]:
        first, second = _index(draw, rows[0]), _index(draw, rows[0])
        header = draw(st.booleans())
        for row in rows[0 if header else 1 :]:
            if max(first, second) < len(row):
                row[first], row[second] = row[second], row[first]


def _cut(draw: st.DrawFn, rows: Rows, _: Sequence[str]) -> None:
    del rows[_index(draw, rows) + 1 :]


_MUTATIONS: tuple[Callable[[st.DrawFn, Rows, Sequence[str]], None], ...] = (
    _drop_row, _repeat_row, _overwrite_row, _swap_rows, _empty_row, _drop_cell, _repeat_cell, _swap_cells, _spoil_cell,
    _spoil_cell, _spoil_cell, _spoil_cell, _copy_cell, _drop_column, _swap_columns, _cut,
)  # fmt: skip


@st.composite
def text_files(draw: st.DrawFn, rows: Rows, separator: str) -> bytes:
    """Write rows as a text file: with line ends and an encoding of some program, and in few cases with spoilt bytes."""
    newline = draw(mostly("\n", "\r\n", "\r"))
    text = newline.join(separator.join(row) for row in rows) + draw(mostly(newline, "", newline * 2, " "))
    data = text.encode(draw(mostly("utf-8", *OTHER_ENCODINGS)), errors="replace")
    return draw(spoilt_bytes(data)) if draw(st.integers(0, 7)) == 7 else data


@st.composite
def spoilt_bytes(draw: st.DrawFn, data: bytes, head: int | None = None) -> bytes:
    """Flip, cut, insert or repeat bytes, one to three times; ``head`` keeps all but cuts to the first bytes."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        if not found:
            break
        place = draw(st.integers(0, min(len(found), head or len(found)) - 1))
        what = draw(st.sampled_from(("flip", "flip", "flip", "set", "insert", "delete", "repeat", "cut")))
        if what == "flip":
            found[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "set":
            found[place] = draw(st.sampled_from((0, 1, 0x22, 0x2C, 0x0A, 0x7F, 0x80, 0xFF)))
        elif what == "insert":
            found[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif what == "delete":
            del found[place : place + draw(st.integers(1, 8))]
        elif what == "repeat":
            found[place:place] = found[place : place + draw(st.integers(1, 40))]
        else:
            del found[draw(st.integers(0, len(found))) :]
    return bytes(found)
