"""Odd values of Lightning's own options, refused in one line with the cure before anything is built or trained.

Lightning takes many of them (a negative number trains nothing, or for ever), fails on others in the middle of a run
(a division by zero), and says of the rest what is wrong without the file and line. What it finds out by itself later
comes through ``explain_lightning``.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from landmark_diffusion.cli.parser_errors import find_key
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean


class Bound(NamedTuple):
    """The least value of an option, what else it may be, and what to do instead."""

    least: float
    also: tuple[Any, ...]
    cure: str


BOUNDS = {
    "max_epochs": Bound(1, (-1,), "at least 1, or -1 for no bound"),
    "max_steps": Bound(1, (-1,), "at least 1, or -1 for no bound"),
    "min_epochs": Bound(0, (), "at least 0"),
    "min_steps": Bound(0, (), "at least 0"),
    "accumulate_grad_batches": Bound(1, (), "at least 1: the batches that make one optimiser step"),
    "check_val_every_n_epoch": Bound(
        1, (), "at least 1; without validation: --trainer.limit_val_batches 0; counted in steps: null"
    ),
    "log_every_n_steps": Bound(1, (), "at least 1; without curves: --trainer.logger false"),
    "num_nodes": Bound(1, (), "at least 1"),
    "num_sanity_val_steps": Bound(0, (-1,), "at least 0, or -1 for all validation batches"),
    "reload_dataloaders_every_n_epochs": Bound(0, (), "at least 0"),
    "gradient_clip_val": Bound(0, (), "at least 0"),
    "fast_dev_run": Bound(0, (), "true, false, or a number of batches"),
}
NEEDED = {
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}
"""Without these batches a verb has nothing to do."""

_OF_OPTIONS = (MisconfigurationException, ValueError, RuntimeError, TypeError, ModuleNotFoundError)
_CLIPS = ("norm", "value")
_CLASSES = {"trainer.callbacks": "callbacks.callback.Callback", "trainer.logger": "loggers.logger.Logger"}
_EXPECTED_SHARE = "a number of batches, or a share between 0.0 and 1.0"
_EXPECTED_INTERVAL = (
    "a number of batches of at least 1, or a share of an epoch above 0.0 and up to 1.0; without validation: "
    "--trainer.limit_val_batches 0"
)


def check_trainer(options: Mapping[str, Any], verb: str) -> None:
    """Refuse values of ``trainer`` that Lightning would take or fail on later; raises UserError with place and cure."""
    for name, bound in BOUNDS.items():
        value = _number(options.get(name))
        if value is not None and value < bound.least and value not in bound.also:
            raise _refusal(name, value, bound.cure)
    for name in (*NEEDED.values(), "overfit_batches"):
        _check_share(name, options.get(name))
    for name in (NEEDED[verb], *(["max_time"] if verb == "fit" else [])):
        if options.get(name) in (0, "00:00:00:00") and not isinstance(options.get(name), bool):
            raise _refusal(name, options[name], f"more than 0, since `ldx {verb}` would have nothing to do")
    _check_share("val_check_interval", options.get("val_check_interval"), sys.float_info.min, _EXPECTED_INTERVAL)
    _check_bounds_together(options)
    _check_devices(options.get("devices"), options.get("accelerator"))
    _check_strategy(options.get("strategy"))
    algorithm = options.get("gradient_clip_algorithm")
    if algorithm is not None and algorithm not in _CLIPS:
        raise _refusal("gradient_clip_algorithm", algorithm, f"norm or value.{did_you_mean(str(algorithm), _CLIPS)}")


def check_counts(options: Mapping[str, Any]) -> None:
    """Refuse values of the run's own options that would fail, or mean nothing, only later."""
    for name, most in (("seed_everything", 2**32 - 1), ("pictures", None)):
        value = options.get(name)
        if isinstance(value, int) and (value < 0 or (most is not None and value > most)):
            expected = "at least 0" if most is None else f"0 to {most}"
            raise UserError(f"{find_key(name)}{name}: found {value}, expected {expected}")


def check_epoch_length(options: Mapping[str, Any], batches: int) -> None:
    """Refuse a validation interval longer than an epoch of ``batches``: it would never come."""
    interval = options.get("val_check_interval")
    limit = options.get("limit_train_batches")
    if isinstance(limit, int) and not isinstance(limit, bool):
        batches = min(batches, limit)
    if type(interval) is int and options.get("check_val_every_n_epoch", 1) is not None and interval > batches:
        raise _long_interval(interval, batches)


