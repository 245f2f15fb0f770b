"""LandmarkModule: what every landmark detector shares - optimiser, noise seeds, evaluation and its records."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from landmark_diffusion.data.geometry import frames_to_original
from landmark_diffusion.errors import UserError
from landmark_diffusion.heatmaps.decoders import DECODERS, DecoderKind, decode
from landmark_diffusion.metrics import MeanRadialError, SuccessDetectionRate
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.runs.keys import noise_seed

Batch = dict[str, Any]


class LandmarkModule(LightningModule):
    """Base of the methods that find landmarks: they add a network, a loss and maps to decode.

    Args:
        num_landmarks: N; linked from the data module.
        learning_rate, weight_decay, adam_betas: of AdamW (paper A section 4.2).
        lr_schedule: "constant", or "cosine" to zero over the run's steps.
        warmup_steps: optimiser steps of linear warm-up.
        ema_decay: of the exponential moving average of the weights (0: none); validation and test use the average.
        decoder, decoder_radius, decoder_top_k: how maps become points; the radius is in network pixels.
    """

    main_variant: str
    """The variant whose error chooses the checkpoint and whose points are the prediction."""

    def __init__(
        self,
        num_landmarks: int,
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-4,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        lr_schedule: Literal["constant", "cosine"] = "constant",
        warmup_steps: int = 0,
        ema_decay: float = 0.0,
        decoder: DecoderKind = "local_centroid",
        decoder_radius: int = 2,
        decoder_top_k: int = 10,
    ) -> None:
        super().__init__()
        if num_landmarks < 1:
            raise UserError(f"model.num_landmarks: found {num_landmarks}, expected at least 1")
        if decoder not in DECODERS:
            raise UserError(f"model.decoder: found {decoder!r}, expected one of {', '.join(DECODERS)}")
        for name, value, fits in (
            ("learning_rate", learning_rate, learning_rate > 0),
            ("weight_decay", weight_decay, weight_decay >= 0),
        ):
            if not fits:
                raise UserError(f"model.{name}: found {value}, expected a number above 0 (a decay may be 0)")
        self.num_landmarks = num_landmarks
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.adam_betas = (float(adam_betas[0]), float(adam_betas[1]))
        self.lr_schedule, self.warmup_steps, self.ema_decay = lr_schedule, warmup_steps, ema_decay
        self.decoder: DecoderKind = decoder
        self.decoder_radius, self.decoder_top_k = decoder_radius, decoder_top_k
        self.results: dict[str, list[Prediction]] = {}
        """Records of the last evaluation, a list for each variant in dataset order (complete on every process)."""
        self.trained_updates = 0
        """Optimiser steps behind the weights that were loaded."""
        self._records: dict[str, list[Prediction]] = {}
        self._metrics: dict[str, tuple[MeanRadialError, SuccessDetectionRate]] = {}

    @property
    def seed(self) -> int:
        """The run's one seed."""
        return int(os.environ.get("PL_GLOBAL_SEED", "0"))

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Compute the training loss under "loss", with its parts beside it."""

    @abstractmethod
    def variants(self, quick: bool = False) -> tuple[str, ...]:
        """Names of the maps that ``predict_maps`` gives."""

    @abstractmethod
    def predict_maps(self, batch: Batch, quick: bool = False) -> dict[str, torch.Tensor]:
        """Give non-negative maps (B, N, H, W) for each variant; ``quick`` asks for what validation within fit needs."""

    def decode(self, maps: torch.Tensor) -> torch.Tensor:
        """Decode maps (B, N, H, W) to network pixels (B, N, 2) with the module's decoder."""
        return decode(maps, self.decoder, self.decoder_radius, self.decoder_top_k)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how long the loaded weights were trained."""
        self.trained_updates = int(checkpoint.get("global_step", 0))

    def configure_optimizers(self) -> Any:
        """AdamW with optional warm-up and cosine decay, a step at a time."""
        optimizer = AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, betas=self.adam_betas
        )
        if self.lr_schedule == "constant" and not self.warmup_steps:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches) if self.lr_schedule == "cosine" else None
        schedule = LambdaLR(optimizer, lambda step: lr_factor(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Key noise and dropout by (seed, process, epoch, batch), so that a resumed run draws the same."""
        torch.manual_seed(noise_seed(self.seed, self.global_rank, self.current_epoch, batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """One step; logs the loss and its parts."""
        losses = self.losses(batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss", batch_size=len(batch["index"]))
        return losses["loss"]

    def on_validation_epoch_start(self) -> None:
        """Start empty metrics."""
        self._begin_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a batch; within fit only the quick variants."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log MRE and SDR, gather the records."""
        self._end_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start empty metrics."""
        self._begin_evaluation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a batch with every variant."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log MRE and SDR, gather the records."""
        self._end_evaluation("test")

    def on_predict_epoch_start(self) -> None:
        """Start empty records."""
        self._begin_evaluation()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """Points in original pixels, (B, N, 2) float64, for each variant."""
        return self._evaluate(batch)

    def on_predict_epoch_end(self) -> None:
        """Gather the records."""
        self.results = gather_records(self._records)

    def _begin_evaluation(self) -> None:
        """Start metrics for every variant now: a process whose share is empty must take part when they are joined."""
        self._records, self._metrics = {}, {}
        if self.trainer.predicting:
            return
        radii = tuple(self.trainer.datamodule.source.radii)  # type: ignore[attr-defined]
        for name in self.variants(quick=self._quick):
            self._metrics[name] = (MeanRadialError().to(self.device), SuccessDetectionRate(radii).to(self.device))

    @property
    def _quick(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING

    def _evaluate(self, batch: Batch) -> dict[str, torch.Tensor]:
        maps = self.predict_maps(batch, quick=self._quick)
        points = {name: frames_to_original(self.decode(value), batch["frame"]) for name, value in maps.items()}
        for name, value in points.items():
            self._update_metrics(name, value, batch)
            self._records.setdefault(name, []).extend(make_records(value, batch))
        return points

    def _update_metrics(self, variant: str, points: torch.Tensor, batch: Batch) -> None:
        truth = mean_annotation(batch["annotations"])
        for metric in self._metrics.get(variant, ()):
            metric.update(points, truth, batch["spacing"], ~torch.isnan(truth).any(-1), batch["index"])

    def _end_evaluation(self, stage: str) -> None:
        for variant, (mre, sdr) in sorted(self._metrics.items()):
            name = variant.replace("-", "_")
            value = mre.compute()
            self.log(f"{stage}/mre_{name}", value.float(), rank_zero_only=False)
            if variant == self.main_variant or len(self._metrics) == 1:
                self.log(f"{stage}/mre", value.float(), prog_bar=stage == "val")
            for radius, percent in sdr.compute().items():
                self.log(f"{stage}/sdr_{radius:g}_{name}", float(percent))
        self.results = gather_records(self._records)


def lr_factor(step: int, warmup: int, total: int | None) -> float:
    """Factor on the learning rate: linear warm-up over ``warmup`` steps, then cosine to 0 at ``total``, or constant."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if total is None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def mean_annotation(annotations: torch.Tensor) -> torch.Tensor:
    """Mean over the annotators who marked a point: (B, A, N, 2) to (B, N, 2); NaN where nobody did."""
    return torch.nanmean(annotations, 1)


def make_records(points: torch.Tensor, batch: Batch) -> list[Prediction]:
    """Turn a batch of points (B, N, 2) in original pixels into records on the CPU."""
    annotations, spacing = batch["annotations"].cpu().numpy(), batch["spacing"].cpu()
    return [
        Prediction(
            image_id=str(batch["image_id"][i]),
            index=int(batch["index"][i]),
            points=points[i].cpu().numpy(),
            annotations=annotations[i],
            spacing=None if torch.isnan(spacing[i]).any() else (float(spacing[i, 0]), float(spacing[i, 1])),
        )
        for i in range(len(points))
    ]


def gather_records(records: dict[str, list[Prediction]]) -> dict[str, list[Prediction]]:
    """Join the records of all processes, each image once, in dataset order."""
    parts: list[Any] = [records]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, records)
    names = sorted({name for part in parts for name in part})
    joined = {name: {r.index: r for part in parts for r in part.get(name, [])} for name in names}
    return {name: [by_index[i] for i in sorted(by_index)] for name, by_index in joined.items()}
