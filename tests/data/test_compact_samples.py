"""Samples of very many images: the same as given, in memory that the loader's processes do not come to copy."""

from __future__ import annotations

import gc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from landmark_diffusion import LandmarkDataModule
from landmark_diffusion.data.cache import ImageCache
from landmark_diffusion.data.compact_samples import CompactSamples
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.sources.base import NO_ANNOTATION
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.training.datamodule import keep_images


def make_samples(count: int) -> list[LandmarkSample]:
    points = np.random.default_rng(0).normal(0, 100, (count, 2, 3, 2))
    points[:, 1, 2] = np.nan
    return [
        LandmarkSample(f"image {n}", (640 + n % 2, 800), points[n], (0.1, 0.2), Path(f"folder/{n}.png"), f"a.csv:{n}")
        for n in range(count)
    ]


def assert_same(found: LandmarkSample, given: LandmarkSample) -> None:
    np.testing.assert_array_equal(found.annotations, given.annotations)
    assert found.annotations.dtype == given.annotations.dtype
    for name in ("image_id", "size", "spacing", "image_path", "source"):
        assert getattr(found, name) == getattr(given, name)
    assert {type(value) for value in (*found.size, *(found.spacing or ()))} <= {int, float}


def test_each_sample_is_as_it_was_given() -> None:
    samples = make_samples(5)
    compact = CompactSamples(samples)
    assert len(compact) == 5
    for found, given in zip(compact, samples, strict=True):
        assert_same(found, given)
    assert_same(compact[-1], samples[4])
    assert [sample.image_id for sample in compact[1:4:2]] == ["image 1", "image 3"]
    for place in (5, -6):
        with pytest.raises(IndexError):
            compact[place]


def test_what_may_be_absent_stays_absent() -> None:
    generated = LandmarkSample("Röntgen/\udcff", (1, 2), NO_ANNOTATION)  # a name of bytes that are no UTF-8
    assert_same(CompactSamples([generated])[0], generated)
    assert list(CompactSamples([])) == []


def reachable(start: object) -> int:
    """Number of Python objects behind one, of which each would be written to when it is used."""
    seen, waiting = set(), [start]
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(each, (type, ModuleType)):
            seen.add(id(each))
            waiting += gc.get_referents(each)
    return len(seen)


def test_more_images_are_not_more_objects(tmp_path: Path) -> None:
    assert reachable(CompactSamples(make_samples(500))) == reachable(CompactSamples(make_samples(10)))
    source = build_dataset("phantom", None)
    few, many = (
        LandmarkTorchDataset(source, make_samples(count), (32, 40), "stretch", ImageCache(tmp_path)).frames
        for count in (10, 500)
    )
    assert reachable(few) == reachable(many) and many[3].original_size == (641, 800)


def test_workers_leave_what_they_have_from_their_parent_out_of_the_search_for_garbage() -> None:
    class Frozen(Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, key: Any) -> int:
            return gc.get_freeze_count()

    data = LandmarkDataModule("phantom", num_workers=1)
    data._datasets = {"train": Frozen(), "val": Frozen()}  # type: ignore[dict-item]
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert all(int(batch.min()) > 1000 for batch in loader)
    assert gc.get_freeze_count() == 0


def test_chosen_training_images_are_looked_up_and_not_searched_for() -> None:
    class Name(str):
        asked = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Name.asked += 1
            return str.__eq__(self, other)  # type: ignore[arg-type]

    samples = make_samples(400)
    kept = keep_images(samples, [Name(sample.image_id) for sample in reversed(samples)])
    assert [sample.image_id for sample in kept] == [sample.image_id for sample in samples]
    assert Name.asked < 10 * 400  # 80,000 where each is compared with each
