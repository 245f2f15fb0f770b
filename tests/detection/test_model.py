"""From a model file to a module that predicts: whole, or one line that says what is wrong with the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from landmark_diffusion import DiffusionHeatmapModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.model import landmark_methods, load_module
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.modelfile.facts import FORMAT_VERSION
from landmark_diffusion.modelfile.model_file import FACTS_KEY, read_facts, write_model_file
from tests.detection.tiny_model import NAMES, facts, tiny_options, write_other, write_positions
from tests.methods.tiny_positions import module


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_positions(tmp_path / "tiny.ldx")


def refusal(path: Path) -> str:
    """The one line that refuses a file; it names the file."""
    with pytest.raises(UserError) as refused:
        load_module(path)
    said = str(refused.value)
    assert said.startswith(str(path)) and "\n" not in said
    return said


def test_weights_and_facts_are_those_of_the_file_and_nothing_is_trained(model: Path) -> None:
    loaded, found = load_module(str(model))
    wanted = module().state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in loaded.state_dict().items())
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    assert found.landmark_names == NAMES and found.seed == 3


def test_every_method_that_finds_landmarks_can_be_loaded() -> None:
    """Also one whose module nobody has imported yet; not the pre-training, which finds none."""
    known = {"DiffusionHeatmapModule", "HeatmapFinetuneModule", "OffsetVotingModule", "PositionDiffusionModule"}
    assert set(landmark_methods()) == known


@pytest.mark.parametrize("name", ["last.ckpt", "model.pt", "model.pth"])
def test_checkpoint_says_how_to_export_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    target = Path(name).with_suffix(".ldx")
    assert f"found a checkpoint, expected a model file (.ldx); write one: ldx export {tmp_path / name} {target}" in (
        refusal(tmp_path / name)
    )


def test_file_of_another_name_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"anything")
    assert "expected a model file that ends in .ldx" in refusal(tmp_path / "model.safetensors")


def test_no_file_a_folder_and_a_name_that_is_too_long_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.ldx").mkdir()
    assert "found nothing" in refusal(tmp_path / "gone.ldx")
    assert "found nothing" in refusal(tmp_path / "gone.ckpt")
    assert "found a folder" in refusal(tmp_path / "folder.ldx")
    assert "cannot be read" in refusal(tmp_path / ("n" * 300 + ".ldx"))


@pytest.mark.parametrize("share", [0, 0.001, 0.05, 0.5, 0.999])
def test_cut_file_is_refused(model: Path, share: float) -> None:
    content = model.read_bytes()
    model.write_bytes(content[: int(len(content) * share)])
    assert any(word in refusal(model) for word in ("cut short", "is no JSON", "damaged"))


def test_file_of_a_newer_format_asks_for_an_upgrade(model: Path) -> None:
    text = json.dumps({**json.loads(replace(read_facts(model)).to_json()), "format_version": FORMAT_VERSION + 1})
    save_file(module().state_dict(), model, {FACTS_KEY: text})
    assert f"in format {FORMAT_VERSION + 1}" in (said := refusal(model)) and "upgrade the package" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"class_path": "DDPMPretrainModule"}, "found the class DDPMPretrainModule, expected one of"),
        ({"landmark_names": ("a", "b")}, "found 2 landmark names for 3 landmarks"),
        (
            {"model": tiny_options({"network.encoder_channels": [8, 24], "network.decoder_channels": [24, 8]})},
            "weights do not fit",
        ),
        ({"model": tiny_options({"windows.patch": 3})}, "can be built from its options"),
        ({"model": tiny_options({"spin": 3})}, "can be built from its options"),
        ({"model": tiny_options({"sampling.spin": 3})}, "can be built from its options"),
        ({"model": tiny_options({"network.spin": 3})}, "can be built from its options"),
        ({"data": {"dataset": "folder"}}, "found None as data.size, expected the network's width and height"),
        ({"data": {"size": "64x80"}}, "as data.size"),
        ({"data": {"size": [64]}}, "as data.size"),
        ({"data": {"size": [64, 0]}}, "as data.size"),
    ],
)
def test_facts_that_do_not_fit_are_told_with_the_file(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = write_model_file(tmp_path / "odd.ldx", replace(facts(), **changes), module().state_dict())
    assert says in refusal(path)


def test_settings_of_a_method_without_steps_say_one(tmp_path: Path) -> None:
    """A baseline has the diffusion's options and does not use them; a calibration is looked up by what is used."""
    once = {"steps": 1, "samples": 1, "decoder": "local_centroid", "spread": "heatmap"}
    finetuned, _ = load_module(write_other(tmp_path / "f.ldx", HeatmapFinetuneModule))
    options = {"diffusion": False, "sampling.samples": 3}
    baseline, _ = load_module(write_other(tmp_path / "b.ldx", DiffusionHeatmapModule, options))
    assert finetuned.prediction_settings() == {"variant": "heatmap", **once}
    assert baseline.prediction_settings() == {"variant": "baseline", **once}


def test_settings_of_a_chain_are_those_in_use() -> None:
    one = module()
    assert one.prediction_settings("both")["spread"] == "heatmap"  # of one sample there is no other
    one.choose_sampling(2, 4)
    assert one.prediction_settings("both") == {
        "variant": "multi-step", "steps": 2, "samples": 4, "decoder": "local_centroid", "spread": "both"
    }  # fmt: skip
    one.choose_sampling(1, 1)
    assert one.prediction_settings()["variant"] == "single-step"
