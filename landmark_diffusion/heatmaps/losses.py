"""Losses on maps (B, N, H, W), in float32 or better under any precision; channels without a target count nothing."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from landmark_diffusion.heatmaps.targets import to_distribution


def spatial_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Softmax over the pixels of each channel, (B,N,H,W), in float32 or better under any precision."""
    with torch.autocast(logits.device.type, enabled=False):
        return full_precision(logits).flatten(-2).softmax(-1).view_as(logits)


def spatial_nll(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of target maps against the spatial softmax of logits (eq. 10), mean over the drawn channels."""
    with torch.autocast(logits.device.type, enabled=False):
        known = target.sum((-2, -1)) > 0
        log_p = F.log_softmax(full_precision(logits).flatten(-2), -1)
        nll = -(to_distribution(target).flatten(-2) * log_p).sum(-1)
        return (nll * known).sum() / known.sum().clamp_min(1)


def spatial_nll_or_outside(logits: torch.Tensor, target: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
    """``spatial_nll`` where one more class, of logit 0, stands for a landmark outside the image.

    ``outside`` (B, N) bool says whose landmark is; its target map is empty. Channels that neither draws nor is outside
    count nothing.
    """
    with torch.autocast(logits.device.type, enabled=False):
        known = target.sum((-2, -1)) > 0
        flat = full_precision(logits).flatten(-2)
        total = F.softplus(flat.logsumexp(-1))  # log(1 + sum exp)
        nll = torch.where(outside, total, total - (to_distribution(target).flatten(-2) * flat).sum(-1))
        counted = known | outside
        return (nll * counted).sum() / counted.sum().clamp_min(1)


def masked_mse(output: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the pixels of the channels (B,N) that are known (eq. 7 and 9)."""
    with torch.autocast(output.device.type, enabled=False):
        error = (full_precision(output) - full_precision(target)).square().mean((-2, -1))
        return (error * known).sum() / known.sum().clamp_min(1)


def pixel_bce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of each pixel against target maps in [0, 1], mean over the pixels of the drawn channels."""
    with torch.autocast(logits.device.type, enabled=False):
        known = target.sum((-2, -1)) > 0
        each = F.binary_cross_entropy_with_logits(full_precision(logits), target, reduction="none").mean((-2, -1))
        return (each * known).sum() / known.sum().clamp_min(1)


def landmark_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the softmax over the landmark channel at each pixel, mean over all pixels of the batch.

    -1/(B H W) sum_bhw sum_n target log softmax_n(logits): what paper B's released code computes. A pixel outside every
    target adds nothing, so that nothing is said about the background.
    """
    with torch.autocast(logits.device.type, enabled=False):
        return -(target * F.log_softmax(full_precision(logits), 1)).sum(1).mean()


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """float32 at least: float64 stays."""
    return x if x.dtype == torch.float64 else x.float()
