"""Radial errors as torchmetrics: exact on any number of processes, each image counted once.

DistributedSampler pads the last round with repeated images; a mean over what each process saw is then wrong. So the
metrics keep one row for each measured point, gather the rows, and drop those whose sample index came before.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from landmark_diffusion.metrics.functional import (
    MetricError,
    check_radii,
    known_spacing,
    mean_of,
    present,
    radial_error,
    rates_of,
    std_of,
)

INDEX, LANDMARK, ERROR, IN_MM = range(4)
"""Columns of a row: sample index (NaN without one), landmark's number, error, and 1 for mm or 0 for pixels."""

DIFFERENCE = 1e-3
"""Results of one sample index that differ by more than this (mm or px) are worth a warning."""


class RadialErrorMetric(Metric):
    """Collect the radial error of each landmark of each sample; subclasses say what to compute from them.

    The state is a list of (K, 4) float64 rows, one for each landmark that is there, concatenated across processes;
    40 landmarks of 10,000 images take 13 MB.
    """

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(
        self,
        predicted: Tensor,
        target: Tensor,
        spacing: Tensor | None = None,
        visible: Tensor | None = None,
        index: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            predicted: (B, N, 2) pixels (x, y) of the original image.
            target: (B, N, 2) pixels of the same frame; NaN marks a missing landmark.
            spacing: (B, 2) mm per pixel (x, y); None, or NaN in all rows, measures in pixels.
            visible: (B, N) bool; False marks a missing landmark.
            index: (B,) the samples' places in their dataset; a place that comes again is not counted again.

        Raises:
            MetricError: on wrong shapes, on mm mixed with pixels, on updates with and without index, and on a
                prediction that is not finite for a landmark that is there. The state is then as before.
        """
        errors = radial_error(predicted, target, spacing, visible)
        in_mm = known_spacing(spacing, len(errors)) is not None
        rows = _rows(errors, _check_index(index, len(errors)), in_mm)
        earlier = next((kept[:1] for kept in self.rows if len(kept)), rows[:0])
        _check_uniform(torch.cat([earlier.to(rows.device), rows[:1]]))
        self.rows.append(rows)

    @property
    def unit(self) -> Literal["mm", "px"] | None:
        """The unit of what this process has seen ("mm" for any spacing, px256 too); None before the first landmark."""
        seen = [rows[0, IN_MM] for rows in _as_list(self.rows) if len(rows)]
        return None if not seen else "mm" if seen[0] else "px"

    def _unique_rows(self) -> Tensor:
        """All rows, each point of an indexed sample once and in the order of the index, (K, 4) float64.

        The order makes sums the same to the last bit on any number of processes.
        """
        rows = torch.cat(_as_list(self.rows) or [_no_rows(self.device)])
        _check_uniform(rows)
        return _first_of_each(rows) if len(rows) and not torch.isnan(rows[0, INDEX]) else rows

    def _errors(self) -> Tensor:
        return self._unique_rows()[:, ERROR]

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # A process without any sample must still take part in the gathering, with rows of the same width and type.
        if not len(self.rows):
            self.rows = [_no_rows(self.device)]
        super()._sync_dist(*args, **kwargs)


class MeanRadialError(RadialErrorMetric):
    """Mean radial error over all landmarks that are there: float64 scalar, mm with spacing, else pixels.

    >>> import torch
    >>> from landmark_diffusion.metrics import MeanRadialError
    >>> metric = MeanRadialError()
    >>> metric.update(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2), spacing=torch.full((1, 2), 0.5))
    >>> metric.compute()
    tensor(1.5000, dtype=torch.float64)
    >>> metric.unit
    'mm'
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """Return the mean; NaN with a warning where nothing was measured."""
        return mean_of(self._errors())


