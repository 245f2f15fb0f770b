"""Options under the names that they had in one flat list: old files are read for good, as what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion import (
    DDPMPretrainModule,
    DiffusionHeatmapModule,
    HeatmapFinetuneModule,
    PositionDiffusionModule,
)
from landmark_diffusion.configuration.config_checks import load_yaml
from landmark_diffusion.detection.model import load_module
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.model_file import read_facts, read_model_file
from landmark_diffusion.modelfile.moved_options import (
    MOVED,
    config_with_new_names,
    dotted_with_new_names,
    new_places,
    with_new_names,
)
from landmark_diffusion.modelfile.network_size import stored_values

UNET = "UNet"
METHODS: dict[str, Any] = {
    "PositionDiffusionModule": PositionDiffusionModule,
    "DiffusionHeatmapModule": DiffusionHeatmapModule,
    "HeatmapFinetuneModule": HeatmapFinetuneModule,
    "DDPMPretrainModule": DDPMPretrainModule,
}

OLD: dict[str, dict[str, Any]] = {
    "PositionDiffusionModule": {
        "num_landmarks": 3, "coarse_factor": 2, "encoder_channels": [8, 16], "decoder_channels": [16, 8],
        "attention_factors": [2], "attention_heads": 2, "dropout": 0.1, "channels_last": True,
        "gradient_checkpointing": False, "window_encoder_channels": [8], "window_decoder_channels": [8],
        "window_blocks": 2, "window_size": 16, "window_patch": 2, "window_reach": 2.5, "wide_window": 0.0,
        "diffusion_steps": 50, "sigma_min": 8.0, "sigma_max": 100.0, "draws": 3, "sampling_steps": 5,
        "validation_steps": 2, "start_sigma": 40.0, "end_sigma": 10.0, "start_noise": 0.5, "eta": 0.25,
        "num_samples": 2, "prior_weight": 0.5, "aggregate": "last", "window_weight": 0.3, "decoder": "top_k",
        "decoder_radius": 3, "decoder_top_k": 7, "learning_rate": 0.01, "weight_decay": 0.0,
        "adam_betas": [0.9, 0.99], "lr_schedule": "cosine", "warmup_steps": 9, "ema_decay": 0.5,
    },
    "DiffusionHeatmapModule": {
        "num_landmarks": 3, "diffusion": True, "encoder_channels": [8, 16], "decoder_channels": [16, 8],
        "blocks_per_level": 1, "attention_factors": [2], "final_activation": "tanh", "output_activation": "tanh",
        "schedule": "cosine", "diffusion_steps": 20, "beta_start": 0.001, "beta_end": 0.03, "zero_terminal_snr": True,
        "parameterisation": "x0", "x0_target": "gaussian", "x0_sigma": 2.0, "nll_target": "subpixel",
        "nll_sigma": 3.0, "nll_weight": 0.5, "mse_weight": 0.1, "channel_dropout": 0.0, "sampler": "ddim", "eta": 0.5,
        "sampling_steps": None, "validation_steps": 2, "num_samples": 3, "x0_from": "tanh", "blur_sigma_max": 7.0,
        "blur_sigma_min": 0.25, "blur_kernel": 9, "renormalise": True, "aggregate": "mean", "decoder": "argmax",
        "early_stopping_patience": 4,
    },
    "HeatmapFinetuneModule": {
        "num_landmarks": 3, "pretrained": None, "weights": "raw", "keep_head": True, "null_time": "removed",
        "encoder_rate": 0.1, "image_range": [0.0, 1.0], "encoder_channels": [8, 16], "decoder_channels": [16, 8],
        "attention_factors": [], "attention_head_channels": 8, "linear_attention_factors": [2], "middle": "attention",
        "target": "gaussian", "target_sigma": 4.0, "loss": "bce", "decoder_radius": 1, "lr_schedule": "plateau",
        "plateau_factor": 0.1, "plateau_patience": 3,
    },
    "DDPMPretrainModule": {
        "num_landmarks": 0, "encoder_channels": [8, 16], "decoder_channels": [16, 8], "attention_factors": [],
        "schedule": "linear", "diffusion_steps": 20, "beta_start": 0.001, "beta_end": 0.03,
        "zero_terminal_snr": False, "parameterisation": "v", "self_conditioning": True, "image_range": [-1.0, 1.0],
        "sampler": "ddim", "sampling_steps": 5, "sample_every": 7, "sample_count": 2, "statistics_count": 6,
        "learning_rate": 0.002,
    },
}  # fmt: skip
"""As a version without groups wrote them."""

NEW: dict[str, dict[str, Any]] = {
    "PositionDiffusionModule": {
        "num_landmarks": 3, "coarse_factor": 2, "window_weight": 0.3,
        "network": {"class_path": UNET, "init_args": {
            "encoder_channels": [8, 16], "decoder_channels": [16, 8], "attention_factors": [2], "attention_heads": 2,
            "dropout": 0.1, "channels_last": True, "gradient_checkpointing": False,
        }},
        "window_network": {"class_path": UNET, "init_args": {
            "encoder_channels": [8], "decoder_channels": [8], "blocks_per_level": 2, "attention_factors": [],
            "scale_shift": True, "dropout": 0.1, "channels_last": True, "gradient_checkpointing": False,
        }},
        "windows": {"size": 16, "patch": 2, "reach": 2.5, "wide": 0.0},
        "noise": {"steps": 50, "sigma_min": 8.0, "sigma_max": 100.0, "draws": 3},
        "sampling": {
            "steps": 5, "validation_steps": 2, "start_sigma": 40.0, "end_sigma": 10.0, "start_noise": 0.5, "eta": 0.25,
            "samples": 2, "prior_weight": 0.5, "aggregate": "last",
        },
        "decoding": {"decoder": "top_k", "radius": 3, "top_k": 7},
        "optimisation": {
            "learning_rate": 0.01, "weight_decay": 0.0, "adam_betas": [0.9, 0.99], "lr_schedule": "cosine",
            "warmup_steps": 9, "ema_decay": 0.5,
        },
    },
    "DiffusionHeatmapModule": {
        "num_landmarks": 3, "diffusion": True, "parameterisation": "x0",
        "network": {"class_path": UNET, "init_args": {
            "encoder_channels": [8, 16], "decoder_channels": [16, 8], "blocks_per_level": 1, "attention_factors": [2],
            "final_activation": "tanh", "output_activation": "tanh",
        }},
        "noise": {
            "schedule": "cosine", "steps": 20, "beta_start": 0.001, "beta_end": 0.03, "zero_terminal_snr": True
        },
        "target": {
            "x0": "gaussian", "x0_sigma": 2.0, "nll": "subpixel", "nll_sigma": 3.0, "nll_weight": 0.5,
            "mse_weight": 0.1, "channel_dropout": 0.0,
        },
        "sampling": {
            "sampler": "ddim", "eta": 0.5, "steps": None, "validation_steps": 2, "samples": 3, "x0_from": "tanh",
            "blur_sigma_max": 7.0, "blur_sigma_min": 0.25, "blur_kernel": 9, "renormalise": True, "aggregate": "mean",
        },
        "decoding": {"decoder": "argmax"},
        "optimisation": {"early_stopping_patience": 4},
    },
    "HeatmapFinetuneModule": {
        "num_landmarks": 3, "pretrained": None, "weights": "raw", "keep_head": True, "null_time": "removed",
        "encoder_rate": 0.1, "image_range": [0.0, 1.0],
        "network": {"class_path": UNET, "init_args": {
            "encoder_channels": [8, 16], "decoder_channels": [16, 8], "blocks_per_level": 4, "attention_factors": [],
            "attention_head_channels": 8, "linear_attention_factors": [2], "middle": "attention",
        }},
        "target": {"kind": "gaussian", "sigma": 4.0, "loss": "bce"},
        "decoding": {"radius": 1},
        "optimisation": {"lr_schedule": "plateau", "plateau_factor": 0.1, "plateau_patience": 3},
    },
    "DDPMPretrainModule": {
        "num_landmarks": 0, "parameterisation": "v", "self_conditioning": True, "image_range": [-1.0, 1.0],
        "network": {"class_path": UNET, "init_args": {
            "encoder_channels": [8, 16], "decoder_channels": [16, 8], "blocks_per_level": 4, "attention_factors": [],
        }},
        "noise": {
            "schedule": "linear", "steps": 20, "beta_start": 0.001, "beta_end": 0.03, "zero_terminal_snr": False
        },
        "sampling": {"sampler": "ddim", "steps": 5, "every": 7, "count": 2, "statistics_count": 6},
        "optimisation": {"learning_rate": 0.002},
    },
}  # fmt: skip
"""The same in groups, written by hand."""


@pytest.mark.parametrize("method", METHODS)
def test_every_old_option_has_the_place_that_is_its_own(method: str) -> None:
    assert with_new_names(method, OLD[method]) == NEW[method]
    assert with_new_names(f"landmark_diffusion.methods.x.{method}", OLD[method]) == NEW[method]


def test_no_method_is_left_out_and_no_place_is_taken_twice() -> None:
    assert MOVED.keys() == METHODS.keys()
    for table in MOVED.values():
        places = [place for each in table.values() for place in each]
        assert len(places) == len(set(places))


@pytest.mark.parametrize("method", METHODS)
def test_an_old_model_is_the_same_network(method: str) -> None:
    ours, groups = (METHODS[method](**options) for options in (with_new_names(method, OLD[method]), NEW[method]))
    shapes = {name: tuple(value.shape) for name, value in groups.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes
    assert sum(each.numel() for each in ours.parameters()) == sum(each.numel() for each in groups.parameters())
    assert ours.hparams == groups.hparams


@pytest.mark.parametrize("method", METHODS)
def test_options_that_an_old_file_does_not_say_are_as_they_were(method: str) -> None:
    """Of the options that a method shared with others a file has just those that were given."""
    plain = METHODS[method](3) if method != "DDPMPretrainModule" else METHODS[method]()
    old = METHODS[method](**with_new_names(method, {"num_landmarks": plain.hparams["num_landmarks"], "dropout": 0.0}))
    assert old.hparams == plain.hparams
    wanted = {name: value.shape for name, value in plain.state_dict().items()}
    assert {name: value.shape for name, value in old.state_dict().items()} == wanted


@pytest.mark.parametrize("method", METHODS)
def test_new_names_are_left_as_they_are(method: str) -> None:
    for options in (NEW[method], {"num_landmarks": 3}, {}, dict(METHODS[method](2).hparams)):
        assert with_new_names(method, options) == options
    twice = with_new_names(method, with_new_names(method, OLD[method]))
    assert twice == NEW[method]


def test_a_group_of_the_same_name_is_told_from_an_old_option() -> None:
    """``target`` was the map of HeatmapFinetuneModule; it is the group that has the map as ``kind``."""
    assert with_new_names("HeatmapFinetuneModule", {"target": {"kind": "disc"}}) == {"target": {"kind": "disc"}}
    assert with_new_names("HeatmapFinetuneModule", {"target": "disc"})["target"] == {"kind": "disc"}


def test_what_is_given_is_not_changed() -> None:
    old = {**OLD["PositionDiffusionModule"]}
    with_new_names("PositionDiffusionModule", old)
    assert old == OLD["PositionDiffusionModule"]
    assert METHODS["HeatmapFinetuneModule"](2).hparams["network"]["init_args"]["encoder_channels"] == [
        64,
        128,
        256,
        512,
    ]


def test_options_of_other_classes_are_theirs() -> None:
    options = {"learning_rate": 0.1, "dropout": 0.2}
    assert with_new_names("my_lab.method.MyMethod", options) == options
    assert new_places("my_lab.method.MyMethod", "dropout") == ()


RUN = """# lightning.pytorch==2.6.1
seed_everything: 1
model:
  class_path: landmark_diffusion.methods.position_diffusion.PositionDiffusionModule
  init_args:
    encoder_channels: [8, 16]
    window_size: 16
    dropout: 0.1
    learning_rate: 0.01
