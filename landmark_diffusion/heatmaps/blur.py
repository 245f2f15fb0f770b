"""Maps under a Gaussian, such as that which shrinks along the reverse process (paper A eq. 12)."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError

Border = Literal["replicate", "constant"]
SMALLEST_SIGMA = 1e-3
"""Below it, in px, the kernel is one pixel in float64 too; keeps sigma 0 from dividing by 0."""


def gaussian_blur(
    maps: torch.Tensor, sigma: float | torch.Tensor, kernel_size: int = 13, border: Border = "replicate"
) -> torch.Tensor:
    """Convolve each channel of (B,N,H,W) with a Gaussian cut to ``kernel_size`` pixels and normalised to sum 1.

    ``sigma`` in pixels is a number or (B,), one for each sample; 0 leaves the maps as they are. Beyond the border lies
    the nearest pixel, or nothing ("constant"). Above kernel_size / 4 the kernel is nearly a box. Calculates in float32
    or better under any precision.
    Raises UserError for an even kernel and a negative sigma.
    """
    kernel = gaussian_kernel(sigma, kernel_size, len(maps)).to(maps.device)
    batch, channels, height, width = maps.shape
    with torch.autocast(maps.device.type, enabled=False):
        wide = torch.promote_types(maps.dtype, torch.float32)
        kernel = kernel.to(wide).repeat_interleave(channels, 0)[:, None]
        x = maps.to(wide).reshape(1, batch * channels, height, width)  # one group of the convolution for each map
        radius = kernel_size // 2
        x = F.conv2d(F.pad(x, (radius, radius, 0, 0), border), kernel[:, :, None, :], groups=batch * channels)
        x = F.conv2d(F.pad(x, (0, 0, radius, radius), border), kernel[:, :, :, None], groups=batch * channels)
    return x.reshape(batch, channels, height, width)


def gaussian_kernel(sigma: float | torch.Tensor, kernel_size: int, batch: int = 1) -> torch.Tensor:
    """Sample one-dimensional Gaussians at whole pixels, (batch, kernel_size) float64 on the CPU, each of sum 1."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise UserError(f"blur_kernel: found {kernel_size}, expected an odd number of pixels")
    sigmas = torch.as_tensor(sigma, dtype=torch.float64, device="cpu").reshape(-1, 1)
    # a number is looked at as one, for who translates: a graph has no values to look at
    right = bool((sigmas >= 0).all()) if isinstance(sigma, torch.Tensor) else sigma >= 0
    if not right or len(sigmas) not in (1, batch):
        raise UserError(
            f"blur sigma: found {sigma}, expected a number of at least 0, or one for each of {batch} samples"
        )
    offsets = torch.arange(kernel_size, dtype=torch.float64) - kernel_size // 2
    weights = torch.exp(-0.5 * (offsets / sigmas.clamp_min(SMALLEST_SIGMA)).square())
    return (weights / weights.sum(1, keepdim=True)).expand(batch, -1)
