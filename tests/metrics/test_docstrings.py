"""The examples that users copy from the docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(("module", "at_least"), [("functional", 9), ("radial_errors", 16)])
def test_examples_run(module: str, at_least: int) -> None:
    found = doctest.testmod(importlib.import_module(f"landmark_diffusion.metrics.{module}"))
    assert found.failed == 0
    assert found.attempted >= at_least
