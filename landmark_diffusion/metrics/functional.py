"""Radial error and success detection rate as pure functions; the torchmetrics classes are built on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics.summary import error_std, hit_rates, mean_error


class MetricError(UserError, ValueError):
    """Points, spacing or indices that no honest number can be computed from."""


def radial_error(
    predicted: Tensor, target: Tensor, spacing: Tensor | None = None, visible: Tensor | None = None
) -> Tensor:
    """Measure the distance between predicted and true points, (B, N) float64, NaN where a landmark is missing.

    Args:
        predicted: (B, N, 2) pixels (x, y) of the frame that ``spacing`` belongs to, as a rule the original image.
        target: (B, N, 2) pixels of the same frame; NaN marks a missing landmark.
        spacing: (B, 2) or (2,) mm per pixel (x, y), then the result is in mm; None or all NaN: in pixels.
        visible: (B, N) bool; False marks a missing landmark.

    Raises:
        MetricError: on wrong shapes, a spacing known for some rows only, or a prediction that is not finite for a
            landmark that is there (leaving it out would flatter the result).

    >>> import torch
    >>> from landmark_diffusion.metrics import radial_error
    >>> radial_error(torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1, 2), spacing=torch.tensor([[0.5, 0.5]]))
    tensor([[2.5000]], dtype=torch.float64)
    """
    predicted, target = _float64(predicted), _float64(target)
    known = _known(predicted, target, visible)
    difference = predicted - target
    scale = known_spacing(spacing, len(predicted))
    if scale is not None:
        difference = difference * scale.to(difference.device)[:, None, :]
    error = torch.linalg.vector_norm(difference, dim=-1)
    return torch.where(known, error, torch.nan)


def mean_radial_error(
    predicted: Tensor, target: Tensor, spacing: Tensor | None = None, visible: Tensor | None = None
) -> Tensor:
    """Average the radial error over all landmarks that are there: a float64 scalar, mm with spacing, else pixels.

    Arguments and errors are those of :func:`radial_error`. NaN, with a warning, where no landmark is there.

    >>> import torch
    >>> from landmark_diffusion.metrics import mean_radial_error
    >>> mean_radial_error(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2))
    tensor(3., dtype=torch.float64)
    """
    return mean_of(present(radial_error(predicted, target, spacing, visible)))


def success_detection_rate(
    predicted: Tensor,
    target: Tensor,
    spacing: Tensor | None = None,
    visible: Tensor | None = None,
    radii: Sequence[float] = (2.0, 2.5, 3.0, 4.0),
    strict: bool = True,
) -> dict[float, Tensor]:
    """Count the landmarks found within each radius, as a dict radius -> percent (float64 scalars).

    ``radii`` are in mm with spacing, else in pixels. ``strict`` takes error < radius (paper A), otherwise <=; errors
    within ``TIE`` of a radius count as equal to it. The other arguments and errors are those of :func:`radial_error`.

    >>> import torch
    >>> from landmark_diffusion.metrics import success_detection_rate
    >>> success_detection_rate(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2), radii=(2.0, 3.0))
    {2.0: tensor(50., dtype=torch.float64), 3.0: tensor(100., dtype=torch.float64)}
    """
    return rates_of(present(radial_error(predicted, target, spacing, visible)), check_radii(radii), strict)


def present(errors: Tensor) -> Tensor:
    """Take the errors of the landmarks that are there, (K,), from an array with NaN for the missing ones."""
    return errors[~torch.isnan(errors)]


def mean_of(errors: Tensor) -> Tensor:
    """Average (K,) errors; NaN with a warning where there is none."""
    return errors.new_tensor(mean_error(_measured(errors)))


def std_of(errors: Tensor, correction: int = 0) -> Tensor:
    """Standard deviation of (K,) errors, over K - ``correction``; NaN with a warning where K is too small."""
    return errors.new_tensor(error_std(_measured(errors), correction))


def rates_of(errors: Tensor, radii: Sequence[float], strict: bool) -> dict[float, Tensor]:
    """Percent of (K,) errors within each radius; NaN with a warning where there is none."""
    rates = hit_rates(_measured(errors), radii, strict)
    return {radius: errors.new_tensor(rate) for radius, rate in rates.items()}


def check_radii(radii: Sequence[float]) -> tuple[float, ...]:
    """Return the radii as floats; raises MetricError unless they are positive, finite and all different."""
    checked = tuple(float(radius) for radius in radii)
    if not checked or len(set(checked)) != len(checked) or not all(0 < radius < float("inf") for radius in checked):
        raise MetricError(f"radii: found {list(radii)}, expected at least one, each positive, none twice")
    return checked


def known_spacing(spacing: Tensor | None, batch: int) -> Tensor | None:
    """Return the spacing as (B, 2) float64 mm per pixel, or None where it is unknown (None, or NaN in all rows).

    Raises MetricError where it is known for some rows only, is not positive, or has another shape.
    """
    if spacing is None:
        return None
    spacing = _float64(spacing)
    if spacing.shape == (2,):
        spacing = spacing.expand(batch, 2)
    if spacing.shape != (batch, 2):
        raise MetricError(f"spacing: found shape {tuple(spacing.shape)}, expected ({batch}, 2), mm per pixel (x, y)")
    unknown = torch.isnan(spacing).any(-1)
    if unknown.any():
        if not torch.isnan(spacing).all():
            row = int(unknown.nonzero()[0])
            raise MetricError(
                f"spacing: unknown for row {row} ({spacing[row].tolist()}) but known elsewhere in the same batch; "
                "mm and pixels cannot be averaged: give each image its spacing, or none"
            )
        return None
    if not (torch.isfinite(spacing) & (spacing > 0)).all():
        row = int((~(torch.isfinite(spacing) & (spacing > 0))).any(-1).nonzero()[0])
        raise MetricError(f"spacing: row {row} is {spacing[row].tolist()}, expected positive mm per pixel")
    return spacing


def _known(predicted: Tensor, target: Tensor, visible: Tensor | None) -> Tensor:
    """Which landmarks count, (B, N) bool, after checking shapes and that each of them has a finite prediction."""
    if predicted.ndim != 3 or predicted.shape[-1] != 2 or predicted.shape != target.shape:
        raise MetricError(
            f"points: found shapes {tuple(predicted.shape)} (predicted) and {tuple(target.shape)} (target), "
            "expected the same (B, N, 2)"
        )
    known = ~torch.isnan(target).any(-1)
    if visible is not None:
        visible = torch.as_tensor(visible, device=known.device)
        if visible.shape != known.shape:
            raise MetricError(f"visible: found shape {tuple(visible.shape)}, expected {tuple(known.shape)}")
        known = known & visible.to(torch.bool)
    for name, points in (("predicted", predicted), ("target", target)):
        faulty = known & ~torch.isfinite(points).all(-1)
        if faulty.any():
            row, landmark = faulty.nonzero()[0].tolist()
            raise MetricError(
                f"{name} point of row {row}, landmark {landmark} is {points[row, landmark].tolist()}, expected finite "
                f"pixels ({int(faulty.sum())} such points; a missing landmark is NaN in target or False in visible)"
            )
    return known


def _float64(values: Tensor) -> Tensor:
    """Take values as a detached float64 tensor; on Apple's GPU, which has no float64, they come to the CPU."""
    values = torch.as_tensor(values).detach()
    return (values.cpu() if values.device.type == "mps" else values).to(torch.float64)


def _measured(errors: Tensor) -> np.ndarray:
    """Errors as an array; warns where there is none."""
    if not errors.numel():
        warnings.warn("no landmark to measure (no update, or none visible): the result is NaN", stacklevel=4)
    return errors.cpu().numpy()
