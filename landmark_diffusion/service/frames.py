"""What the service and the processes that decode images say to each other: a JSON object and bytes, no pickle."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

_HEAD = struct.Struct("<IQ")
MOST_HEAD = 2**20
"""Bytes of a JSON object."""


class BrokenFrame(Exception):
    """What came is no frame: the other side has ended, or does not keep to the form."""


def write_frame(stream: BinaryIO, head: dict[str, Any], content: bytes | bytearray | memoryview = b"") -> None:
    """Send an object and bytes."""
    text = json.dumps(head).encode()
    stream.write(_HEAD.pack(len(text), len(content)) + text)
    stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO, most: int) -> tuple[dict[str, Any], bytearray]:
    """Receive an object and bytes, at most ``most`` of them; raises BrokenFrame."""
    head, size = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if head > MOST_HEAD or size > most:
        raise BrokenFrame(f"found {head} and {size} bytes, expected at most {MOST_HEAD} and {most}")
    try:
        found = json.loads(_exactly(stream, head))
    except ValueError as error:
        raise BrokenFrame("found no JSON") from error
    if not isinstance(found, dict):
        raise BrokenFrame("found no JSON object")
    return found, _exactly(stream, size)


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    content = bytearray(size)
    view, place = memoryview(content), 0
    while place < size:
        count = stream.readinto(view[place:])  # type: ignore[attr-defined]
        if not count:
            raise BrokenFrame(f"found {place} bytes, expected {size}")
        place += count
    return content
