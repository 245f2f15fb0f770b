"""What files from strangers are held to: yaml within limits, texts that do not steer a terminal, names of their own."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import one_line

MAX_BYTES = 4 * 2**20
"""Of a config: it may list 100,000 images."""
MAX_VALUES = 1_000_000
"""Of a config whose aliases are written out: a few lines can stand for more than fit into memory."""
MAX_DEPTH = 50
"""Levels of mappings and lists, in a config and in a model's description, which is written out as one."""


def check_harmless(path: Path, urls: bool = False) -> None:
    """Refuse a yaml file that no reader should see: huge, deep, blown up by its aliases, or with a URL in it.

    ``urls`` lets these pass, for a reader that fetches nothing. Nothing is built from it, so it costs little time and
    memory. What is no yaml at all is left to the reader. Raises UserError naming the file, and the line where there is
    one.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path}: found {size} bytes, expected a config of at most {MAX_BYTES}")
    import yaml

    try:
        _scan(path, yaml.parse(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)), urls)
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return  # the one who reads it says so, with the line


def _scan(path: Path, events: Iterable[Any], urls: bool) -> None:
    """Follow the parser's events: ``open_`` holds the anchor of each open mapping or list, and its values so far."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in events:
        where, kind = f"{path}:{event.start_mark.line + 1}", type(event).__name__
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            open_.append((event.anchor, 1))
            if len(open_) > MAX_DEPTH:
                raise UserError(f"{where}: found more than {MAX_DEPTH} levels, expected sections such as `data:`")
            continue
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, size = open_.pop()
        elif kind == "AliasEvent":
            anchor, size = None, sizes.get(event.anchor, 0)
            if any(event.anchor == name for name, _ in open_):
                raise UserError(f"{where}: found the alias *{event.anchor} within what it stands for")
        elif kind == "ScalarEvent":
            anchor, size = event.anchor, 1
            if "://" in event.value and not urls:
                raise UserError(f"{where}: found {event.value!r:.80}: a config names local files, and no URLs")
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        above, so_far = open_.pop()
        open_.append((above, so_far + size))
        if so_far + size > MAX_VALUES:
            raise UserError(f"{where}: found aliases that stand for more than {MAX_VALUES} values")


def has_control_characters(text: str, but: str = "") -> bool:
    """Whether a text holds ESC or another control character (Unicode's Cc), other than those in ``but``.

    Printed, they move the cursor, colour or clear the screen, or give the terminal an order.
    """
    return any(unicodedata.category(letter) == "Cc" and letter not in but for letter in text)


def repeated(names: Iterable[str]) -> str | None:
    """The first name that is there twice."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


MAX_LABEL_BYTES = 256 * 2**20
"""Of a file with labels: 100,000 images of 19 points are 60 MB in the widest form."""
MAX_LABEL_VALUES = 20_000_000
"""Of a JSON file with labels, as its commas and opening brackets count them: each takes up to 100 bytes of memory."""


def read_limited(path: Path) -> bytes:
    """Return the bytes of a file with labels; raises DataError that names one which cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LABEL_BYTES + 1)
    except FileNotFoundError:
        raise DataError("the file does not exist", path) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise DataError(f"the file cannot be read ({one_line(error)})", path) from None
    if len(data) > MAX_LABEL_BYTES:
        raise DataError(f"found more than {MAX_LABEL_BYTES} bytes, expected a file with labels", path)
    return data


def parse_json(data: bytes, path: Path) -> Any:
    """Read a stranger's JSON (UTF-8, with or without mark); raises DataError for damage and excess."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_LABEL_VALUES:
        raise DataError(f"found more than {MAX_LABEL_VALUES} values, expected a file with labels", path)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8 text (byte {error.start}), expected JSON", path) from None
    except json.JSONDecodeError as error:
        raise DataError(f"the file is no whole JSON ({error.msg}, column {error.colno})", path, error.lineno) from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise DataError(f"the file is no JSON that can be read ({one_line(error)})", path) from None
