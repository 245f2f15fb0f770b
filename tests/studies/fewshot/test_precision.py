"""All cells of a grid are computed in one precision, whichever machine begins it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from landmark_diffusion.hardware import precision
from landmark_diffusion.studies.fewshot.manifest import agree, propose
from landmark_diffusion.studies.fewshot.plan import GridStart, Plan
from landmark_diffusion.studies.fewshot.precision import OPTION, with_one_precision


def plan(folder: Path, asked: str) -> Plan:
    """A plan of one cell."""
    options = {OPTION: asked, "data.dataset": "phantom"}
    return Plan(fit=(), n=(1,), draws=1, starts={"scratch": GridStart()}, folder=folder, options=options)


@pytest.mark.parametrize("native", [True, False])
def test_the_first_machine_chooses_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda kind: native)
    first = with_one_precision(plan(tmp_path, "auto"))
    wanted = "bf16-mixed" if native else "32-true"
    assert first.base()[OPTION] == wanted
    manifest = agree(tmp_path, propose(first, ["a", "b"], {"train": 2, "val": 0, "test": 1}, ["last"]))
    assert manifest["options"][OPTION] == wanted
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda kind: not native)
    second = with_one_precision(plan(tmp_path, "auto"))
    assert second.base()[OPTION] == wanted


def test_an_explicit_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda kind: pytest.fail("tried"))
    asked = plan(tmp_path, "64-true")
    assert with_one_precision(asked) == asked == replace(asked)
