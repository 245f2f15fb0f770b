"""The Gaussian blur that shrinks along the reverse process (paper A eq. 12)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from landmark_diffusion.errors import UserError


def blur_sigma(t: int, steps: int, sigma_min: float, sigma_max: float) -> float:
    """Sigma of the blur at step t of T = ``steps``: linear from sigma_min at 0 to sigma_max at T-1 (eq. 12)."""
    return sigma_min if steps == 1 else sigma_min + t * (sigma_max - sigma_min) / (steps - 1)


def gaussian_blur(maps: torch.Tensor, sigma: float, kernel_size: int = 13) -> torch.Tensor:
    """Convolve each channel of (B, N, H, W) with a Gaussian cut to ``kernel_size`` pixels and normalised.

    The border is replicated. At sigma well above kernel_size / 4 the kernel is nearly a box. Raises UserError for an
    even kernel or sigma <= 0.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise UserError(f"blur_kernel: found {kernel_size}, expected an odd number of pixels")
    if sigma <= 0:
        raise UserError(f"blur sigma: found {sigma}, expected more than 0 (blur_sigma_max 0 switches the blur off)")
    radius, channels = kernel_size // 2, maps.shape[1]
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (weights / weights.sum()).to(maps.device, maps.dtype)
    padded = F.pad(maps, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def renormalise_peak(maps: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Scale each channel of (B, N, H, W) to the maximum it has in ``before``: a blurred pixel loses its height."""
    peak = maps.amax((-2, -1), keepdim=True).clamp_min(1e-12)
    return maps * (before.amax((-2, -1), keepdim=True) / peak)
