"""One family of changes: what a model finds in all images that were changed so, measured in their original pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.shifts import ShiftedImage, shift_image
from landmark_diffusion.data.source import LandmarkDataset
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.records import LengthUnit, Prediction, Unit
from landmark_diffusion.spread.statistics import covered

PLAIN = "as they are"
"""The row of the images that were not changed."""


@dataclass(frozen=True)
class FamilyErrors:
    """What a model did on I images with N landmarks under one family.

    Attributes:
        errors: (I, N) radial errors in the data set's unit; NaN for what nobody marked or the changed image hides.
        covered: (I, N) whether the stated region holds the truth, 1 or 0; NaN where there is none of both.
        unlike: (I,) whether the image was called unlike, 1 or 0; NaN where the model cannot tell.
        doubtful: (I, N) whether the point was marked as doubtful, 1 or 0; NaN where the model cannot tell.
    """

    errors: np.ndarray
    covered: np.ndarray
    unlike: np.ndarray
    doubtful: np.ndarray


def judge_family(
    detector: Detector, images: LandmarkTorchDataset, family: str, seed: int, batch_size: int,
    advance: Callable[[], object],
) -> FamilyErrors:  # fmt: skip
    """Let a model find the landmarks of all images under one family, or of the images as they are (``PLAIN``).

    The images are changed as they lie on disk, before they are resized; ``advance`` is called after each. Raises
    UserError where images lack the spacing that others have.
    """
    samples = [images.samples[place] for place in range(len(images))]
    records: list[Prediction] = []
    inside: list[np.ndarray] = []
    unlike: list[float] = []
    doubtful: list[np.ndarray] = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        changed = [_changed(images.source, sample, family, seed) for sample in batch]
        names = [sample.image_id for sample in batch]
        found = detector.detect(
            [Radiograph(each.grey, None, UNKNOWN_SPACING, (), 8) for each in changed], names, names, explain=False
        )
        for sample, each, detection in zip(batch, changed, found, strict=True):
            records.append(_record(images.source, sample, len(records), each, detection))
            inside.append(_inside(sample, each, detection))
            unknown = np.full(len(detection.points), np.nan)
            doubtful.append(unknown if detection.doubtful is None else detection.doubtful.astype(np.float64))
            unlike.append(np.nan if detection.unlike is None else float(detection.unlike))
            advance()
    measured = evaluate({family: records}, images.source.landmark_names, radii=images.source.radii)
    return FamilyErrors(measured.errors[family], np.stack(inside), np.array(unlike), np.stack(doubtful))


def study_unit(images: LandmarkTorchDataset) -> Unit:
    """Give the unit of all errors: "px" (of the original image) unless the length of every image's pixels is known."""
    known = all(images.samples[place].spacing is not None for place in range(len(images)))
    return _length_unit(images.source) if known else "px"


def _length_unit(source: LandmarkDataset) -> LengthUnit:
    return "px256" if source.unit == "px256" else "mm"


def _changed(source: LandmarkDataset, sample: LandmarkSample, family: str, seed: int) -> ShiftedImage:
    grey = source.load_image(sample)
    if family == PLAIN:
        return ShiftedImage(grey, np.eye(3))
    return shift_image(grey, sample.mean_points, family, seed, sample.image_id)


def _record(
    source: LandmarkDataset, sample: LandmarkSample, index: int, changed: ShiftedImage, detection: Detection
) -> Prediction:
    """What was found, in original pixels, beside the annotations of what the changed image shows."""
    shown = changed.visible(sample.mean_points)
    return Prediction(
        sample.image_id,
        index,
        changed.to_original(detection.points),
        np.where(shown[:, None], sample.annotations, np.nan),
        sample.spacing,
        length_unit=_length_unit(source),
        image_size=sample.size,
    )


def _inside(sample: LandmarkSample, changed: ShiftedImage, detection: Detection) -> np.ndarray:
    """Whether each region (N,) holds the truth, in the changed image's own pixels."""
    truth = sample.mean_points
    if detection.regions is None:
        return np.full(len(truth), np.nan)
    residuals = np.where(changed.visible(truth)[:, None], changed.to_shifted(truth) - detection.points, np.nan)
    return np.asarray(covered(residuals[None], detection.regions[None])[0])
