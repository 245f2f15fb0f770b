"""Networks as ONNX: onnxruntime gives what torch gives, the file explains itself, and a wrong one is never left behind.

A translation takes seconds, so most tests share that of one tiny network; those of each method are slow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from landmark_diffusion import PositionDiffusionModule
from landmark_diffusion.cli import main
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.export import onnx_export, translation
from landmark_diffusion.export.onnx_export import Written, write_onnx
from landmark_diffusion.export.onnx_networks import list_networks
from landmark_diffusion.export.traced import layers
from landmark_diffusion.export.traced.layers import AttentionInParts, GroupNormByRows
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.diffusion_heatmap import DiffusionHeatmapModule
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_model_file
from landmark_diffusion.models.blocks import GroupNorm, SelfAttention
from tests.methods import tiny_positions
from tests.options import nested

SIZE = (23, 30)
"""Width and height that no level divides: the border is padded and the output cropped."""

REPOSITORY = Path(__file__).resolve().parents[2]
TINY: dict[str, Any] = {
    "network.encoder_channels": [4], "network.decoder_channels": [4], "network.blocks_per_level": 1,
    "network.attention_factors": [], "null_time": "removed",
}  # fmt: skip
LEVELS: dict[str, Any] = {
    "network.encoder_channels": [4, 8], "network.decoder_channels": [8, 4], "network.blocks_per_level": 1,
    "network.attention_factors": [2], "network.channels_last": True, "network.gradient_checkpointing": True,
}  # fmt: skip


def awake(module: LandmarkModule) -> LandmarkModule:
    """The module with its zero-initialised parts drawn at random, so that every branch acts."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return module.eval()


def finetuned(options: Mapping[str, Any]) -> LandmarkModule:
    torch.manual_seed(0)
    return awake(HeatmapFinetuneModule(2, **nested(options)))


def tiny() -> LandmarkModule:
    return finetuned(TINY)


def noising(options: Mapping[str, Any] | None = None) -> LandmarkModule:
    torch.manual_seed(0)
    return awake(DiffusionHeatmapModule(2, **nested({**LEVELS, **(options or {})})))


def facts(module: LandmarkModule, size: Any = SIZE) -> ModelFacts:
    return ModelFacts(
        class_path=type(module).__name__,
        model={"num_landmarks": module.num_landmarks, "decoding": {"decoder": "argmax"}},
        landmark_names=("sella", "nasion — point 2", "porion")[: module.num_landmarks],
        data={"dataset": "phantom", "size": size, "resize": "pad"},
        updates=1,
        note="for research use",
    )


