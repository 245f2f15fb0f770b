"""Telling mirrored, turned and negative images: alike for all forms, learned without touching anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landmark_diffusion import HeatmapFinetuneModule, LandmarkDataModule, PositionDiffusionModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.forms import FORMS, UPRIGHT, Form
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.finders.orientation import (
    RecognisedForm,
    enough_images,
    learn_forms,
    look,
    new_form_network,
    recognise,
    reduced,
)
from landmark_diffusion.models.form_network import FormNetwork, undone
from tests.detection.tiny_model import picture
from tests.methods.test_training_callbacks import TINY, data, module, trainer
from tests.options import nested

STEPS = 100
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def skulls(first: int, count: int) -> list[np.ndarray]:
    source = PhantomDataset(count=(first + count, 1, 1), image_size=(96, 120))
    return [source.load_image(each) for each in source.samples("train")[first:]]


@pytest.fixture(scope="module")
def learned() -> FormNetwork:
    return learn_forms(skulls(0, 12), STEPS)


# ---- the network --------------------------------------------------------------------------------------------------


@forms
def test_what_the_network_undoes_is_what_the_file_undoes(form: Form) -> None:
    """Torch's turns and numpy's are the same ones, and a negative is the image with another sign."""
    grey = picture(1, (64, 64))
    np.testing.assert_allclose(undone(look(form.apply(grey)), form).numpy(), look(grey).numpy(), atol=1e-6)


@forms
def test_the_answer_turns_with_the_image(form: Form) -> None:
    """Whatever an untrained network takes for upright, it takes the same picture for it in every form."""
    network, grey = new_form_network(3).eval(), picture(2, (150, 200))
    (upright,), (found,) = recognise(network, [grey]), recognise(network, [form.apply(grey)])
    np.testing.assert_array_equal(found.form.undo(form.apply(grey)), upright.form.undo(grey))
    assert found.probability == pytest.approx(upright.probability, abs=1e-4)  # sums in another order


def test_scores_come_in_the_order_of_the_forms() -> None:
    """A network that scores the mean of the upper left quarter tells where the bright corner is."""
    network = new_form_network()
    network.score = torch.nn.Sequential(TopLeft(), torch.nn.Flatten())  # type: ignore[assignment]
    grey = np.zeros((64, 64), np.uint8)
    grey[:20, :30] = 255
    grey[:10, 30:50] = 200
    for form in FORMS:
        (found,) = recognise(network, [form.apply(grey)])
        assert found.form == form


class TopLeft(torch.nn.Module):
    """100 times the correlation with a corner that is brighter along the top."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(100.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.factor * (images[:, 0, :20, :30].mean((1, 2)) + images[:, 0, :10, 30:50].mean((1, 2)))[:, None]


