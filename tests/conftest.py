"""Surroundings of every test: no network, no cache in the home folder, one thread a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Set before any test imports numpy, torch or albumentations: two xdist workers on two cores must not fight for threads.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ["MPLBACKEND"] = "Agg"

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep resized images of the tests apart from the user's, and torch on one thread."""
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Give the folder of a real data set by its name, such as "isbi2015", or skip where there is none."""

    def find(name: str) -> Path:
        folder = SHARED_DATA / name
        if not folder.is_dir():
            pytest.skip(f"real data needed: {folder} is not there")
        return folder

    return find


@pytest.fixture
def aloud() -> Iterator[None]:
    """Print what the package tells its logger, as ``ldx`` does."""
    from landmark_diffusion.core.say import spoken_aloud

    with spoken_aloud():
        yield


@pytest.fixture(autouse=True)
def _no_seed_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep one test's ``seed_everything`` from seeding the next."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
