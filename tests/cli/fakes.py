"""A data module and models as small as can be: the command line is what is tested, not the method."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.groups import as_group, plain_options
from landmark_diffusion.finders.finder import Decoding
from landmark_diffusion.finders.optimisation import Optimisation


class TinyData(LightningDataModule):
    """Four rows of two numbers, and the names of ``landmarks`` landmarks."""

    def __init__(
        self,
        dataset: str = "phantom",
        root: str | None = None,
        size: tuple[int, int] = (8, 8),
        recipe: str = "none",
        landmarks: int = 4,
    ) -> None:
        super().__init__()
        if dataset == "interrupt":
            raise KeyboardInterrupt
        if dataset == "faulty":
            raise DataError("found 18 points, expected 19", "001.txt", 7)
        self.dataset, self.size, self.num_landmarks = dataset, size, landmarks
        self.landmark_names = tuple(f"point_{i}" for i in range(landmarks))

    def setup(self, stage: str) -> None:
        """Fail as a file that breaks on reading does."""
        if self.dataset == "breaks_on_reading":
            raise DataError("truncated", "007.jpg")

    def batches_per_epoch(self, processes: int) -> int:
        """Two on one process."""
        return 2 // processes

    def _loader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.arange(8.0).reshape(4, 2)), batch_size=2)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = _loader


class TinyBase(LightningModule):
    """Stands for LandmarkModule."""

    def __init__(
        self,
        num_landmarks: int,
        decoding: Decoding = Decoding(decoder="argmax"),  # noqa: B008 (frozen)
        optimisation: Optimisation = Optimisation(learning_rate=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.decoding = as_group(Decoding, decoding, "model.decoding")
        self.optimisation = as_group(Optimisation, optimisation, "model.optimisation")


class TinyModel(TinyBase):
    """One linear layer for each of ``channels``."""

    def __init__(self, num_landmarks: int, channels: int = 3, **kwargs: Any) -> None:
        super().__init__(num_landmarks, **kwargs)
        self.save_hyperparameters()
        self.save_hyperparameters(plain_options(dict(self.hparams)))
        self.network = torch.nn.Sequential(torch.nn.Linear(2, channels), torch.nn.Linear(channels, num_landmarks))

    def _step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.network(batch[0]).square().mean()

    training_step = _step

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Log what chooses the best checkpoint."""
        self.log("val/mre", self._step(batch, batch_idx))

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Log a number that the weights decide."""
        self.log("test/mre", self._step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=self.optimisation.learning_rate)


class OtherTinyModel(TinyModel):
    """Another class with the same options and weights."""
