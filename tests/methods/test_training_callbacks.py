"""What a module's options ask of training, with a plain Trainer as with ``ldx fit``, and once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from landmark_diffusion import HeatmapFinetuneModule, LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.training import default_callbacks, module_callbacks
from landmark_diffusion.training.ema import EMA
from tests.methods.tiny_positions import fresh
from tests.options import nested

TINY: dict[str, Any] = {
    "network.encoder_channels": [8, 16], "network.decoder_channels": [16, 8], "network.blocks_per_level": 1,
    "network.attention_factors": [], "optimisation.learning_rate": 0.01,
}  # fmt: skip
RATE, AVERAGE, PATIENCE = (f"optimisation.{name}" for name in ("learning_rate", "ema_decay", "early_stopping_patience"))
STANDING_STILL = 1e-30
"""A learning rate that leaves every weight as it is, so that no validation is better than the first."""


def data(images: tuple[int, int, int] = (4, 2, 1)) -> LandmarkDataModule:
    options = {"count": images, "image_size": (64, 80)}
    return LandmarkDataModule("phantom", size=(16, 20), batch_size=4, dataset_options=options)


def module(options: Mapping[str, Any] | None = None) -> HeatmapFinetuneModule:
    torch.manual_seed(0)
    return HeatmapFinetuneModule(12, **nested({**TINY, **(options or {})}))


def trainer(*callbacks: Any, **options: Any) -> Trainer:
    """As in the README: nothing but what the caller gives."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = {"num_sanity_val_steps": 0, "use_distributed_sampler": False, "enable_checkpointing": False}
    return Trainer(callbacks=list(callbacks), **{**quiet, **settings, "max_epochs": 4, **options})


def kinds(made: Trainer, kind: type) -> list[Any]:
    return [each for each in made.callbacks if isinstance(each, kind)]


def test_a_plain_trainer_averages_the_weights_as_the_command_line_does(tmp_path: Path) -> None:
    plain, commanded, raw = module({AVERAGE: 0.5}), module({AVERAGE: 0.5}), module()
    trainer(max_epochs=3).fit(plain, data())
    callbacks = default_callbacks(tmp_path, ema_decay=commanded.optimisation.ema_decay)
    by_command = trainer(*callbacks, enable_checkpointing=True, max_epochs=3)
    by_command.fit(commanded, data())
    trainer(max_epochs=3).fit(raw, data())
    assert len(kinds(by_command, EMA)) == 1
    ours, theirs, without = (each.state_dict() for each in (plain, commanded, raw))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], without[name]) for name in ours)  # the option does something


def test_a_plain_trainer_stops_early(tmp_path: Path) -> None:
    stopping = module({PATIENCE: 2, RATE: STANDING_STILL})
    made = trainer(max_epochs=9)
    made.fit(stopping, data())
    assert made.current_epoch == 3  # the first validation is the best, and two more are not better
    made.validate(stopping, data(), verbose=False)
    assert len(kinds(made, EarlyStopping)) == 1


def test_a_run_of_the_command_line_goes_on_in_a_plain_trainer_where_it_stood(tmp_path: Path) -> None:
    """The patience that was used up is in the checkpoint, under the callback's name."""
    options = {PATIENCE: 3, RATE: STANDING_STILL, AVERAGE: 0.5}
    callbacks = default_callbacks(tmp_path, ema_decay=0.5, early_stopping_patience=3, monitor="val/loss")
    trainer(*callbacks, enable_checkpointing=True, max_epochs=3).fit(module(options), data())
    made = trainer(max_epochs=9)
    made.fit(module(options), data(), ckpt_path=str(tmp_path / "checkpoints" / "last.ckpt"))
    assert made.current_epoch == 4


def test_callbacks_that_the_user_gave_win() -> None:
    class OwnStop(EarlyStopping):
        """Of the same kind, though not of the same class."""

    own = [EMA(0.25), OwnStop("val/mre", patience=7)]
    made = trainer(*own, max_epochs=1)
    made.fit(module({AVERAGE: 0.5, PATIENCE: 2}), data())
    assert kinds(made, EMA) == own[:1] and kinds(made, EarlyStopping) == own[1:]
    assert module_callbacks(0.5, 2, own) == ([], [])
    assert [len(kind) for kind in module_callbacks(0.5, 2, own[:1])] == [0, 1]
    given = default_callbacks("unused", ema_decay=0.5, early_stopping_patience=2, given=own)
    assert not [each for each in given if isinstance(each, (EMA, EarlyStopping))]


def test_no_option_asks_for_no_callback() -> None:
    made = trainer(max_epochs=1)
    made.fit(module(), data())
    assert not kinds(made, EMA) and not kinds(made, EarlyStopping)


@pytest.mark.parametrize("options", [{PATIENCE: 2}, {"optimisation.lr_schedule": "plateau"}])
def test_what_follows_a_validation_loss_is_refused_where_there_is_none(options: dict[str, Any]) -> None:
    """A plateau would never be seen, and Lightning's early stop would end in a traceback after the first epoch."""
    made = fresh(options, 12)
    with pytest.raises(UserError, match=r"follows the validation loss.*PositionDiffusionModule has none.*val/mre"):
        trainer().fit(made, data())
    with pytest.raises(UserError, match="needs validation images"):
        trainer().fit(module(options), data((4, 0, 1)))
