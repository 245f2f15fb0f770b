"""Odd values of Lightning's options: one line that names the option, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from landmark_diffusion.cli.monitor_checks import check_monitors, logged_in_validation
from landmark_diffusion.cli.trainer_checks import (
    check_counts,
    check_epoch_length,
    check_trainer,
    explain_lightning,
    trainer_options,
)
from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.methods.ddpm_pretrain import DDPMPretrainModule
from landmark_diffusion.methods.position_diffusion import PositionDiffusionModule
from tests.cli.fakes import TinyModel

ODD: list[tuple[dict[str, Any], str]] = [
    ({"max_epochs": 0}, "at least 1, or -1 for no bound"),
    ({"max_epochs": -2}, "at least 1, or -1 for no bound"),
    ({"max_steps": 0}, "at least 1, or -1 for no bound"),
    ({"max_steps": -5}, "at least 1, or -1 for no bound"),
    ({"min_epochs": -5}, "at least 0"),
    ({"min_steps": 500, "max_steps": 300}, "at most max_steps (300), where the run ends"),
    ({"min_epochs": 5, "max_epochs": 3}, "at most max_epochs (3), where the run ends"),
    ({"max_time": "00:00:00:00"}, "more than 0, since `ldx fit` would have nothing to do"),
    ({"accumulate_grad_batches": 0}, "at least 1: the batches that make one optimiser step"),
    ({"accumulate_grad_batches": -1}, "at least 1: the batches that make one optimiser step"),
    ({"check_val_every_n_epoch": 0}, "at least 1; without validation: --trainer.limit_val_batches 0"),
    ({"check_val_every_n_epoch": -1}, "at least 1; without validation: --trainer.limit_val_batches 0"),
    ({"val_check_interval": 0}, "a number of batches of at least 1, or a share of an epoch above 0.0"),
    ({"val_check_interval": 1.5}, "a number of batches of at least 1, or a share of an epoch above 0.0"),
    ({"limit_train_batches": 0}, "more than 0, since `ldx fit` would have nothing to do"),
    ({"limit_train_batches": -1}, "a number of batches, or a share between 0.0 and 1.0"),
    ({"limit_val_batches": 1.5}, "a number of batches, or a share between 0.0 and 1.0"),
    ({"overfit_batches": -1}, "a number of batches, or a share between 0.0 and 1.0"),
    ({"log_every_n_steps": 0}, "at least 1; without curves: --trainer.logger false"),
    ({"gradient_clip_val": -1.0}, "at least 0"),
    ({"gradient_clip_algorithm": "nrom"}, "norm or value. Did you mean norm?"),
    ({"num_sanity_val_steps": -2}, "at least 0, or -1 for all validation batches"),
    ({"reload_dataloaders_every_n_epochs": -1}, "at least 0"),
    ({"fast_dev_run": -1}, "true, false, or a number of batches"),
    ({"num_nodes": 0}, "at least 1"),
    ({"devices": 0}, "auto, a number of at least 1, or a list"),
    ({"devices": "0"}, "auto, a number of at least 1, or a list"),
    ({"devices": "abc"}, "auto, a number of at least 1, or a list"),
    ({"devices": []}, "auto, a number of at least 1, or a list"),
    ({"devices": -1, "accelerator": "cpu"}, "auto or a number of processes, since accelerator is cpu"),
    ({"strategy": "ddpp"}, "auto, ddp or another of Lightning's. Did you mean ddp"),
]


@pytest.mark.parametrize(("options", "expected"), ODD, ids=str)
def test_an_odd_value_is_refused_by_name(options: dict[str, Any], expected: str) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(UserError) as refused:
        check_trainer(options, "fit")
    assert str(refused.value).startswith(f"trainer.{name}: found {value}, expected {expected}")


def test_values_that_mean_something_are_taken() -> None:
    for options in (
        {"max_epochs": -1, "max_steps": 5, "min_steps": 5, "devices": 1, "strategy": "auto"},
        {"max_steps": -1, "max_epochs": None, "devices": "auto", "limit_train_batches": 0.5, "strategy": "ddp_spawn"},
        {"devices": "0,1", "num_sanity_val_steps": -1, "fast_dev_run": True, "val_check_interval": 1.0},
        {"devices": [0], "limit_val_batches": 0, "gradient_clip_val": None, "check_val_every_n_epoch": None},
        {"val_check_interval": "00:01:00:00", "overfit_batches": 0.0, "gradient_clip_algorithm": "value"},
    ):
        check_trainer(options, "fit")
    check_trainer({"limit_train_batches": 0}, "test")
    with pytest.raises(UserError, match=r"limit_test_batches: found 0, .*`ldx test` would have nothing to do"):
        check_trainer({"limit_test_batches": 0}, "test")


def test_shipped_configs_pass() -> None:
    for path in installed_configs():
        options = yaml.safe_load(path.read_text()).get("trainer") or {}
        assert set(options) <= set(trainer_options())
        check_trainer(options, "fit")


def test_seed_and_pictures() -> None:
    check_counts({"seed_everything": 2**32 - 1, "pictures": 0})
    for options in ({"seed_everything": -1}, {"seed_everything": 2**32}, {"pictures": -1}):
        with pytest.raises(UserError, match=f"^{next(iter(options))}: found {next(iter(options.values()))}, expected"):
            check_counts(options)


def test_an_interval_longer_than_an_epoch() -> None:
    with pytest.raises(UserError, match=r"trainer\.val_check_interval: found 20, expected at most 4, the batches"):
        check_epoch_length({"val_check_interval": 20}, 4)
    with pytest.raises(UserError, match="expected at most 3"):
        check_epoch_length({"val_check_interval": 4, "limit_train_batches": 3}, 4)
    for options in ({"val_check_interval": 4}, {"val_check_interval": 20, "check_val_every_n_epoch": None}, {}):
        check_epoch_length(options, 4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--trainer.val_check_interval 20", "trainer.val_check_interval: found 20, expected at most 2"),
        ("--trainer.accumulate_grad_batches 0", "trainer.accumulate_grad_batches: found 0, expected at least 1"),
        ("--trainer.limit_train_batches 0.1", "trainer: You requested to check 0.1 of the `train_dataloader`"),
        (
            "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/mer",
            "trainer: Early stopping conditioned on metric `val/mer` which is not available.",
        ),
        (
            "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/mre --trainer.limit_val_batches 0",
            "EarlyStopping: monitor val/mre needs a validation, and there is none here",
        ),
        (
            "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/mre --trainer.callbacks.mode mxa",
            "trainer.callbacks: `mode` can be min, max, got mxa",
        ),
        (
            "--trainer.callbacks ModelCheckpoint --trainer.callbacks.save_top_k 3",
            "trainer.callbacks: ModelCheckpoint(save_top_k=3, monitor=None) is not a valid configuration",
        ),
        (
            "--trainer.callbacks ModelCheckpoint --trainer.callbacks.monitor val/foo",
            "trainer: `ModelCheckpoint(monitor='val/foo')` could not find the monitored key",
        ),
        ("--trainer.callbacks EarlyStopping", "trainer.callbacks: EarlyStopping needs a value for monitor"),
        ("--trainer.accelerator gpu", "trainer.accelerator: found gpu, expected auto or cpu, since no GPU"),
        ("--trainer.precision transformer-engine", "trainer: Requirement 'transformer_engine"),
        ("--seed_everything -1", "seed_everything: found -1, expected 0 to 4294967295"),
    ],
)
def test_what_lightning_says_late_is_one_line(
    ldx: Callable[[str], int], capfd: pytest.CaptureFixture, options: str, told: str
) -> None:
    if "gpu" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert ldx(f"fit --config tiny.yaml {options}") == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {told}"), errors


def test_the_file_and_line_are_named(folder: Path, ldx: Callable[[str], int], capfd: pytest.CaptureFixture) -> None:
    text = (folder / "tiny.yaml").read_text() + "  accumulate_grad_batches: 0\n"
    (folder / "odd.yaml").write_text(text)
    assert ldx("fit --config odd.yaml") == 1
    line = len(text.splitlines())
    assert f"odd.yaml:{line}: trainer.accumulate_grad_batches: found 0" in capfd.readouterr().err


def test_an_old_run_is_kept_where_the_new_one_cannot_begin(ldx: Callable[[str], int]) -> None:
    assert ldx("fit --config tiny.yaml") == 0
    last = Path("runs/tiny/checkpoints/last.ckpt")
    before = last.read_bytes()
    assert ldx("fit --config tiny.yaml --overwrite --trainer.val_check_interval 20") == 1
    assert last.read_bytes() == before


def test_ones_own_bar_takes_the_place_of_ours(ldx: Callable[[str], int]) -> None:
    """Lightning refuses two of them."""
    assert ldx("fit --config tiny.yaml --trainer.callbacks TQDMProgressBar") == 0


def test_barebones(folder: Path, ldx: Callable[[str], int]) -> None:
    assert ldx("fit --config tiny.yaml --trainer.barebones true --trainer.enable_model_summary null") == 0
    assert not (folder / "runs").exists()


def test_an_error_of_the_model_is_none_of_lightnings() -> None:
    def fails() -> None:
        torch.zeros(2) @ torch.zeros(3)

    for action, expected in ((fails, False), (lambda: Trainer(max_epochs=-2), True)):
        with pytest.raises(Exception) as caught:
            action()
        assert (explain_lightning(caught.value) is not None) == expected


def test_monitors_of_our_methods() -> None:
    model = SimpleNamespace()
    assert logged_in_validation(model) == []
    positions = object.__new__(PositionDiffusionModule)
    positions.variants = lambda in_fit=False: ("single-step", "multi-step")  # type: ignore[method-assign]
    known = logged_in_validation(positions)
    assert {"val/mre", "val/mre_single_step", "val/mre_multi_step"} <= set(known)
    check_monitors([EarlyStopping("val/mre"), EarlyStopping("val/sdr_2.5_multi_step")], positions, lambda: True)
    check_monitors([ModelCheckpoint(), EarlyStopping("train/loss")], positions, lambda: False)
    with pytest.raises(UserError, match=r"EarlyStopping: monitor val/mer is never logged\. Did you mean val/mre"):
        check_monitors([EarlyStopping("val/mer")], positions, lambda: True)
    assert logged_in_validation(object.__new__(DDPMPretrainModule)) == ["val/loss"]
    check_monitors([EarlyStopping("val/anything")], TinyModel(4), lambda: True)
