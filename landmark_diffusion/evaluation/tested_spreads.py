"""The calibrated spread of a test's predictions, for a model file that holds a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landmark_diffusion.data.geometry import Frame, covariance_factors
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.modelfile.model_file import is_model_file, read_facts
from landmark_diffusion.spread.calibration import Spreads
from landmark_diffusion.spread.model_calibration import Calibration


def tested_spreads(
    checkpoint: str | Path | None, module: Finder, evaluation: Evaluation, frames: Sequence[Frame]
) -> Spreads | None:
    """Bring the main variant's covariances to what the calibration in ``checkpoint`` makes of them.

    ``frames`` are those of the whole data set. None where the checkpoint is no model file, was not calibrated for the
    module's settings, or an image has no covariance.
    """
    covariance = evaluation.covariance[evaluation.main]
    if checkpoint is None or not is_model_file(checkpoint) or covariance is None:
        return None
    content = read_facts(checkpoint).calibration
    if content is None or np.isnan(covariance).all((1, 2, 3)).any():
        return None
    calibration = Calibration.from_dict(content, module.num_landmarks, checkpoint)
    found = calibration.find(module.prediction_settings())
    if found is None:
        return None
    factors = covariance_factors(np.array([frames[index].scale for index in evaluation.indices]))
    return found.spread.spreads(covariance * factors, factors)