def test_ranks_do_not_see_brightness_contrast_or_gamma() -> None:
    grey = (picture(0, (64, 64)) // 16 * 8 + 40).astype(np.uint8)  # 16 levels, far from both ends
    for change in (lambda v: v + 30, lambda v: 40 + 0.6 * (v - 40), lambda v: 255 * (v / 255) ** 1.7):
        changed = np.rint(change(grey.astype(float))).astype(np.uint8)
        np.testing.assert_array_equal(look(changed), look(grey))
    np.testing.assert_allclose(look(255 - grey), -look(grey), atol=1e-6)
    assert abs(float(look(grey).mean())) < 1e-6


def test_an_image_of_one_grey_is_uncertain() -> None:
    (found,) = recognise(new_form_network(), [np.full((50, 40), 7, np.uint8)])
    assert found.probability == pytest.approx(1 / 16) and not found.certain and found.used == UPRIGHT


def test_a_form_that_is_not_certain_is_not_undone() -> None:
    assert RecognisedForm(FORMS[5], 0.89).used == UPRIGHT and RecognisedForm(FORMS[5], 0.9).used == FORMS[5]


# ---- learning -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_learns_to_tell_all_forms_of_new_images(learned: FormNetwork) -> None:
    images = [form.apply(skull) for skull in skulls(12, 4) for form in FORMS]
    found = recognise(learned, images)
    assert [each.form for each in found] == [form for _ in range(4) for form in FORMS]


def test_learning_repeats_and_draws_nothing_outside() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1]
    first, again, other = (learn_forms(skulls(0, 3), 3, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_of_very_many_images_some_are_enough() -> None:
    assert enough_images(3) == [0, 1, 2]
    many = enough_images(100_001)
    assert len(many) == 2000 and many[0] == 0 and many[-1] == 100_000


def test_a_reduced_image_turns_with_the_image() -> None:
    grey = picture(4, (150, 200))
    for form in FORMS:
        differ = np.abs(reduced(form.apply(grey), 64).astype(int) - form.apply(reduced(grey, 64)))
        assert differ.max() <= 1  # a half may be rounded to either side


# ---- in a method --------------------------------------------------------------------------------------------------

LEARN = {"orientation.learn": True, "orientation.steps": 2}


def others(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("form_network.")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, Path]]:
    """Without and with it, and the checkpoint of the latter."""
    made = []
    for options in ({}, LEARN):
        fitted, fitter = module({"optimisation.ema_decay": 0.5, **options}), trainer(max_epochs=2)
        fitter.fit(fitted, data())
        made.append((fitted, fitter))
    path = tmp_path_factory.mktemp("run") / "learned.ckpt"
    made[1][1].save_checkpoint(path)
    yield made[0][0], made[1][0], path


def test_the_landmarks_weights_are_the_same_to_the_bit(runs: tuple[Any, Any, Path]) -> None:
    without, with_forms = runs[0].state_dict(), runs[1].state_dict()
    ours = others(with_forms)
    assert ours.keys() == without.keys() and len(with_forms) > len(ours)
    assert all(torch.equal(ours[name], without[name]) for name in without)


def test_what_a_fit_learns_is_what_the_function_learns(runs: tuple[Any, Any, Path]) -> None:
    made = data()
    made.setup("fit")
    dataset = made.stage_dataset("train")
    images = [dataset.image(place) for place in range(len(dataset))]
    wanted = learn_forms(images, 2, runs[1].seed).state_dict()
    found = runs[1].form_network.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_resumed_run_does_not_learn_it_again(runs: tuple[Any, Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("learned again")

    monkeypatch.setattr(HeatmapFinetuneModule, "_learn_forms", refuse)
    resumed = module({"optimisation.ema_decay": 0.5, **LEARN})
    trainer(max_epochs=3).fit(resumed, data(), ckpt_path=runs[2], weights_only=False)
    wanted = runs[1].form_network.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.form_network.state_dict().items())


def test_a_checkpoint_says_it_only_where_it_is_there(runs: tuple[Any, Any, Path]) -> None:
    """Files of models without it are as before, and can be read by versions without it."""
    assert "orientation" not in runs[0].hparams and runs[0].form_network is None
    assert runs[1].hparams["orientation"] == {"learn": True, "steps": 2}
    loaded = HeatmapFinetuneModule.load_from_checkpoint(runs[2])
    assert loaded.form_network is not None and not loaded.form_network.score[0].weight.requires_grad


def test_building_it_moves_no_other_weight() -> None:
    torch.manual_seed(0)
    without = PositionDiffusionModule(3, **nested(POSITIONS))
    torch.manual_seed(0)
    made = PositionDiffusionModule(3, **nested({**POSITIONS, **LEARN}))
    ours = others(made.state_dict())
    assert all(torch.equal(ours[name], value) for name, value in without.state_dict().items())


POSITIONS = {key: value for key, value in TINY.items() if key.startswith("network.")}


def test_padding_is_no_part_of_the_image() -> None:
    options = {"count": (1, 1, 1), "image_size": (64, 80)}
    made = LandmarkDataModule("phantom", size=(64, 200), resize="pad", dataset_options=options)
    made.setup("fit")
    dataset = made.stage_dataset("train")
    assert dataset.image(0).shape == (200, 64) and dataset.content(0).shape == (80, 64)
    np.testing.assert_array_equal(dataset.content(0), dataset.image(0)[:80])


def test_less_than_one_step_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.orientation\.steps: found 0"):
        module({"orientation.steps": 0})
