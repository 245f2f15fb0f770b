"""DDPMs as the start of both networks of the diffusion of positions: the same features, every weight accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from landmark_diffusion import DDPMPretrainModule, HeatmapFinetuneModule, LandmarkDataModule, PositionDiffusionModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.finders.windows import Windows
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from tests.methods.test_ddpm_sets import pooled
from tests.methods.test_pretrained import train
from tests.methods.tiny_positions import COARSE, TINY, N, module
from tests.options import nested

SETS = ("skulls", "others")
WINDOW_NETWORK: dict[str, Any] = {
    "network.encoder_channels": (8,), "network.decoder_channels": (8,), "network.blocks_per_level": 1,
    "network.attention_factors": (), "network.scale_shift": True,
}  # fmt: skip
LEARNING = {"noise.steps": 20, "sampling.steps": 3, "optimisation.learning_rate": 0.01, "optimisation.ema_decay": 0.9}
OF_WINDOWS = {**WINDOW_NETWORK, "windows.size": 16, "windows.count": 4}
RANGE = {"image_range": (-1.0, 1.0)}


def ddpm(folder: Path, options: Mapping[str, Any]) -> Path:
    torch.manual_seed(0)
    made = DDPMPretrainModule(**nested({**LEARNING, **options}))
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return train(made, folder, pooled(SETS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ddpm(tmp_path_factory.mktemp("whole"), COARSE)


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ddpm(tmp_path_factory.mktemp("sets"), {**COARSE, "condition.sets": SETS, "network.scale_shift": True})


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ddpm(tmp_path_factory.mktemp("windows"), OF_WINDOWS)


@pytest.fixture(scope="module")
def told_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ddpm(tmp_path_factory.mktemp("told"), {**OF_WINDOWS, "condition.sets": SETS})


def begun(options: Mapping[str, Any], **paths: Path) -> PositionDiffusionModule:
    texts = {name: str(path) for name, path in paths.items()}
    made = module({**RANGE, **texts, **options})
    made.take_start(None)
    return made


def source(path: Path) -> DDPMPretrainModule:
    return DDPMPretrainModule.load_from_checkpoint(path).eval()


def features(network: nn.Module, *inputs: torch.Tensor | None) -> torch.Tensor:
    found: torch.Tensor = network.with_features(*inputs)[1]  # type: ignore[operator]
    return found


IMAGE = torch.rand(2, 1, 20, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
PATCHES = torch.randn(3, 32, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("time", ["zero", "first_step"])
def test_the_first_network_gives_the_features_of_the_ddpm_at_that_step(whole: Path, time: str) -> None:
    ours, theirs = begun({"ddpm_start.time": time}, pretrained=whole), source(whole)
    t = None if time == "zero" else torch.zeros(2, dtype=torch.long)
    torch.testing.assert_close(features(ours.network, IMAGE), features(theirs.network, IMAGE, t), atol=1e-5, rtol=0)
    other = features(theirs.network, IMAGE, torch.full((2,), 15))
    assert not torch.allclose(features(ours.network, IMAGE), other, atol=1e-3)


@pytest.mark.parametrize(("name", "one_hot"), [(None, (0.0, 0)), ("skulls", (1, 0)), ("others", (0, 1))])
@pytest.mark.parametrize("time", ["zero", "first_step"])
def test_what_it_was_conditioned_on_becomes_a_constant(
    conditioned: Path, name: str | None, one_hot: tuple[float, float], time: str
) -> None:
    options = {"network.scale_shift": True, "ddpm_start.time": time, "ddpm_start.set": name}
    ours, theirs = begun(options, pretrained=conditioned), source(conditioned)
    t = None if time == "zero" else torch.zeros(2, dtype=torch.long)
    told = torch.tensor([one_hot]).float().repeat(2, 1)
    wanted = features(theirs.network, IMAGE, t, told)
    torch.testing.assert_close(features(ours.network, IMAGE), wanted, atol=1e-5, rtol=0)


def test_removed_leaves_the_branch_behind(whole: Path) -> None:
    ours = begun({"ddpm_start.time": "removed"}, pretrained=whole)
    (transfer,) = ours.transfers or ()
    weights = read_checkpoint(whole)["state_dict"]
    assert not transfer.changed
    assert sorted(transfer.new) == ["conv_out.bias", "conv_out.weight"]
    for name in transfer.taken:
        assert torch.equal(ours.network.state_dict()[name], weights[f"network.{name}"]), name
    assert all("time." in name or "embedding." in name for name in transfer.left)


@pytest.mark.parametrize("time", ["zero", "first_step"])
def test_the_window_network_gives_the_features_of_the_ddpm_at_every_sigma(windows: Path, time: str) -> None:
    ours, theirs = begun({"ddpm_start.time": time}, window_pretrained=windows), source(windows)
    nn.init.zeros_(ours.window_network.condition.weight)  # which landmark is looked for is new
    nn.init.zeros_(ours.window_network.condition.bias)
    wanted = features(theirs.network, PATCHES, None if time == "zero" else torch.zeros(3, dtype=torch.long))
    for t in (0.0, 17.3, 49.0):
        found = features(ours.window_network, PATCHES, torch.full((3,), t), torch.eye(N))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert ours.window_network.time.linear_out.weight.requires_grad  # sigma is learned from here on


def test_windows_of_several_sets_are_a_start_as_well(told_windows: Path) -> None:
    ours = begun({"ddpm_start.time": "first_step", "ddpm_start.set": "others"}, window_pretrained=told_windows)
    nn.init.zeros_(ours.window_network.condition.weight)
    nn.init.zeros_(ours.window_network.condition.bias)
    told = torch.tensor([[0.0, 1]]).repeat(3, 1)
    wanted = features(source(told_windows).network, PATCHES, torch.zeros(3, dtype=torch.long), told)
    found = features(ours.window_network, PATCHES, torch.full((3,), 5.0), torch.eye(N))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_every_weight_is_accounted_for(
    whole: Path, windows: Path, capsys: pytest.CaptureFixture[str], aloud: None
) -> None:
    fresh = module(RANGE).state_dict()
    ours = begun({}, pretrained=whole, window_pretrained=windows)
    for part, transfer in zip(("network", "window_network"), ours.transfers or (), strict=True):
        network = getattr(ours, part)
        said = [*transfer.taken, *transfer.changed, *transfer.new]
        assert sorted(said) == sorted(network.state_dict())
        weights = read_checkpoint(transfer.path)["state_dict"]
        for name, value in network.state_dict().items():
            if name in transfer.taken:
                assert torch.equal(value, weights[f"network.{name}"]), name
            elif name in transfer.new:
                assert torch.equal(value, fresh[f"{part}.{name}"]), name
    assert sorted(ours.transfers[1].new) == [  # type: ignore[index]
        "condition.bias", "condition.weight", "conv_out.bias", "conv_out.weight",
    ]  # fmt: skip
    told = capsys.readouterr()
    assert f"network: start: averaged (EMA) weights of {whole}" in told.out + told.err
    assert f"window_network: start: averaged (EMA) weights of {windows}" in told.out + told.err


def test_a_training_begins_from_both_once(whole: Path, windows: Path, tmp_path: Path) -> None:
    data = LandmarkDataModule(
        "phantom", size=(64, 80), batch_size=2, dataset_options={"count": (2, 1, 1), "image_size": (64, 80)}
    )
    options = {**TINY, **RANGE, "pretrained": str(whole), "window_pretrained": str(windows)}
    options |= {"optimisation.learning_rate": 1e-9, "optimisation.weight_decay": 0.0}
    made = PositionDiffusionModule(data.num_landmarks, **nested(options))
    last = train(made, tmp_path, data)
    begun_as = source(whole).network.state_dict()["encoder.1.blocks.0.conv_in.weight"]
    torch.testing.assert_close(made.network.state_dict()["encoder.1.blocks.0.conv_in.weight"], begun_as)
    resumed = PositionDiffusionModule(data.num_landmarks, **nested({**options, "pretrained": "gone.ckpt"}))
    train(resumed, tmp_path / "on", data, ckpt_path=last)  # its own weights: the start is not read
    assert resumed.transfers is None


def test_a_pooled_ddpm_starts_paper_b_s_fine_tuning(conditioned: Path) -> None:
    made = HeatmapFinetuneModule(
        N, pretrained=str(conditioned), null_time="first_step", **nested({**COARSE, "network.scale_shift": True})
    )
    made.take_start()
    t = torch.zeros(2, dtype=torch.long)
    wanted = features(source(conditioned).network, IMAGE, t, torch.zeros(2, 2))
    torch.testing.assert_close(features(made.network, IMAGE, t), wanted, atol=1e-5, rtol=0)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("pretrained whole", {"network.encoder_channels": (8, 24)},
     r"pretrained: .* does not fit the config:\n  model.init_args.network.init_args.encoder_channels: \[8, 16\]"),
    ("pretrained whole", {"image_range": (0.0, 1.0)},
     r"model\.init_args\.image_range: \[-1.0, 1.0\] in the checkpoint, \[0.0, 1.0\]"),
    ("pretrained windows", {}, "has learned windows; it is a start of model.window_pretrained"),
    ("window_pretrained whole", {}, "has learned whole images, expected a DDPMPretrainModule with model.windows.count"),
    ("window_pretrained windows", {"window_network.encoder_channels": (16,)},
     r"model.init_args.window_network.init_args.encoder_channels: \[8\] in the checkpoint, \[16\] in the config"),
    ("window_pretrained windows", {"windows.patch": 8},
     "model.init_args.windows.patch: 4 in the checkpoint, 8 in the config"),
    ("window_pretrained windows", {"windows.wide": 0.0},
     "model.init_args.windows.wide: 3.0 in the checkpoint, 0.0 in the config"),
    ("pretrained whole", {"ddpm_start.set": "skulls"}, r"not conditioned on the set 'skulls' .* It was on none"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "expected"), REFUSED)
def test_a_start_that_does_not_fit_is_refused_and_nothing_is_changed(
    given: str, options: dict[str, Any], expected: str, whole: Path, windows: Path
) -> None:
    option, name = given.split()
    made = module({**RANGE, option: str({"whole": whole, "windows": windows}[name]), **options})
    before = {key: value.clone() for key, value in made.state_dict().items()}
    with pytest.raises(UserError, match=expected):
        made.take_start(None)
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


def test_an_unknown_set_is_told_with_the_nearest(conditioned: Path) -> None:
    options = {"network.scale_shift": True, "ddpm_start.set": "skull"}
    with pytest.raises(UserError, match=r"was not conditioned on the set 'skull' .*Did you mean skulls"):
        begun(options, pretrained=conditioned)


def test_a_whole_model_and_a_ddpm_of_windows_contradict_each_other(windows: Path, tmp_path: Path) -> None:
    data = LandmarkDataModule(
        "phantom", size=(64, 80), batch_size=2, dataset_options={"count": (2, 1, 1), "image_size": (64, 80)}
    )
    model = train(PositionDiffusionModule(data.num_landmarks, **nested(TINY)), tmp_path, data)
    with pytest.raises(UserError, match="has a window network of its own; leave one of the two out"):
        begun({}, pretrained=model, window_pretrained=windows)


def test_a_window_pretrained_network_sees_windows_in_its_own_range() -> None:
    """Black is -1 for both networks, also beyond the image."""
    made, seen = module(RANGE), []
    for network in (made.network, made.window_network):
        network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    black = torch.zeros(1, 1, 80, 64)
    made.find({"image": black, "index": torch.tensor([0])})
    assert len(seen) > 1 and all((each == -1).all() for each in seen)
    assert Windows().views == 2


def test_an_unknown_way_with_the_steps_is_refused() -> None:
    with pytest.raises(UserError, match=r"ddpm_start.time: found 'none', expected one of zero, first_step, removed"):
        module({"ddpm_start.time": "none"})
    with pytest.raises(UserError, match=r"ddpm_start.set: found 'a' with time removed"):
        module({"ddpm_start.time": "removed", "ddpm_start.set": "a"})
