"""Calibration: all that a model file says of how far to trust its points, for the settings it was measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import SpreadCalibration
from landmark_diffusion.spread.doubt import Doubt
from landmark_diffusion.spread.image_score import UNLIKE, ImageScore, can_reach


@dataclass(frozen=True)
class SettingCalibration:
    """The calibration of one choice of steps, samples, decoder and spread.

    Attributes:
        settings: as ``Detector.settings`` gives them.
        spread: covariances to regions.
        image: score of whole images by what is usual among the calibration's.
        doubt: which points and images may be far off, also on other devices; None where changed images were no part of
            the calibration. Its score of images goes before ``image``, and regions are of widened covariances.
        figures: what was measured on the calibration images, for the reader.
    """

    settings: dict[str, Any]
    spread: SpreadCalibration
    image: ImageScore
    figures: dict[str, Any] = field(default_factory=dict)
    doubt: Doubt | None = None

    @property
    def can_tell(self) -> bool:
        """Whether there are enough calibration images for a p-value as small as ``UNLIKE``."""
        return self.image.can_tell if self.doubt is None else can_reach(UNLIKE, len(self.doubt.images))

    def image_p_values(self, answers: Answers) -> np.ndarray:
        """P-values (I,) in (0, 1] of images: small for one that is unlike."""
        return (self.image if self.doubt is None else self.doubt).p_values(answers)

    def covariance(self, answers: Answers) -> np.ndarray:
        """Covariances (I, N, 2, 2) that ``spread`` is fitted to, in squared network pixels."""
        return answers.covariance if self.doubt is None else self.doubt.widened(answers)


@dataclass(frozen=True)
class Calibration:
    """Calibrations of several settings, fitted on the same images.

    Attributes:
        source: how the images stand to the weights, in words, such as "out-of-fold, 5 folds of isbi2015 official".
        images: how many.
        settings: one for each choice of steps, samples, decoder and spread.
    """

    source: str
    images: int
    settings: tuple[SettingCalibration, ...]

    def find(self, settings: Mapping[str, Any]) -> SettingCalibration | None:
        """Return the calibration for just these settings, or None: another number of steps has other errors."""
        return next((each for each in self.settings if each.settings == dict(settings)), None)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for the model file."""
        return {
            "source": self.source,
            "images": self.images,
            "settings": [
                {
                    "settings": each.settings,
                    "spread": each.spread.to_dict(),
                    "image": each.image.to_dict(),
                    "figures": each.figures,
                    **({} if each.doubt is None else {"doubt": each.doubt.to_dict()}),
                }
                for each in self.settings
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], count: int, where: str | Path) -> Calibration:
        """Read what ``to_dict`` gave for ``count`` landmarks; raises UserError naming ``where`` on anything else."""
        try:
            settings = tuple(
                SettingCalibration(
                    dict(each["settings"]),
                    SpreadCalibration.from_dict(each["spread"], count),
                    ImageScore.from_dict(each["image"], count),
                    dict(each["figures"]),
                    Doubt.from_dict(each["doubt"]) if "doubt" in each else None,
                )
                for each in content["settings"]
            )
            return cls(str(content["source"]), int(content["images"]), settings)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{where}: the calibration in it is damaged ({type(error).__name__}: {error}); calibrate the model "
                "again with `ldx calibrate --overwrite`"
            ) from error
