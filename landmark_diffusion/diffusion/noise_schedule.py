from __future__ import annotations
import math
from typing import Literal
import torch
ScheduleKind = Literal["linear", "scaled_linear", "sqrt_linear", "cosine"]
class NoiseSchedule:
    def __init__(self, kind="linear", steps=200, beta_start=1e-4, beta_end=0.02, zero_terminal_snr=False):
        self.kind, self.steps = kind, steps
        scale = 1000 / steps if kind == "scaled_linear" else 1.0
        if kind in ("linear", "scaled_linear"):
            betas = torch.linspace(beta_start * scale, beta_end * scale, steps, dtype=torch.float64).clamp(max=0.999)
        elif kind == "sqrt_linear":
            betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
        else:
            f = lambda t: math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = torch.tensor([min(1 - f(i + 1) / f(i), 0.999) for i in range(steps)], dtype=torch.float64)
        ab = torch.cumprod(1 - betas, 0)
        if zero_terminal_snr:
            s = ab.sqrt(); s = (s - s[-1]) * s[0] / (s[0] - s[-1]); ab = s**2
            betas = 1 - torch.cat([ab[:1], ab[1:] / ab[:-1]])
        self.betas, self.alphas, self.alphas_bar = betas, 1 - betas, ab
