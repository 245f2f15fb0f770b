"""The calibrated spread of a test's predictions, for a model file that holds a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.detection.model import prediction_settings
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.modelfile.model_file import is_model_file, read_facts
from landmark_diffusion.spread.calibration import LEVEL
from landmark_diffusion.spread.model_calibration import Calibration
from landmark_diffusion.spread.units import Spreads


def tested_spreads(
    checkpoint: str | Path | None, module: Finder, predictions: Sequence[Prediction], frames: Sequence[Frame]
) -> Spreads | None:
    """Bring the predictions' covariances to what the calibration in ``checkpoint`` makes of them.

    ``predictions`` are of the module's main variant; ``frames`` are those of the data set, by ``Prediction.index``.
    None where the checkpoint is no model file, or was not calibrated for the module's settings.
    """
    if checkpoint is None or not is_model_file(checkpoint):
        return None
    content = read_facts(checkpoint).calibration
    if content is None or any(prediction.covariance is None for prediction in predictions):
        return None
    calibration = Calibration.from_dict(content, module.num_landmarks, checkpoint)
    found = calibration.find(prediction_settings(module))
    if found is None:
        return None
    scale = np.array([frames[prediction.index].scale for prediction in predictions])
    squared = (scale[:, :, None] * scale[:, None, :])[:, None]
    network = found.spread.calibrated(np.stack([each.covariance for each in predictions]) * squared)  # type: ignore[misc]
    covariance = network / squared
    regions = found.spread.regions(network, LEVEL) / squared
    return Spreads(covariance, found.spread.expected_error(covariance), regions, LEVEL)
