"""Files of an attacker: each would leave a mark on the machine that runs what is in it."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Payload:
    """Pickled, it is the command that leaves the mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, (f"touch {self.mark}",))


def _saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _checkpoint(mark: Path) -> dict[str, Any]:
    return {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": {"x": Payload(mark)}, "global_step": 1}


def _zip(mark: Path, name: str = "archive/data.pkl") -> bytes:
    """A torch archive made by hand, with the payload where torch keeps its pickle, or with members elsewhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, pickle.dumps(Payload(mark), 2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def _leaving_zip(mark: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("archive/data.pkl", "archive/version", f"../../..{mark}", str(mark), f"archive/../../../..{mark}"):
            archive.writestr(name, b"x")
    return buffer.getvalue()


FORMS: dict[str, Callable[[Path], bytes]] = {
    "torch zip": lambda mark: _saved(_checkpoint(mark)),
    "torch before 1.6": lambda mark: _saved(_checkpoint(mark), _use_new_zipfile_serialization=False),
    "plain pickle, protocol 0": lambda mark: pickle.dumps(Payload(mark), 0),
    "plain pickle, protocol 2": lambda mark: pickle.dumps(Payload(mark), 2),
    "plain pickle, protocol 5": lambda mark: pickle.dumps({"state_dict": Payload(mark)}, 5),
    "zip made by hand": _zip,
    "zip whose members leave it": _leaving_zip,
}
"""What lies under the name of a checkpoint, for a mark."""
