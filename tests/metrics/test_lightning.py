"""Inside a LightningModule: logged as an object, reset each epoch, and no image counted twice by a sanity check."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from landmark_diffusion.metrics import MeanRadialError, SuccessDetectionRate
from tests.metrics.reference import make_cases, reference_summary


class Echo(LightningModule):
    """Predict what the batch says; the one weight only lets the trainer step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.mre, self.sdr = MeanRadialError(), SuccessDetectionRate()
        self.seen: list[dict[float, float]] = []

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        return self.weight.square().sum()

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        self.mre(**batch)
        self.sdr.update(**batch)
        self.log("val/mre", self.mre)

    def on_validation_epoch_end(self) -> None:
        self.seen.append({radius: rate.item() for radius, rate in self.sdr.compute().items()})
        self.sdr.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_two_epochs_give_the_whole_set_each_time(tmp_path: object) -> None:
    cases = make_cases(7)
    samples = [
        {name: getattr(cases, name)[i] for name in ("predicted", "target", "spacing", "visible", "index")}
        for i in range(7)
    ]
    model = Echo()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(tmp_path),
    )
    trainer.fit(model, DataLoader([0, 1]), DataLoader(samples, batch_size=3))
    expected = reference_summary(cases)
    assert trainer.callback_metrics["val/mre"].item() == pytest.approx(expected["mre"], rel=1e-6)  # logged in float32
    assert model.seen[1:] == [pytest.approx(expected["sdr"], rel=1e-12)] * 2  # after the sanity check's
    assert model.mre.rows == []
