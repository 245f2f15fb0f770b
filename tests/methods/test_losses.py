"""Losses on maps against direct formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landmark_diffusion.heatmaps.losses import landmark_cross_entropy, pixel_bce, spatial_nll, spatial_nll_or_outside

B, N, H, W = 2, 3, 7, 5


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(B, N, H, W)) * 3)
    return logits, torch.from_numpy((rng.random((B, N, H, W)) > 0.7).astype(float))


def test_landmark_cross_entropy_is_the_softmax_over_landmarks_summed_pixel_by_pixel() -> None:
    logits, target = maps()
    total = 0.0
    for b in range(B):
        for y in range(H):
            for x in range(W):
                z = logits[b, :, y, x].numpy()
                log_p = z - math.log(sum(math.exp(v) for v in z))
                total -= sum(float(t) * float(p) for t, p in zip(target[b, :, y, x], log_p, strict=True))
    assert landmark_cross_entropy(logits, target).item() == pytest.approx(total / (B * H * W), rel=1e-12)


def test_landmark_cross_entropy_is_torchs_for_whole_targets() -> None:
    """The released code hands the maps to torch.nn.CrossEntropyLoss."""
    logits, target = maps()
    wanted = torch.nn.functional.cross_entropy(logits, target)
    assert landmark_cross_entropy(logits, target).item() == pytest.approx(wanted.item(), rel=1e-12)


def test_landmark_cross_entropy_says_nothing_about_the_background() -> None:
    logits, target = maps()
    other = torch.where(target.sum(1, keepdim=True) == 0, logits + torch.randn(B, N, H, W), logits)
    assert landmark_cross_entropy(logits, target) == landmark_cross_entropy(other, target)
    assert spatial_nll(logits, target) != spatial_nll(other, target)


def test_pixel_bce_by_hand_and_without_empty_channels() -> None:
    logits, target = maps()
    target[0, 1] = 0  # this landmark is missing: its pixels teach nothing
    each = []
    for b in range(B):
        for n in range(N):
            if (b, n) != (0, 1):
                p = 1 / (1 + np.exp(-logits[b, n].numpy()))
                t = target[b, n].numpy()
                each.append(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
    assert pixel_bce(logits, target).item() == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize("loss", [landmark_cross_entropy, pixel_bce, spatial_nll])
def test_losses_stay_float32_under_autocast(loss) -> None:
    logits, target = (value.float() for value in maps())
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(logits * 10, target)
    assert inside.dtype == torch.float32
    assert inside == loss(logits * 10, target)


def test_outside_is_one_more_class_of_logit_zero() -> None:
    logits, _ = maps()
    target, outside = torch.zeros(B, N, H, W, dtype=torch.float64), torch.zeros(B, N, dtype=torch.bool)
    target[0, 0, 3, 2] = target[0, 1, 0, 4] = target[1, 0, 6, 0] = target[1, 2, 1, 1] = 1
    outside[1, 1] = True  # (0, 2) is neither: nobody marked it
    classes = torch.cat((logits.flatten(-2), torch.zeros(B, N, 1)), -1)
    chosen = [(0, 0, 3 * W + 2), (0, 1, 4), (1, 0, 6 * W), (1, 2, W + 1), (1, 1, H * W)]
    each = [-float(classes[b, n].log_softmax(-1)[k]) for b, n, k in chosen]
    assert spatial_nll_or_outside(logits, target, outside).item() == pytest.approx(np.mean(each), rel=1e-12)
