"""Which precision a training computes in where the config says ``auto``."""

from __future__ import annotations

import platform
from typing import Any

import torch

from landmark_diffusion.hardware.probe import HOPELESS, Probe, in_turns
from landmark_diffusion.hardware.threads import threads

AUTO, FULL, BFLOAT = "auto", "32-true", "bf16-mixed"
BUDGET = 0.3
"""Seconds of the trial on a CPU."""
WORTH = 1.2
"""A step has to be this many times as fast in bfloat16 on a CPU: what a network does beside convolutions gains less."""
_NAMES = {"cpu": "processor", "cuda": "GPU", "mps": "Apple GPU"}


def device_kind(accelerator: Any) -> str:
    """Return "cuda", "mps" or "cpu": what Lightning's ``trainer.accelerator`` means on this machine."""
    name = str(accelerator or "auto").lower()
    if name in ("cuda", "mps", "cpu"):
        return name
    if name in ("auto", "gpu"):
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return name


def has_native_bfloat16(kind: str = "cpu") -> bool:
    """Tell whether bfloat16 makes training faster here: GPUs and x86 processors say so, another CPU is tried.

    With AMX it does (a training step 1.5 times as fast), and with AVX512-BF16 alone (1.4 times); without such
    instructions products are computed in software, and a convolution takes up to fifty times as long. What a processor
    says is taken as it is: a trial beside other work would give one run this precision and the next another.
    """
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    said = bfloat16_instructions()
    return bfloat16_gain() >= WORTH if said is None else said


def bfloat16_instructions() -> bool | None:
    """Tell whether the processor has instructions for bfloat16; None where torch does not know."""
    flags = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16")]
    if platform.machine().lower() not in ("x86_64", "amd64") or not all(flags):
        return None
    return any(flag() for flag in flags if flag is not None)


def bfloat16_gain(budget: float = BUDGET) -> float:
    """Measure how many times as fast a step is in bfloat16, on one thread; first on small maps: it may be hopeless."""
    with threads(1):
        gain = _gain(Probe(16, (16, 20), 1), 0.0)
        return gain if gain < 1 / HOPELESS else _gain(Probe(), budget)


def _gain(probe: Probe, budget: float) -> float:
    times = in_turns({False: probe.seconds, True: lambda: probe.seconds(bf16=True)}, budget)
    return times[False] / times[True]


def choose_precision(kind: str) -> tuple[str, str]:
    """Return the precision that is fastest and right on a device, and why."""
    name = _NAMES.get(kind, kind)
    if kind not in ("cpu", "cuda"):
        return FULL, f"bfloat16 was not tried on this {name}"
    if has_native_bfloat16(kind):
        return BFLOAT, f"this {name} computes bfloat16 itself"
    return FULL, f"this {name} has no bfloat16 of its own"
