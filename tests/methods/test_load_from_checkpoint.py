"""``Module.load_from_checkpoint``: of a run, of an earlier version, of a model file; never of another class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_diffusion import DDPMPretrainModule, HeatmapFinetuneModule, PositionDiffusionModule, UserError

SMALL = {"encoder_channels": [8], "decoder_channels": [8], "blocks_per_level": 1, "attention_factors": []}


def write(path: Path, module: Any, hyper_parameters: dict[str, Any]) -> Path:
    content = {"state_dict": module.state_dict(), "global_step": 7, "hyper_parameters": hyper_parameters}
    torch.save(content, path)
    return path


def module() -> HeatmapFinetuneModule:
    torch.manual_seed(1)
    return HeatmapFinetuneModule(2, network={"class_path": "UNet", "init_args": SMALL}, target={"kind": "one_hot"})


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_options_and_weights_come_back(tmp_path: Path) -> None:
    made = module()
    path = write(tmp_path / "a.ckpt", made, dict(made.hparams))
    found = HeatmapFinetuneModule.load_from_checkpoint(path)
    assert same_weights(found, made) and found.target.kind == "one_hot" and found.trained_updates == 7
    assert HeatmapFinetuneModule.load_from_checkpoint(path, keep_head=True).keep_head


def test_a_checkpoint_of_an_earlier_version(tmp_path: Path) -> None:
    made = module()
    old = {"num_landmarks": 2, **SMALL, "target": "one_hot", "target_sigma": 4.0, "learning_rate": 0.5}
    old["_class_path"] = "landmark_diffusion.methods.heatmap_finetune.HeatmapFinetuneModule"
    found = HeatmapFinetuneModule.load_from_checkpoint(write(tmp_path / "a.ckpt", made, old))
    assert same_weights(found, made) and found.optimisation.learning_rate == 0.5
    assert (found.target.kind, found.target.sigma) == ("one_hot", 4.0)


def test_the_shipped_model_file() -> None:
    weights = Path(__file__).parents[2] / "weights" / "ceph_small.ldx"
    found = PositionDiffusionModule.load_from_checkpoint(weights)
    assert (found.num_landmarks, found.sampling.steps, found.trained_updates) == (19, 8, 2000)


def test_another_class_and_other_weights_are_refused(tmp_path: Path) -> None:
    made = module()
    hparams = {**made.hparams, "_class_path": "landmark_diffusion.HeatmapFinetuneModule"}
    path = write(tmp_path / "a.ckpt", made, hparams)
    with pytest.raises(UserError, match=r"a\.ckpt: found a HeatmapFinetuneModule, expected a DDPMPretrainModule"):
        DDPMPretrainModule.load_from_checkpoint(path)
    with pytest.raises(RuntimeError, match="size mismatch"):
        HeatmapFinetuneModule.load_from_checkpoint(path, num_landmarks=3)
