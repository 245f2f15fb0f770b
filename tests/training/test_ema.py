"""EMA against the recursion written out, and what is in the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training.ema import EMA, ema_decay_at
from tests.training.tiny import TinyData, TinyModule, tiny_trainer


class WeightHistory(Callback):
    """Raw weights after each optimiser step, and those seen in validation."""

    def __init__(self) -> None:
        self.raw: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step > len(self.raw):
            self.raw.append(pl_module.net[0].weight.detach().clone())

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any, **__: Any) -> None:
        self.validated.append(pl_module.net[0].weight.detach().clone())


def average_by_hand(raw: list[torch.Tensor], decay: float) -> torch.Tensor:
    """The recursion of the docstring in float64, the first weights taken as they are."""
    average = raw[0].double()
    for n, weights in enumerate(raw[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * weights.double()
    return average


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_the_recursion(tmp_path: Path, accumulate: int) -> None:
    module, history = TinyModule(), WeightHistory()
    trainer = tiny_trainer(tmp_path, ema_decay=0.3, max_epochs=3, accumulate_grad_batches=accumulate)
    trainer.callbacks.insert(0, history)
    trainer.fit(module, datamodule=TinyData())
    expected = average_by_hand(history.raw, 0.3)
    content = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    # float32 rounds each of the up to 15 updates by at most 6e-8 of weights below 1
    close = {"rtol": 0.0, "atol": 1e-6}
    torch.testing.assert_close(content["state_dict"]["net.0.weight"].double(), expected, **close)
    torch.testing.assert_close(content["current_model_state"]["net.0.weight"], history.raw[-1], rtol=0, atol=0)
    torch.testing.assert_close(history.validated[-1].double(), expected, **close)
    torch.testing.assert_close(module.net[0].weight.detach().double(), expected, **close)
    assert (expected - history.raw[-1].double()).abs().max() > 1e-3  # the test could tell the two apart


def test_warm_up_of_the_decay() -> None:
    assert [ema_decay_at(n, 0.995) for n in (0, 1, 90)] == [1 / 10, 2 / 11, 91 / 100]
    assert ema_decay_at(10_000, 0.995) == 0.995


@pytest.mark.parametrize("decay", [1.0, 1.5, -0.1])
def test_an_impossible_decay_is_named(decay: float) -> None:
    with pytest.raises(UserError, match="ema_decay: found"):
        EMA(decay)


def test_a_run_without_average_may_begin_one_and_is_told(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, ema_decay=0.0, max_epochs=1).fit(TinyModule(), datamodule=TinyData())
    trainer = tiny_trainer(tmp_path, ema_decay=0.9, max_epochs=2)
    with pytest.warns(UserWarning, match="no moving average"):
        trainer.fit(TinyModule(), datamodule=TinyData(), ckpt_path=str(tmp_path / "checkpoints/last.ckpt"))
    assert trainer.global_step == 10
