"""Made-up cells for the tests of tables and figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from landmark_diffusion.studies.fewshot.results import CellResult


def cell(start: str = "scratch", n: int = 5, draw: int = 0, mre: float = 4.0, **changes: Any) -> CellResult:
    """One cell of ISBI 2015 in mm; SDR falls by 10 % for each mm of MRE, a tenth of the points lie beyond 10 mm."""
    values: dict[str, Any] = {
        "start": start, "target": "one_hot", "n": n, "draw": draw, "checkpoint": "best", "seed": draw, "unit": "mm",
        "images": 150, "mre": mre, "median": mre / 2, "sdr": {2.0: 90 - 10 * mre, 4.0: 99 - 10 * mre},
        "beyond_10mm": mre, "updates": 2000, "train_minutes": 8.0,
        "train_images": tuple(f"{draw}_{place:03d}" for place in range(n)),
        "pretrain_updates": None if start == "scratch" else 8000, "other": {},
    }  # fmt: skip
    return CellResult(**(values | changes))


def draws_of(start: str, values: list[float], n: int = 5, **changes: Any) -> list[CellResult]:
    """One cell for each MRE in ``values``: draws 0, 1, ..."""
    return [cell(start, n, draw, mre, **changes) for draw, mre in enumerate(values)]


def grid(starts: dict[str, int | None], targets: list[str], numbers: list[int], draws: int = 3) -> list[CellResult]:
    """A whole grid with random errors that fall with n, for both choices of weights."""
    rng = np.random.default_rng(0)
    return [
        cell(start, n, draw, 1 + 6 * n**-0.5 * rng.uniform(0.8, 1.2), target=target, checkpoint=checkpoint,
             pretrain_updates=updates)
        for start, updates in starts.items()
        for target in targets
        for n in numbers
        for checkpoint in ("best", "last")
        for draw in range(draws)
    ]  # fmt: skip
