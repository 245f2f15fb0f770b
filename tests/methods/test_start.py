"""A model as the start of another of its method: each landmark's weights go to the landmark of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from landmark_diffusion import DiffusionHeatmapModule, LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.start import Start, load_start, match_start
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from tests.methods.test_pretrained import train
from tests.methods.tiny_positions import batch, fresh, module
from tests.options import nested

THEIRS = ("sella", "nasion", "porion")
HEAD, CONDITION = "network.conv_out.weight", "window_network.condition.weight"


def write(path: Path, made: LandmarkModule, names: Sequence[str] = THEIRS) -> Path:
    facts = ModelFacts(
        type(made).__name__, dict(made.hparams), tuple(names), {"dataset": "phantom", "size": [64, 80]}, 7
    )
    return write_model_file(path, facts, made.state_dict())


def begin(made: LandmarkModule, path: Path, names: Sequence[str], **options: Any) -> Start:
    return load_start(made, path, names, dict(made.hparams), **options)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return write(tmp_path / "start.ldx", module())


def test_points_in_another_order_are_found_as_by_the_start(start: Path) -> None:
    theirs, ours = module(), fresh()
    begin(ours, start, ("Porion", "SELLA", "nas-ion"))
    images = batch()
    for name, found in ours.find(images).items():
        wanted = theirs.find(images)[name].points[:, [2, 0, 1]]
        torch.testing.assert_close(found.points, wanted, atol=1e-4, rtol=0, msg=name)


def test_known_landmarks_keep_their_weights_and_a_new_one_is_near_the_mean(start: Path) -> None:
    theirs, ours = module().state_dict(), fresh(n=4)
    found = begin(ours, start, ("porion", "gonion", "sella", "apex"), renamed={"apex": "nasion"})
    assert found.places == (2, None, 0, 1) and found.new == ["gonion"] and found.left == ()
    for name, axis in ((HEAD, 0), (CONDITION, 1)):
        before, now = theirs[name], ours.state_dict()[name]
        for place, known in ((0, 2), (2, 0), (3, 1)):
            assert torch.equal(now.select(axis, place), before.select(axis, known))
        new = now.select(axis, 1) - before.mean(axis)
        assert 0 < new.abs().mean() < before.std(axis).mean()
    told = found.describe()
    assert "3 of 4 landmarks are known to it (by name)" in told and "new: gonion" in told


def test_a_landmark_that_is_not_wanted_is_left_behind(start: Path) -> None:
    ours = fresh(n=1)
    found = begin(ours, start, ("nasion",))
    assert found.left == ("sella", "porion") and "left behind: sella, porion" in found.describe()
    assert torch.equal(ours.state_dict()[HEAD][0], module().state_dict()[HEAD][1])


def test_another_anatomy_begins_with_all_but_the_landmarks(start: Path) -> None:
    theirs, ours = module().state_dict(), fresh(n=2)
    found = begin(ours, start, ("carina", "hilum"))
    assert found.places == (None, None) and len(found.left) == 3
    assert not torch.equal(ours.state_dict()[HEAD][0], ours.state_dict()[HEAD][1])
    for name, value in ours.state_dict().items():
        if name not in ours.landmark_axes() and not name.startswith("shape_prior."):
            assert torch.equal(value, theirs[name]), name
    assert not found.same_anatomy and not ours.shape_prior.is_set


def test_the_maps_of_a_diffusion_are_put_in_order_in_the_stem_as_well(tmp_path: Path) -> None:
    options = nested(
        {
            "network.encoder_channels": [8, 16], "network.decoder_channels": [16, 8], "network.blocks_per_level": 1,
            "network.attention_factors": [2], "noise.steps": 20, "sampling.steps": 2,
        }
    )  # fmt: skip
    theirs, ours = DiffusionHeatmapModule(3, **options), DiffusionHeatmapModule(3, **options)
    nn.init.normal_(theirs.network.conv_out.weight)
    begin(ours, write(tmp_path / "start.ldx", theirs), ("porion", "sella", "nasion"))
    image, maps, t = torch.rand(1, 1, 16, 16), torch.randn(1, 3, 16, 16), torch.tensor([5])
    order = [2, 0, 1]
    torch.testing.assert_close(ours(image, maps[:, order], t), theirs(image, maps, t)[:, order], atol=1e-4, rtol=1e-4)


def test_without_names_landmarks_are_matched_by_position_only_where_the_numbers_agree() -> None:
    assert match_start(("x1", "x2", "x3"), THEIRS, {}, "a.ldx") == ((0, 1, 2), True)
    assert match_start(("x1", "x2"), THEIRS, {}, "a.ldx") == ((None, None), False)
    assert match_start(("x1", "x2", "x3"), THEIRS, {"x2": "sella"}, "a.ldx") == ((None, 0, None), False)


@pytest.mark.parametrize(
    ("renamed", "told"),
    [({"gonoin": "sella"}, "the data has no landmark 'gonoin'"), ({"gonion": "sela"}, "no landmark 'sela'.*sella")],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest(renamed: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        match_start(("gonion", "apex"), THEIRS, renamed, "a.ldx")


def test_another_network_is_refused_by_its_options_and_nothing_is_changed(start: Path) -> None:
    ours = fresh({"coarse_factor": 2, "windows.reach": 2.0})
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(UserError, match=r"(?s)coarse_factor: 4 in the start, 2 in the config.*windows.reach"):
        begin(ours, start, THEIRS)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_a_model_of_another_method_is_refused(start: Path) -> None:
    with pytest.raises(UserError, match="holds a PositionDiffusionModule, expected a DiffusionHeatmapModule"):
        begin(DiffusionHeatmapModule(3), start, THEIRS)


def test_raw_weights_of_a_model_file_are_refused(start: Path) -> None:
    with pytest.raises(UserError, match="exported model"):
        begin(fresh(), start, THEIRS, weights="raw")


def test_a_training_begins_from_it_once_and_a_resumed_one_does_not(start: Path, tmp_path: Path) -> None:
    data = LandmarkDataModule(
        "phantom", size=(64, 80), batch_size=2, dataset_options={"count": (2, 0, 1), "image_size": (64, 80)}
    )
    rate = {"optimisation.learning_rate": 1e-12}
    made = fresh({**rate}, n=12)
    made.pretrained = str(start)
    checkpoint = train(made, tmp_path / "run", data)
    assert made.start is not None and made.start.left == () and len(made.start.new) == 12 - len(THEIRS)
    torch.testing.assert_close(
        made.state_dict()["network.conv_in.weight"], module().state_dict()["network.conv_in.weight"]
    )
    resumed = fresh({**rate}, n=12)
    resumed.pretrained = str(tmp_path / "gone.ldx")
    train(resumed, tmp_path / "again", data, ckpt_path=str(checkpoint))
    assert resumed.start is None
