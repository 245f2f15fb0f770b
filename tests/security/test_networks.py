"""A file that asks for a network much larger than its weights is refused before the memory is taken."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.model import build_module, landmark_methods, load_module
from landmark_diffusion.modelfile import network_size
from landmark_diffusion.modelfile.model_file import FACTS_KEY
from landmark_diffusion.modelfile.network_size import check_network_size, stored_values
from tests.detection.tiny_model import facts, tiny_options, write_positions
from tests.end_to_end.console import ldx
from tests.methods.tiny_positions import COARSE, N, module
from tests.options import nested

SMALL = tiny_options()
WIDE = tiny_options({"network.encoder_channels": [512, 512], "network.decoder_channels": [512, 512]})
"""50 MB of weights where the file has 100 kB: enough to be refused, and no harm where it is not."""

ASKED: dict[str, dict[str, Any]] = {
    "wide layers": {"network.encoder_channels": [10**6] * 2, "network.decoder_channels": [10**6] * 2},
    "many blocks": {"network.blocks_per_level": 10**6},
    "more blocks than a list can hold": {"network.blocks_per_level": 10**12},
    "many levels": {"network.encoder_channels": [64] * 3000, "network.decoder_channels": [64] * 3000},
    "wide layers for the windows": {"window_network.encoder_channels": [10**6], "window_network.decoder_channels": [8]},
    "many landmarks": {"num_landmarks": 10**7},
    "a large window": {"windows.size": 2**10},
    "many steps": {"noise.steps": 10**12},
    "a large patch": {"windows.patch": 2**10, "windows.size": 2**10},
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("what", ASKED)
def test_no_option_asks_for_more_than_the_weights(what: str) -> None:
    """Asked of the check alone: building it in earnest would end the machine."""
    method = landmark_methods()["PositionDiffusionModule"]
    held, begin = stored_values(module().state_dict()), time.monotonic()
    with pytest.raises(UserError, match=r"^x\.ldx: (its options ask for a network of more than|found .*at most)"):
        check_network_size(method, tiny_options(ASKED[what]), held, "x.ldx")
    assert time.monotonic() - begin < 20  # a second on an idle machine


def _checkpoint(options: dict[str, Any]) -> Path:
    hparams = {**options, "_class_path": "landmark_diffusion.PositionDiffusionModule"}
    data = {"dataset": "folder", "size": [64, 80]}
    content = {"state_dict": module().state_dict(), "hyper_parameters": hparams, "global_step": 1,
               FACTS_KEY: {"data": data, "landmark_names": list(facts().landmark_names)}}  # fmt: skip
    torch.save(content, "x.ckpt")
    return Path("x.ckpt")


@pytest.mark.parametrize(
    "line",
    [("detect", "a.png", "--model", "x.ldx"), ("test", "x.ldx", "--data.root", "."), ("predict", "x.ldx"),
     ("validate", "x.ldx"), ("export", "x.ldx", "y.onnx"), ("export", "x.ckpt", "y.ldx"),
     ("export", "x.ckpt", "y.onnx")],
    ids=" ".join,
)  # fmt: skip
def test_no_verb_builds_it(line: tuple[str, ...]) -> None:
    Path("a.png").write_bytes(b"")
    write_positions(Path("x.ldx"), model=WIDE)
    source = _checkpoint(WIDE) if "x.ckpt" in line else "x.ldx"
    outcome = ldx(*line)
    told = outcome.err.replace("\n", " ")
    assert outcome.status == 1 and f"{source}: its options ask for a network of more than" in told
    assert "Traceback" not in told and not Path("y.ldx").exists()


def test_weights_stretched_over_few_values_count_for_these() -> None:
    """A checkpoint of 1 kB can hold a weight of a million rows that are all the same one."""
    weights = {"a": torch.ones(1).expand(10**6), "b": torch.ones(5), "c": torch.tensor(1)}
    assert stored_values(weights) == 1 + 5 + 1
    with pytest.raises(UserError, match="its options ask for a network"):
        build_module("PositionDiffusionModule", WIDE, "x.ckpt", {"w": torch.ones(1).expand(10**8)})


def test_every_method_in_every_layout_is_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the margin for tables: what an honest file asks for is at most ``FACTOR`` times its weights."""
    monkeypatch.setattr(network_size, "MARGIN", 1000)
    for name, method in landmark_methods().items():
        for layout in (False, True):
            more = {"network.channels_last": layout}
            small = nested({"num_landmarks": N, **COARSE, **more})
            options = tiny_options(more) if name.startswith("Position") else small
            weights = method(**options).state_dict()
            check_network_size(method, options, stored_values(weights), "x.ldx")


def test_looking_leaves_no_trace() -> None:
    """Neither in the random numbers nor in what is built afterwards."""
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    check_network_size(landmark_methods()["PositionDiffusionModule"], SMALL, 10**9, "x.ldx")
    assert torch.equal(torch.random.get_rng_state(), before) and torch.ones(1).device.type == "cpu"
    write_positions(Path("x.ldx"))
    found, _ = load_module("x.ldx")
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in module().state_dict().items())


def test_a_window_beyond_any_image_is_refused_whoever_asks() -> None:
    write_positions(Path("x.ldx"), model=tiny_options({"windows.size": 2**17}))
    with pytest.raises(UserError, match=r"windows\.size: found 131072, expected at most 1024"):
        load_module("x.ldx")
