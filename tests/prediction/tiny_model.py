"""Tiny exported models for tests of ``ldx detect``: they find points that mean nothing, but depend on the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from landmark_diffusion import DiffusionHeatmapModule
from landmark_diffusion.calibration.answers import Answers
from landmark_diffusion.calibration.image_score import ImageScore
from landmark_diffusion.calibration.model_calibration import Calibration, SettingCalibration
from landmark_diffusion.calibration.spread import SpreadCalibration
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.prediction.detector import Detector
from landmark_diffusion.runs.model_facts import ModelFacts
from landmark_diffusion.runs.model_file import write_model_file
from tests.methods.tiny_positions import COARSE, TINY, H, N, W, module

NAMES = ("sella", "nasion", "menton")
IMAGES = 60
"""Of a made-up calibration."""


def facts(class_path: str = "PositionDiffusionModule", options: dict[str, Any] | None = None) -> ModelFacts:
    """What a model file says of a tiny model, its data 64 x 80 px."""
    options = {"num_landmarks": N, **(TINY if options is None else options)}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    data = {"dataset": "folder", "size": [W, H], "resize": "stretch"}
    return ModelFacts(class_path, plain, NAMES, data, updates=1, seed=3)


def write_positions(path: Path, calibration: Calibration | None = None, **changes: Any) -> Path:
    """Write a tiny PositionDiffusionModule; ``changes`` are of its facts."""
    stored = None if calibration is None else calibration.to_dict()
    return write_model_file(path, replace(facts(), calibration=stored, **changes), module(N).state_dict(), True)


def write_other(path: Path, method: type[HeatmapFinetuneModule] | type[DiffusionHeatmapModule], **more: Any) -> Path:
    """Write a tiny model of another method, which looks at an image once."""
    torch.manual_seed(0)
    options = {"num_landmarks": N, **COARSE, **more}
    return write_model_file(path, facts(method.__name__, options), method(**options).state_dict(), True)


def picture(seed: int = 0, size: tuple[int, int] = (150, 200)) -> np.ndarray:
    """A grey picture (H, W) uint8 of smooth blobs, both ends of the range in it; ``size`` is (width, height)."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((9, 7)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    coarse = (coarse - coarse.min()) / (coarse.max() - coarse.min())
    return np.rint(255 * coarse).astype(np.uint8)


def made_up_answers(detector: Detector, images: int = IMAGES, seed: int = 0) -> tuple[Answers, np.ndarray]:
    """What a tiny model says of made-up pictures, and residuals (I, N, 2) in network pixels that its spread scales."""
    found = [detector.find([network_image(seed + place)]) for place in range(images)]
    answers = Answers.join([detector.answers(each) for each in found])
    rng = np.random.default_rng(seed + 1)
    deviation = np.linalg.cholesky(answers.covariance + 1e-6 * np.eye(2))
    return answers, 0.3 * np.einsum("inab,inb->ina", deviation, rng.standard_normal((images, N, 2)))


def network_image(seed: int) -> torch.Tensor:
    """A picture as the network takes it, (1, H, W)."""
    return torch.from_numpy(picture(seed, (W, H))).unsqueeze(0).float() / 255


def make_calibration(path: Path, **options: Any) -> Calibration:
    """Calibrate an exported tiny model for one setting, on made-up pictures."""
    detector = Detector.load(path, **options)
    answers, residuals = made_up_answers(detector)
    fitted = SpreadCalibration.fit(residuals, answers.covariance)
    return Calibration(
        f"{IMAGES} made-up images", IMAGES,
        (SettingCalibration(detector.settings, fitted, ImageScore.fit(answers)),),
    )  # fmt: skip
