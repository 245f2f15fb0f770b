"""The LightningModules: one a method, on a shared base. Importing this loads neither torch nor Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landmark_diffusion.core.registry import Registry, is_ours, resolve

METHODS = Registry(
    what="method",
    option="model.class_path",
    group="landmark_diffusion.methods",
    base="landmark_diffusion.finders.method:Method",
    built_in={
        "PositionDiffusionModule": "landmark_diffusion.methods.position_diffusion:PositionDiffusionModule",
        "DiffusionHeatmapModule": "landmark_diffusion.methods.diffusion_heatmap:DiffusionHeatmapModule",
        "HeatmapFinetuneModule": "landmark_diffusion.methods.heatmap_finetune:HeatmapFinetuneModule",
        "OffsetVotingModule": "landmark_diffusion.methods.offset_voting:OffsetVotingModule",
        "DDPMPretrainModule": "landmark_diffusion.methods.ddpm_pretrain:DDPMPretrainModule",
        "ContrastivePretrainModule": "landmark_diffusion.methods.contrastive_pretrain:ContrastivePretrainModule",
        "DINOPretrainModule": "landmark_diffusion.methods.dino_pretrain:DINOPretrainModule",
    },
)
"""What ``model.class_path`` knows by a short name; a class path of one's own does as well."""


def import_methods() -> None:
    """Import every method of this package, so that each is known by its short class name."""
    for place in METHODS.built_in.values():
        resolve(place)


def name_in_files(class_path: str) -> str:
    """Give the name that model files have for a class: the short one for those of this package, else the whole path."""
    return class_path.rpartition(".")[2] if is_ours(class_path) else class_path


def method_name(trained: Mapping[str, Any]) -> str:
    """Give the class name of the method that a checkpoint's options are of; empty where they do not say."""
    return str(trained.get("_class_path") or "").rpartition(".")[2]
