"""Calibration: all that a model file says of how far to trust its points, for the settings it was measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.spread.calibration import SpreadCalibration
from landmark_diffusion.spread.image_score import ImageScore


@dataclass(frozen=True)
class SettingCalibration:
    """The calibration of one choice of steps, samples, decoder and spread.

    Attributes:
        settings: as ``Detector.settings`` gives them.
        spread: covariances to regions.
        image: score of whole images.
        figures: what was measured on the calibration images, for the reader.
    """

    settings: dict[str, Any]
    spread: SpreadCalibration
    image: ImageScore
    figures: dict[str, Any] = field(default_factory=dict)


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
                )
                for each in content["settings"]
            )
            return cls(str(content["source"]), int(content["images"]), settings)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{where}: the calibration in it is damaged ({type(error).__name__}: {error}); calibrate the model "
                "again with `ldx calibrate --overwrite`"
            ) from error
