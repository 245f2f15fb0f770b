"""Several data sets as one, without labels: what a network is pre-trained on all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Finding, LandmarkDataset, Stage
from landmark_diffusion.data.sources.described import build_sets

SEPARATOR = "/"
"""Between a set's name and the image's own id."""


class PooledDataset(LandmarkDataset):
    """The images of several data sets; an image is called by its set's name and its own, ``hand/3128``.

    Which set an image is of stands in each batch (``set``); how often each comes is ``data.mixing``'s to say.

    Args:
        root: the folder that relative roots of the sets lie in; None is the current folder.
        sets: for each set ``dataset``, and where it needs them ``root``, ``split``, ``dataset_options`` (as under
            ``data``) and ``name`` (by default the dataset's).
        labels: has to be False: sets with landmarks of their own are not pooled.

    Raises UserError for a set that cannot be understood, what the set itself raises otherwise.
    """

    name = "pooled"
    landmark_names: tuple[str, ...] = ()
    annotator_names: tuple[str, ...] = ()
    radii: tuple[float, ...] = ()
    unit = "px"

    def __init__(
        self, root: str | Path | None = None, sets: Sequence[Mapping[str, Any]] = (), labels: bool = True
    ) -> None:
        if labels:
            raise UserError("the dataset pooled gives images alone: found data.labels true, expected false")
        self.sets: dict[str, LandmarkDataset] = build_sets(sets, root, "data.dataset_options.sets", labels=False)

    def set_names(self) -> tuple[str, ...]:
        """Names of the sets, in the order of the option."""
        return tuple(self.sets)

    def set_of(self, sample: LandmarkSample) -> int:
        """Place in ``set_names`` of the set that a sample is of."""
        return self.set_names().index(sample.image_id.partition(SEPARATOR)[0])

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Samples of one stage, set after set."""
        return [
            replace(sample, image_id=f"{name}{SEPARATOR}{sample.image_id}")
            for name, each in self.sets.items()
            for sample in each.samples(stage)
        ]

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode one radiograph, (H, W) uint8, as its set does."""
        each, own = self._own(sample)
        return each.load_image(own)

    def cache_key(self, sample: LandmarkSample) -> str:
        """Give the set's own, so that a set alone and among others shares its cached images."""
        each, own = self._own(sample)
        return each.cache_key(own)

    def check(self, decode: bool = True) -> list[Finding]:
        """All faults and doubts of all sets."""
        return [
            replace(finding, message=f"{name}: {finding.message}")
            for name, each in self.sets.items()
            for finding in each.check(decode)
        ]

    def notes(self) -> list[str]:
        """Those of the sets, by name."""
        return [f"{name}: {note}" for name, each in self.sets.items() for note in each.notes()]

    def patients(self) -> dict[str, str]:
        """Those of the sets; one patient's images in two sets are not known as such."""
        return dict(self._patients())

    def _patients(self) -> Iterator[tuple[str, str]]:
        for name, each in self.sets.items():
            for image_id, patient in each.patients().items():
                yield f"{name}{SEPARATOR}{image_id}", f"{name}{SEPARATOR}{patient}"

    def _own(self, sample: LandmarkSample) -> tuple[LandmarkDataset, LandmarkSample]:
        name, _, image_id = sample.image_id.partition(SEPARATOR)
        return self.sets[name], replace(sample, image_id=image_id)