def explain_lightning(error: BaseException) -> UserError | None:
    """Turn an error that Lightning itself raised into one line for the user; None for any other error.

    What torch, the data or a model raise keeps its traceback: only the innermost frame tells whose error it is.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = Path(lightning.__file__).parent
    if not isinstance(error, _OF_OPTIONS) or not frames or own not in Path(frames[-1].filename).parents:
        return None
    message = " ".join(str(error).split())
    if found := re.search(r"`val_check_interval` \((\d+)\) must be less than .*?batches \((\d+)\)", message):
        return _long_interval(int(found[1]), int(found[2]))
    if "gpu backend" in message:
        return _refusal("accelerator", "gpu", "auto or cpu, since no GPU is seen here (`nvidia-smi` lists them)")
    if isinstance(error, ModuleNotFoundError):
        return UserError(f"trainer: {message} (or leave out the option of the trainer that needs it)")
    named = re.search(r"`(\w+)`|(\w+)=", message)
    name = next((each for each in (named.groups() if named else ()) if each in trainer_options()), None)
    return UserError(f"{find_key(f'trainer.{name}') if name else ''}trainer: {message}")


def explain_instantiation(error: BaseException) -> UserError | None:
    """Turn what a class that a config names said against its options into one line for the user; None for the rest."""
    cause = error.__cause__
    if isinstance(cause, UserError):
        return cause
    types, _, told = str(error).partition("Errors:")  # of jsonargparse, which tries several types in turn
    option = next((name for name, kind in _CLASSES.items() if kind in types), None)
    if option is not None and (found := re.match(r"\s*- (.+)", told)):
        return UserError(f"{find_key(option)}{option}: {found[1].strip()}")
    if isinstance(cause, ValueError):  # such as torch's about a dropout of 3
        return UserError(f"model: {cause}")
    return explain_lightning(error)


def explain_trainer(error: BaseException) -> UserError | None:
    """Turn what the Trainer said against its options into one line for the user; None for the rest."""
    return explain_lightning(error) or (UserError(f"trainer: {error}") if isinstance(error, ValueError) else None)


def trainer_options() -> list[str]:
    """Return the names of Lightning's options."""
    return [name for name in inspect.signature(Trainer.__init__).parameters if name != "self"]


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _check_share(name: str, value: Any, least: float = 0, expected: str = _EXPECTED_SHARE) -> None:
    if _number(value) is not None and (value < least or (isinstance(value, float) and value > 1)):
        raise _refusal(name, value, expected)


def _check_bounds_together(options: Mapping[str, Any]) -> None:
    for unit in ("epochs", "steps"):
        least, most = options.get(f"min_{unit}"), options.get(f"max_{unit}")
        if least is not None and most is not None and 0 <= most < least:
            raise _refusal(f"min_{unit}", least, f"at most max_{unit} ({most}), where the run ends")


def _check_devices(devices: Any, accelerator: Any) -> None:
    expected = "auto, a number of at least 1, or a list of them such as [0,1]"
    if isinstance(devices, str) and not re.fullmatch(r"auto|-?\d+(\s*,\s*\d+)*,?", devices.strip()):
        raise _refusal("devices", devices, expected)
    if devices in (0, "0", []):
        raise _refusal("devices", devices, expected)
    if devices in (-1, "-1") and accelerator == "cpu":
        raise _refusal("devices", devices, "auto or a number of processes, since accelerator is cpu")


def _check_strategy(strategy: Any) -> None:
    known = ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy not in known:
        hint = did_you_mean(strategy, known) or f" Known: {', '.join(known)}."
        raise _refusal("strategy", strategy, f"auto, ddp or another of Lightning's.{hint}")


def _long_interval(interval: int, batches: int) -> UserError:
    cure = f"at most {batches}, the batches of an epoch; --trainer.check_val_every_n_epoch null counts on over epochs"
    return _refusal("val_check_interval", interval, cure)


def _refusal(name: str, value: Any, expected: str) -> UserError:
    return UserError(f"{find_key(f'trainer.{name}')}trainer.{name}: found {value}, expected {expected}")
