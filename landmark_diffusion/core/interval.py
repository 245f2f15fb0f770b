"""A mean with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval: ``level`` 0.95 cuts 2.5 % at each end; ``images`` is the sample's size."""

    mean: float
    low: float
    high: float
    level: float
    images: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def sign(self) -> int:
        """-1 or 1 where the whole interval lies below or above zero, 0 where it holds zero."""
        return int(self.low > 0) - int(self.high < 0)
