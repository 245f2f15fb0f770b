"""Headers are read once: a second start on thousands of images must not open them again, a changed one must be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from landmark_diffusion.data import headers
from landmark_diffusion.data.cache import clear
from landmark_diffusion.data.readers.radiograph import RadiographHeader


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    for index in range(3):
        Image.new("L", (10 + index, 20)).save(tmp_path / "images" / f"{index}.png")
    return sorted((tmp_path / "images").iterdir())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    read = headers.read_radiograph_header

    def counted(path: Path) -> RadiographHeader:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(headers, "read_radiograph_header", counted)
    return names


def test_second_start_opens_nothing_and_says_the_same(paths: list[Path], opened: list[str]) -> None:
    root = paths[0].parent
    first = headers.read_headers(paths, root)
    assert first == ({path: headers.Header((10 + index, 20)) for index, path in enumerate(paths)}, [])
    assert opened == ["0.png", "1.png", "2.png"]
    assert headers.read_headers(paths, root) == first
    assert len(opened) == 3


def test_changed_image_is_read_again(paths: list[Path], opened: list[str]) -> None:
    headers.read_headers(paths, paths[0].parent)
    Image.new("L", (77, 5)).save(paths[1])
    os.utime(paths[2], ns=(5, 5))
    sizes, _ = headers.read_headers(paths, paths[0].parent)
    assert sizes[paths[1]].size == (77, 5) and opened[3:] == ["1.png", "2.png"]


def test_faulty_image_is_named_each_time_beside_the_good_ones(paths: list[Path]) -> None:
    paths[1].write_bytes(b"no image")
    paths[2].unlink()
    for _ in range(2):
        sizes, faults = headers.read_headers(paths, paths[0].parent)
        assert list(sizes) == [paths[0]]
        assert [str(fault.path) for fault in faults] == [str(paths[1]), str(paths[2])]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"version": 1}', '{"version": 1, "headers": {"x": 3}}', "null"])
def test_damaged_memory_is_ignored(paths: list[Path], content: str) -> None:
    first = headers.read_headers(paths, paths[0].parent)
    (store,) = (Path(os.environ["LDX_CACHE"]) / "headers").iterdir()
    store.write_text(content)
    assert headers.read_headers(paths, paths[0].parent) == first


def test_memory_is_cleared_with_the_cache_and_not_needed(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = headers.read_headers(paths, paths[0].parent)
    assert clear()[0] == 1
    (paths[0].parent.parent / "in the way").write_text("")
    monkeypatch.setenv("LDX_CACHE", str(paths[0].parent.parent / "in the way"))
    assert headers.read_headers(paths, paths[0].parent) == first


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"version": 1}'])
def test_a_damaged_store_is_passed_over(paths: list[Path], text: str) -> None:
    root = paths[0].parent
    headers.read_headers(paths, root)
    (store,) = (headers.default_folder() / headers.HEADERS).iterdir()
    store.write_text(text)
    assert headers.read_headers(paths, root) == (
        {path: headers.Header((10 + index, 20)) for index, path in enumerate(paths)},
        [],
    )


@pytest.mark.parametrize("side", [0, -5, 10**30, True])
def test_a_size_that_no_image_has_is_read_again(paths: list[Path], side: int) -> None:
    root = paths[0].parent
    headers.read_headers(paths, root)
    (store,) = (headers.default_folder() / headers.HEADERS).iterdir()
    content = json.loads(store.read_text())
    for entry in content["headers"].values():
        entry[2] = side
    store.write_text(json.dumps(content))
    assert headers.read_headers(paths, root)[0][paths[0]].size == (10, 20)