"""


def test_the_config_of_an_earlier_run_is_read_under_new_names(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(RUN)
    assert load_yaml(path)["seed_everything"] == 1
    assert load_yaml(path)["model"]["init_args"] == {
        "network": {"class_path": UNET, "init_args": {"encoder_channels": [8, 16], "dropout": 0.1}},
        "window_network": {"class_path": UNET, "init_args": {
            "encoder_channels": [64], "decoder_channels": [64], "blocks_per_level": 1, "attention_factors": [],
            "scale_shift": True, "dropout": 0.1,
        }},
        "windows": {"size": 16}, "optimisation": {"learning_rate": 0.01},
    }  # fmt: skip


def test_what_a_user_wrote_is_left_as_it_is(tmp_path: Path) -> None:
    """It is refused where it is parsed, with the new name."""
    path = tmp_path / "config.yaml"
    path.write_text(RUN.partition("\n")[2])
    assert load_yaml(path)["model"]["init_args"] == {
        "encoder_channels": [8, 16], "window_size": 16, "dropout": 0.1, "learning_rate": 0.01
    }  # fmt: skip


@pytest.mark.parametrize(
    "content", [None, [], {}, {"model": None}, {"model": "x"}, {"model": {"class_path": "HeatmapFinetuneModule"}},
                {"model": {"init_args": {"dropout": 0.1}}}, {"data": {"split": "a"}}]
)  # fmt: skip
def test_a_config_without_a_model_of_ours_stays(content: Any) -> None:
    assert config_with_new_names(content) == content


def test_dotted_options_go_to_new_places() -> None:
    """As the manifest of a grid keeps those of its cells."""
    found = dotted_with_new_names("PositionDiffusionModule", {
        "trainer.max_steps": 5, "model.init_args.learning_rate": 0.1, "model.init_args.dropout": 0.2,
        "model.init_args.window_size": 16, "model.init_args.window_weight": 0.5, "data.dropout": 3,
    })  # fmt: skip
    assert found == {
        "trainer.max_steps": 5, "data.dropout": 3, "model.init_args.window_weight": 0.5,
        "model.init_args.optimisation.learning_rate": 0.1, "model.init_args.windows.size": 16,
        "model.init_args.network.class_path": "UNet", "model.init_args.network.init_args.dropout": 0.2,
        "model.init_args.window_network.class_path": "UNet", "model.init_args.window_network.init_args.dropout": 0.2,
    }  # fmt: skip
    assert dotted_with_new_names("PositionDiffusionModule", found) == found
    target = {"model.init_args.target": "disc"}
    assert dotted_with_new_names("HeatmapFinetuneModule", target) == {"model.init_args.target.kind": "disc"}
    assert dotted_with_new_names("MyMethod", target) == target


SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "ceph_small.ldx"


def test_the_model_that_is_shipped_loads() -> None:
    """A file of format 1, written before there were groups."""
    assert b'\\"format_version\\": 1' in SHIPPED.read_bytes()[:100_000]
    module, facts = load_module(SHIPPED)
    assert facts == read_facts(SHIPPED)
    assert facts.model["network"]["init_args"]["encoder_channels"] == [32, 64, 96, 128]
    assert facts.model["window_network"]["init_args"]["scale_shift"] is True
    assert facts.model["sampling"]["steps"] == 8 and "sampling_steps" not in facts.model
    assert module.evaluations() == (8, 1) and module.num_landmarks == len(facts.landmark_names) == 19
    assert module.optimisation.learning_rate == 0.001
    assert sum(each.numel() for each in module.parameters()) == stored_values(read_model_file(SHIPPED).weights)
    assert read_checkpoint(SHIPPED)["hyper_parameters"]["sampling"]["steps"] == 8


def test_a_method_of_another_package_keeps_its_options_whatever_its_name() -> None:
    options = {"num_landmarks": 2, "learning_rate": 0.1}
    assert with_new_names("my_lab.PositionDiffusionModule", options) == options
    assert with_new_names("landmark_diffusion.PositionDiffusionModule", options) != options


def test_where_old_and_new_names_are_mixed_the_new_one_goes_before() -> None:
    options = {"learning_rate": 0.002, "optimisation": {"learning_rate": 0.001}, "warmup_steps": 3}
    found = with_new_names("DDPMPretrainModule", options)
    assert found["optimisation"] == {"learning_rate": 0.001, "warmup_steps": 3}
    assert options["optimisation"] == {"learning_rate": 0.001}  # what was given is left as it is
