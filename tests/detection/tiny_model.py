"""Tiny exported models for tests of ``ldx detect``: they find points that mean nothing, but depend on the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from landmark_diffusion import DiffusionHeatmapModule
from landmark_diffusion.core.groups import plain_options
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.detection.detection import UNKNOWN_SPACING
from landmark_diffusion.detection.detector import Detector, network_input
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import SpreadCalibration
from landmark_diffusion.spread.image_score import ImageScore
from landmark_diffusion.spread.model_calibration import Calibration, SettingCalibration
from tests.methods.tiny_positions import COARSE, TINY, H, N, W, module
from tests.options import nested

NAMES = ("sella", "nasion", "menton")
IMAGES = 120
"""Of a made-up calibration: enough that the oddest of them is odder than 99 in 100."""


def tiny_options(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Options of a tiny PositionDiffusionModule as its file has them, with dotted changes."""
    return plain_options(nested({"num_landmarks": N, **TINY, **(changes or {})}))


def facts(class_path: str = "PositionDiffusionModule", options: Mapping[str, Any] | None = None) -> ModelFacts:
    """What a model file says of a tiny model with these options, whose network sees 64 x 80 px."""
    data = {"dataset": "folder", "size": [W, H], "resize": "stretch"}
    model = tiny_options() if options is None else plain_options(options)
    return ModelFacts(class_path, model, NAMES, data, updates=1, seed=3)


def write_positions(path: Path, calibration: Calibration | None = None, **changes: Any) -> Path:
    """Write a tiny PositionDiffusionModule, with a calibration where one is given; ``changes`` are of its facts."""
    if calibration is not None:
        changes["calibration"] = calibration.to_dict()
    return write_model_file(path, replace(facts(), **changes), module().state_dict(), True)


def write_other(
    path: Path,
    method: type[HeatmapFinetuneModule] | type[DiffusionHeatmapModule],
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write a tiny model of another method, with dotted options."""
    torch.manual_seed(0)
    options = nested({"num_landmarks": N, **COARSE, **(more or {})})
    weights = method(**options).state_dict()
    return write_model_file(path, facts(method.__name__, options), weights, True)


def picture(seed: int = 0, size: tuple[int, int] = (150, 200)) -> np.ndarray:
    """A grey picture (H, W) uint8 of smooth blobs with both ends of the range; ``size`` is (width, height)."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.random((9, 7)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.rint(255 * (blobs - blobs.min()) / (blobs.max() - blobs.min())).astype(np.uint8)


def pictures(count: int, first: int, size: tuple[int, int] = (150, 200)) -> list[Radiograph]:
    """Pictures as ``Detector.detect`` takes them."""
    return [as_radiograph(picture(seed, size)) for seed in range(first, first + count)]


def as_radiograph(grey: np.ndarray) -> Radiograph:
    """Grey (H, W) uint8 as a file without spacing gives it."""
    return Radiograph(grey, None, UNKNOWN_SPACING, (), 8)


def answers_of(detector: Detector, radiographs: Sequence[Radiograph]) -> Answers:
    """What a model says of pictures, in network pixels."""
    frames = [Frame.fit(each.grey.shape[::-1], detector.size, detector.resize) for each in radiographs]
    inputs = [network_input(each.grey, frame) for each, frame in zip(radiographs, frames, strict=True)]
    return detector.answers(detector.find(inputs))


def made_up_residuals(covariance: np.ndarray, seed: int) -> np.ndarray:
    """Residuals (I, N, 2) of a model that is half as sure as it should be: normal, with 4 times its covariance."""
    deviation = np.linalg.cholesky(4 * covariance)
    return np.einsum("inab,inb->ina", deviation, np.random.default_rng(seed).standard_normal(deviation.shape[:3]))


def make_calibration(path: Path, radiographs: Sequence[Radiograph] | None = None, **options: Any) -> Calibration:
    """Calibrate an exported tiny model for one setting, on pictures (made-up ones by default) and made-up residuals."""
    detector = Detector.load(path, **options)
    answers = answers_of(detector, radiographs or pictures(IMAGES, first=1000))
    spread = SpreadCalibration.fit(made_up_residuals(answers.covariance, seed=1), answers.covariance)
    setting = SettingCalibration(detector.settings, spread, ImageScore.fit(answers))
    return Calibration(f"{len(answers)} made-up images", len(answers), (setting,))
