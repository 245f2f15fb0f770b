"""Landmark detection in radiographs with diffusion models.

The public names are imported when they are first used, so that ``import landmark_diffusion`` and ``ldx --help`` need
no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landmark_diffusion.detection.detection import Detection
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.methods.ddpm_pretrain import DDPMPretrainModule
    from landmark_diffusion.methods.diffusion_heatmap import DiffusionHeatmapModule
    from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
    from landmark_diffusion.methods.position_diffusion import PositionDiffusionModule
    from landmark_diffusion.models.unet import UNet
    from landmark_diffusion.training.datamodule import LandmarkDataModule

    __version__: str

__all__ = [
    "DDPMPretrainModule",
    "Detection",
    "Detector",
    "DiffusionHeatmapModule",
    "HeatmapFinetuneModule",
    "LandmarkDataModule",
    "PositionDiffusionModule",
    "UNet",
    "__version__",
]

_HOMES = {
    "Detection": "landmark_diffusion.detection.detection",
    "Detector": "landmark_diffusion.detection.detector",
    "LandmarkDataModule": "landmark_diffusion.training.datamodule",
    "DDPMPretrainModule": "landmark_diffusion.methods.ddpm_pretrain",
    "DiffusionHeatmapModule": "landmark_diffusion.methods.diffusion_heatmap",
    "HeatmapFinetuneModule": "landmark_diffusion.methods.heatmap_finetune",
    "PositionDiffusionModule": "landmark_diffusion.methods.position_diffusion",
    "UNet": "landmark_diffusion.models.unet",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name == "__version__":
        from importlib import metadata

        try:
            return metadata.version("landmark-diffusion")
        except metadata.PackageNotFoundError:
            return "unknown (not installed)"
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
