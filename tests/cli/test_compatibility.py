"""A checkpoint meets a config: the network must agree, sampling and decoding are free, the rest is told."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_diffusion.cli.compatibility import (
    DECIDES,
    FREE,
    LOSS,
    OPTIMISER,
    CheckpointContent,
    check_compatible,
    read_content,
)
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import dotted
from landmark_diffusion.data.landmark_names import ArrangedDataset
from landmark_diffusion.methods import METHODS
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.models.network import NETWORKS, described
from landmark_diffusion.models.presets import is_network
from landmark_diffusion.training.datamodule import LandmarkDataModule
from tests.cli.fakes import TinyData, TinyModel
from tests.methods.tiny_positions import COARSE, N, fresh
from tests.options import nested

Ldx = Callable[[str], int]
LAST = Path("runs/tiny/checkpoints/last.ckpt")


@pytest.fixture
def trained(ldx: Ldx, capfd: pytest.CaptureFixture) -> Ldx:
    """Train one epoch into runs/tiny."""
    assert ldx("fit --config tiny.yaml") == 0
    capfd.readouterr()
    return ldx


def test_another_network_is_refused_by_name(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("test --config tiny.yaml --model.channels 8") == 1
    assert "model.init_args.channels: 5 in the checkpoint, 8 in the config" in capfd.readouterr().err


def test_another_class_is_refused_by_name(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    """The weights would fit: only the name tells that they were trained for something else."""
    assert trained("test --config tiny.yaml --model OtherTinyModel --model.channels 5") == 1
    assert "model.class_path: TinyModel in the checkpoint, OtherTinyModel in the config" in capfd.readouterr().err


def test_decoding_is_the_configs_to_choose(trained: Ldx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock Lightning lets the checkpoint override the command line without a word."""
    decoders = []
    monkeypatch.setattr(TinyModel, "on_test_start", lambda self: decoders.append(self.decoding.decoder), raising=False)
    assert trained("test --config tiny.yaml --model.decoding.decoder top_k") == 0
    assert decoders == ["top_k"]


