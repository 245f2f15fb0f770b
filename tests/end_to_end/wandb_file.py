"""Read the ``.wandb`` file of an offline run: LevelDB's log format around protocol buffers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

BLOCK = 32768
FILE_HEADER = 7
RECORD_HEADER = 7  # checksum, length, kind


def history_keys(path: Path) -> dict[str, str]:
    """Give the keys that were logged, each with its last value as JSON (of a picture or table, its last attribute)."""
    return {key: value for row in history_rows(path) for key, value in row.items()}


def history_rows(path: Path) -> list[dict[str, str]]:
    """Give each row that was logged, in order: its keys with their values as JSON."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for content in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.HasField("history"):
            found.append({item.key or item.nested_key[0]: item.value_json for item in record.history.item})
    return found


def _records(data: bytes) -> Iterator[bytes]:
    place, pieces = FILE_HEADER, b""
    while place + RECORD_HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < RECORD_HEADER:
            place += left  # the rest of a block is padding
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        place += RECORD_HEADER
        pieces += data[place : place + length]
        place += length
        if kind in (1, 4):  # whole, or the last piece
            yield pieces
            pieces = b""
