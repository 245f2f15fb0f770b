"""``precision: auto`` and ``threads: auto``: what a verb computes with on this machine, and what a run began with.

A run that is continued keeps both, since other ones round otherwise: its end would not be that of the run that was
never stopped. A measurement follows its checkpoint where this machine computes that precision itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landmark_diffusion.cli.compatibility import CheckpointContent
from landmark_diffusion.core.say import say
from landmark_diffusion.core.texts import counted
from landmark_diffusion.hardware.precision import AUTO, BFLOAT, FULL, choose_precision, device_kind, has_native_bfloat16
from landmark_diffusion.hardware.threads import SMALL, batch_pixels, fastest, set_by_user, try_threads

SHARED_CHOICE = "LDX_PRECISION"
"""Environment variable by which a process tells those that Lightning starts from it what it chose."""


@dataclass(frozen=True)
class Compute:
    """What a verb computes with.

    Attributes:
        precision: of Lightning's Trainer; None is its default.
        threads: of torch; None leaves them as they are.
    """

    precision: str | None
    threads: int | None


def settle(verb: str, options: Any, content: CheckpointContent | None) -> Compute:
    """Choose precision and threads from a verb's parsed ``options`` and the checkpoint it starts from, and say them.

    Explicit values are obeyed.
    """
    kind = device_kind(options.trainer.accelerator)
    precision, why = _precision(verb, options.trainer.precision, kind, content)
    threads, how = _threads(verb, options, kind, precision, content)
    say(f"{verb}: precision {precision or FULL} ({why})" + _threads_in_words(threads, how))
    return Compute(precision, threads)


def forget_choice() -> None:
    """Let the next command of this process choose by itself."""
    os.environ.pop(SHARED_CHOICE, None)


def _precision(verb: str, asked: str | None, kind: str, content: CheckpointContent | None) -> tuple[str | None, str]:
    began = content.precision if content is not None else None
    if asked != AUTO:
        return asked, _of_explicit(verb, asked or FULL, kind, began)
    chosen, why = _continued(began, kind) if verb == "fit" else _measured(began, kind)
    if SHARED_CHOICE in os.environ:
        return os.environ[SHARED_CHOICE], "chosen by the first process"
    os.environ[SHARED_CHOICE] = chosen
    return chosen, f"{AUTO}: {why}"


def _of_explicit(verb: str, asked: str, kind: str, began: str | None) -> str:
    notes = ["as asked for"]
    if _in_software(asked, kind):
        notes.append(f"this processor computes bfloat16 in software, many times as slowly as {FULL}: take {AUTO}")
    if verb == "fit" and began not in (None, asked):
        notes.append(f"the run began in {began}: it will not end as if it had not been stopped")
    return "; ".join(notes)


def _continued(began: str | None, kind: str) -> tuple[str, str]:
    if began is None:
        return choose_precision(kind)
    why = "the run began with it"
    if _in_software(began, kind):
        why += "; this processor computes it in software, slowly, and does not round as the one it began on"
    return began, why


def _measured(began: str | None, kind: str) -> tuple[str, str]:
    if began is None or _in_software(began, kind):
        return choose_precision(kind)
    return began, "as in training"


def _in_software(precision: str, kind: str) -> bool:
    return kind == "cpu" and precision in (BFLOAT, "bf16", "16-mixed", "16") and not has_native_bfloat16()


def _threads(
    verb: str, options: Any, kind: str, precision: str | None, content: CheckpointContent | None
) -> tuple[int | None, str]:
    """Return the number of threads, None to leave it as it is, and what there is to say of it."""
    began = content.threads if content is not None and verb == "fit" else None
    if options.threads != AUTO:
        asked = int(options.threads)  # not a PositiveInt, which no checkpoint may hold
        return asked, "as asked for" + _otherwise(began, asked)
    if kind != "cpu" or _processes(options.trainer) > 1:
        return None, ""
    if (number := set_by_user()) is not None:
        return None, f"{number} by the environment" + _otherwise(began, number)
    if verb != "fit":
        return None, ""
    if began is not None:
        return began, "the run began with it"
    factor = (options.model.get("init_args") or {}).get("coarse_factor") or 1
    if batch_pixels(options.data, factor) > SMALL:
        return None, ""
    seconds = try_threads(bf16=precision == BFLOAT)
    return fastest(seconds), f"{AUTO}: {_compared(seconds)}"


def _otherwise(began: int | None, now: int) -> str:
    if began in (None, now):
        return ""
    return f"; the run began with {began}: other sums round otherwise, so it will not end as if it had not been stopped"


def _processes(trainer: Mapping[str, Any]) -> int:
    """How many processes share the machine or the run; "auto" is one on a CPU."""
    devices = trainer.get("devices")
    asked = int(str(devices)) if str(devices).isdigit() else 1
    started = int(os.environ.get("WORLD_SIZE", 1)) * (trainer.get("num_nodes") or 1)
    return max(asked, started)


def _compared(seconds: Mapping[int, float]) -> str:
    if len(seconds) == 1:
        return "the machine has one core"
    return "a trial took " + ", ".join(f"{1000 * each:.0f} ms with {number}" for number, each in seconds.items())


def _threads_in_words(threads: int | None, how: str) -> str:
    if not how:
        return ""
    return f", threads: {how}" if threads is None else f", {counted(threads, 'thread')} ({how})"
