"""Several data sets as one: each image's own pixels and name, its set in the batch, faults by set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from landmark_diffusion import LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources import build_dataset

SMALL = {"count": (3, 1, 1), "image_size": (64, 80)}
LARGE = {"count": (5, 2, 1), "image_size": (96, 72), "seed": 4}
SETS = [
    {"dataset": "phantom", "name": "small", "dataset_options": SMALL},
    {"dataset": "phantom", "name": "large", "dataset_options": LARGE},
]


def pooled(sets: Any = SETS, labels: bool = False) -> Any:
    return build_dataset("pooled", None, sets=sets, labels=labels)


def data(**options: Any) -> LandmarkDataModule:
    usual = {"size": (16, 20), "labels": False, "batch_size": 4, "dataset_options": {"sets": SETS}}
    return LandmarkDataModule("pooled", **{**usual, **options})


def test_samples_are_those_of_the_sets_under_their_names() -> None:
    source = pooled()
    assert source.set_names() == ("small", "large")
    samples = source.samples("train")
    assert [source.set_of(each) for each in samples] == [0] * 3 + [1] * 5
    for name, options in (("small", SMALL), ("large", LARGE)):
        alone = build_dataset("phantom", labels=False, **options)
        found = [each for each in samples if each.image_id.startswith(f"{name}/")]
        assert [each.image_id for each in found] == [f"{name}/{each.image_id}" for each in alone.samples("train")]
        for one, own in zip(found, alone.samples("train"), strict=True):
            assert np.array_equal(source.load_image(one), alone.load_image(own))
            assert source.cache_key(one) == alone.cache_key(own)  # cached once
    assert len(source.samples("val")) == 3


def test_a_batch_tells_the_set_of_each_image_in_one_size() -> None:
    module = data(mixing={"balance": "set"}, batch_size=8, samples_per_epoch=8)
    module.setup("fit")
    (batch,) = list(module.train_dataloader())
    assert batch["image"].shape == (8, 1, 20, 16)
    names = [image_id.partition("/")[0] for image_id in batch["image_id"]]
    assert [("small", "large")[number] for number in batch["set"].tolist()] == names
    assert Counter(names) == {"small": 4, "large": 4}
    assert Counter(batch["image_id"]).most_common(1)[0][1] == 2  # three small images fill four places


def test_by_image_each_image_comes_once_and_batches_may_be_of_one_set() -> None:
    module = data()
    module.setup("fit")
    seen = [image_id for batch in module.train_dataloader() for image_id in batch["image_id"]]
    assert Counter(seen) == Counter(each.image_id for each in module.source.samples("train"))
    module = data(mixing={"batches": "one_set"})
    module.setup("fit")
    batches = [batch["set"].tolist() for batch in module.train_dataloader()]
    assert sorted(batches) == [[0] * 4, [1] * 4, [1] * 4]  # 3 and 5 images fill one and two batches of four
    assert module.batches_per_epoch(1) == 3 and module.batches_per_epoch(2) == 2


def test_a_set_alone_is_set_0() -> None:
    module = LandmarkDataModule("phantom", size=(16, 20), batch_size=3, dataset_options=SMALL)
    module.setup("fit")
    assert torch.equal(next(iter(module.train_dataloader()))["set"], torch.zeros(3, dtype=torch.long))


def test_roots_lie_in_the_common_one(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    Image.new("L", (64, 80)).save(tmp_path / "mine" / "a.png")
    source = build_dataset("pooled", tmp_path, labels=False, sets=[{"dataset": "folder", "root": "mine"}])
    assert source.sets["folder"].root == tmp_path / "mine"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], "sets: found .., expected a list of at least one set"),
        ("isbi2015", "sets: found 'isbi2015', expected a list"),
        ([{"root": "x"}], r"sets\[0\]: found .*, expected `dataset: NAME`"),
        ([{"dataset": "phantom", "splt": "a"}], r"sets\[0\]: unknown option 'splt'. Did you mean split\?"),
        ([{"dataset": "hand"}], r"sets\[0\] \(hand\): its `root` is missing"),
        ([*SETS, SETS[0]], r"sets\[2\]: found a second set called 'small'; give it another `name`"),
        ([{"dataset": "phantom", "name": "a/b"}], r"sets\[0\].name: found 'a/b', expected letters, digits, _ and -"),
        ([{"dataset": "phantm"}], r"sets\[0\] \(phantm\): .*Did you mean phantom"),
        (
            [{"dataset": "isbi2015", "root": "/nowhere"}],
            r"sets\[0\] \(isbi2015\).root: found no folder /nowhere; mend it",
        ),
    ],
)
def test_a_set_that_cannot_be_read_is_named(sets: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        pooled(sets)


def test_labels_are_refused() -> None:
    with pytest.raises(UserError, match=r"pooled gives images alone: found data\.labels true"):
        pooled(labels=True)
