"""Datasets by name: what the config says is built, and a misspelt name or option names the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.sources import DATASETS, build_dataset


def test_known_names() -> None:
    assert set(DATASETS.names()) == {"isbi2015", "hand", "chest", "folder", "phantom", "pooled"}


def test_builds_with_options(tmp_path: Path) -> None:
    dataset = build_dataset("isbi2015", str(tmp_path), split="development")
    assert dataset.name == "isbi2015" and dataset.unit == "mm" and len(dataset.landmark_names) == 19


@pytest.mark.parametrize(("name", "nearest"), [("isbi", "isbi2015"), ("Folders", "folder"), ("phantoms", "phantom")])
def test_unknown_name_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=rf"unknown dataset '{name}'\. Did you mean {nearest}\?"):
        build_dataset(name, "somewhere")


def test_unknown_name_unlike_any_lists_them() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'xyz'\. Known: isbi2015, hand, chest, folder, phantom"):
        build_dataset("xyz")


def test_unknown_option_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder has no option 'split_colum'\. Did you mean split_column\?"):
        build_dataset("folder", tmp_path, split_colum="part")


def test_missing_root(tmp_path: Path) -> None:
    for name in ("isbi2015", "folder"):
        with pytest.raises(UserError, match=f"data.root: {name} needs the folder"):
            build_dataset(name, None)
        with pytest.raises(DataError, match=r"nowhere: data\.root: the folder does not exist"):
            build_dataset(name, tmp_path / "nowhere")
