"""Into a file, progress is lines that say where the run stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from landmark_diffusion.cli.progress_lines import ProgressLines
from tests.cli.fakes import TinyData, TinyModel


@pytest.mark.parametrize(("interval", "steps"), [(0.0, [1, 2, 3, 4]), (3600.0, [])])
def test_lines_of_a_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: float, steps: list[int]) -> None:
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[ProgressLines(interval)],
    )
    trainer.fit(TinyModel(4), datamodule=TinyData())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fit: ")]
    assert [line.split(",")[1] for line in lines if "steps/s" in line] == [f" step {step}/4" for step in steps]
    validated = [line for line in lines if "validated" in line]
    assert [line.split(",")[0] for line in validated] == [f"fit: validated after epoch {epoch}" for epoch in (0, 1)]
    assert all("val/mre " in line for line in validated)
