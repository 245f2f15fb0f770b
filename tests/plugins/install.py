"""Packages of somebody else's for tests: my_lab beside this file, installed or only on the path."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
GROUPS = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["entry-points"]
SIZE = (64, 48)


def write_dist_info(folder: Path, groups: Mapping[str, Mapping[str, str]], name: str = "my_lab") -> Path:
    """Write what pip leaves of an installed package: its metadata and entry points; returns the folder."""
    info = folder / f"{name}-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    sections = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in each.items()) for group, each in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(sections))
    return folder


def forget(*packages: str) -> None:
    """Take packages out of what is imported."""
    for module in [each for each in sys.modules if each.partition(".")[0] in packages]:
        del sys.modules[module]


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """my_lab can be imported, and was not; nothing names it."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.delenv("LDX_ALLOW_CLASSES", raising=False)
    forget("my_lab")
    yield
    forget("my_lab")


@pytest.fixture
def installed(on_path: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """my_lab with its entry points, as its pyproject.toml has them."""
    monkeypatch.syspath_prepend(write_dist_info(tmp_path_factory.mktemp("site"), GROUPS))


def write_pictures(folder: Path, count: int = 10) -> Path:
    """Pictures with a bright spot and a dim one, and points.txt; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        left, right = rng.uniform((8, 8), (24, 40)), rng.uniform((40, 8), (56, 40))
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        spots = [np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 18) for at in (left, right)]
        cv2.imwrite(str(folder / f"{number}.png"), np.rint(220 * spots[0] + 120 * spots[1]).astype(np.uint8))
        lines.append(f"{number}.png {left[0]} {left[1]} {right[0]} {right[1]}")
    (folder / "points.txt").write_text("\n".join(lines) + "\n")
    return folder
