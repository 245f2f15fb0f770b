"""A protocol that the images do not allow is left out before a test; it used to end it, its results unwritten."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from landmark_diffusion.evaluation.results_writer import ResultsWriter
from landmark_diffusion.training.datamodule import LandmarkDataModule


def make_own(root: Path, spacing: str) -> LandmarkDataModule:
    """Six images of one's own with two landmarks, with or without a column for the spacing."""
    root.mkdir()
    head, cell = ("", "") if not spacing else (",spacing", f",{spacing}")
    lines = [f"image,x1,y1,x2,y2{head}"]
    for number in range(6):
        Image.fromarray(np.full((30, 20), 9 * number, np.uint8)).save(root / f"{number}.png")
        lines.append(f"{number}.png,3,4,{8 + number},9{cell}")
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    return LandmarkDataModule("folder", str(root), size=(8, 8), cache_folder=str(root / "cache"))


@pytest.mark.parametrize(("stage", "spacing", "kept"), [
    ("test", "", []), ("validate", "", []),
    ("test", "0.1", ["paper_b", "paper_a"]), ("fit", "", ["paper_b", "paper_a"]),
])  # fmt: skip
def test_what_does_not_fit_is_left_out_with_a_word(
    stage: str, spacing: str, kept: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], aloud: None
) -> None:
    writer = ResultsWriter(tmp_path, {}, ["paper_b", "paper_a"])
    trainer: Any = SimpleNamespace(datamodule=make_own(tmp_path / "own", spacing))
    writer.setup(trainer, None, TrainerFn(stage))  # type: ignore[arg-type]  # as Lightning calls it
    assert writer.other_protocols == tuple(kept)
    out = capsys.readouterr().out
    if kept:
        assert out == ""
    else:
        assert f"{stage}: the protocol paper_b does not fit this data and is left out: " in out
        assert "needs the spacing" in out and out.count("left out") == 2