class RadialErrorStd(RadialErrorMetric):
    """Standard deviation of the radial error over all points, what paper A prints behind +-.

    ``correction`` 0 divides by the number of points K (numpy's default), 1 by K - 1.

    >>> import torch
    >>> from landmark_diffusion.metrics import RadialErrorStd
    >>> metric = RadialErrorStd()
    >>> metric.update(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2))
    >>> metric.compute()
    tensor(2., dtype=torch.float64)
    """

    higher_is_better = False

    def __init__(self, correction: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.correction = correction

    def compute(self) -> Tensor:
        """Return the standard deviation; NaN with a warning where nothing was measured."""
        return std_of(self._errors(), self.correction)


class SuccessDetectionRate(RadialErrorMetric):
    """Percent of landmarks found within each radius, as a dict radius -> float64 scalar.

    Args:
        radii: in mm with spacing, else in pixels.
        strict: take error < radius (paper A); otherwise error <= radius. Errors within 1e-6 of a radius are ties.

    >>> import torch
    >>> from landmark_diffusion.metrics import SuccessDetectionRate
    >>> metric = SuccessDetectionRate(radii=(2.0, 3.0))
    >>> metric.update(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2), index=torch.tensor([0]))
    >>> {radius: f"{rate:.0f} %" for radius, rate in metric.compute().items()}
    {2.0: '50 %', 3.0: '100 %'}
    """

    higher_is_better = True

    def __init__(self, radii: Sequence[float] = (2.0, 2.5, 3.0, 4.0), strict: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radii = check_radii(radii)
        self.strict = strict

    def compute(self) -> dict[float, Tensor]:
        """Return the percentages in the order of ``radii``; NaN with a warning where nothing was measured."""
        return rates_of(self._errors(), self.radii, self.strict)


class LandmarkErrors(RadialErrorMetric):
    """Mean radial error of each landmark, (N,) float64; NaN for one that was never there.

    >>> import torch
    >>> from landmark_diffusion.metrics import LandmarkErrors
    >>> metric = LandmarkErrors(num_landmarks=2)
    >>> metric.update(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2))
    >>> metric.compute()
    tensor([5., 1.], dtype=torch.float64)
    """

    higher_is_better = False

    def __init__(self, num_landmarks: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_landmarks = num_landmarks

    def update(self, predicted: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> None:
        """Add a batch as :meth:`RadialErrorMetric.update` does; raises MetricError unless N is ``num_landmarks``."""
        if predicted.ndim == 3 and predicted.shape[1] != self.num_landmarks:
            raise MetricError(f"found {predicted.shape[1]} landmarks, expected {self.num_landmarks}")
        super().update(predicted, target, *args, **kwargs)

    def compute(self) -> Tensor:
        """Return the means in the landmarks' order."""
        rows = self._unique_rows()
        landmark, zeros = rows[:, LANDMARK].long(), rows.new_zeros(self.num_landmarks)
        total = zeros.index_add(0, landmark, rows[:, ERROR])
        return total / zeros.index_add(0, landmark, torch.ones_like(rows[:, ERROR]))


def _rows(errors: Tensor, index: Tensor | None, in_mm: bool) -> Tensor:
    """One row for each landmark that is there, from (B, N) errors."""
    there = ~torch.isnan(errors)
    row, landmark = there.nonzero(as_tuple=True)
    place = errors.new_full((len(row),), torch.nan) if index is None else index.to(errors)[row]
    return torch.stack([place, landmark.to(errors), present(errors), torch.full_like(place, float(in_mm))], dim=1)


def _no_rows(device: torch.device) -> Tensor:
    return torch.zeros((0, 4), dtype=torch.float64, device="cpu" if device.type == "mps" else device)


def _as_list(rows: list[Tensor] | Tensor) -> list[Tensor]:
    """The state is a list, and one tensor after synchronisation."""
    return [rows] if isinstance(rows, Tensor) else list(rows)


def _check_index(index: Tensor | None, batch: int) -> Tensor | None:
    if index is None:
        return None
    index = torch.as_tensor(index)
    if index.shape != (batch,) or index.is_floating_point() or index.dtype == torch.bool or (index < 0).any():
        raise MetricError(
            f"index: found {index.dtype} of shape {tuple(index.shape)}, expected whole numbers >= 0 of shape ({batch},)"
        )
    return index


def _check_uniform(rows: Tensor) -> None:
    """Raise MetricError if rows differ in their unit, or if only some have an index."""
    if len(rows) and (rows[:, IN_MM] != rows[0, IN_MM]).any():
        raise MetricError(
            "some samples have a spacing (mm) and others none (pixels), which cannot be averaged: give each its "
            "spacing, or measure all in pixels with spacing=None"
        )
    if torch.isnan(rows[:, INDEX]).any() and not torch.isnan(rows[:, INDEX]).all():
        raise MetricError("some updates gave an index and others none: give it always, or never")


def _first_of_each(rows: Tensor) -> Tensor:
    """Sort rows by (index, landmark) and keep the first that came of each; warn where repeats differ."""
    rows = rows[torch.argsort(rows[:, LANDMARK], stable=True)]
    rows = rows[torch.argsort(rows[:, INDEX], stable=True)]
    repeat = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    repeat[1:] = (rows[1:, [INDEX, LANDMARK]] == rows[:-1, [INDEX, LANDMARK]]).all(dim=1)
    differs = repeat[1:] & ((rows[1:, ERROR] - rows[:-1, ERROR]).abs() > DIFFERENCE)
    if differs.any():
        place = int(rows[1:][differs][0, INDEX])
        warnings.warn(
            f"sample index {place} was given more than once with different results, and the first is counted: either "
            "predictions are random from call to call, or two datasets share one metric (give each its own)",
            stacklevel=2,
        )
    return rows[~repeat]
