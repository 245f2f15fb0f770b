"""A small disk with the results of earlier runs, for who fills it or locks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.small_disk import SmallDisk


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside the disk."""
    return tmp_path_factory.mktemp("beside_the_disk")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[SmallDisk]:
    """A disk with results of earlier runs; locked it refuses root too, which permissions do not."""
    from tests.end_to_end.small_disk import make_home, small_disk  # here, as it imports much that others do not need

    with small_disk(tmp_path_factory.mktemp("small") / "disk") as made:
        make_home(made.folder, home)
        yield made
