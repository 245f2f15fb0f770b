"""A cache without room or permission says so in one line; a kept one needs neither."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion import LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data import cache as cache_module

Usage = namedtuple("Usage", "total used free")
FILE = 4096
"""Bytes of a picture of 32x40 px on the disk: one block."""


def data(cache: Path, count: tuple[int, int, int] = (6, 2, 1)) -> LandmarkDataModule:
    return LandmarkDataModule(
        "phantom", size=(32, 40), cache_folder=str(cache),
        dataset_options={"count": list(count), "image_size": (96, 120)},
    )  # fmt: skip


def leave_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 0, int(free)))


def test_a_cache_that_would_fill_the_disk_is_refused_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_free(monkeypatch, 8 * FILE - 1)
    module = data(tmp_path / "new" / "cache")
    monkeypatch.setattr(module.source, "load_image", lambda sample: pytest.fail("decoded"))
    with pytest.raises(UserError) as told:
        module.setup("fit")
    for part in ("8 more resized images", "0.0 MB", "ldx cache clear", "data.cache_folder", "LDX_CACHE", "data.size"):
        assert part in str(told.value)
    assert not (tmp_path / "new").exists()


def test_large_pictures_are_counted_by_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = LandmarkDataModule("phantom", size=(640, 800), cache_folder=str(tmp_path)).stage_dataset("test").frames[0]
    assert cache_module.room_for(frame) == 0.75 * 640 * 800


def test_large_numbers_are_told_in_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "BYTES_A_PIXEL", 5e6)
    leave_free(monkeypatch, 12.34e9)
    with pytest.raises(UserError, match=r"takes up to 51\.2 GB in .*, which has 12\.3 GB free"):
        data(tmp_path).setup("fit")


def test_just_enough_room_is_enough_and_kept_images_need_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_free(monkeypatch, 8 * FILE)
    data(tmp_path).setup("fit")
    leave_free(monkeypatch, 0)
    data(tmp_path).setup("fit")
    leave_free(monkeypatch, 4 * FILE)  # eight are kept, four more fit
    data(tmp_path, (10, 2, 1)).setup("fit")
    with pytest.raises(UserError, match="5 more resized images"):
        data(tmp_path, (15, 2, 1)).setup("fit")


def test_a_disk_that_does_not_tell_its_room_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> Usage:
        raise OSError("not on this file system")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    data(tmp_path).setup("fit")


@pytest.mark.parametrize("number", ["EACCES", "ENOSPC", "EROFS"])
def test_a_cache_that_cannot_be_written_is_one_clear_line_and_a_filled_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    import errno

    def refuse(path: Path, content: bytes, flush: bool) -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code), str(path))

    full = data(tmp_path)
    full.setup("test")
    monkeypatch.setattr(cache_module, "atomic_write_bytes", refuse)
    again = data(tmp_path)
    again.setup("test")  # kept already: a cache that a group shares may be read-only
    assert np.array_equal(again.stage_dataset("test").image(0), full.stage_dataset("test").image(0))
    with pytest.raises(UserError, match=r"cache: cannot write to .*; make room with `ldx cache clear` or choose"):
        again.setup("fit")
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".tmp")]
