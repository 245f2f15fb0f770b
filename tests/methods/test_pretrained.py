"""Weights handed from one method to another: every one taken, replaced or refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from landmark_diffusion import DDPMPretrainModule, DiffusionHeatmapModule, HeatmapFinetuneModule, LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.finders.heatmap_finetune import encoder_parameters
from landmark_diffusion.methods.pretrained import load_pretrained
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from landmark_diffusion.training import default_callbacks
from tests.options import nested

TINY: dict[str, Any] = {
    "network.encoder_channels": [8, 16], "network.decoder_channels": [16, 8], "network.blocks_per_level": 1,
    "network.attention_factors": [2],
}  # fmt: skip
FEW_STEPS = {"noise.steps": 20, "sampling.steps": 5}


def data(labels: bool = True) -> LandmarkDataModule:
    return LandmarkDataModule(
        "phantom", size=(16, 20), batch_size=4, labels=labels,
        dataset_options={"count": (4, 2, 1), "image_size": (64, 80)},
    )  # fmt: skip


def train(module, folder: Path, source: LandmarkDataModule | None = None, **options: Any) -> Path:
    trainer = Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False,
        callbacks=default_callbacks(folder, ema_decay=module.optimisation.ema_decay, monitor=module.monitor),
    )  # fmt: skip
    trainer.fit(module, datamodule=source or data(), **options)
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three updates, whose average is not its raw weights."""
    options = {**TINY, **FEW_STEPS, "optimisation.ema_decay": 0.9, "optimisation.learning_rate": 0.01}
    return train(DDPMPretrainModule(**nested(options)), tmp_path_factory.mktemp("pretrain"), data(labels=False))


def finetune(path: Path | None, grouped: Mapping[str, Any] | None = None, **options: Any) -> HeatmapFinetuneModule:
    torch.manual_seed(1)
    options = {**nested({**TINY, **(grouped or {})}), **options}
    return HeatmapFinetuneModule(12, pretrained=None if path is None else str(path), **options)


def load(module: HeatmapFinetuneModule):
    return load_pretrained(
        module.network, module.pretrained or "", module.weights, dict(module.hparams), module.keep_head
    )


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_all_but_the_last_convolution_is_taken_from_the_weights_asked_for(pretrained: Path, weights: str) -> None:
    module = finetune(pretrained, weights=weights)
    fresh = {name: value.clone() for name, value in module.network.state_dict().items()}
    transfer = load(module)
    content = torch.load(pretrained, weights_only=True)
    wanted = content["state_dict" if weights == "ema" else "current_model_state"]
    assert sorted(transfer.new) == ["conv_out.bias", "conv_out.weight"]
    assert sorted([*transfer.taken, *transfer.new]) == sorted(fresh)
    for name, value in module.network.state_dict().items():
        assert torch.equal(value, fresh[name] if name in transfer.new else wanted[f"network.{name}"]), name
    assert transfer.updates == 3
    told = transfer.describe()
    assert "after 3 updates" in told and "conv_out.weight" in told
    assert ("EMA" in told) == (weights == "ema")


def test_average_and_raw_weights_differ(pretrained: Path) -> None:
    content = torch.load(pretrained, weights_only=True)
    name = "network.conv_in.weight"
    assert not torch.equal(content["state_dict"][name], content["current_model_state"][name])


def test_the_time_branch_is_left_behind_where_it_is_removed(pretrained: Path) -> None:
    module = finetune(pretrained, null_time="removed")
    transfer = load(module)
    assert transfer.left and all("time." in name or ".embedding." in name for name in transfer.left)
    assert "left behind" in transfer.describe()


def test_null_time_means_what_it_says(pretrained: Path) -> None:
    image = torch.rand(2, 1, 20, 16)
    zero, first = finetune(pretrained), finetune(pretrained, null_time="first_step")
    for module in (zero, first):
        load(module)
        torch.manual_seed(2)
        torch.nn.init.normal_(module.network.conv_out.weight)
    x = image * 2 - 1
    assert torch.equal(zero(image), zero.network(x, None))
    assert torch.equal(first(image), first.network(x, torch.zeros(2, dtype=torch.long)))
    assert not torch.allclose(zero(image), first(image))


def test_another_network_is_refused_by_its_options_and_nothing_is_changed(pretrained: Path) -> None:
    module = finetune(pretrained, {"network.encoder_channels": [8, 24]}, image_range=(0.0, 1.0))
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    with pytest.raises(UserError) as refused:
        load(module)
    told = "model.init_args.network.init_args.encoder_channels: [8, 16] in the checkpoint, [8, 24] in the config"
    assert told in str(refused.value)
    assert "image_range: [-1.0, 1.0] in the checkpoint, [0.0, 1.0]" in str(refused.value)
    assert all(torch.equal(value, before[name]) for name, value in module.network.state_dict().items())


def test_a_checkpoint_whose_options_agree_but_whose_weights_do_not_is_refused(pretrained: Path, tmp_path: Path) -> None:
    content = torch.load(pretrained, weights_only=True)
    name = "encoder.0.blocks.0.conv_in.weight"
    content["state_dict"][f"network.{name}"] = torch.zeros(3, 3)
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=rf"{re.escape(name)}, \(3, 3\) in the checkpoint and \(8, 8"):
        load(finetune(tmp_path / "other.ckpt"))


def test_weights_without_an_average_have_to_be_asked_for_as_raw(tmp_path: Path) -> None:
    path = train(DDPMPretrainModule(**nested({**TINY, **FEW_STEPS})), tmp_path, data(labels=False))
    with pytest.raises(UserError, match="has no moving average"):
        load(finetune(path))
    assert load(finetune(path, weights="raw")).updates == 3


