"""The calibrated spread of a test's predictions, for a model file that holds a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landmark_diffusion.data.geometry import Frame, covariance_factors
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.modelfile.model_file import is_model_file, read_facts
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import Spreads
from landmark_diffusion.spread.model_calibration import Calibration


def tested_spreads(
    checkpoint: str | Path | None, module: Finder, evaluation: Evaluation, frames: Sequence[Frame]
) -> Spreads | None:
    """Bring the main variant's covariances to what the calibration in ``checkpoint`` makes of them, as detection does.

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
    of_image = [frames[index] for index in evaluation.indices]
    factors = covariance_factors(np.array([frame.scale for frame in of_image]))
    return found.spread.spreads(found.covariance(_answers(evaluation, of_image, factors)), factors)


def _answers(evaluation: Evaluation, frames: Sequence[Frame], factors: np.ndarray) -> Answers:
    """What was found, in network pixels; ``frames`` (I) and ``factors`` of covariances are the images' own."""
    main = evaluation.main

    def network(variant: str) -> tuple[np.ndarray, np.ndarray | None]:
        points = [frame.to_network(own) for frame, own in zip(frames, evaluation.points[variant], strict=True)]
        covariance = evaluation.covariance[variant]
        return np.stack(points), None if covariance is None else covariance * factors

    points, covariance = network(main)
    assert covariance is not None
    other = next((variant for variant in evaluation.points if variant != main), None)
    first_points, first_covariance = (None, None) if other is None else network(other)
    return Answers(points, covariance, first_points, first_covariance, evaluation.outside, evaluation.missed)
