"""From cases to training examples: resized pixels, augmentation, points in the network's frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from landmark_diffusion.core.errors import check_choice
from landmark_diffusion.core.seeds import sample_seed
from landmark_diffusion.data.augmentation.albumentations_check import try_transforms
from landmark_diffusion.data.augmentation.albumentations_recipe import AlbumentationsRecipe
from landmark_diffusion.data.cache import ImageCache
from landmark_diffusion.data.compact_samples import CompactSamples
from landmark_diffusion.data.geometry import Frame, ResizeMode
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import LandmarkDataset

Recipe = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]

MEMORY_LIMIT = 512 * 2**20
"""Resized images are kept in memory up to this many bytes a process; beyond it they are read from the cache."""


class LandmarkTorchDataset(Dataset[dict[str, Any]]):
    """Examples of one stage, as docs/conventions.md, "Batches", lists them.

    ``found`` (I, N, 2) are points in network pixels of samples that nobody marked, which may be filled in later; NaN
    where there are none.

    An item is asked for by its index, or in training by (epoch, index): augmentation draws from
    (seed, epoch, index) alone, so that a resumed or re-sharded run sees the same pictures. An index beyond the last
    sample is a repetition within the epoch (see EpochKeyedSampler): the same sample, augmented anew.
    """

    def __init__(
        self,
        source: LandmarkDataset,
        samples: Sequence[LandmarkSample],
        size: tuple[int, int],
        resize: ResizeMode,
        cache: ImageCache,
        recipe: Recipe | None = None,
        target_points: str = "mean",
        seed: int = 0,
        found: torch.Tensor | None = None,
    ) -> None:
        self.found = found
        self.source, self.samples, self.cache = source, CompactSamples(samples), cache
        self.sets = np.fromiter(map(source.set_of, samples), np.int16, len(samples))
        sizes = [sample.size for sample in samples]
        frames = {each: Frame.fit(each, size, resize) for each in set(sizes)}  # one object for all of a size
        self.frames = [frames[each] for each in sizes]
        self.size, self.recipe, self.target_points, self.seed = size, recipe, target_points, seed
        if isinstance(recipe, AlbumentationsRecipe):
            try_transforms(recipe, size)
        self._memory: dict[int, np.ndarray] | None = (
            {} if len(self.samples) * size[0] * size[1] <= MEMORY_LIMIT else None
        )

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> np.ndarray:
        """Pixels of one sample at network size, (H, W) uint8, without augmentation."""
        if self._memory is None:
            return self.cache.get(self.source, self.samples[index], self.frames[index])
        if index not in self._memory:
            self._memory[index] = self.cache.get(self.source, self.samples[index], self.frames[index])
        return self._memory[index]

    def network_points(self) -> np.ndarray:
        """Points of all samples in network pixels, (I, N, 2), without augmentation: by people, else ``found``."""
        pairs = zip(self.samples, self.frames, strict=True)
        marked = np.stack([frame.to_network(sample.mean_points) for sample, frame in pairs])
        return marked if self.found is None else np.where(np.isnan(marked), self.found.numpy(), marked)

    def content(self, index: int) -> np.ndarray:
        """Pixels of one sample at network size without what it was padded with, (H, W) uint8."""
        width, height = self.frames[index].content_size
        return self.image(index)[:height, :width]

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, place = key if isinstance(key, tuple) else (0, int(key))
        return self.example(place % len(self.samples), np.random.default_rng(sample_seed(self.seed, epoch, place)))

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Give the sample at ``index``, augmented by what ``rng`` draws."""
        sample, frame = self.samples[index], self.frames[index]
        image = self.image(index)
        targets = self._targets(sample, rng)
        flat = frame.to_network(np.concatenate([sample.mean_points[None], targets]).reshape(-1, 2))
        if self.found is not None and bool(torch.isfinite(self.found[index]).any()):
            flat = np.tile(self.found[index].numpy().astype(np.float64), (1 + len(targets), 1))
        if self.recipe is not None:
            image, flat = self.recipe(image, flat, rng)
        points = flat.reshape(1 + len(targets), -1, 2) if flat.size else np.empty((1 + len(targets), 0, 2))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image)).unsqueeze(0).float() / 255,
            "points": torch.from_numpy(points[0]).float(),
            "target_points": torch.from_numpy(points[1:]).float(),
            "visible": torch.from_numpy(_inside(points[0], self.size)),
            "annotations": torch.from_numpy(sample.annotations),
            "frame": torch.from_numpy(frame.as_array()),
            "image_size": torch.tensor(sample.size),
            "spacing": torch.tensor(sample.spacing or (float("nan"),) * 2, dtype=torch.float64),
            "index": index,
            "set": int(self.sets[index]),
            "image_id": sample.image_id,
        }

    def _targets(self, sample: LandmarkSample, rng: np.random.Generator) -> np.ndarray:
        """Target points (A', N, 2) in original pixels by the ``target_points`` option."""
        if self.target_points == "mean":
            return sample.mean_points[None]
        if self.target_points == "annotators":
            return sample.annotations
        if self.target_points == "random_annotator":
            return _draw_annotator(sample, rng)[None]
        names = self.source.annotator_names
        return sample.annotations[[names.index(self.target_points)]]


def check_target_points(value: str, annotator_names: Sequence[str]) -> str:
    """Return ``value`` if it names a target-point rule or an annotator; raise UserError that lists them else."""
    known = ("mean", "annotators", "random_annotator", *annotator_names)
    check_choice("data.target_points", value, known)
    return value


def _draw_annotator(sample: LandmarkSample, rng: np.random.Generator) -> np.ndarray:
    """One annotator drawn for each landmark among those who marked it, (N, 2)."""
    known = ~np.isnan(sample.annotations).any(-1)
    order = rng.random(known.shape) * known
    choice = order.argmax(0)
    marks: np.ndarray = sample.annotations[choice, np.arange(known.shape[1])]
    return marks


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        inside = (points >= -0.5) & (points < np.asarray(size) - 0.5)
    both: np.ndarray = np.logical_and.reduce(inside, axis=-1)
    return both
