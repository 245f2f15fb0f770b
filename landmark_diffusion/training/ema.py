"""EMA: an exponential moving average of the weights, used for validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks.weight_averaging import WeightAveraging
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from landmark_diffusion.core.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


def ema_decay_at(updates: int, decay: float) -> float:
    """Return the decay of the update that follows ``updates`` earlier ones: min(decay, (1 + n) / (10 + n)).

    The warm-up keeps the random first weights from weighing on a short run.
    """
    return min(decay, (1 + updates) / (10 + updates))


class EMA(WeightAveraging):
    """Average the weights after every optimiser step: average <- d average + (1 - d) weights, d by ``ema_decay_at``.

    Validation within training, test and the checkpoint's ``state_dict`` use the average; training goes on with the raw
    weights, which the checkpoint holds as ``current_model_state``. Buffers are copied, not averaged. At the end of
    training the model holds the average.

    Args:
        decay: in (0, 1); paper B uses 0.995.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise UserError(f"ema_decay: found {decay}, expected a number between 0 and 1 (0 turns the average off)")
        self.decay = decay
        super().__init__(use_buffers=False, multi_avg_fn=self._average)

    @torch.no_grad()
    def _average(self, averages: Sequence[Any], weights: Sequence[Any], updates: torch.Tensor | int) -> None:
        # AveragedModel copies the weights at the first update, so that ``updates`` is at least 1 here.
        torch._foreach_lerp_(list(averages), list(weights), 1 - ema_decay_at(int(updates), self.decay))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the average to the weights' device: Lightning makes it before the module is moved there."""
        super().on_train_start(trainer, pl_module)
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the average under ``state_dict`` and the raw weights beside it (within training only)."""
        if self._average_model is not None:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up the average and the raw weights when training goes on; elsewhere the average is enough."""
        if trainer.state.fn != "fit":
            return
        if "averaging_state" not in checkpoint:
            rank_zero_warn(
                f"{trainer.ckpt_path}: the checkpoint has no moving average of the weights (ema_decay was 0 there): "
                "the average begins anew from its weights"
            )
        super().on_load_checkpoint(trainer, pl_module, checkpoint)


def averages_of(trainer: Trainer) -> list[WeightAveraging]:
    """Give the run's moving averages: ours, or those of a user's own callbacks."""
    return [each for each in trainer.callbacks if isinstance(each, WeightAveraging)]  # type: ignore[attr-defined]


@contextmanager
def averaged_weights(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Give ``module`` the averaged weights where the run has them, and its own back after.

    By exchange, as Lightning itself does around a validation: the average may lie on another device, and the module
    stays where it is.
    """
    chosen = next((each for each in averages_of(trainer) if each._average_model is not None), None)
    if chosen is None:
        yield
        return
    chosen._swap_models(module)
    try:
        yield
    finally:
        chosen._swap_models(module)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Run ``module`` without dropout and without gradients; each part is in the mode it was in after."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training
