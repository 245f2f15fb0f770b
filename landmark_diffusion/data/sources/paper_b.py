"""What the hand and chest sets of Di Via et al. (paper B) have in common: a split by sorted name, and absent images."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from landmark_diffusion.core.errors import DataError, check_choice
from landmark_diffusion.data.checks.samples import check_samples, root_folder
from landmark_diffusion.data.headers import read_headers
from landmark_diffusion.data.readers.image_io import list_images, read_grey
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import NO_ANNOTATION, Finding, LandmarkDataset, Stage
from landmark_diffusion.data.splits import split_by_name

SPLITS = ("paper_b", "all_train")


class PaperBDataset(LandmarkDataset):
    """Images in one folder, annotations by the images' names, and a split made over the annotated names.

    The split does not depend on which images are there: with some absent the others stay in their parts.

    Args:
        root: the dataset's folder.
        split: "paper_b" (Di Via et al., section 4) or "all_train": all images that are there train.
        labels: False reads the images alone; the annotations' names are used for the split where they are there.
        require_all: whether images of a part of "paper_b" that are not there are refused (DataError) or left out.

    Raises UserError on an unknown split, DataError on a missing root.
    """

    annotator_names: tuple[str, ...] = ("annotator",)
    image_files: ClassVar[str]
    """Where the images are, such as ``jpg/*.jpg``; any usual image format is read."""
    split_counts: ClassVar[tuple[int, int, int]]
    """Images in train, val and test of "paper_b", by sorted name."""
    excluded: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, root: str | Path, split: str = "paper_b", labels: bool = True, require_all: bool = True) -> None:
        check_choice("split", split, SPLITS)
        self.root, self.split, self.labels = root_folder(root, self.name), split, labels
        self.require_all = require_all
        if not labels:
            self.landmark_names, self.annotator_names = (), ()

    @abstractmethod
    def _annotated_names(self) -> set[str] | None:
        """Names with an annotation; None where none is needed and none is there. Raises DataError if needed."""

    @abstractmethod
    def _annotations(
        self, names: Iterable[str], sizes: Mapping[str, tuple[int, int]]
    ) -> tuple[dict[str, tuple[np.ndarray, str]], list[DataError]]:
        """Points (N, 2) in original pixels and their source by name, and what is wrong with the annotations.

        ``sizes`` holds (width, height) of the images that are there: annotations of the others are only checked.
        """

    @abstractmethod
    def _spacing(self, size: tuple[int, int], points: np.ndarray) -> tuple[float, float] | None:
        """Length in ``unit`` per original pixel (x, y) for an image of ``size``; ``points`` (N, 2), N = 0 if unread."""

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Samples of one stage by name; "predict" is the test part. Raises DataError on the first fault.

        Warns of annotations without image and of images without annotation that are left out.
        """
        images, faults = self._find_images()
        annotated = self._names_for_split()
        wanted = self._parts(images, annotated)["test" if stage == "predict" else stage]
        samples, more = self._read([name for name in wanted if name in images], images)
        for fault in (*faults, *more):
            raise fault
        absent = self._absent(images, wanted, f"images of this part of split {self.split}")
        if absent and self._refuses_absent:
            raise DataError(absent, self.root)
        if not images:
            raise self._no_image()
        if self.split == "all_train" and annotated is not None and not annotated & set(images):
            raise DataError(
                f"none of the {len(images)} images has an annotation: the first image is named {min(images)}, "
                f"the first annotation {min(annotated, default='missing')}; expected the same names",
                self.root,
            )
        if self.split == "all_train" and wanted:
            absent = self._absent(images, annotated or (), "annotated images")
        doubts = self._without_annotation(images, annotated) if self.labels and wanted else []
        for message in ([f"{self.root}: {absent}"] if absent else []) + self._other_count(images, annotated) + doubts:
            warnings.warn(message, stacklevel=2)
        return samples

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode one radiograph, (H, W) uint8."""
        assert sample.image_path is not None
        return read_grey(sample.image_path)

    def check(self, decode: bool = True) -> list[Finding]:
        """All faults and doubts in the annotations and images, whatever the split."""
        images, faults = self._find_images()
        try:
            annotated = self._names_for_split()
        except DataError as error:
            return [Finding("error", str(fault)) for fault in (*faults, error)]
        names = sorted(images if annotated is None or not self.labels else annotated)
        samples, more = self._read(names, images)
        doubts = self._other_count(images, annotated)
        if absent := self._absent(images, annotated or (), "annotated images"):
            if self._refuses_absent:
                faults.append(DataError(absent, self.root))
            else:
                doubts.append(f"{self.root}: {absent}")
        if not images:
            faults.append(self._no_image())
        doubts += self._without_annotation(images, annotated) if self.labels else []
        findings = check_samples(self, samples, [*faults, *more], decode, self._locate)
        return findings + [Finding("warning", message) for message in doubts]

    def _locate(self, sample: LandmarkSample, annotator: int, landmark: int) -> str:
        return sample.source

    def _names_for_split(self) -> set[str] | None:
        """Annotated names; None where no annotation is wanted, so that none has to be readable."""
        return self._annotated_names() if self.labels or self.split == "paper_b" else None

    def _find_images(self) -> tuple[dict[str, Path], list[DataError]]:
        """Images by name, less the excluded ones, and a fault for each name that two files have."""
        images: dict[str, Path] = {}
        faults: list[DataError] = []
        for path in list_images(self.root / Path(self.image_files).parent):
            if path.stem in images:
                faults.append(DataError(f"the image {path.stem} is there twice, also as {images[path.stem]}", path))
            elif path.stem not in self.excluded:
                images[path.stem] = path
        return images, faults

    def _parts(self, images: Iterable[str], annotated: set[str] | None) -> dict[str, list[str]]:
        """Names of train, val and test, also of absent images in "paper_b"."""
        if self.split == "paper_b":
            return split_by_name(sorted(images if annotated is None else annotated), self.split_counts)
        usable = set(images) & annotated if self.labels and annotated is not None else set(images)
        return {"train": sorted(usable), "val": [], "test": []}

    def _read(self, names: Iterable[str], images: Mapping[str, Path]) -> tuple[list[LandmarkSample], list[DataError]]:
        """Samples of the named images that are there and can be used, and what is wrong."""
        names = list(names)
        by_path, faults = read_headers([images[name] for name in names if name in images], self.root)
        sizes = {name: by_path[images[name]].size for name in names if images.get(name) in by_path}
        if self.labels:
            read, more = self._annotations(names, sizes)
            faults += more
        else:
            read = {name: (NO_ANNOTATION[0], str(images[name])) for name in sizes}
        return [
            LandmarkSample(
                name, size, read[name][0][None], self._spacing(size, read[name][0]), images[name], read[name][1]
            )
            for name, size in sizes.items()
            if name in read
        ], faults

    def _no_image(self) -> DataError:
        return DataError(f"no image found; expected {self.image_files} in this folder", self.root)

    @property
    def _refuses_absent(self) -> bool:
        return self.require_all and self.split == "paper_b"

    def _absent(self, images: Iterable[str], wanted: Iterable[str], what: str) -> str:
        """What to say about wanted images that are not there; empty if all are."""
        wanted = set(wanted)
        absent = sorted(wanted - set(images))
        if not absent:
            return ""
        file = self.image_files.replace("*", absent[0])
        advice = (
            "set data.dataset_options.require_all: false to go on with the others"
            if self._refuses_absent
            else f"going on with {len(wanted) - len(absent)}"
        )
        return f"{len(absent)} of the {len(wanted)} {what} are not there, the first is {file}; {advice}"

    def _other_count(self, images: Collection[str], annotated: set[str] | None) -> list[str]:
        """A doubt if the split is made over another number of names than the paper's, so that its parts differ."""
        expected = sum(self.split_counts)
        names, what = (images, "images without any annotation") if annotated is None else (annotated, "annotated names")
        if self.split != "paper_b" or len(names) in (0, expected):
            return []
        return [
            f"{self.root}: found {len(names)} {what}, expected {expected}: the parts of split paper_b, made by count, "
            "are not those of the whole set"
        ]

    def _without_annotation(self, images: Mapping[str, Path], annotated: Iterable[str] | None) -> list[str]:
        """One doubt for all images without annotation: common, since both sets are parts of larger archives."""
        names = sorted(set(images) - set(annotated or ()))
        if not names:
            return []
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        return [f"{images[names[0]]}: {len(names)} images without annotation ({shown}); they are left out"]
