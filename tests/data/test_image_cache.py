"""The image cache gives exactly what decoding and resizing give, whatever happened to its files."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data import cache as cache_module
from landmark_diffusion.data.cache import ImageCache, clear, default_folder
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.readers.image_io import read_grey
from landmark_diffusion.data.resize import resize_image
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources.base import Finding, LandmarkDataset, Stage


class _Images(LandmarkDataset):
    """A dataset of plain PNG files that counts how often it decodes."""

    name, landmark_names, annotator_names, radii = "images", ("a",), ("one",), (1.0,)
    unit: Literal["mm", "px"] = "px"

    def __init__(self, folder: Path) -> None:
        self.folder, self.decoded = folder, 0

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        points = np.zeros((1, 1, 2))
        return [LandmarkSample(p.stem, Image.open(p).size, points, None, p) for p in sorted(self.folder.glob("*.png"))]

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        self.decoded += 1
        assert sample.image_path is not None
        return read_grey(sample.image_path)

    def check(self, decode: bool = True) -> list[Finding]:
        return []


@pytest.fixture
def dataset(tmp_path: Path) -> _Images:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(6):
        values = np.random.default_rng(index).integers(0, 256, (50 + index, 40), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{index}.png")
    return _Images(folder)


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "cache")


def _frames(dataset: _Images, size: tuple[int, int] = (24, 32)) -> list[Frame]:
    return [Frame.fit(sample.size, size, "pad") for sample in dataset.samples("train")]


def test_get_is_decode_and_resize_and_decodes_once(dataset: _Images, cache: ImageCache) -> None:
    for sample, frame in zip(dataset.samples("train"), _frames(dataset), strict=True):
        expected = resize_image(dataset.load_image(sample), frame)
        before = dataset.decoded
        first, second = cache.get(dataset, sample, frame), cache.get(dataset, sample, frame)
        np.testing.assert_array_equal(first, expected)
        np.testing.assert_array_equal(second, expected)
        assert second.dtype == np.uint8 and second.flags.writeable
        assert dataset.decoded == before + 1


def test_another_frame_or_a_changed_image_is_made_anew(dataset: _Images, cache: ImageCache) -> None:
    sample = dataset.samples("train")[0]
    shapes = {cache.get(dataset, sample, Frame.fit(sample.size, size)).shape for size in ((24, 32), (32, 24))}
    assert shapes == {(32, 24), (24, 32)}
    stretch, pad = (Frame.fit(sample.size, (64, 64), mode) for mode in ("stretch", "pad"))
    assert not np.array_equal(cache.get(dataset, sample, stretch), cache.get(dataset, sample, pad))

    frame = Frame.fit(sample.size, (24, 32))
    assert sample.image_path is not None
    Image.fromarray(np.full((sample.size[1], sample.size[0]), 7, np.uint8)).save(sample.image_path)
    assert (cache.get(dataset, sample, frame) == 7).all()


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "text", "other image"])
def test_damaged_cache_file_is_rebuilt(dataset: _Images, cache: ImageCache, damage: str) -> None:
    sample, frame = dataset.samples("train")[0], _frames(dataset)[0]
    expected = cache.get(dataset, sample, frame)
    path = cache.path(dataset, sample, frame)
    content = path.read_bytes()
    if damage == "other image":
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(path)
    else:
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        path.write_bytes({"empty": b"", "cut": content[:-30], "bit": bytes(flipped), "text": b"no image"}[damage])
    before = dataset.decoded
    np.testing.assert_array_equal(cache.get(dataset, sample, frame), expected)
    assert dataset.decoded == before + 1
    assert path.read_bytes() == content


def test_fill_makes_each_once_and_a_broken_image_names_itself(
    dataset: _Images, cache: ImageCache, capfd: pytest.CaptureFixture[str]
) -> None:
    samples, frames = dataset.samples("train"), _frames(dataset)
    assert cache.fill(dataset, samples[:4], frames[:4], progress=False) == 4
    assert cache.fill(dataset, samples, frames) == 2
    assert cache.fill(dataset, samples, frames) == 0
    assert dataset.decoded == 6

    (dataset.folder / "3.png").write_bytes((dataset.folder / "3.png").read_bytes()[:800])
    with pytest.raises(DataError, match=r"3\.png: the image cannot be decoded"):
        cache.fill(dataset, samples, frames)
    (dataset.folder / "4.png").unlink()
    with pytest.raises(DataError, match=r"4\.png: the image cannot be read"):
        cache.fill(dataset, samples[4:], frames[4:])
    assert capfd.readouterr().out == ""  # the bar goes to stderr: results go to stdout


def test_image_that_changes_its_size_in_use_names_itself(dataset: _Images, cache: ImageCache) -> None:
    sample, frame = dataset.samples("train")[1], _frames(dataset)[1]
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(dataset.folder / "1.png")
    with pytest.raises(DataError, match=r"1\.png: decoded to 9x9 px, its header said 40x51"):
        cache.get(dataset, sample, frame)


def test_folder_that_cannot_be_written_says_what_to_do(dataset: _Images, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to .*file.*LDX_CACHE"):
        ImageCache(tmp_path / "file").get(dataset, dataset.samples("train")[0], _frames(dataset)[0])


def _fill_in_process(images: Path, folder: Path, barrier: object) -> None:
    dataset = _Images(images)
    barrier.wait(30)  # type: ignore[attr-defined]  # all start together, so that they meet at the same files
    ImageCache(folder).fill(dataset, dataset.samples("train"), _frames(dataset, (96, 128)), progress=False)


def test_processes_fill_the_same_folder(dataset: _Images, cache: ImageCache) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [
        context.Process(target=_fill_in_process, args=(dataset.folder, cache.folder, barrier)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    before = dataset.decoded
    for sample, frame in zip(dataset.samples("train"), _frames(dataset, (96, 128)), strict=True):
        assert cache.get(dataset, sample, frame).shape == (128, 96)
    assert dataset.decoded == before  # all six are there, whole
    assert len([path for path in cache.folder.rglob("*") if path.is_file()]) == 6  # and nothing else is left


def test_clear_takes_only_the_caches_own_files(dataset: _Images, cache: ImageCache) -> None:
    samples, frames = dataset.samples("train"), _frames(dataset)
    cache.fill(dataset, samples, frames, progress=False)
    own = [path for path in cache.folder.rglob("*.png")]
    size = sum(path.stat().st_size for path in own)
    beside = own[0].parent
    kept = [cache.folder / "mine.png", beside / "notes.txt", beside / "mine.png", cache.folder / "x" / "y"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (own[0].parent / f".tmp-123-{'a' * 12}.png").write_bytes(b"left by a process that was killed")
    assert clear(cache.folder) == (7, size + 33)
    assert all(path.read_text() == "mine" for path in kept)
    assert not any(path.exists() for path in own)
    assert clear(cache.folder) == (0, 0)


def test_clear_removes_an_empty_cache_folder(dataset: _Images, cache: ImageCache) -> None:
    cache.get(dataset, dataset.samples("train")[0], _frames(dataset)[0])
    assert clear(cache.folder)[0] == 1
    assert not cache.folder.exists()
    assert clear(cache.folder) == (0, 0)


def test_default_folder_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here" == ImageCache().folder
    monkeypatch.delenv("LDX_CACHE")
    assert default_folder() == Path.home() / ".cache" / "landmark_diffusion"


def test_format_version_is_part_of_the_key(
    dataset: _Images, cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, frame = dataset.samples("train")[0], _frames(dataset)[0]
    before = cache.path(dataset, sample, frame)
    monkeypatch.setattr(cache_module, "FORMAT_VERSION", cache_module.FORMAT_VERSION + 1)
    assert cache.path(dataset, sample, frame) != before


def test_touched_image_gets_another_key(dataset: _Images, cache: ImageCache) -> None:
    sample, frame = dataset.samples("train")[0], _frames(dataset)[0]
    before = cache.path(dataset, sample, frame)
    assert sample.image_path is not None
    os.utime(sample.image_path, ns=(1, 1))
    assert cache.path(dataset, sample, frame) != before
