"""Auxiliary data sets train beside the tested one: batches and weights of one set, results of the first alone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from landmark_diffusion import HeatmapFinetuneModule, LandmarkDataModule, PositionDiffusionModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources import DATASETS
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.training.lightning_internals import waits_for_all_gradients
from tests.options import nested


class Thirds(PhantomDataset):
    """Phantoms with the first three landmarks alone."""

    def __init__(self, count: Any, image_size: Any, seed: int, labels: bool = True) -> None:
        super().__init__(count, image_size, seed, labels)
        self.landmark_names = self.landmark_names[:3]

    def samples(self, stage: Any) -> list[Any]:
        return [replace(each, annotations=each.annotations[:, :3]) for each in super().samples(stage)]


@pytest.fixture(autouse=True)
def _thirds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS.built_in, "thirds", f"{__name__}:Thirds")


class Seen(Callback):
    """Note which set each batch is of."""

    def __init__(self) -> None:
        self.places: list[int] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.places.append(int(batch["set"][0]))


def phantoms(count: int, dataset: str = "phantom", **more: Any) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "dataset_options": {"count": (count, 2, 2), "image_size": (64, 80), "seed": count},
        **more,
    }


def data(**options: Any) -> LandmarkDataModule:
    usual: dict[str, Any] = {
        **phantoms(4), "size": (16, 20), "recipe": "mild", "batch_size": 2, "eval_batch_size": 2, "seed": 3,
        "auxiliary": [phantoms(7, "thirds", name="few")],
        "mixing": {"balance": "set", "batches": "one_set"}, "samples_per_epoch": 8,
    }  # fmt: skip
    return LandmarkDataModule(**{**usual, **options})


def finetuning(module: LandmarkDataModule, auxiliary: tuple[int, ...] = (3,)) -> HeatmapFinetuneModule:
    torch.manual_seed(0)
    network = {"class_path": "GU2Net", "init_args": {"channels": [4, 8, 8], "auxiliary": auxiliary}}
    options = nested({"target.loss": "bce", "target.kind": "gaussian", "optimisation.learning_rate": 1e-2})
    return HeatmapFinetuneModule(module.num_landmarks, null_time="removed", network=network, **options)


def trainer(folder: Path, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"accelerator": "cpu", "devices": 1, "enable_checkpointing": False, "use_distributed_sampler": False}
    return Trainer(default_root_dir=folder, **{**quiet, **options})


def test_batches_alternate_and_each_has_images_and_landmarks_of_one_set() -> None:
    module = data()
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert [len(batch["image_id"]) for batch in batches] == [2] * 4
    assert Counter(int(number) for batch in batches for number in batch["set"]) == {0: 4, 1: 4}
    for batch in batches:
        (place,) = set(batch["set"].tolist())
        assert batch["target_points"].shape == (2, 1, (module.num_landmarks, 3)[place], 2)
        source = (module.source, module.auxiliary["few"])[place]
        known = {each.image_id: each for each in source.samples("train")}
        for i, image_id in enumerate(batch["image_id"]):
            assert torch.equal(batch["annotations"][i], torch.from_numpy(known[image_id].annotations))


def test_an_example_is_what_its_set_gives_alone() -> None:
    """Pixels and points of an image do not depend on which sets lie before it but for what augmentation draws."""
    joined = data(recipe="none").training_set()
    alone = LandmarkDataModule(**phantoms(7, "thirds"), size=(16, 20), seed=3).stage_dataset("train")
    assert len(joined) == 4 + 7
    for place in range(7):
        ours, theirs = joined[0, 4 + place], alone[0, place]
        assert ours["image_id"] == theirs["image_id"] and ours["index"] == place and ours["set"] == 1
        assert torch.equal(ours["image"], theirs["image"]) and torch.equal(ours["points"], theirs["points"])


def test_a_repetition_is_augmented_anew() -> None:
    joined = data().training_set()
    first, again, later = joined[0, 5], joined[0, 5 + 11], joined[1, 5]
    assert first["image_id"] == again["image_id"] == later["image_id"]
    assert all(not torch.equal(a["image"], b["image"]) for a, b in pairwise((first, again, later)))


def test_a_step_on_one_set_moves_what_is_shared_and_what_is_its_own(tmp_path: Path) -> None:
    module = data(samples_per_epoch=2)
    method = finetuning(module)
    before = {name: value.clone() for name, value in method.named_parameters()}
    seen = Seen()
    trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[seen]).fit(method, datamodule=module)
    (place,) = seen.places
    moved = {name for name, value in method.named_parameters() if not torch.equal(value, before[name])}
    other = 1 - place
    assert any(".pointwise." in name for name in moved)
    assert any(f".depthwise.{place}." in name for name in moved)
    assert not [name for name in moved if re.search(rf"(depthwise|norm|last|whole)\.{other}\.", name)]


def test_only_the_first_set_is_validated_and_tested(tmp_path: Path) -> None:
    module = data()
    method = finetuning(module)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(method, datamodule=module)
    (records,) = method.results.values()
    assert [each.image_id for each in records] == [each.image_id for each in module.source.samples("val")]
    (metrics,) = run.test(method, datamodule=module, verbose=False)
    assert np.isfinite(metrics["test/mre"])
    assert {each.points.shape for each in method.results["heatmap"]} == {(module.num_landmarks, 2)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mixing": {"balance": "set"}}, r"give data\.mixing\.batches one_set \(found mixed\)"),
        ({"labels": False}, r"data\.auxiliary does not go with data\.labels false"),
        ({"pseudo_labels": {"rounds": [0.5]}}, r"data\.auxiliary does not go with data\.pseudo_labels"),
        ({"auxiliary": [phantoms(0)]}, r"data\.auxiliary: the train part of phantom is empty in its split"),
        ({"auxiliary": [{"root": "x"}]}, r"data\.auxiliary\[0\]: found .*expected `dataset: NAME`"),
        ({"auxiliary": [phantoms(2), phantoms(3)]}, r"data\.auxiliary\[1\]: found a second set called 'phantom'"),
        (
            {"auxiliary": [{"dataset": "hand", "root": "/nowhere"}]},
            r"data\.auxiliary\[0\] \(hand\)|/nowhere",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        data(**options).setup("fit")


def test_an_annotator_that_a_set_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    one = LandmarkDataModule(**phantoms(4), size=(16, 20)).source.annotator_names[0]
    assert list(data(target_points=one).auxiliary) == ["few"]
    monkeypatch.setattr(Thirds, "annotator_names", ("somebody",))
    with pytest.raises(UserError, match=rf"data\.auxiliary\[0\] \(few\): data\.target_points: found '{one}'.*somebody"):
        data(target_points=one).setup("fit")


def test_a_test_needs_no_auxiliary_set() -> None:
    gone = data(auxiliary=[{"dataset": "hand", "root": "/nowhere"}])
    gone.setup("test")
    assert len(list(gone.test_dataloader())) == 1


def test_a_network_without_weights_for_the_sets_is_refused(tmp_path: Path) -> None:
    module = data()
    with pytest.raises(UserError, match=r"landmarks few 3, and maps for \[2\]\. .*init_args\.auxiliary \[3\]"):
        trainer(tmp_path, max_steps=1).fit(finetuning(module, (2,)), datamodule=module)
    small = {"encoder_channels": (8, 8), "decoder_channels": (8, 8), "attention_factors": (), "blocks_per_level": 1}
    network = {"class_path": "UNet", "init_args": small}
    for method in (
        PositionDiffusionModule(module.num_landmarks, network=network, coarse_factor=2),
        HeatmapFinetuneModule(module.num_landmarks, network=network),
    ):
        with pytest.raises(UserError, match="landmarks few 3, and a network without weights of each data set"):
            trainer(tmp_path, max_steps=1).fit(method, datamodule=module)
    alone = data(auxiliary=None, mixing={}, samples_per_epoch=None)
    with pytest.raises(UserError, match=r"found sets with landmarks none, and maps for \[3\]"):
        trainer(tmp_path, max_steps=1).fit(finetuning(alone), datamodule=alone)


def test_processes_that_wait_for_all_gradients_are_told_from_those_that_do_not() -> None:
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

    def waits(strategy: Any) -> bool:
        return waits_for_all_gradients(SimpleNamespace(strategy=strategy))  # type: ignore[arg-type]

    assert waits(DDPStrategy())
    assert not waits(DDPStrategy(find_unused_parameters=True))
    assert not waits(SingleDeviceStrategy(torch.device("cpu")))
