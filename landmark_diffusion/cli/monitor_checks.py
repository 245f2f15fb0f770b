"""The figures that a user's own callbacks follow: a name that is never logged is told before training, not after it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback

from landmark_diffusion.cli.parser_errors import find_key
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import nearest, question
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.training import TrainedModule


def check_monitors(callbacks: Sequence[Callback], model: Any, validated: Callable[[], bool]) -> None:
    """Refuse a ``monitor`` of the validation that ``model`` does not log, or any where nothing is validated.

    Names of other parts (``train/``) are for Lightning to find, which it does after the first step. Raises UserError
    with the nearest names.
    """
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or not monitor.startswith("val"):
            continue
        name = type(callback).__name__
        where = find_key("trainer.callbacks")
        if not validated():
            raise UserError(
                f"{where}{name}: monitor {monitor} needs a validation, and there is none here: no validation images, "
                "or trainer.limit_val_batches is 0"
            )
        known = logged_in_validation(model)
        if known and monitor not in known and not _is_detection_rate(monitor, known):
            hint = question(nearest(monitor, known))
            raise UserError(f"{where}{name}: monitor {monitor} is never logged.{hint} Known: {', '.join(known)}")


def logged_in_validation(model: Any) -> list[str]:
    """Return the names that a method of this package logs in each validation within fit; none for other models."""
    if not isinstance(model, TrainedModule):
        return []
    names = [] if type(model).image_losses is TrainedModule.image_losses else ["val/loss"]
    if isinstance(model, LandmarkModule):
        variants = model.variants(in_fit=True)
        names += ["val/mre"] if model.main_variant in variants or len(variants) == 1 else []
        for variant in variants:
            names += [f"val/mre_{_word(variant)}", f"val/sdr_2_{_word(variant)}"]
    return names


def _is_detection_rate(monitor: str, known: Sequence[str]) -> bool:
    """Whether it is the success detection rate at another radius: the data set decides which there are."""
    return re.sub(r"^val/sdr_[\d.]+_", "val/sdr_2_", monitor) in known


def _word(variant: str) -> str:
    return variant.replace("-", "_")
