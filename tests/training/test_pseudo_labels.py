"""Pseudo-labels: what is kept of the views' points, which images train when, and a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from landmark_diffusion import HeatmapFinetuneModule, LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training.pseudo_labels import (
    PseudoLabels,
    Unlabelled,
    agreed,
    seen_in_views,
    views_of,
)
from landmark_diffusion.training.samplers import EpochKeyedSampler
from tests.options import nested
from tests.training.test_resume import check_resume, phantoms, positions
from tests.training.tiny import tiny_trainer

KEPT = [f"phantom_train_{number:06d}" for number in (1, 4)]


def test_a_point_is_the_median_of_its_views_and_those_that_differ_most_are_left_out():
    places = np.array([
        [[[0.0, 0.0]], [[0.0, 0.0]], [[3.0, 4.0]]],  # image, view, landmark, xy: median 0, one view 5 away
        [[[10.0, 5.0]], [[10.0, 5.0]], [[10.0, 5.0]]],
        [[[7.0, 7.0]], [[7.0, 8.0]], [[7.0, 9.0]]],
    ])  # fmt: skip
    found, differ = agreed(places, keep=0.5)
    np.testing.assert_allclose(differ[:, 0], [5 / 3, 0, 2 / 3])
    np.testing.assert_allclose(found[:, 0], [[np.nan, np.nan], [10, 5], [7, 8]])
    assert np.isfinite(agreed(places, keep=1.0)[0]).all()


def test_each_landmark_has_its_own_limit_and_a_view_that_does_not_know_a_point_is_passed_over():
    rng = np.random.default_rng(0)
    places = rng.normal(0, 1, (20, 3, 2, 2)) * np.array([1.0, 50.0])[None, None, :, None]
    places[3, 1] = np.nan
    places[4] = np.nan
    found, differ = agreed(places, keep=0.5)
    known = np.isfinite(found).all(-1)
    assert known.sum(0).tolist() == [10, 10] and not known[4].any() and np.isfinite(differ[3]).all()


def test_what_is_found_in_a_view_is_laid_back_on_the_image():
    """An image of one bright blob, whose place in each view is its centre of mass."""
    height, width = 120, 90
    blob = np.zeros((height, width), np.uint8)
    place = np.array([40.0, 70.0])
    cv2.circle(blob, (40, 70), 6, 255, -1)
    blob = cv2.GaussianBlur(blob, (0, 0), 2)

    def find(images: torch.Tensor) -> np.ndarray:
        grey = images[:, 0].double().numpy()
        y, x = np.mgrid[0:height, 0:width]
        mass = grey.sum((1, 2))
        return np.stack([(grey * x).sum((1, 2)) / mass, (grey * y).sum((1, 2)) / mass], -1)[:, None]

    views = views_of((width, height), 6, seed=1, index=2)
    seen = seen_in_views(blob, views, find)
    assert len({tuple(view.offset) for view in views}) == 7 and views[0].is_identity
    np.testing.assert_allclose(seen[:, 0], np.tile(place, (7, 1)), atol=0.1)
    again = views_of((width, height), 6, seed=1, index=2)
    assert all(np.array_equal(a.matrix, b.matrix) for a, b in zip(views, again, strict=True))


def test_rounds_fall_due_by_their_share_of_the_updates():
    unlabelled = Unlabelled.behind(PseudoLabels((0.25, 0.5)), 1, ["a"], 2)
    assert [unlabelled.due(updates, 100) for updates in (24, 25, 60)] == [False, True, True]
    unlabelled.take(np.zeros((1, 2, 2, 2)))
    assert [unlabelled.due(updates, 100) for updates in (25, 49, 50)] == [False, False, True]
    unlabelled.take(np.zeros((1, 2, 2, 2)))
    assert not unlabelled.due(100, 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": (0.5, 0.5)}, "rounds: found .0.5, 0.5., expected rising shares"),
        ({"rounds": (1.0,)}, "rounds: found .1.0., expected rising shares"),
        ({"keep": 0.0}, "keep: found 0, expected above 0"),
        ({"views": 0}, "views: found 0, expected at least 1"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=f"data.pseudo_labels.{message}"):
        PseudoLabels(**options)


def test_an_epoch_draws_from_the_labelled_images_until_the_others_have_labels():
    first = 3
    sampler = EpochKeyedSampler(8, 0, 2, length=9, first=lambda: first)
    drawn = [place for _, place in sampler]
    assert len(drawn) == 9 and {place % 8 for place in drawn} == {0, 1, 2} and len(set(drawn)) == 9
    first = 8
    assert list(sampler) == list(EpochKeyedSampler(8, 0, 2, length=9))


def data(**options: Any) -> LandmarkDataModule:
    return phantoms(0, samples_per_epoch=8, train_images=KEPT, pseudo_labels={"rounds": (0.3, 0.6)}, **options)


def test_images_without_labels_are_those_of_the_training_part_that_are_not_named():
    made = data()
    dataset = made.stage_dataset("train")
    ids = [sample.image_id for sample in dataset.samples]
    assert ids[:2] == KEPT and sorted(ids) == [f"phantom_train_{number:06d}" for number in range(7)]
    assert made.unlabelled is not None and list(made.unlabelled.ids) == ids[2:]
    assert np.isnan(dataset.samples[5].annotations).all() and np.isfinite(dataset.network_points()[:2]).all()
    made.setup("fit")  # labels are checked where there are some
    made.unlabelled.points[4] = torch.arange(2 * made.num_landmarks).view(-1, 2)
    np.testing.assert_array_equal(dataset.network_points()[4], np.arange(2 * made.num_landmarks).reshape(-1, 2))
    item = dataset[(0, 4)]
    assert item["points"].isfinite().all() and item["target_points"].shape == (1, made.num_landmarks, 2)
    assert dataset[(0, 5)]["points"].isnan().all()


def test_without_such_images_it_is_refused():
    with pytest.raises(UserError, match=r"data\.pseudo_labels: found no image without labels in phantom"):
        phantoms(0, pseudo_labels={"rounds": (0.5,)}).stage_dataset("train")


class Seen(Callback):
    """Which images each epoch's batches had, and how many of their points were labels."""

    def __init__(self) -> None:
        self.epochs: dict[int, set[str]] = {}
        self.labels: list[bool] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.epochs.setdefault(trainer.current_epoch, set()).update(batch["image_id"])
        self.labels += batch["points"].isfinite().any(-1).any(-1).tolist()


