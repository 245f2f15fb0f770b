"""How fast a run goes and how long it still takes, in words: for the bar and for the plain lines."""

from __future__ import annotations

import time

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from landmark_diffusion.training.progress import planned_steps


class Pace:
    """A clock over units of work, of which ``done`` are there at the start.

    The first ones, which warm everything up, are left out of the rate once there are more.
    """

    def __init__(self, done: int = 0) -> None:
        self._start = self._warm = (time.monotonic(), done)

    def rate(self, done: int) -> float | None:
        """Return units a second up to ``done``; None before the first."""
        now = time.monotonic()
        if self._warm == self._start and done > self._start[1]:
            self._warm = (now, done)
        begun, first = self._warm if done > self._warm[1] else self._start
        return (done - first) / (now - begun) if done > first and now > begun else None


def describe_fit(trainer: Trainer, pace: Pace) -> str:
    """Return ``2.31 steps/s, 13 min left``, as far as it is known: by steps, epochs or max_time, whichever ends first.

    Call it after each optimiser step or more seldom.
    """
    rate = pace.rate(trainer.global_step)
    left = [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)]  # type: ignore[attr-defined]
    planned = planned_steps(trainer)
    if rate and planned is not None:
        left.append((planned - trainer.global_step) / rate)
    return _joined(rate, "step", "steps", min((each for each in left if each is not None), default=None))


def describe_batches(done: int, total: float, pace: Pace) -> str:
    """Return ``1.20 batches/s, 20 s left`` of an evaluation."""
    rate = pace.rate(done)
    return _joined(rate, "batch", "batches", (total - done) / rate if rate and total != float("inf") else None)


def spell(seconds: float) -> str:
    """Return a length of time as one or two units: 45 s, 13 min, 2 h 05 min, 1 d 3 h."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _joined(rate: float | None, unit: str, units: str, left: float | None) -> str:
    parts = [] if rate is None else [f"{rate:.2f} {units}/s" if rate >= 0.1 else f"{1 / rate:.0f} s/{unit}"]
    return ", ".join([*parts, *([] if left is None else [f"{spell(left)} left"])])