def run(path: Path, *inputs: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return torch.from_numpy(session.run(None, {n: v.numpy() for n, v in zip(names, inputs, strict=True)})[0])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Written:
    module = tiny()
    (written,) = write_onnx(tmp_path_factory.mktemp("onnx") / "x.onnx", module, facts(module))
    return written


@pytest.fixture
def torch_is_right(exported: Written, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Make the exporter give the tiny network with one weight changed by so much."""

    def change(by: float) -> None:
        proto = onnx.load(exported.path)
        weight = next(each for each in proto.graph.initializer if each.name.endswith("conv_out.weight"))
        values = onnx.numpy_helper.to_array(weight).copy()
        values.flat[0] += by
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        monkeypatch.setattr(onnx_export, "to_onnx", lambda *_: proto.SerializeToString())

    return change


# ---- what is written ------------------------------------------------------------------------------------------------


def test_other_runtimes_get_the_networks_values_for_any_number_of_images(exported: Written) -> None:
    module, width, height = tiny(), *SIZE
    for count in (1, 2, 5):
        image = torch.rand(count, 1, height, width)
        with torch.no_grad():
            expected = module(image)
        assert torch.allclose(run(exported.path, image), expected, atol=1e-5 * float(expected.abs().max()))
    assert 0 <= exported.difference <= exported.allowed < 1e-3 * exported.scale


def test_the_file_names_its_axes_and_stands_alone(exported: Written) -> None:
    graph = onnx.load(exported.path, load_external_data=False).graph
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in
              (*graph.input, *graph.output)}  # fmt: skip
    assert shapes == {"image": ["batch", 1, 30, 23], "output": ["batch", 2, 30, 23]}
    assert not any(each.external_data for each in graph.initializer)
    assert [path.name for path in exported.path.parent.iterdir()] == ["x.onnx"]


def test_no_folder_of_this_machine_is_in_it(exported: Written) -> None:
    """The exporter notes for each node the lines of source that it came from, with their places."""
    content = exported.path.read_bytes()
    for place in (REPOSITORY, Path(torch.__file__).parent, Path.home()):
        assert str(place).encode() not in content


def test_the_file_says_what_it_is_and_what_it_lacks(exported: Written) -> None:
    found = {each.key: each.value for each in onnx.load(exported.path).metadata_props}
    assert found["class"] == "HeatmapFinetuneModule" and found["package_version"]
    assert json.loads(found["landmark_names"]) == ["sella", "nasion — point 2"]
    assert json.loads(found["input_size"]) == list(SIZE) and found["resize"] == "pad"
    assert "[0, 1]" in found["intensity"] and found["note"] == "for research use"
    assert "decoding of maps to points" in found["not_included"]
    assert "softmax over a map's pixels" in json.loads(found["outputs"])["output"]
    assert json.loads(found["options"])["decoding"] == {"decoder": "argmax"}


IN_MEMORY = {
    f"{network}.{option}": True
    for network in ("network", "window_network")
    for option in ("channels_last", "gradient_checkpointing")
}
METHODS: dict[str, tuple[Callable[[], LandmarkModule], tuple[int, int]]] = {
    "positions": (lambda: tiny_positions.module(IN_MEMORY), (64, 80)),
    "positions, odd size, attention": (lambda: tiny_positions.module({"network.attention_factors": (1, 2)}), (63, 77)),
    "positions without wide windows": (lambda: tiny_positions.module({"windows.wide": 0.0}), (64, 80)),
    "one position": (lambda: tiny_positions.module(n=1), (64, 80)),
    "diffusion": (lambda: noising(), SIZE),
    "diffusion of epsilon, tanh": (
        lambda: noising({"parameterisation": "epsilon", "network.final_activation": "tanh"}), SIZE
    ),
    "baseline": (lambda: noising({"diffusion": False}), SIZE),
    "fine-tuned": (lambda: finetuned({**LEVELS, "target.loss": "bce"}), SIZE),
    "fine-tuned at the first step": (
        lambda: finetuned({**LEVELS, "null_time": "first_step", "target.loss": "landmark_ce"}), SIZE
    ),
    "fine-tuned, linear attention": (
        lambda: finetuned(
            {**LEVELS, "network.attention_factors": [], "network.linear_attention_factors": [1, 2],
             "network.middle": "attention"}
        ),
        SIZE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_the_shapes_that_are_documented_are_those_of_the_network(method: str) -> None:
    """Who feeds the file reads them there."""
    make, (width, height) = METHODS[method]
    module = make()
    for network in list_networks(module, facts(module, [width, height])):
        inputs = network.draw(2)
        with torch.no_grad():
            output = network.module(*inputs)
        known = {network.axis: len(inputs[0]), "height": height, "width": width, "landmarks": module.num_landmarks}
        for text, value in zip((*network.inputs.values(), network.output[1]), (*inputs, output), strict=True):
            found = re.match(r"(\(.*?\)) (float32|int64)", text)
            assert found is not None
            shape = re.sub(r"ceil\((\w+) / (\d+)\)", r"-(-\1 // \2)", found[1])
            assert tuple(eval(shape, {}, known)) == tuple(value.shape), text
            assert str(value.dtype) == f"torch.{found[2]}"


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_what_torch_gives(method: str, tmp_path: Path) -> None:
    make, size = METHODS[method]
    module = make()
    for written in write_onnx(tmp_path / "x.onnx", module, facts(module, list(size))):
        inputs = written.network.draw(3)
        with torch.no_grad():
            expected = written.network.module(*inputs)
        assert torch.allclose(run(written.path, *inputs), expected, atol=1e-4 * float(expected.abs().max()))
        assert expected.std() > 0.01  # it says something
    expected_names = {"x.onnx", "x.windows.onnx"} if "position" in method else {"x.onnx"}
    assert {path.name for path in tmp_path.iterdir()} == expected_names


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(exported: Written, tmp_path: Path) -> None:
    (again,) = write_onnx(tmp_path / "x.onnx", tiny(), facts(tiny()))
    assert again.path.read_bytes() == exported.path.read_bytes()


# ---- layers of large images -----------------------------------------------------------------------------------------


def test_normalisation_by_rows_is_normalisation() -> None:
    torch.manual_seed(0)
    usual, by_rows = GroupNorm(4, 12), GroupNormByRows(4, 12)
    nn.init.normal_(usual.weight)
    nn.init.normal_(usual.bias)
    by_rows.load_state_dict(usual.state_dict())
    x = 3 + 2 * torch.randn(2, 12, 5, 7)
    assert torch.allclose(by_rows(x), usual(x), atol=1e-5)


@pytest.mark.slow
def test_large_images_lose_no_digits(tmp_path: Path) -> None:
    """onnxruntime's own normalisation is off by 1e-4 over a million pixels, torch's by 1e-6."""
    module = tiny()
    (written,) = write_onnx(tmp_path / "x.onnx", module, facts(module, [640, 800]))
    assert written.difference < 2e-5 * written.scale


def test_attention_in_parts_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MAX_WEIGHTS", 2 * 35 * 4)  # four queries of 35 at a time, for two heads
    torch.manual_seed(0)
    whole, parts = SelfAttention(8, heads=2), AttentionInParts(8, heads=2)
    nn.init.normal_(whole.project.weight)
    parts.load_state_dict(whole.state_dict())
    x = torch.randn(3, 8, 5, 7)
    assert torch.allclose(parts(x), whole(x), atol=1e-6)


@pytest.mark.slow
def test_a_file_never_holds_all_weights_of_attention_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 640x800 they would take 16 GB of the reader's memory."""
    monkeypatch.setattr(layers, "MAX_WEIGHTS", 4 * 23 * 30 * 100)  # 100 queries of 690 at a time, for four heads
    module = finetuned({**TINY, "network.attention_factors": [1]})
    (written,) = write_onnx(tmp_path / "x.onnx", module, facts(module))
    proto = onnx.load(written.path)
    weights = [node.output[0] for node in proto.graph.node if node.op_type == "Softmax"]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in weights)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(weights, {"image": np.zeros((1, 1, 30, 23), np.float32)})
    shapes = [value.shape for value in found]
    assert shapes == 2 * ([(1, 4, 100, 690)] * 6 + [(1, 4, 90, 690)])  # in the encoder and in the decoder


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "words"), [(0.01, "differ by 0.0"), (float("nan"), "differ by nan")])
def test_a_file_that_gives_other_values_is_refused(
    by: float, words: str, torch_is_right: Callable[[float], None], tmp_path: Path
) -> None:
    torch_is_right(by)
    (tmp_path / "x.onnx").write_text("mine")
    with pytest.raises(UserError, match=rf"x\.onnx: not written, .*{words}"):
        write_onnx(tmp_path / "x.onnx", tiny(), facts(tiny()), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
    assert (tmp_path / "x.onnx").read_text() == "mine"


def test_a_difference_of_rounding_is_let_pass(torch_is_right: Callable[[float], None], tmp_path: Path) -> None:
    """Otherwise a sound file would be refused on another processor."""
    torch_is_right(1e-8)
    assert write_onnx(tmp_path / "x.onnx", tiny(), facts(tiny()))


def test_a_file_that_is_there_is_not_replaced_unasked(exported: Written, tmp_path: Path) -> None:
    module = tiny_positions.module()
    (tmp_path / "y.windows.onnx").write_text("mine")
    with pytest.raises(UserError, match=r"y\.windows\.onnx exists already and was left as it is.*--overwrite"):
        write_onnx(tmp_path / "y.onnx", module, facts(module, [64, 80]))
    assert [path.name for path in tmp_path.iterdir()] == ["y.windows.onnx"]


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"needs onnxscript, .*pip install 'landmark_diffusion\[onnx\]'"):
        write_onnx(tmp_path / "x.onnx", tiny(), facts(tiny()))