def test_a_run_trains_on_its_own_labels_after_a_round(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    torch.manual_seed(0)
    made = data()
    module = positions(0)[0]
    seen, trainer = Seen(), tiny_trainer(tmp_path, max_epochs=5, monitor="val/mre")
    trainer.callbacks[:0] = [seen]
    with caplog.at_level("INFO", "landmark_diffusion"):
        trainer.fit(module, datamodule=made)
    assert seen.epochs[0] | seen.epochs[1] == set(KEPT)
    assert set.union(*(seen.epochs[epoch] for epoch in (2, 3, 4))) > set(KEPT)
    assert all(seen.labels)
    assert made.unlabelled is not None and made.unlabelled.rounds == 2
    known = made.unlabelled.points[2:].isfinite().all(-1)
    assert (known.sum(0) == 4).all()  # 80 % of 5 images
    out = caplog.text
    assert "pseudo-labels, round 1 of 2" in out and "5 images without labels" in out


def test_a_round_that_will_never_come_is_refused_before_training(tmp_path: Path):
    """A training without the labels that were asked for looks like one to which they bring nothing."""
    made = phantoms(0, samples_per_epoch=8, train_images=KEPT, pseudo_labels={"rounds": (0.2, 0.9)})
    with pytest.raises(UserError, match=r"found \[0.2, 0.9\], of which 1 would never come: an epoch has \d+ of the"):
        tiny_trainer(tmp_path, max_epochs=2).fit(positions(0)[0], datamodule=made)


@pytest.mark.parametrize(
    ("rounds", "epoch", "total", "never"),
    [((0.4, 0.7), 38, 1100, 0), ((0.4, 0.7), 50, 20, 2), ((0.4, 0.7), 10, 20, 1), ((0.9,), 10, 20, 1),
     ((0.5,), 10, 20, 0), ((0.4, 0.45), 10, 30, 1), ((0.7, 0.8), 10, 30, 2), ((), 10, 30, 0)],
)  # fmt: skip
def test_rounds_that_no_epoch_ends_in_time_for(rounds: tuple[float, ...], epoch: int, total: int, never: int):
    assert Unlabelled.behind(PseudoLabels(rounds), 1, ["a"], 2).never(epoch, total) == never


class Stop(Callback):
    """Ends a run after its first epoch."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = True


def test_a_round_that_never_came_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made = phantoms(0, samples_per_epoch=8, train_images=KEPT, pseudo_labels={"rounds": (0.5,)})
    trainer = tiny_trainer(tmp_path, max_epochs=3)
    trainer.callbacks.append(Stop())
    with caplog.at_level("INFO", "landmark_diffusion"):
        trainer.fit(positions(0)[0], datamodule=made)
    assert "5 images without labels, left out at first, train from the first round" in caplog.text
    assert "1 of 1 round never came" in caplog.text


@pytest.mark.parametrize("stops", [[8], pytest.param([7, 8, 12, 17], marks=pytest.mark.slow)], ids=str)
def test_a_run_with_pseudo_labels_stopped_and_continued(tmp_path: Path, stops: list[int]):
    """Stops at the ends of the epochs with a round among them."""

    def build(workers: int) -> Any:
        module = positions(workers)[0]
        return module, data()

    check_resume(build, tmp_path, stops=stops, max_epochs=5)


def test_the_method_of_maps_trains_so_too(tmp_path: Path):
    made = data()
    options = nested({
        "network.encoder_channels": (8,), "network.decoder_channels": (8,), "network.blocks_per_level": 1,
        "network.attention_factors": (), "optimisation.lr_schedule": "cosine",
    })  # fmt: skip
    tiny_trainer(tmp_path, max_epochs=4).fit(HeatmapFinetuneModule(made.num_landmarks, **options), datamodule=made)
    assert made.unlabelled is not None and made.unlabelled.rounds == 2
    kept = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["LandmarkDataModule"]["pseudo_labels"]
    assert kept["rounds"] == 2
    np.testing.assert_array_equal(kept["points"], made.unlabelled.points[2:])


def test_a_checkpoint_of_other_images_is_refused():
    ours = Unlabelled.behind(PseudoLabels((0.5,)), 1, ["a", "b"], 2)
    theirs = Unlabelled.behind(PseudoLabels((0.5,)), 1, ["a", "c"], 2)
    with pytest.raises(UserError, match="the checkpoint has 2, or other ones"):
        ours.load(theirs.state())
    theirs.take(np.ones((2, 2, 2, 2)))
    again = Unlabelled.behind(PseudoLabels((0.5,)), 1, ["a", "c"], 2)
    again.load(theirs.state())
    assert again.rounds == 1 and torch.equal(again.points[1:], theirs.points[1:])
    again.load(None)
    assert again.rounds == 1
