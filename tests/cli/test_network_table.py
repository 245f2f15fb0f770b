"""The table of the model that ``ldx fit`` shows: what is true of it, and no column of zeros."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from landmark_diffusion.cli.callbacks import NetworkTable


class Two(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Linear(3, 4)
        self.fixed = torch.nn.Linear(2, 1).requires_grad_(False)


def test_it_has_parts_parameters_and_their_sum(capsys: pytest.CaptureFixture[str]) -> None:
    NetworkTable().on_fit_start(Trainer(logger=False, enable_progress_bar=False, accelerator="cpu"), Two())
    said = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if "│" in line]
    assert rows == [["network", "Linear", "16"], ["fixed", "Linear", "3"]]
    assert "19 parameters, 16 of them trained" in said and "FLOP" not in said
