"""ISBI 2015 cephalograms: 400 lateral radiographs, 19 landmarks, two annotators (Wang et al., 2016)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError, check_choice
from landmark_diffusion.data.checks.samples import check_samples, root_folder
from landmark_diffusion.data.headers import read_headers
from landmark_diffusion.data.readers.image_io import list_images, read_grey
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import NO_ANNOTATION, Finding, LandmarkDataset, Stage
from landmark_diffusion.data.sources.annotations_text import inside, outside_fault, parse_number, read_text, split_pair
from landmark_diffusion.data.splits import ISBI2015_SPLITS

LANDMARK_NAMES = (
    "sella", "nasion", "orbitale", "porion", "subspinale", "supramentale", "pogonion", "menton", "gnathion", "gonion",
    "lower incisal incision", "upper incisal incision", "upper lip", "lower lip", "subnasale",
    "soft tissue pogonion", "posterior nasal spine", "anterior nasal spine", "articulare",
)  # fmt: skip
"""The 19 landmarks, in the order of the annotation files' lines."""

ANNOTATOR_FOLDERS = {"senior": "400_senior", "junior": "400_junior"}
SPACING_MM = 0.1
FULL_SIZE = (1935, 2400)
"""(width, height) of the challenge's images, to which the spacing belongs."""

_IMAGE_FOLDERS = ("cepha400", "RawImage", "")  # the public copy, the challenge's archive, images beside the annotations
_ANNOTATION_FOLDERS = ("", "AnnotationsByMD")
_TYPE_LINES = 8  # anatomical types behind the points, one integer each, in the challenge's archive
_TYPE = re.compile(r"[+-]?\d+", re.ASCII)


