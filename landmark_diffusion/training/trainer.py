"""Lightning's Trainer with one more value for an option."""

from __future__ import annotations

from typing import Any, Literal

from lightning.fabric.connector import _PRECISION_INPUT
from lightning.pytorch import Trainer


class LdxTrainer(Trainer):
    """The Trainer of ``ldx``.

    Args:
        precision: "auto" (what is fastest and right on this machine; a continued run keeps what it began with),
            "32-true", "bf16-mixed", "16-mixed", ...; by default "32-true".
        kwargs: of Lightning's Trainer.
    """

    def __init__(self, *, precision: _PRECISION_INPUT | Literal["auto"] | None = None, **kwargs: Any) -> None:
        super().__init__(precision=precision, **kwargs)  # type: ignore[arg-type]  # settled by cli.compute before
