"""A tiny model and data module that draw all kinds of randomness: order, augmentation, noise, dropout."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from landmark_diffusion.core.seeds import noise_seed, sample_seed
from landmark_diffusion.training import RunFolder, default_callbacks
from landmark_diffusion.training.samplers import EpochKeyedSampler, EvalSampler, resume_position

SAMPLES, BATCH, SEED = 13, 3, 7  # 13 samples in batches of 3: five batches, the last of one


class TinyDataset(Dataset):
    def __init__(self, n: int) -> None:
        self.values = torch.linspace(-1, 1, n)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        jitter = np.random.default_rng(sample_seed(SEED, epoch, index)).normal(0, 0.1, 4)
        return self.values[index] + torch.from_numpy(jitter).float(), index


class TinyData(LightningDataModule):
    def __init__(self, workers: int = 0, validation: bool = True) -> None:
        super().__init__()
        self.workers, self.validation = workers, validation

    def train_dataloader(self) -> DataLoader:
        epoch, skip = resume_position(self.trainer)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        sampler = EpochKeyedSampler(SAMPLES, SEED, BATCH, epoch, skip, rank, world)
        return DataLoader(
            TinyDataset(SAMPLES), BATCH, sampler=sampler, num_workers=self.workers, persistent_workers=self.workers > 0
        )

    def val_dataloader(self) -> DataLoader | list:
        if not self.validation:
            return []
        return DataLoader(TinyDataset(4), 2, sampler=EvalSampler(4, self.trainer.global_rank, self.trainer.world_size))


class TinyModule(LightningModule):
    def __init__(self, kill_at: int | None = None, kill_with: int = signal.SIGTERM) -> None:
        super().__init__()
        self.kill_at, self.kill_with = kill_at, kill_with
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4))
        self.history: dict[int, float] = {}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(noise_seed(SEED, self.global_rank, self.current_epoch, batch_idx))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, _ = batch
        loss = (self.net(x + 0.1 * torch.randn_like(x)) - x.sin()).square().mean()
        self.log("train/loss", loss.detach())
        if self.kill_at is not None and self.global_step >= self.kill_at:
            self.kill_at = None
            os.kill(os.getpid(), self.kill_with)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        x, _ = batch
        self.log("val/mre", (self.net(x) - x.sin()).abs().mean(), batch_size=len(x))

    def on_validation_epoch_end(self) -> None:
        self.history[self.global_step] = float(self.trainer.callback_metrics["val/mre"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.1 * step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class StopAt(Callback):
    """Send this process a SIGTERM while the batch is prepared that ends optimiser step ``step``."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if trainer.global_step == self.step - 1:
            os.kill(os.getpid(), signal.SIGTERM)


class StopInBatch(Callback):
    """Send this process a SIGTERM in the n-th batch (micro-batch of an accumulation) of the run, counted from 1."""

    def __init__(self, number: int) -> None:
        self.left = number

    def on_train_batch_start(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


class Trace(Callback):
    """What a run saw: each training batch's epoch, samples and loss, each validation's step and metric."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[int], float]] = []
        self.validations: list[tuple[int, float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        index = batch["index"] if isinstance(batch, dict) else batch[1]
        self.batches.append((trainer.current_epoch, index.tolist(), float(outputs["loss"])))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validations.append((trainer.global_step, float(trainer.callback_metrics[monitored(pl_module)])))


def monitored(module: LightningModule) -> str:
    """The validation figure that the module's checkpoints follow."""
    return getattr(module, "monitor", "val/mre")


def tiny_trainer(
    folder: Path, ema_decay: float = 0.9, checkpoint_every: int = 1, monitor: str = "val/mre", **options: Any
) -> Trainer:
    """A trainer with the run's callbacks and nothing on the screen."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = quiet | {"num_sanity_val_steps": 0, "use_distributed_sampler": False, "devices": 1} | options
    callbacks = default_callbacks(
        RunFolder(folder), ema_decay=ema_decay, checkpoint_every=checkpoint_every, monitor=monitor
    )
    return Trainer(callbacks=callbacks, **settings)


def differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Yield where two nested states differ in any bit."""
    if isinstance(a, torch.Tensor):
        if not torch.equal(a, b):
            yield f"{where}: {(a.double() - b.double()).abs().max():.3g}"
    elif isinstance(a, dict):
        if a.keys() != b.keys():
            yield f"{where}: keys {sorted(map(str, a.keys() ^ b.keys()))}"
        for key in a.keys() & b.keys():
            yield from differences(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        if len(a) != len(b):
            yield f"{where}: lengths {len(a)}, {len(b)}"
        for i, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from differences(x, y, f"{where}/{i}")
    elif a != b:
        yield f"{where}: {a!r}, {b!r}"


TRAINED = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "global_step")


def trained_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What training has made: raw weights, average, optimiser, schedule, best score."""
    state = {key: checkpoint.get(key) for key in TRAINED}
    state["best"] = {k: v for k, v in checkpoint["callbacks"].items() if "RunCheckpoint" in k}
    return state


@contextmanager
def default_sigint() -> Iterator[None]:
    """Python's own Ctrl-C during a test, whatever pytest has put there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