class Isbi2015Dataset(LandmarkDataset):
    """The challenge's images 001-400 with the points of a senior and a junior doctor; 0.1 mm a pixel.

    Reads ``cepha400/*.jpg`` or ``RawImage/*/*.bmp`` (any usual image format), and ``400_senior/*.txt`` and
    ``400_junior/*.txt``, also under ``AnnotationsByMD``.

    Args:
        root: the folder that holds these folders.
        split: "official" (train 001-150, test 151-300), "development" (train 001-130, val 131-150, test 151-300),
            "test2" (train 001-150, test 301-400) or "paper_b" (train 001-130, val 131-150, test 151-400).
        labels: False reads the images alone.
        require_all: whether images of the split that are not there are refused (DataError) or left out; None refuses
            them in "paper_b", whose test part often lacks 301-400: its figures would be of other images.

    Raises UserError on an unknown split, DataError on a missing root.
    """

    name = "isbi2015"
    landmark_names: tuple[str, ...] = LANDMARK_NAMES
    annotator_names: tuple[str, ...] = tuple(ANNOTATOR_FOLDERS)
    radii = (2.0, 2.5, 3.0, 4.0)
    unit = "mm"
    terms = "Trained on ISBI 2015, for research use."
    config_prefix = "ceph"

    def __init__(
        self, root: str | Path, split: str = "official", labels: bool = True, require_all: bool | None = None
    ) -> None:
        check_choice("split", split, ISBI2015_SPLITS)
        self.root, self.split, self.labels = root_folder(root, self.name), split, labels
        self.require_all = split == "paper_b" if require_all is None else require_all
        self._asked = require_all is not None
        if not labels:
            self.landmark_names, self.annotator_names = (), ()

    @classmethod
    def trained_on(cls, split: str | None) -> str:
        """Name the images by their numbers."""
        numbers = ISBI2015_SPLITS.get(split or "official", {}).get("train")
        return f"images {numbers[0]:03d}-{numbers[-1]:03d}" if numbers else ""

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Samples of one stage by number; "predict" is the split's test part. Raises DataError on the first fault."""
        images, faults = self._find_images()
        numbers = ISBI2015_SPLITS[self.split]["test" if stage == "predict" else stage]
        samples, more = self._read({n: path for n, path in images.items() if n in numbers})
        for fault in (*faults, *more):
            raise fault
        for message in (*_size_doubts(samples), *self._absent(images, numbers)):
            warnings.warn(message, stacklevel=2)
        return samples

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode one radiograph, (H, W) uint8."""
        assert sample.image_path is not None
        return read_grey(sample.image_path)

    def check(self, decode: bool = True) -> list[Finding]:
        """All faults and doubts in images 001-400, whatever the split."""
        try:
            images, faults = self._find_images()
        except DataError as error:
            return [Finding("error", str(error))]
        samples, more = self._read(images)
        doubts = _size_doubts(samples) + (self._annotated_but_absent(images) if self.labels else [])
        findings = check_samples(self, samples, [*faults, *more], decode, self._locate)
        return findings + [Finding("warning", message) for message in doubts]

    def _find_images(self) -> tuple[dict[int, Path], list[DataError]]:
        """Images by number, and a fault for each file whose name says none."""
        images: dict[int, Path] = {}
        faults: list[DataError] = []
        for folder in _IMAGE_FOLDERS:
            paths = list_images(self.root / folder, recursive=folder == "RawImage")
            for path in paths:
                number = _number(path)
                if number is None:
                    faults.append(DataError("expected an image name from 001 to 400, which gives its split", path))
                elif number in images:
                    faults.append(DataError(f"image {number:03d} is there twice, also as {images[number]}", path))
                else:
                    images[number] = path
            if paths:
                break
        if not images and not faults:
            raise DataError("no image found; expected cepha400/*.jpg or RawImage/*/*.bmp in this folder", self.root)
        return dict(sorted(images.items())), faults

    def _read(self, images: dict[int, Path]) -> tuple[list[LandmarkSample], list[DataError]]:
        headers, faults = read_headers(images.values(), self.root)
        sizes = {path: header.size for path, header in headers.items()}
        samples = []
        for number, path in images.items():
            if not self.labels:
                if path in sizes:
                    samples.append(_sample(number, sizes[path], NO_ANNOTATION, path, str(path)))
                continue
            annotations = []
            for annotator, folder in ANNOTATOR_FOLDERS.items():
                sources = self._annotation_files(folder, path.stem, number)
                if not sources:
                    faults.append(DataError(self._missing_annotation(annotator, folder, number), path))
                    continue
                source = sources[0]
                if len(sources) > 1:  # which one holds cannot be known
                    message = f"the annotation of image {number:03d} is there twice, also as {source}"
                    faults.append(DataError(f"{message}; keep one of them", sources[1]))
                points, more = read_points(source, sizes.get(path))
                faults += more
                annotations.append(points)
            if len(annotations) == len(ANNOTATOR_FOLDERS) and path in sizes:
                samples.append(_sample(number, sizes[path], np.stack(annotations), path, str(source)))
        return samples, faults

    def _locate(self, sample: LandmarkSample, annotator: int, landmark: int) -> str:
        folder = ANNOTATOR_FOLDERS[self.annotator_names[annotator]]
        paths = self._annotation_files(folder, sample.image_id, int(sample.image_id))
        return f"{paths[0]}:{landmark + 1}"

    def _annotation_files(self, folder: str, stem: str, number: int) -> list[Path]:
        """Files of one doctor for an image: more than one are a fault."""
        names = dict.fromkeys((stem, f"{number:03d}", str(number)))
        places = (self.root / parent / folder / f"{name}.txt" for parent in _ANNOTATION_FOLDERS for name in names)
        return [path for path in places if path.is_file()]

    def _missing_annotation(self, annotator: str, folder: str, number: int) -> str:
        return (
            f"the image has no annotation by the {annotator}; expected {self.root / folder / f'{number:03d}.txt'} "
            "(or in AnnotationsByMD)"
        )

    def _absent(self, images: Iterable[int], numbers: Iterable[int]) -> list[str]:
        """What to say about images of a part that are not there; raises DataError where all of them are required."""
        wanted, absent = set(numbers), sorted(set(numbers) - set(images))
        if not absent or not (self.require_all or self._asked):
            return self._annotated_but_absent(images, wanted) if self.labels else []
        message = (
            f"{len(absent)} of the {len(wanted)} images of this part of split {self.split} are not there, the first is "
            f"{absent[0]:03d}"
        )
        if self.require_all:
            raise DataError(
                f"{message}; set data.dataset_options.require_all: false to go on with the others", self.root
            )
        return [f"{self.root}: {message}; going on with {len(wanted) - len(absent)}"]

    def _annotated_but_absent(self, images: Iterable[int], numbers: Iterable[int] = range(1, 401)) -> list[str]:
        """One doubt for all annotation files without image: common, since Test 2 is often not at hand.

        ``numbers`` are the images asked for: those of one part, or all.
        """
        wanted = set(numbers) - set(images)
        absent: dict[int, Path] = {}
        for parent in _ANNOTATION_FOLDERS:
            for folder in ANNOTATOR_FOLDERS.values():
                for path in (self.root / parent / folder).glob("*.txt"):
                    if (number := _number(path)) is not None and number in wanted:
                        absent[number] = path
        if not absent:
            return []
        names = ", ".join(f"{n:03d}" for n in sorted(absent)[:5]) + (" ..." if len(absent) > 5 else "")
        return [f"{absent[min(absent)]}: {len(absent)} annotated images are not there ({names}); they are left out"]


def _sample(number: int, size: tuple[int, int], annotations: np.ndarray, path: Path, source: str) -> LandmarkSample:
    return LandmarkSample(f"{number:03d}", size, annotations, (SPACING_MM, SPACING_MM), path, source)


def read_points(path: Path, size: tuple[int, int] | None = None) -> tuple[np.ndarray, list[DataError]]:
    """Read one doctor's file: (19, 2) original pixels, with a fault for each line that is wrong (its point is NaN).

    Expected are 19 lines ``x,y``, and either nothing or 8 lines with one integer behind them. ``size`` (width, height)
    is the image's; without it no point is found outside.
    """
    points = np.full((len(LANDMARK_NAMES), 2), np.nan)
    try:
        text = read_text(path)
    except DataError as error:
        return points, [error]
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    is_type = [_TYPE.fullmatch(line) is not None for _, line in lines]
    count = is_type.index(True) if True in is_type else len(lines)
    if fault := _count_fault(path, lines, count):
        return points, [fault]
    faults = []
    for index, (number, line) in enumerate(lines[:count]):
        try:
            points[index] = _parse_pair(line)
        except ValueError as error:
            faults.append(DataError(f"{error} for {LANDMARK_NAMES[index]}", path, number))
            continue
        if size is not None and not inside(points[index], size):
            faults.append(outside_fault(LANDMARK_NAMES[index], points[index], size, path, number))
    return points, faults


def _count_fault(path: Path, lines: list[tuple[int, str]], count: int) -> DataError | None:
    """Return a fault if the file does not have 19 points and 0 or 8 types; it names the first line that is wrong."""
    expected, rest = len(LANDMARK_NAMES), lines[count:]
    after_last = lines[-1][0] + 1 if lines else 1
    if count != expected:
        line = lines[min(count, expected)][0] if min(count, expected) < len(lines) else after_last
        return DataError(f"found {count} points, expected {expected} lines x,y", path, line)
    wrong = [number for number, line in rest if _TYPE.fullmatch(line) is None]
    if wrong or len(rest) not in (0, _TYPE_LINES):
        line = wrong[0] if wrong else rest[0][0]
        return DataError(
            f"found {len(rest)} lines behind the {expected} points, expected none or {_TYPE_LINES} whole numbers",
            path,
            line,
        )
    return None


def _parse_pair(line: str) -> tuple[float, float]:
    fields = split_pair(line)
    if len(fields) != 2:
        raise ValueError(f"found {line!r}, expected x,y")
    return parse_number(fields[0]), parse_number(fields[1])


def _number(path: Path) -> int | None:
    """Number of an image or annotation file, 1 to 400; None where the name is no such number."""
    if not re.fullmatch(r"\d{1,3}", path.stem, re.ASCII):
        return None
    return int(path.stem) if 1 <= int(path.stem) <= 400 else None


def _size_doubts(samples: list[LandmarkSample]) -> list[str]:
    other = [sample for sample in samples if sample.size != FULL_SIZE]
    if not other:
        return []
    width, height = other[0].size
    return [
        f"{other[0].image_path}: {width}x{height} px instead of {FULL_SIZE[0]}x{FULL_SIZE[1]} ({len(other)} images): "
        f"the spacing of {SPACING_MM} mm belongs to the full size, so results in mm would be wrong if it was resized"
    ]
