"""JSON documents, and how they go wrong: fields dropped, repeated, renamed or of another kind, items out of place."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

RAW = ("NaN", "Infinity", "-Infinity", "1e309", "-1e999", "1E400", "0x10", "01", "9" * 400, "9" * 5000, "'1'", "True")
"""What some programs write, and JSON does not know or no float holds: put into the text as it stands."""

BAD_VALUES = (
    None, True, False, 0, -1, 1, 2, 0.5, 1e300, 1e301, -0.0, 10**400, "", "1", "nan", "a", "\ud800", "\x00", "../x", [],
    [1], [1, 2], [None, 2], [1, "2"], [[1, 2], [3, 4]], [[1, 0], [0, -1]], [[1, 5], [2, 1]], {}, {"x": 1}, [{}],
    "x" * 99,
)  # fmt: skip

_MARK = "@raw@"


@st.composite
def spoilt_json(draw: st.DrawFn, content: Any) -> bytes:
    """Apply none to three mutations to a document and write it, sometimes with a key twice or a word JSON lacks."""
    content = copy.deepcopy(content)
    raw = ""
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3)))):
        place = _somewhere(draw, content)
        if place is None:
            break
        holder, key = place
        what = draw(st.sampled_from(("drop", "value", "value", "raw", "copy", "swap", "again", "add")))
        if what == "drop":
            del holder[key]
        elif what == "value":
            holder[key] = copy.deepcopy(draw(st.sampled_from(BAD_VALUES)))
        elif what == "raw" and not raw:
            raw, holder[key] = draw(st.sampled_from(RAW)), _MARK
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(("later", "name", "point_px")))] = 1
        else:
            _move(draw, what, content, holder, key)
    text = json.dumps(content, allow_nan=True, indent=draw(st.sampled_from((None, 1))))
    text = text.replace(f'"{_MARK}"', raw)
    return (_key_twice(draw, text) if draw(st.integers(0, 9)) == 9 else text).encode()


def _somewhere(draw: st.DrawFn, content: Any) -> tuple[Any, Any] | None:
    """Walk down from the top, and stop with a chance at each level."""
    place = None
    while isinstance(content, dict | list) and content:
        keys = sorted(content) if isinstance(content, dict) else range(len(content))
        place = (content, draw(st.sampled_from(keys)))
        content = content[place[1]]
        if isinstance(content, dict | list) and draw(st.integers(0, 3)) == 3:
            break
    return place


def _move(draw: st.DrawFn, what: str, content: Any, holder: Any, key: Any) -> None:
    other = _somewhere(draw, content)
    if isinstance(holder, list) and what == "again":
        holder.insert(key, copy.deepcopy(holder[key]))
    elif other is not None:
        value = copy.deepcopy(other[0][other[1]])
        if what == "swap":
            other[0][other[1]] = copy.deepcopy(holder[key])
        holder[key] = value


def _key_twice(draw: st.DrawFn, text: str) -> str:
    """Repeat one ``"key": value`` of a number or a text with another value."""
    places = [index for index in range(len(text)) if text.startswith('": ', index)]
    if not places:
        return text
    end = draw(st.sampled_from(places))
    start = text.rfind('"', 0, end)
    return text[:start] + text[start:end] + '": 7, ' + text[start:]


class Twice(ValueError):
    """A document that says two things under one name."""


def strict(data: bytes) -> Any:
    """Parse UTF-8 JSON as the standard has it: no NaN, no key twice; raises ValueError or RecursionError."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in found}) < len(found):
            raise Twice
        return dict(found)

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse)
