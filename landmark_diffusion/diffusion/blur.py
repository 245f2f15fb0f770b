"""How the blur shrinks along the reverse process (paper A eq. 12)."""

from __future__ import annotations

import torch


def blur_sigma(t: float | torch.Tensor, steps: int, sigma_min: float, sigma_max: float) -> float | torch.Tensor:
    """Sigma of the blur at step t (a number, or (B,)) of T = ``steps``: linear from sigma_min to sigma_max (eq. 12)."""
    if steps == 1:  # one step is both the first and the last: eq. 12 divides by 0
        return sigma_min + 0.0 * t
    return sigma_min + t * (sigma_max - sigma_min) / (steps - 1)


def renormalise_peak(maps: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Scale each channel of (B,N,H,W) to the maximum it has in ``before``: a blurred pixel loses its height.

    For maps that are not negative; an empty channel stays empty.
    """
    peak = maps.amax((-2, -1), keepdim=True).clamp_min(1e-12)
    return maps * (before.amax((-2, -1), keepdim=True) / peak)
