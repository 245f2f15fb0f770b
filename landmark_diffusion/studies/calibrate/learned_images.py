"""Which images a model was adapted to, so that nobody judges it by them without a word."""

from __future__ import annotations

import hashlib

from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.modelfile.facts import ModelFacts

READ = 2**16
"""Bytes at the beginning of a file that tell an image, with the file's size."""
LENGTH = 16
"""Hexadecimal digits that are kept of a digest."""


def image_digests(images: LandmarkTorchDataset) -> list[str]:
    """Digest of each image's file: the same wherever it lies and whatever it is called."""
    found = []
    for sample in images.samples:
        if sample.image_path is None:
            content = images.source.cache_key(sample).encode()
        else:
            with sample.image_path.open("rb") as file:
                content = file.read(READ)
            content += str(sample.image_path.stat().st_size).encode()
        found.append(hashlib.sha256(content).hexdigest()[:LENGTH])
    return found


def learned(facts: ModelFacts) -> list[str]:
    """Digests of the images that a model was adapted to, and those that it was adapted from."""
    found = facts.adapted.get("seen")
    return [str(each) for each in found] if isinstance(found, list) else []


def count_learned(facts: ModelFacts, images: LandmarkTorchDataset) -> int:
    """Count the images that a model was adapted to."""
    known = set(learned(facts))
    return sum(each in known for each in image_digests(images)) if known else 0


def with_learned(facts: ModelFacts, images: LandmarkTorchDataset) -> list[str]:
    """Digests of these images and of those that the model knows already, each once."""
    return sorted({*learned(facts), *image_digests(images)})