@pytest.mark.parametrize("size", [None, [16], [16, "24"], [16, -24], [True, 24], 16])
def test_a_model_file_without_a_size_is_refused(size: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found data\.size .*, expected \(width, height\)"):
        write_onnx(tmp_path / "x.onnx", tiny(), facts(tiny(), size))
    assert not list(tmp_path.iterdir())


def test_weights_that_no_file_can_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of ceph_finetune_released.yaml, 2.3 GiB: protobuf's own word is "Failed to serialize proto"."""
    monkeypatch.setattr(translation, "MAX_BYTES", 100)
    with pytest.raises(UserError, match=r"x\.onnx: the weights take 0\.0 GiB, and one ONNX file holds less than 2 GiB"):
        write_onnx(tmp_path / "x.onnx", tiny(), facts(tiny()))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_refused(torch_is_right: Callable[[float], None], tmp_path: Path) -> None:
    torch_is_right(0)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"x\.onnx: the network could not be written"):
        write_onnx(tmp_path / "file" / "x.onnx", tiny(), facts(tiny()))


# ---- the shipped model ----------------------------------------------------------------------------------------------


class Runtime(nn.Module):
    """An ONNX file in place of a network."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return run(self.path, *inputs)


@pytest.mark.slow
def test_the_shipped_model_finds_the_same_points_with_its_onnx_files(tmp_path: Path) -> None:
    """The whole chain with both networks run by onnxruntime: points within 0.01 network px."""
    source = REPOSITORY / "weights" / "ceph_small.ldx"
    assert main(["export", str(source), str(tmp_path / "ceph.onnx"), "--networks"]) == 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1.1 * source.stat().st_size
    model = read_model_file(source)
    module = PositionDiffusionModule(**model.facts.model).eval()
    module.load_state_dict(model.weights)
    batch = {"image": list_networks(module, model.facts)[0].draw(3)[0], "index": torch.arange(3)}
    expected = module.find(batch)
    module.forward = Runtime(tmp_path / "ceph.onnx")  # type: ignore[method-assign]
    module.window_network = Runtime(tmp_path / "ceph.windows.onnx")  # type: ignore[assignment]
    found = module.find(batch)
    for variant in ("single-step", "multi-step"):
        assert np.abs(found[variant].points.numpy() - expected[variant].points.numpy()).max() < 0.01
