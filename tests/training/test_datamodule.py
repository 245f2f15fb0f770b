"""LandmarkDataModule: batches as docs/conventions.md lists them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from landmark_diffusion import LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.geometry import frames_to_original
from landmark_diffusion.data.sample import LandmarkSample

COUNT = {"count": (5, 2, 3), "image_size": (129, 160)}


def module(**options) -> LandmarkDataModule:
    given = {"dataset": "phantom", "size": (48, 60), "batch_size": 2, "dataset_options": COUNT, **options}
    return LandmarkDataModule(**given)


def first_batch(data: LandmarkDataModule, stage: str = "fit") -> dict:
    data.setup(stage)
    return next(iter(data.train_dataloader() if stage == "fit" else data.test_dataloader()))


def test_batch_has_the_promised_shapes_and_types() -> None:
    batch = first_batch(module(recipe="paper_a"))
    n = len(module().landmark_names)
    assert batch["image"].shape == (2, 1, 60, 48) and batch["image"].dtype == torch.float32
    assert batch["image"].min() >= 0 and batch["image"].max() <= 1
    assert batch["points"].shape == (2, n, 2)
    assert batch["target_points"].shape == (2, 1, n, 2)
    assert batch["visible"].shape == (2, n) and batch["visible"].dtype == torch.bool
    assert batch["annotations"].shape == (2, 2, n, 2) and batch["annotations"].dtype == torch.float64
    assert batch["frame"].shape == (2, 2, 2) and batch["frame"].dtype == torch.float64
    assert batch["spacing"].shape == (2, 2)
    assert len(batch["image_id"]) == 2


def test_where_the_split_comes_from_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], aloud: None
) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))
    for grey, name in enumerate("abc"):
        Image.fromarray(np.full((8, 10), grey, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "points.csv").write_text("image,x1,y1,age,set\na,1,2,3,train\nb,1,2,3,val\nc,1,2,3,test\n")
    data = module(dataset="folder", root=str(tmp_path), dataset_options={})
    data.setup("fit")
    data.setup("test")
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'points.csv'}: not used: the column age",
        f"{tmp_path / 'points.csv'}: split by the column 'set': train 1, val 1, test 1",
        f"{tmp_path / 'points.csv'}: only 1 test image: the figures will say little; `ldx crossval` tests every image "
        "once",
    ]


@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_points_come_back_to_the_mean_annotation(resize) -> None:
    data = module(resize=resize, eval_batch_size=3)
    batch = first_batch(data, "test")
    found = frames_to_original(batch["points"].double(), batch["frame"])
    assert (found - batch["annotations"].mean(1)).abs().max() < 1e-4  # float32 points in the batch


def test_target_points_follow_the_option() -> None:
    annotators = first_batch(module(target_points="annotators"))
    mean = first_batch(module())
    assert torch.allclose(annotators["target_points"].mean(1), mean["target_points"][:, 0], atol=1e-4)
    second = first_batch(module(target_points="annotator_2"))
    assert torch.allclose(second["target_points"][:, 0], annotators["target_points"][:, 1])
    drawn = first_batch(module(target_points="random_annotator"))["target_points"][:, 0]
    is_one = torch.stack([(drawn - annotators["target_points"][:, a]).abs().amax(-1) < 1e-4 for a in range(2)])
    assert is_one.any(0).all()
    assert is_one[0].any() and is_one[1].any()  # of 24 landmarks both annotators are drawn


def test_evaluation_is_not_augmented_and_training_is_keyed_by_epoch() -> None:
    data = module(recipe="paper_a")
    data.setup("fit")
    train = data.stage_dataset("train")
    assert torch.equal(train[(3, 1)]["image"], train[(3, 1)]["image"])
    assert not torch.equal(train[(3, 1)]["image"], train[(4, 1)]["image"])
    assert torch.equal(data.stage_dataset("val")[(3, 1)]["image"], data.stage_dataset("val")[(4, 1)]["image"])


def test_evaluate_on_train_shows_the_training_images_without_augmentation() -> None:
    data = module(evaluate_on_train=True, recipe="paper_a")
    train = data.stage_dataset("train")
    for stage in ("val", "test"):
        shown = data.stage_dataset(stage)
        assert [sample.image_id for sample in shown.samples] == [sample.image_id for sample in train.samples]
        assert shown.recipe is None


def test_a_missing_landmark_is_not_visible(tmp_path) -> None:
    import cv2

    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 30), 90, np.uint8))
    (tmp_path / "points.csv").write_text(
        "image,x1,y1,x2,y2,split\na.png,3,4,,,train\nb.png,3,4,5,6,train\nc.png,1,2,3,4,test\nd.png,1,2,3,4,val\n"
    )
    data = LandmarkDataModule("folder", str(tmp_path), size=(15, 20), batch_size=2)
    batch = first_batch(data)
    row = batch["image_id"].index(next(name for name in batch["image_id"] if name.startswith("a")))
    assert batch["visible"][row].tolist() == [True, False]
    assert torch.isnan(batch["points"][row, 1]).all()
    assert torch.isnan(batch["spacing"]).all()


def train_ids(data: LandmarkDataModule) -> list[str]:
    return [sample.image_id for sample in data.stage_dataset("train").samples]


def test_a_few_shot_draw_keeps_the_named_training_images_alone() -> None:
    every = train_ids(module())
    data = module(train_images=[every[3], every[1]])
    assert train_ids(data) == [every[1], every[3]]
    assert len(data.stage_dataset("val")) == 2 and len(data.stage_dataset("test")) == 3


def test_an_epoch_of_few_images_repeats_them_each_augmented_anew() -> None:
    data = module(train_images=train_ids(module())[:2], samples_per_epoch=7, batch_size=2, recipe="mild")
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [2, 2, 2, 1]
    index = torch.cat([batch["index"] for batch in batches])
    assert sorted(torch.bincount(index).tolist()) == [3, 4]  # in turn, not at random
    images = torch.cat([batch["image"] for batch in batches])
    first = images[index == 0]
    assert all(not torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])
    ids = [name for batch in batches for name in batch["image_id"]]
    assert {(int(i), name) for i, name in zip(index, ids, strict=True)} == {(0, ids[list(index).index(0)]),
                                                                            (1, ids[list(index).index(1)])}  # fmt: skip


def test_an_epoch_of_fewer_samples_than_images_is_cut() -> None:
    data = module(samples_per_epoch=3)
    data.setup("fit")
    assert sum(len(batch["index"]) for batch in data.train_dataloader()) == 3


def test_full_batches_leave_out_other_images_in_each_epoch() -> None:
    """Contrast over a last batch of two images has one negative, and a batch norm of two."""
    data = module(full_batches=True)
    data.setup("fit")
    loader, seen = data.train_dataloader(), set()
    assert data.batches_per_epoch(1) == 2 and data.batches_per_epoch(2) == 1  # before a trainer says how many there are
    for epoch in range(6):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = [batch["index"].tolist() for batch in loader]
        assert [len(each) for each in batches] == [2, 2]
        seen.update(frozenset(range(5)) - {i for each in batches for i in each})
    assert len(seen) > 1
    few = module(full_batches=True, batch_size=9)
    few.setup("fit")
    assert [len(batch["index"]) for batch in few.train_dataloader()] == [5]  # no batch is full: all of them together


def test_without_labels_there_are_images_and_no_landmarks() -> None:
    data = module(labels=False)
    assert data.num_landmarks == 0
    batch = first_batch(data)
    assert torch.equal(batch["image"], first_batch(module())["image"])
    assert batch["points"].shape == (2, 0, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"train_images": ["nobody"]}, "train_images: 'nobody' is not among the 5 training images"),
        ({"train_images": []}, "at least one image, each once"),
        ({"samples_per_epoch": 0}, "data.samples_per_epoch: found 0"),
        ({"target_points": "senior"}, "annotator_1"),
        ({"batch_size": 0}, "data.batch_size: found 0"),
        ({"recipe": "paper_c"}, "paper_a"),
        ({"dataset": "phantoms"}, "phantom"),
        ({"dataset_options": {"count": (0, 1, 1)}}, "train part of phantom is empty"),
    ],
)
def test_bad_options_say_what_is_known(options, expected) -> None:
    with pytest.raises(UserError, match=expected):
        module(**options).setup("fit")


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_dataset_of_known_and_unknown_spacing_is_refused_before_training(
    stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of any dataset, one's own too: the metric refused mm beside px only when a whole epoch was trained."""
    data = module(cache_folder=str(tmp_path / "cache"))
    samples = data.source.samples

    def mixed(part: str) -> list[LandmarkSample]:
        return [replace(s, spacing=None) if part == "test" and i < 1 else s for i, s in enumerate(samples(part))]  # type: ignore[arg-type]

    monkeypatch.setattr(data.source, "samples", mixed)
    images = 10 if stage == "fit" else 3
    with pytest.raises(UserError, match=rf": 1 of {images} images have no spacing \(.*the others have one: .*Give it"):
        data.setup(stage)
    assert not (tmp_path / "cache").exists()
    module(cache_folder=str(tmp_path / "cache")).setup(stage)
