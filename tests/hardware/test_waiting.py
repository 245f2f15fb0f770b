"""Threads that wait take no core from others for long, unless the user has chosen how they wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from landmark_diffusion.cli import entry
from landmark_diffusion.hardware.waiting import OWN_SETTINGS, SHORT_WAIT, wait_briefly


def test_all_makes_of_openmp_are_told() -> None:
    environment: dict[str, str] = {"OMP_NUM_THREADS": "4"}
    wait_briefly(environment)
    assert environment == {"OMP_NUM_THREADS": "4", **SHORT_WAIT}


@pytest.mark.parametrize("name", OWN_SETTINGS)
def test_the_users_own_setting_wins(name: str) -> None:
    environment = {name: "7"}
    wait_briefly(environment)
    assert environment == {name: "7"}


def test_every_verb_settles_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for name in OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert entry.main(["--version"]) == 0
    assert {name: os.environ[name] for name in SHORT_WAIT} == SHORT_WAIT
    for name in SHORT_WAIT:
        monkeypatch.delenv(name)


def test_it_comes_before_torch() -> None:
    """OpenMP reads it as torch is loaded: the entry of the console script must not load torch by itself."""
    code = "import sys; from landmark_diffusion.cli import main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
