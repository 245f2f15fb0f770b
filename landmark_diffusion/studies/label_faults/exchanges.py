"""Two landmarks whose labels are exchanged in an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from landmark_diffusion.studies.label_faults.material import LabelMaterial
from landmark_diffusion.studies.label_faults.slips import Witness


def exchange_gains(material: LabelMaterial, annotator: int, model: Witness) -> np.ndarray:
    """Log ratio of likelihoods (I, N, N) of the labels with two landmarks exchanged and as they are.

    Symmetric; minus infinity on the diagonal and where a label is missing.
    """
    labels, spacing = material.labels[:, annotator], material.spacing[:, None]
    count = labels.shape[1]
    density = np.empty((len(labels), count, count))  # of the label of the last under the landmark of the middle axis
    for landmark in range(count):
        residuals = (labels[:, [landmark]] - material.points) * spacing
        density[:, :, landmark] = model.usual.log_density(residuals, model.covariance)
    own = np.diagonal(density, axis1=1, axis2=2)
    gains = density + density.swapaxes(1, 2) - own[:, :, None] - own[:, None]
    gains[:, np.arange(count), np.arange(count)] = -np.inf
    return np.where(np.isfinite(gains), gains, -np.inf)


def best_pairs(gains: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    """Give pairs of one image's landmarks by their gains (N, N), the best first, each landmark once."""
    gains = gains.copy()
    while gains.size and np.isfinite(gains.max()):
        first, second = map(int, np.unravel_index(int(gains.argmax()), gains.shape))
        yield (min(first, second), max(first, second)), float(gains[first, second])
        gains[[first, second]] = -np.inf
        gains[:, [first, second]] = -np.inf
