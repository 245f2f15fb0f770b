"""A checkpoint meets a config: the network must agree, sampling and decoding are free, the rest is told."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from landmark_diffusion.cli.compatibility import FREE, LOSS, OPTIMISER, check_compatible, read_content
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.landmark_names import ArrangedDataset
from landmark_diffusion.training.datamodule import LandmarkDataModule
from tests.cli.fakes import TinyData, TinyModel

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
    monkeypatch.setattr(TinyModel, "on_test_start", lambda self: decoders.append(self.decoder), raising=False)
    assert trained("test --config tiny.yaml --model.decoder centroid") == 0
    assert decoders == ["centroid"]


def test_another_number_of_landmarks_names_both(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("test --config tiny.yaml --data.landmarks 2") == 1
    err = capfd.readouterr().err
    assert "finds 4 landmarks (point_0, point_1, point_2, point_3); the data has 2 (point_0, point_1)" in err


def test_resume_refuses_another_learning_rate(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    """The optimiser's state holds the old rate: the new one would have no effect."""
    assert trained("fit --config tiny.yaml --ckpt_path last --model.learning_rate 0.5") == 1
    assert "learning_rate: 0.01 in the checkpoint, 0.5 in the config" in capfd.readouterr().err
    with pytest.warns(UserWarning, match="learning_rate: 0.01 in the checkpoint, 0.5 in the config"):
        assert trained("test --config tiny.yaml --model.learning_rate 0.5") == 0


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
    trained: Ldx, resume: bool, capfd: pytest.CaptureFixture
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
    from landmark_diffusion.methods.base import LandmarkModule
    from landmark_diffusion.methods.ddpm_pretrain import DDPMPretrainModule
    from landmark_diffusion.methods.diffusion_heatmap import DiffusionHeatmapModule
    from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
    from landmark_diffusion.methods.position_diffusion import PositionDiffusionModule
    from landmark_diffusion.methods.training import TrainedModule

    methods = (DiffusionHeatmapModule, PositionDiffusionModule, DDPMPretrainModule, HeatmapFinetuneModule)
    classes = (TrainedModule, LandmarkModule, *methods)
    makers = {base.__init__ for each in classes for base in each.__mro__ if "__init__" in vars(base)}
    known = {name for maker in makers for name in inspect.signature(maker).parameters}
    listed = [*FREE, *LOSS, *OPTIMISER]
    assert set(listed) <= known
    assert len(set(listed)) == len(listed)


def phantom(*names: str) -> LandmarkDataModule:
    """A phantom of four landmarks."""
    data = LandmarkDataModule("phantom", size=(16, 20), dataset_options={"count": (1, 1, 1), "image_size": (64, 80)})
    data.source = ArrangedDataset(data.source, range(4), names)
    return data


def _model(content) -> TinyModel:
    return TinyModel(**content.hparams)
