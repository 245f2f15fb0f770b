"""What goes wrong in a network of somebody else's is said by its name, and its options arrive as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from landmark_diffusion import DiffusionHeatmapModule, HeatmapFinetuneModule, UserError
from landmark_diffusion.models.network import build_network, described


@dataclass(frozen=True)
class Block:
    width: int = 4
    bias: bool = True


class Own(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, block: Block = Block(), extra: dict[str, int] | None = None,
        gives: str = "maps",
    ) -> None:  # fmt: skip
        super().__init__()
        if gives == "nothing":
            raise KeyError("no such thing")
        self.block, self.extra, self.gives = block, extra, gives
        self.layer = nn.Conv2d(in_channels, out_channels + (gives == "one more"), 3, padding=1, bias=block.bias)

    def forward(self, x: torch.Tensor) -> Any:
        maps = self.layer(x)
        return {"half": maps[..., ::2, ::2], "tuple": (maps,)}.get(self.gives, maps)


def baseline(**options: Any) -> DiffusionHeatmapModule:
    return DiffusionHeatmapModule(3, diffusion=False, network=partial(Own, **options))


@pytest.mark.parametrize(
    ("gives", "found"), [("one more", r"\(2, 4, 8, 6\)"), ("half", r"\(2, 3, 4, 3\)"), ("tuple", "a tuple")]
)
def test_maps_of_another_shape_are_refused_by_name(gives: str, found: str) -> None:
    assert baseline()(torch.rand(2, 1, 8, 6)).shape == (2, 3, 8, 6)
    with pytest.raises(UserError, match=rf"model\.network: Own gave {found}, expected a tensor \(2, 3, 8, 6\)"):
        baseline(gives=gives)(torch.rand(2, 1, 8, 6))


def test_a_constructor_that_fails_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.network: Own cannot be built: KeyError: 'no such thing'"):
        baseline(gives="nothing")


def test_options_of_any_plain_kind_and_dataclasses_come_back_from_what_files_have() -> None:
    kept = dict(baseline(block=Block(7, False), extra={"a": 1}).hparams)["network"]
    assert kept["init_args"] == {"block": {"width": 7, "bias": False}, "extra": {"a": 1}, "gives": "maps"}
    again = build_network({**kept, "class_path": f"{__name__}.Own"}, 1, 3)
    assert again.block == Block(7, False) and again.extra == {"a": 1}
    assert build_network(Own, 1, 3).block == Block()
    with pytest.raises(UserError, match=r"model\.network\.block: unknown option 'wide'"):
        build_network({"class_path": f"{__name__}.Own", "init_args": {"block": {"wide": 3}}}, 1, 3)
    assert described(partial(Own, block=Block(5)))["init_args"]["block"]["width"] == 5


def test_a_network_without_steps_needs_a_method_without() -> None:
    with pytest.raises(UserError, match="gives its network steps t: the constructor takes no time_embedding"):
        HeatmapFinetuneModule(3, network=Own)
    assert HeatmapFinetuneModule(3, network=Own, null_time="removed")(torch.rand(1, 1, 8, 8)).shape == (1, 3, 8, 8)