def test_an_exported_model_is_a_start_by_the_weights_that_predictions_use(tmp_path: Path) -> None:
    source = DiffusionHeatmapModule(12, diffusion=False, **nested(TINY))
    options = {"num_landmarks": 12, "diffusion": False, **nested(TINY)}
    facts = ModelFacts("DiffusionHeatmapModule", options, (), {}, updates=7)
    path = write_model_file(tmp_path / "x.ldx", facts, source.state_dict())
    module = finetune(path, keep_head=True, image_range=(0.0, 1.0))
    assert load(module).updates == 7
    assert torch.equal(module.network.conv_out.weight, source.network.conv_out.weight)


def exported(path: Path, names: tuple[str, ...]) -> Path:
    """A model of the phantom's landmarks in the order of ``names``."""
    options = {"num_landmarks": 12, "diffusion": False, **nested(TINY)}
    weights = DiffusionHeatmapModule(12, diffusion=False, **nested(TINY)).state_dict()
    return write_model_file(path, ModelFacts("DiffusionHeatmapModule", options, names, {}, updates=7), weights)


@pytest.mark.parametrize("keep", [True, False])
def test_a_kept_head_takes_the_landmarks_in_its_own_order(tmp_path: Path, keep: bool, capsys, aloud) -> None:
    """By position the head would find the sella where the data has the menton."""
    source = data()
    names = source.landmark_names
    truth = dict(zip(names, source.stage_dataset("train").samples[0].mean_points.tolist(), strict=True))
    path = exported(tmp_path / "x.ldx", names[::-1])
    finetune(path, keep_head=keep, image_range=(0.0, 1.0)).take_start(source)
    wanted = names[::-1] if keep else names
    assert source.landmark_names == wanted
    assert source.stage_dataset("train").samples[0].mean_points.tolist() == [truth[name] for name in wanted]
    assert ("by name" in capsys.readouterr().out) == keep


@pytest.mark.parametrize("names", [(), tuple(f"landmark {i}" for i in range(12))])
def test_a_kept_head_without_names_is_told(tmp_path: Path, names: tuple[str, ...], capsys, aloud) -> None:
    path = exported(tmp_path / "x.ldx", names)
    finetune(path, keep_head=True, image_range=(0.0, 1.0)).take_start(data())
    assert "by position" in capsys.readouterr().out


def test_a_kept_head_of_other_landmarks_is_refused(tmp_path: Path) -> None:
    names = data().landmark_names
    path = exported(tmp_path / "x.ldx", ("tragus", *names[1:]))
    with pytest.raises(UserError, match=rf"x\.ldx \(model\.keep_head\): it has 'tragus', the data '{names[0]}'"):
        finetune(path, keep_head=True, image_range=(0.0, 1.0)).take_start(data())
    with pytest.raises(UserError, match="weights: ema"):
        load(finetune(path, weights="raw", image_range=(0.0, 1.0)))


@pytest.mark.parametrize("missing", ["nothing.ckpt", "text.ckpt"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, missing: str) -> None:
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError, match=missing):
        load(finetune(tmp_path / missing))


@pytest.mark.parametrize("diffusion", [True, False])
def test_a_checkpoint_of_paper_a_is_a_start_too(tmp_path: Path, diffusion: bool) -> None:
    source = DiffusionHeatmapModule(12, diffusion=diffusion, **nested({**TINY, "noise.steps": 20}))
    path = train(source, tmp_path)
    module = finetune(path, weights="raw", keep_head=True, image_range=(0.0, 1.0))
    transfer = load(module)
    network = module.network
    assert torch.equal(network.conv_in.weight, source.network.conv_in.weight[:, :1])
    assert torch.equal(network.conv_out.weight, source.network.conv_out.weight)  # as many landmarks: kept
    if diffusion:
        assert "the image's channel of 13" in transfer.describe()
    else:
        assert "the checkpoint has no time embedding" in transfer.describe()
    with pytest.raises(UserError, match=r"image_range: \[0.0, 1.0\] in the checkpoint"):
        load(finetune(path, weights="raw"))


def test_training_starts_from_them_and_a_resumed_run_keeps_its_own(pretrained: Path, tmp_path: Path) -> None:
    module = finetune(pretrained, {"optimisation.learning_rate": 1e-9, "optimisation.weight_decay": 0.0})
    path = train(module, tmp_path)
    assert module.transfer is not None
    source = torch.load(pretrained, weights_only=True)["state_dict"]["network.conv_in.weight"]
    assert torch.allclose(module.network.conv_in.weight, source, atol=1e-6)
    again = finetune(tmp_path / "deleted.ckpt")  # the start is not needed any more
    train(again, tmp_path, ckpt_path=path, weights_only=True)
    assert again.transfer is None
    assert torch.allclose(again.network.conv_in.weight, source, atol=1e-6)


def test_a_frozen_encoder_does_not_move_and_a_slow_one_moves_little(pretrained: Path, tmp_path: Path) -> None:
    moved, optimisation = {}, {"optimisation.learning_rate": 0.001, "optimisation.weight_decay": 0.0}
    for rate in (0.0, 0.01, 1.0):
        module = finetune(pretrained, optimisation, encoder_rate=rate)
        train(module, tmp_path / str(rate))
        source = torch.load(pretrained, weights_only=True)["state_dict"]
        names = {id(p): name for name, p in module.network.named_parameters()}
        encoder = [names[id(p)] for p in encoder_parameters(module.network)]
        state = module.network.state_dict()
        moved[rate] = max((state[name] - source[f"network.{name}"]).abs().max().item() for name in encoder)
        decoder = "decoder.1.blocks.0.conv_in.weight"
        assert not torch.equal(state[decoder], source[f"network.{decoder}"])
    assert moved[0.0] == 0
    assert 0 < moved[0.01] < 0.05 * moved[1.0]
