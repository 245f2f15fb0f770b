"""A network by class path: any module that keeps the written interface, and no other is called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from landmark_diffusion import DDPMPretrainModule, DiffusionHeatmapModule, HeatmapFinetuneModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.network import build_network, described
from landmark_diffusion.models.presets import PAPER_B, is_network
from landmark_diffusion.models.unet import UNet


class Own(nn.Module):
    """One convolution, which a step t brightens."""

    def __init__(
        self, in_channels: int, out_channels: int, time_embedding: bool = False, width: int = 3, sides: tuple = (1, 1)
    ) -> None:
        super().__init__()
        self.width, self.sides, self.takes_steps = width, sides, time_embedding
        self.convolution = nn.Conv2d(in_channels, out_channels, width, padding=width // 2)

    def forward(self, x: torch.Tensor, t: torch.Tensor | None = None) -> torch.Tensor:
        return self.convolution(x if t is None else x + t[:, None, None, None])


class Plain(nn.Module):
    """No more than it has to be."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x)


class Choosy(Plain):
    """It has an option without a default."""

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__(in_channels, out_channels)
        self.depth = depth


class Called(Exception):
    pass


class OfAStranger(nn.Module):
    """A class that nobody may call."""

    def __init__(self, command: str = "") -> None:
        raise Called


class WithoutOutput(nn.Module):
    def __init__(self, in_channels: int) -> None:
        raise Called


OWN = f"{Own.__module__}.Own"
WAYS: dict[str, tuple[Any, int]] = {
    "a class": (Own, 3),
    "a partial": (partial(Own, width=5), 5),
    "a class path": ({"class_path": OWN}, 3),
    "a class path with options": ({"class_path": OWN, "init_args": {"width": 5}}, 5),
    "a class path with no options": ({"class_path": OWN, "init_args": None}, 3),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_of_ones_own_is_built_however_it_is_named(way: str) -> None:
    network, width = WAYS[way]
    built = build_network(network, 2, 4, time_embedding=True)
    assert isinstance(built, Own) and (built.width, built.takes_steps, built.sides) == (width, True, (1, 1))
    assert built(torch.zeros(1, 2, 6, 7), torch.ones(1)).shape == (1, 4, 6, 7)
    assert described(network) == {"class_path": OWN, "init_args": {"width": width, "sides": [1, 1]}}


@pytest.mark.parametrize("way", WAYS)
def test_what_files_keep_of_it_builds_it_again(way: str) -> None:
    network, _ = WAYS[way]
    kept = described(network)
    assert described(kept) == kept
    wanted, built = (build_network(each, 2, 4) for each in (network, kept))
    assert (built.width, built.sides) == (wanted.width, wanted.sides) and isinstance(built.sides, tuple)


def test_a_method_is_given_it_likewise_and_keeps_it_in_its_options() -> None:
    batch = {"image": torch.rand(2, 1, 8, 6), "index": torch.tensor([0, 1])}
    for network in (Own, partial(Own, width=3), {"class_path": OWN}):
        made = DiffusionHeatmapModule(3, network=network, noise={"steps": 4})
        assert made.hparams["network"] == described(Own)
        assert made.network.convolution.in_channels == 4  # the image beside three noised maps
        assert made.predict_maps(batch)["multi-step"].shape == (2, 3, 8, 6)
        again = DiffusionHeatmapModule(**made.hparams)
        again.load_state_dict(made.state_dict())


def test_our_own_are_named_short() -> None:
    for network in (UNet, {"class_path": "UNet"}, {"class_path": "landmark_diffusion.models.unet.UNet"}):
        kept = described(network)
        assert kept["class_path"] == "UNet"
        assert kept["init_args"]["encoder_channels"] == [32, 64, 128, 256, 256, 512]
        assert not {"in_channels", "out_channels", "time_embedding", "condition_channels"} & kept["init_args"].keys()


def test_what_a_mapping_does_not_say_is_as_in_the_default_of_the_method() -> None:
    """As the command line's --model.network.dropout leaves the rest of the method's own network."""
    found = described({"class_path": "UNet", "init_args": {"dropout": 0.1}}, PAPER_B)["init_args"]
    assert (found["dropout"], found["blocks_per_level"], found["attention_factors"]) == (0.1, 4, [8])
    of_class = described({"class_path": OWN, "init_args": {"width": 5}}, PAPER_B)["init_args"]
    assert of_class == {"width": 5, "sides": [1, 1]}  # the default is of another class
    whole = described(partial(UNet, dropout=0.1), PAPER_B)["init_args"]
    assert (whole["dropout"], whole["blocks_per_level"]) == (0.1, 2)  # Python says it all itself


@pytest.mark.parametrize("method", [HeatmapFinetuneModule, DDPMPretrainModule])
def test_the_options_of_a_method_say_what_its_default_said(method: Any) -> None:
    """A checkpoint is built again from them alone."""
    small = {"encoder_channels": [8, 8, 8, 16], "decoder_channels": [16, 8, 8, 8]}
    made = method(num_landmarks=2, network={"class_path": "UNet", "init_args": small})
    kept = made.hparams["network"]["init_args"]
    assert (kept["encoder_channels"], kept["blocks_per_level"], kept["attention_factors"]) == ([8, 8, 8, 16], 4, [8])
    method(**made.hparams).load_state_dict(made.state_dict())


def test_a_network_without_the_interface_is_refused_before_it_is_called() -> None:
    for network in (
        OfAStranger,
        partial(OfAStranger, command="x"),
        {"class_path": f"{OfAStranger.__module__}.OfAStranger"},
    ):
        with pytest.raises(
            UserError, match=r"^model\.network: OfAStranger is no network .* takes no in_channels and no out_channels"
        ):
            build_network(network, 1, 2)
    with pytest.raises(UserError, match=r"WithoutOutput is no network for landmarks: .* takes no out_channels"):
        HeatmapFinetuneModule(2, network=WithoutOutput)


def test_a_network_that_cannot_take_what_the_method_gives_is_refused() -> None:
    with pytest.raises(UserError, match=r"^model\.network: Plain .* gives its network steps t: .* no time_embedding"):
        build_network(Plain, 1, 2, time_embedding=True)
    with pytest.raises(UserError, match=r"^model\.window_network: Own .* a condition: .* no condition_channels"):
        build_network(Own, 1, 2, True, 3, where="model.window_network")
    with pytest.raises(UserError, match=r"Plain cannot be used by this method, which gives its network steps t"):
        DDPMPretrainModule(network=Plain)
    assert isinstance(build_network(Plain, 1, 2), Plain)
    assert isinstance(DiffusionHeatmapModule(2, diffusion=False, network=Plain).network, Plain)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"widht": 5}, r"unknown option 'widht' of Own\. Did you mean width"),
        ({"in_channels": 3}, "in_channels is decided by the method; leave it out"),
        ({"out_channels": 3}, "out_channels is decided by the method"),
        ({"time_embedding": True}, "time_embedding is decided by the method"),
    ],
)
def test_options_that_are_not_the_user_s_to_give(options: dict[str, Any], says: str) -> None:
    for network in (partial(Own, **options), {"class_path": OWN, "init_args": options}):
        with pytest.raises(UserError, match=rf"^model\.network: {says}"):
            described(network)


