"""A file is whole or absent, whatever stops the writer."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.files import atomic_path, atomic_write_bytes, atomic_write_text


def test_text_is_written_as_given_into_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "notes.txt"
    atomic_write_text(path, "Größe\r\n1\n")
    assert path.read_bytes() == "Größe\r\n1\n".encode()
    atomic_write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(path.parent) == ["notes.txt"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_writer_that_is_stopped_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    path = tmp_path / "metrics.json"
    atomic_write_text(path, "old")
    with pytest.raises(stop), atomic_path(path) as temporary:
        temporary.write_text("half of the new")
        raise stop
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "empty.txt"):
        pass
    assert os.listdir(tmp_path) == []


def test_the_temporary_file_lies_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "maps.npy") as temporary:
        assert temporary.parent == tmp_path
        np.save(temporary, np.arange(3))  # numpy adds .npy to any other suffix, and the rename would find nothing
    assert np.load(tmp_path / "maps.npy").tolist() == [0, 1, 2]


def test_a_name_as_long_as_the_file_system_allows_works(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    atomic_write_text(path, "x")
    assert path.read_text() == "x"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_text("x")
    atomic_write_text(atomic, "x")
    assert atomic.stat().st_mode == plain.stat().st_mode


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path, seen = tmp_path / "shared.txt", set()
    texts = [letter * 200_000 for letter in "abcd"]
    atomic_write_text(path, texts[0])
    threads = [threading.Thread(target=atomic_write_text, args=(path, text)) for text in texts for _ in range(5)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.add(path.read_text())
    for thread in threads:
        thread.join()
    assert seen | {path.read_text()} <= set(texts)
    assert os.listdir(tmp_path) == ["shared.txt"]