def test_another_number_of_landmarks_names_both(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("test --config tiny.yaml --data.landmarks 2") == 1
    err = capfd.readouterr().err
    assert "finds 4 landmarks (point_0, point_1, point_2, point_3); the data has 2 (point_0, point_1)" in err


def test_resume_refuses_another_learning_rate(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    """The optimiser's state holds the old rate: the new one would have no effect."""
    assert trained("fit --config tiny.yaml --ckpt_path last --model.optimisation.learning_rate 0.5") == 1
    assert (
        "model.init_args.optimisation.learning_rate: 0.01 in the checkpoint, 0.5 in the config"
        in capfd.readouterr().err
    )
    with pytest.warns(UserWarning, match="learning_rate: 0.01 in the checkpoint, 0.5 in the config"):
        assert trained("test --config tiny.yaml --model.optimisation.learning_rate 0.5") == 0


def test_other_input_size_is_told_when_measuring(trained: Ldx) -> None:
    content = read_content(LAST)
    with pytest.warns(UserWarning, match=r"data\.size: \[8, 8\] in the checkpoint, \[16, 8\] in the config"):
        check_compatible(content, _model(content), TinyData(size=(16, 8)), resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_other_landmarks_are_refused_by_name(trained: Ldx, resume: bool) -> None:
    content = replace(read_content(LAST), landmark_names=tuple("ABCD"))
    data = phantom("A", "sella", "C", "D")
    with pytest.raises(UserError, match=r"it has 'B', the data 'sella' instead.*--data\.landmark_names"):
        check_compatible(content, _model(content), data, resume)


@pytest.mark.parametrize("resume", [False, True])
def test_landmarks_are_put_in_the_order_of_the_checkpoint(
    trained: Ldx, resume: bool, capfd: pytest.CaptureFixture, aloud: None
) -> None:
    """By position, landmark B's errors would be measured against the truth of C, and training would mix them."""
    content = replace(read_content(LAST), landmark_names=tuple("ABCD"))
    data = phantom("d", "B", "a", "C")
    by_name = dict(zip("DBAC", data.source.samples("test")[0].mean_points.tolist(), strict=True))
    check_compatible(content, _model(content), data, resume)
    assert data.landmark_names == tuple("ABCD")
    assert data.stage_dataset("test").samples[0].mean_points.tolist() == [by_name[name] for name in "ABCD"]
    assert "were put in the order of" in capfd.readouterr().out


def test_the_same_config_is_silent(trained: Ldx) -> None:
    content = read_content(LAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_compatible(content, _model(content), TinyData(), resume=True)


def test_weights_of_another_shape_are_refused_where_options_agree(trained: Ldx) -> None:
    content, model = read_content(LAST), _model(read_content(LAST))
    model.network[0] = torch.nn.Linear(3, 5)
    with pytest.raises(UserError, match=r"network\.0\.weight is \(5, 2\) there and \(5, 3\) here"):
        check_compatible(content, model, TinyData(), resume=False)


def test_every_classified_option_exists() -> None:
    """A renamed option would silently move among those that are refused."""
    known = set().union(*map(_option_names, METHODS.built_in))
    for name in NETWORKS.built_in:
        known |= {f"network.init_args.{each}" for each in inspect.signature(NETWORKS.load(name).__init__).parameters}
    listed = [*FREE, *LOSS, *OPTIMISER]
    for option in [*listed, *DECIDES]:
        assert option in known or (option[-1] == "." and any(name.startswith(option) for name in known)), option
    assert len(set(listed)) == len(listed)


def _option_names(method: str) -> set[str]:
    """Every option of a method, those within groups and networks too, by dotted names."""
    cls = METHODS.load(method)
    found = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            found |= {each.name: each.default for each in inspect.signature(base.__init__).parameters.values()}
    return set(dotted({name: described(value) if is_network(name) else value for name, value in found.items()}))


FINETUNED = {**COARSE, "target.loss": "bce", "target.kind": "gaussian"}


@pytest.mark.parametrize(
    ("option", "value", "measuring", "resuming"),
    [
        ("decoding.decoder", "argmax", "free", "free"),
        ("sampling.steps", 3, "free", "free"),
        ("joint.enabled", False, "free", "free"),
        ("network.gradient_checkpointing", True, "free", "free"),
        ("window_network.channels_last", True, "free", "free"),
        ("window_network.dropout", 0.2, "told", "told"),
        ("noise.draws", 5, "told", "told"),
        ("window_weight", 0.5, "told", "told"),
        ("optimisation.learning_rate", 0.5, "told", "refused"),
        ("noise.sigma_max", 120.0, "refused", "refused"),
        ("windows.reach", 4.0, "refused", "refused"),
        ("network.final_activation", "tanh", "refused", "refused"),
        ("window_network.scale_shift", False, "refused", "refused"),
        ("target.kind", "disc", "told", "told"),
        ("target.loss", "spatial_ce", "refused", "refused"),
    ],
)
def test_what_each_option_of_a_method_decides(option: str, value: Any, measuring: str, resuming: str) -> None:
    """Within groups and in both networks; what a network's output means is decided by the loss."""
    base = {"optimisation.learning_rate": 0.01, "decoding.decoder": "top_k"}
    made, changed = (
        HeatmapFinetuneModule(N, **nested({**FINETUNED, **more})) if option.startswith("target.") else fresh(more)
        for more in (base, {**base, option: value})
    )
    content = CheckpointContent(Path("x.ckpt"), dict(made.hparams), f"x.{type(made).__name__}")
    content = replace(content, shapes={name: tuple(each.shape) for name, each in changed.state_dict().items()})
    place = option.replace("network.", "network.init_args.")
    for resume, wanted in ((False, measuring), (True, resuming)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                check_compatible(content, changed, None, resume)
                found = str(caught[0].message) if caught else ""
                assert wanted == ("told" if caught else "free")
            except UserError as error:
                found = str(error)
                assert wanted == "refused"
        assert (f"  model.init_args.{place}: " in found) == (wanted != "free")


def phantom(*names: str) -> LandmarkDataModule:
    """A phantom of four landmarks."""
    data = LandmarkDataModule("phantom", size=(16, 20), dataset_options={"count": (1, 1, 1), "image_size": (64, 80)})
    data.source = ArrangedDataset(data.source, range(4), names)
    return data


def _model(content) -> TinyModel:
    return TinyModel(**content.hparams)
