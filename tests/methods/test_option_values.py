"""Values that cannot work are refused when the options are made: later, an old run would be gone already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from landmark_diffusion import Decoding, MapTarget, Optimisation, PositionDiffusionModule, UserError


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Optimisation, {"adam_betas": (2.0, 3.0)}, r"optimisation\.adam_betas: found \[2\.0, 3\.0\]"),
        (Optimisation, {"optimizer": "muo"}, r"optimisation\.optimizer: found 'muo', expected one of adamw, muon"),
        (Optimisation, {"lr_schedule": "cosin"}, r"optimisation\.lr_schedule: found 'cosin', expected one of constant"),
        (Optimisation, {"ema_decay": 1.0}, r"optimisation\.ema_decay: found 1\.0"),
        (Optimisation, {"warmup_steps": -5}, r"optimisation\.warmup_steps: found -5, expected 0 or more"),
        (Optimisation, {"plateau_patience": -1}, r"optimisation\.plateau_patience: found -1"),
        (Optimisation, {"early_stopping_patience": -1}, r"optimisation\.early_stopping_patience: found -1"),
        (Decoding, {"radius": -4}, r"decoding\.radius: found -4, expected at least 1"),
        (Decoding, {"top_k": 0}, r"decoding\.top_k: found 0, expected at least 1"),
        (MapTarget, {"nll_weight": -1.0}, r"target\.nll_weight: found -1, expected 0 or more"),
        (MapTarget, {"mse_weight": -0.5}, r"target\.mse_weight: found -0\.5"),
        (MapTarget, {"channel_dropout": 1.5}, r"target\.channel_dropout: found 1\.5"),
        (PositionDiffusionModule, {"num_landmarks": 2, "window_weight": -3.0}, r"model\.window_weight: found -3"),
    ],
)
def test_what_cannot_work_is_refused(kind: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**options)