def test_a_config_that_lists_all_options_may_have_the_class_s_own_value() -> None:
    assert described({"class_path": OWN, "init_args": {"time_embedding": False}}) == described(Own)
    assert described({"class_path": "UNet", "init_args": {"time_embedding": True}}) == described(UNet)


def test_an_option_without_a_default_has_to_be_given() -> None:
    with pytest.raises(UserError, match=r"^model\.network: Choosy needs a value for depth$"):
        described(Choosy)
    assert build_network(partial(Choosy, depth=2), 1, 2).depth == 2


BUILT: Callable[[int, int], nn.Module] = lambda a, b: Plain(a, b)  # noqa: E731


NAMELESS: dict[str, Any] = {
    "lambda": BUILT, "partial of one": partial(BUILT, 1), "module": Plain(1, 2), "no network": int,
    "partial of no network": partial(dict, a=1), "options by position": partial(Own, 3), "none": None, "text": "UNet",
}  # fmt: skip


@pytest.mark.parametrize("what", NAMELESS)
def test_what_no_file_could_name_is_refused(what: str) -> None:
    network = NAMELESS[what]
    with pytest.raises(
        UserError, match=r"(?s)^model\.network: found .*functools\.partial of one.*a checkpoint has to name"
    ):
        described(network)
    with pytest.raises(UserError, match=r"^model\.network: found "):
        DiffusionHeatmapModule(2, network=network)


@pytest.mark.parametrize(
    "network",
    [{}, {"init_args": {}}, {"class_path": 3}, {"class_path": OWN, "init_args": [1]}, {"class_path": OWN, "width": 5}],
    ids=str,
)
def test_a_mapping_of_another_form_is_refused(network: Any) -> None:
    with pytest.raises(
        UserError, match=r"^model\.network: found .*, expected class_path: NAME with init_args: below it"
    ):
        described(network)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Unet", r"unknown network 'Unet'\. Did you mean UNet"),
        ("nowhere.Network", r"nowhere\.Network: refused, and nothing of it was run"),
        ("torch.optim.Adam", "is no Module"),
        ("landmark_diffusion.models.unet.Unet", "has no class Unet. Did you mean UNet"),
    ],
)
def test_a_class_path_that_leads_to_no_network(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        described({"class_path": name})


def test_options_that_are_networks_are_known_by_their_name() -> None:
    assert [name for name in ("network", "window_network", "noise", "networks") if is_network(name)] == [
        "network", "window_network"
    ]  # fmt: skip
