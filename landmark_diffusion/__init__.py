"""Landmark detection in radiographs with diffusion models.

The public names are imported when they are first used, so that ``import landmark_diffusion`` and ``ldx --help`` need
no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landmark_diffusion.core.errors import DataError, UserError
    from landmark_diffusion.data.checks.samples import check_samples
    from landmark_diffusion.data.readers.radiograph import read_radiograph
    from landmark_diffusion.data.sample import LandmarkSample
    from landmark_diffusion.data.source import Finding, LandmarkDataset
    from landmark_diffusion.data.sources.phantom import PhantomDataset
    from landmark_diffusion.detection.detection import Detection
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.detection.forms import make_writers
    from landmark_diffusion.detection.writer import Writer
    from landmark_diffusion.diffusion.noise_schedule import NoiseOptions
    from landmark_diffusion.finders.diffusion_heatmap import MapSampling, MapTarget
    from landmark_diffusion.finders.finder import Decoding, Finder, LandmarkEstimate
    from landmark_diffusion.finders.heatmap_finetune import HeatmapTarget
    from landmark_diffusion.finders.optimisation import Optimisation
    from landmark_diffusion.finders.position_diffusion import PositionNoise, PositionSampling
    from landmark_diffusion.finders.windows import Windows
    from landmark_diffusion.methods.base import LandmarkModule
    from landmark_diffusion.methods.contrastive_pretrain import Contrast, ContrastivePretrainModule
    from landmark_diffusion.methods.ddpm_options import GeneratedImages
    from landmark_diffusion.methods.ddpm_pretrain import DDPMPretrainModule
    from landmark_diffusion.methods.diffusion_heatmap import DiffusionHeatmapModule
    from landmark_diffusion.methods.dino_pretrain import DINOPretrainModule, Distillation
    from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
    from landmark_diffusion.methods.offset_voting import OffsetVotingModule
    from landmark_diffusion.methods.position_diffusion import PositionDiffusionModule
    from landmark_diffusion.methods.views import Views
    from landmark_diffusion.modelfile.model_file import read_model_file
    from landmark_diffusion.models.unet import UNet
    from landmark_diffusion.training.datamodule import LandmarkDataModule

    __version__: str

__all__ = [
    "Windows",
    "PositionSampling",
    "PositionNoise",
    "Optimisation",
    "NoiseOptions",
    "MapTarget",
    "MapSampling",
    "HeatmapTarget",
    "GeneratedImages",
    "Decoding",
    "Contrast",
    "ContrastivePretrainModule",
    "DDPMPretrainModule",
    "DINOPretrainModule",
    "DataError",
    "Detection",
    "Detector",
    "DiffusionHeatmapModule",
    "Distillation",
    "Finder",
    "Finding",
    "LandmarkEstimate",
    "HeatmapFinetuneModule",
    "LandmarkDataModule",
    "LandmarkDataset",
    "LandmarkModule",
    "LandmarkSample",
    "OffsetVotingModule",
    "PhantomDataset",
    "PositionDiffusionModule",
    "UNet",
    "UserError",
    "Views",
    "Writer",
    "__version__",
    "check_samples",
    "make_writers",
    "read_model_file",
    "read_radiograph",
]

_HOMES = {
    "Contrast": "landmark_diffusion.methods.contrastive_pretrain",
    "ContrastivePretrainModule": "landmark_diffusion.methods.contrastive_pretrain",
    "DINOPretrainModule": "landmark_diffusion.methods.dino_pretrain",
    "Distillation": "landmark_diffusion.methods.dino_pretrain",
    "Views": "landmark_diffusion.methods.views",
    "DDPMPretrainModule": "landmark_diffusion.methods.ddpm_pretrain",
    "DataError": "landmark_diffusion.core.errors",
    "Decoding": "landmark_diffusion.finders.finder",
    "Detection": "landmark_diffusion.detection.detection",
    "Detector": "landmark_diffusion.detection.detector",
    "DiffusionHeatmapModule": "landmark_diffusion.methods.diffusion_heatmap",
    "Finder": "landmark_diffusion.finders.finder",
    "Finding": "landmark_diffusion.data.source",
    "LandmarkEstimate": "landmark_diffusion.finders.finder",
    "GeneratedImages": "landmark_diffusion.methods.ddpm_options",
    "HeatmapFinetuneModule": "landmark_diffusion.methods.heatmap_finetune",
    "HeatmapTarget": "landmark_diffusion.finders.heatmap_finetune",
    "LandmarkDataModule": "landmark_diffusion.training.datamodule",
    "LandmarkDataset": "landmark_diffusion.data.source",
    "LandmarkModule": "landmark_diffusion.methods.base",
    "LandmarkSample": "landmark_diffusion.data.sample",
    "MapSampling": "landmark_diffusion.finders.diffusion_heatmap",
    "MapTarget": "landmark_diffusion.finders.diffusion_heatmap",
    "NoiseOptions": "landmark_diffusion.diffusion.noise_schedule",
    "Optimisation": "landmark_diffusion.finders.optimisation",
    "OffsetVotingModule": "landmark_diffusion.methods.offset_voting",
    "PhantomDataset": "landmark_diffusion.data.sources.phantom",
    "PositionDiffusionModule": "landmark_diffusion.methods.position_diffusion",
    "PositionNoise": "landmark_diffusion.finders.position_diffusion",
    "PositionSampling": "landmark_diffusion.finders.position_diffusion",
    "UNet": "landmark_diffusion.models.unet",
    "UserError": "landmark_diffusion.core.errors",
    "Windows": "landmark_diffusion.finders.windows",
    "Writer": "landmark_diffusion.detection.writer",
    "check_samples": "landmark_diffusion.data.checks.samples",
    "make_writers": "landmark_diffusion.detection.forms",
    "read_model_file": "landmark_diffusion.modelfile.model_file",
    "read_radiograph": "landmark_diffusion.data.readers.radiograph",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name == "__version__":
        from landmark_diffusion.core.version import version

        return version()
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
