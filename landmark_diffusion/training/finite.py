"""NaN and infinity in training: such a step is no update, is counted and named, and too many in a row end the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.training.lightning_internals import take_back_step
from landmark_diffusion.training.processes import gather_objects
from landmark_diffusion.training.stopping import StopRequested

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch.optim import Optimizer

SHOWN_IMAGES = 16
MAX_BAD_STEPS = 10

Part = tuple[list[str], float]
"""Image ids of one batch and its loss."""


class SkipBadSteps(Callback):
    """Skip an optimiser step whose loss or gradients are NaN or infinite, on all processes together.

    A skipped step is no update: weights, optimiser, moving average, learning-rate schedule and ``global_step`` stay as
    they were, and the data go on. With gradient accumulation one bad batch spoils its whole window. Skipped steps are
    counted (``train/skipped_steps``, from the first one on, and in the checkpoint), and a warning names the images.

    Args:
        max_bad_steps: skipped steps in a row that end the run with a UserError.
    """

    def __init__(self, max_bad_steps: int = MAX_BAD_STEPS) -> None:
        if max_bad_steps < 1:
            raise UserError(f"max_bad_steps: found {max_bad_steps}, expected at least 1 (1 stops at the first)")
        self.max_bad_steps = max_bad_steps
        self.skipped = self.in_a_row = 0
        self._images: list[str] = []
        self._window: list[tuple[list[str], torch.Tensor]] = []
        self._paused: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        """Keep the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget a window that an earlier fit of the same trainer left unfinished."""
        self._window = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note whose loss comes next."""
        self._images = image_ids(batch)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Note the loss; it is looked at with the gradients, so that a GPU is waited for once a step."""
        self._window.append((self._images, loss.detach()))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Decide with the other processes; without gradients the optimiser leaves everything as it is."""
        window, self._window = self._window, []
        bad = any(not math.isfinite(loss) for _, loss in window) or not gradients_are_finite(optimizer)
        if not trainer.strategy.reduce_boolean_decision(bad, all=False):
            self.in_a_row = 0
            return
        optimizer.zero_grad(set_to_none=True)
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        self._tell(trainer, [(images, float(loss) * loss_factor(trainer)) for images, loss in window])
        take_back_step(trainer)
        self._paused = [config for config in trainer.lr_scheduler_configs if config.interval == "step"]
        for config in self._paused:
            config.interval = "paused"  # Lightning steps only schedules of the interval it asks for

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let the schedules go on, and log the count."""
        for config in self._paused:
            config.interval = "step"
        self._paused = []
        if self.skipped:
            pl_module.log("train/skipped_steps", float(self.skipped), prog_bar=True, batch_size=1)

    def _tell(self, trainer: Trainer, parts: list[Part]) -> None:
        what = describe([part for parts in gather_objects(parts) for part in parts])
        where = f"after update {trainer.global_step}, epoch {trainer.current_epoch}"
        if self.in_a_row < self.max_bad_steps:
            rank_zero_warn(f"step skipped {where}: {what} ({self.in_a_row} in a row, {self.skipped} in all)")
            return
        message = (
            f"stopped {where}: {self.in_a_row} steps in a row gave NaN or infinity and were skipped (max_bad_steps); "
            f"the last: {what}. The checkpoints are as they were before. Look at these images and their points "
            "(`ldx data check`). If they are good, training diverges: lower model.optimisation.learning_rate, set "
            "trainer.gradient_clip_val 1.0, or trainer.precision 32-true. Then go on with --ckpt_path last"
        )
        # Said once; and Lightning's launcher kills the first process when another ends with a status other than 0.
        raise UserError(message) if trainer.is_global_zero else StopRequested(0, message)


def gradients_are_finite(optimizer: Optimizer) -> bool:
    """Tell whether gradients are finite, and their squares, which Adam keeps: infinity would stay there for good."""
    gradients = [each.grad for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
    if not gradients:
        return True
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(gradients)])
    return math.isfinite(norms.square().sum())


def loss_factor(trainer: Trainer) -> float:
    """Return what brings the loss that is propagated back to that of the batch: accumulation and scaling undone."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return trainer.accumulate_grad_batches / (1.0 if scaler is None else scaler.get_scale())


def image_ids(batch: Any) -> list[str]:
    """Give the ids of a batch's images; none for a batch of another form."""
    return [str(name) for name in batch.get("image_id", ())] if isinstance(batch, dict) else []


def describe(parts: list[Part]) -> str:
    """Say what was wrong and on which images: those of batches with a bad loss, or of all where only gradients are."""
    bad = [part for part in parts if not math.isfinite(part[1])]
    chosen = bad or parts
    losses = ", ".join(dict.fromkeys(f"{loss:.4g}" for _, loss in chosen))
    names = list(dict.fromkeys(name for images, _ in chosen for name in images))
    more = f" and {len(names) - SHOWN_IMAGES} more" if len(names) > SHOWN_IMAGES else ""
    on = f" on images {', '.join(names[:SHOWN_IMAGES])}{more}" if names else ""
    return f"loss {losses}{on}" if bad else f"gradients NaN or infinite, with loss {losses}{on}"
