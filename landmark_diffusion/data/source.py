"""What every dataset offers to the data module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from landmark_diffusion.data.sample import LandmarkSample

Stage = Literal["train", "val", "test", "predict"]
Unit = Literal["mm", "px", "px256"]
UNITS: tuple[str, ...] = get_args(Unit)
NO_ANNOTATION = np.empty((1, 0, 2))
"""Annotations (A, N, 2) of an image without labels: one annotator of no landmark, so that a mean over them exists."""


@dataclass(frozen=True)
class Finding:
    """One fault or doubt in the data, or (a note) what was not judged; ``message`` names file and line."""

    level: Literal["error", "warning", "note"]
    message: str


class LandmarkDataset(ABC):
    """A set of radiographs with landmarks: names, splits and pixels, independent of any network.

    Attributes:
        name: the dataset's name in configs.
        landmark_names: N names, in the order of the annotations' columns; none where a dataset was asked for images
            alone (its option ``labels`` is False).
        annotator_names: A names, in the order of ``LandmarkSample.annotations``; none likewise.
        radii: default SDR radii, in ``unit``.
        unit: of an error: "mm" where the spacing is known, else "px" (original pixels); "px256" where
            ``LandmarkSample.spacing`` holds pixels of the image stretched to 256x256 per original pixel (chest).
        shown_names: names under which findings speak of the landmarks, in the same order; empty for ``landmark_names``.
        terms: of use of weights that were trained on it: they come from the data, apart from the code's licence.
        knows_folds: whether its ``split`` may be ``folds:5/2`` (``data.splits.fold_split``), for ``ldx crossval``.
        config_prefix: what the names of its shipped configs begin with, where that is not its own name.
    """

    name: str
    landmark_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    radii: tuple[float, ...]
    unit: Unit
    shown_names: tuple[str, ...] = ()
    terms: ClassVar[str] = (
        "Trained on data of the one who hands it over, who says under which terms the weights may be used."
    )
    knows_folds: ClassVar[bool] = False
    config_prefix: ClassVar[str] = ""

    @abstractmethod
    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Samples of one stage in a fixed order (sorted by image id); an absent stage is an empty list.

        Reads annotations and image headers only. Raises DataError with file and line on the first fault.
        """

    @abstractmethod
    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode one image as (H, W) uint8 grey; raises DataError that names a file which cannot be decoded."""

    @abstractmethod
    def check(self, decode: bool = True) -> list[Finding]:
        """All faults and doubts at once, never raising for bad data; ``decode`` also decodes each image in full."""

    def set_names(self) -> tuple[str, ...]:
        """Names of the sets that a pooled data set is made of; any other one is one set."""
        return (self.name,)

    def set_of(self, sample: LandmarkSample) -> int:
        """Place in ``set_names`` of the set that a sample is of."""
        return 0

    @classmethod
    def trained_on(cls, split: str | None) -> str:
        """Say for a model's card which images a split trains on; empty where its name says nothing of that."""
        return ""

    def notes(self) -> list[str]:
        """How the data were read and divided, a line each, where it is not plain; said once at the start of a run."""
        return []

    def patients(self) -> dict[str, str]:
        """The patient of each image of which it is known, by image id: images of one are no independent ones."""
        return {}

    def cache_key(self, sample: LandmarkSample) -> str:
        """What identifies the sample's pixels (path, size, mtime; a generated image: its parameters)."""
        if sample.image_path is None:
            raise NotImplementedError(f"{self.name}: a dataset of generated images must say its own cache_key")
        stat = sample.image_path.stat()
        return f"{sample.image_path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def images_beside(
    source: LandmarkDataset, images: LandmarkDataset, labelled: Sequence[LandmarkSample]
) -> list[LandmarkSample]:
    """Find the training images that are none of ``labelled``, in their order; what is measured is none of them.

    ``images`` is the data set of ``source`` without its labels, so that images which nobody marked are in it too.
    """
    known = [*labelled, *source.samples("val"), *source.samples("test")]
    ids = {sample.image_id for sample in known}
    paths = {sample.image_path for sample in known} - {None}
    every = images.samples("train")
    return [sample for sample in every if sample.image_id not in ids and sample.image_path not in paths]
