"""Phantom lateral cephalograms: skulls made on the spot from a seed, with landmarks whose places are known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import get_args

import numpy as np

from landmark_diffusion.core.errors import UserError, check_choice
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import NO_ANNOTATION, Finding, LandmarkDataset, Stage
from landmark_diffusion.phantom.anatomy import LANDMARK_NAMES, build
from landmark_diffusion.phantom.outlines import SkullParameters
from landmark_diffusion.phantom.render import film_spacing, film_to_pixels, render

GENERATOR_VERSION = 2
"""Goes up whenever a change alters any pixel or point, so that caches let go of older pictures."""

SIGMA_ALONG, SIGMA_ACROSS = 0.8, 0.3
"""Standard deviation in mm of each annotator's error along and across the contour on which the landmark lies."""

ANNOTATOR_OFFSETS = {
    "soft tissue pogonion": (0.0, 1.6),
    "gonion": (-0.8, -1.0),
    "orbitale": (0.7, 0.0),
}
"""Constant part of annotator_2 minus annotator_1 in film mm (x, y); their mean stays without bias."""

MIN_SIDE = 48
"""Shortest side in pixels: below, a pixel is more than 4 mm and the landmarks cannot be seen."""

_STAGES: tuple[Stage, ...] = ("train", "val", "test")


class PhantomDataset(LandmarkDataset):
    """Procedural lateral skulls with two annotators, for demonstrations and tests without any patient's data.

    Each image depends on (seed, stage, index) and the size alone: it is the same in any process and order, and a
    larger count keeps the earlier images. The annotators err by SIGMA_ALONG and SIGMA_ACROSS mm along and across the
    contour, and by a constant offset between them for the landmarks in ANNOTATOR_OFFSETS.

    Args:
        count: images in train, val and test; "predict" means the test images.
        image_size: (width, height) in pixels; the film of 193.5 x 240 mm fills it, so 387x480 has 0.5 mm per pixel.
        seed: non-negative; another seed gives other skulls.
        labels: False gives the images alone.

    Raises:
        UserError: an option that makes no sense.
    """

    name = "phantom"
    landmark_names: tuple[str, ...] = LANDMARK_NAMES
    annotator_names: tuple[str, ...] = ("annotator_1", "annotator_2")
    radii = (2.0, 2.5, 3.0, 4.0)
    unit = "mm"
    terms = "Trained on phantoms made by the package: free of any data set's terms, and of use for trials alone."

    def __init__(
        self,
        count: Sequence[int] = (48, 12, 24),
        image_size: Sequence[int] = (387, 480),
        seed: int = 0,
        labels: bool = True,
    ) -> None:
        counts = _integers("count", count, 3, 0, "three numbers of images (train, val, test), 0 or more each")
        size = _integers("image_size", image_size, 2, MIN_SIDE, f"(width, height), {MIN_SIDE} pixels or more each")
        (self.seed,) = _integers("seed", [seed], 1, 0, "a whole number, 0 or more")
        self.count, self.image_size = (counts[0], counts[1], counts[2]), (size[0], size[1])
        self.spacing = (film_spacing(self.image_size),) * 2
        self._samples: dict[Stage, list[LandmarkSample]] = {}
        self.labels = labels
        if not labels:
            self.landmark_names, self.annotator_names = (), ()

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Samples of one stage, sorted by image id; no pixel is made yet."""
        check_choice("phantom: stage", stage, get_args(Stage))
        stage = "test" if stage == "predict" else stage
        if stage not in self._samples:
            count = self.count[_STAGES.index(stage)]
            self._samples[stage] = [self._sample(stage, index) for index in range(count)]
        return list(self._samples[stage])

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Make the radiograph of one sample, (H, W) uint8."""
        return render(self.parameters(sample), self.image_size)

    def parameters(self, sample: LandmarkSample) -> SkullParameters:
        """The skull of a sample of this dataset; raises UserError for a sample of another one."""
        return SkullParameters.draw(self._entropy(*self._place(sample)))

    def true_points(self, sample: LandmarkSample) -> np.ndarray:
        """Where the landmarks are in truth, (N, 2) float64 original pixels, before any annotator's error."""
        return film_to_pixels(_anatomy(self.parameters(sample)).landmarks, self.image_size)

    def contour_directions(self, sample: LandmarkSample) -> np.ndarray:
        """Unit direction of the contour at each landmark, (N, 2): the axis along which annotators err most."""
        return _anatomy(self.parameters(sample)).tangents.copy()

    def cache_key(self, sample: LandmarkSample) -> str:
        """The generator's version and everything that decides the sample's pixels."""
        stage, index = self._place(sample)
        width, height = self.image_size
        return f"phantom|v{GENERATOR_VERSION}|seed={self.seed}|{stage}|{index}|{width}x{height}"

    def check(self, decode: bool = True) -> list[Finding]:
        """Doubts about the options, and points outside their image; ``decode`` also makes each image."""
        findings = []
        if self.count[0] == 0:
            findings.append(Finding("warning", "phantom: count has no training image"))
        if self.spacing[0] > self.radii[0] / 2:
            message = f"image_size {self.image_size} makes a pixel {self.spacing[0]:.2f} mm wide"
            findings.append(Finding("warning", f"phantom: {message}: too coarse for a radius of {self.radii[0]} mm"))
        for stage in _STAGES:
            for sample in self.samples(stage):
                findings += self._check_sample(sample, decode)
        return findings

    def _check_sample(self, sample: LandmarkSample, decode: bool) -> list[Finding]:
        last = np.array(self.image_size) - 1
        found = []
        if not ((sample.annotations >= 0) & (sample.annotations <= last)).all():
            found.append(Finding("error", f"{sample.source}: a landmark lies outside the image"))
        if decode and np.ptp(self.load_image(sample)) < 32:
            found.append(Finding("error", f"{sample.source}: the image is blank"))
        return found

    def _sample(self, stage: Stage, index: int) -> LandmarkSample:
        annotations = NO_ANNOTATION
        if self.labels:
            annotations = film_to_pixels(_marks(self._entropy(stage, index)), self.image_size)
        image_id = f"phantom_{stage}_{index:06d}"
        source = f"phantom(seed={self.seed}, {stage} {index})"
        return LandmarkSample(image_id, self.image_size, annotations, self.spacing, None, source)

    def _entropy(self, stage: Stage, index: int) -> tuple[int, int, int]:
        return (self.seed, _STAGES.index(stage), index)

    def _place(self, sample: LandmarkSample) -> tuple[Stage, int]:
        stage, _, index = sample.image_id.removeprefix("phantom_").partition("_")
        if stage not in _STAGES or not index.isdigit():
            raise UserError(f"phantom: found the sample {sample.image_id!r}, expected one made by PhantomDataset")
        return stage, int(index)


_anatomy = lru_cache(maxsize=16)(build)


@lru_cache(maxsize=4096)
def _marks(entropy: tuple[int, ...]) -> np.ndarray:
    """Two annotators' marks (2, N, 2) in film mm on the skull of ``entropy``; kept, as a command asks several times."""
    anatomy = build(SkullParameters.draw(entropy))
    return _annotate(anatomy.landmarks, anatomy.tangents, entropy)


def _annotate(points: np.ndarray, tangents: np.ndarray, entropy: tuple[int, ...]) -> np.ndarray:
    """Two annotators' marks (2, N, 2) in film mm for true points (N, 2) and contour directions (N, 2)."""
    rng = np.random.default_rng([*entropy, 3])
    along, across = np.moveaxis(rng.standard_normal((2, len(points), 2)), -1, 0)
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], -1)
    error = SIGMA_ALONG * along[..., None] * tangents + SIGMA_ACROSS * across[..., None] * normals
    offset = np.array([ANNOTATOR_OFFSETS.get(name, (0.0, 0.0)) for name in LANDMARK_NAMES])
    marks: np.ndarray = points + error + np.array([-0.5, 0.5])[:, None, None] * offset
    return marks


def _integers(option: str, value: object, length: int, least: int, expected: str) -> list[int]:
    """Whole numbers out of an option, or a UserError that says what was found and expected."""
    items = list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else None
    whole = items is not None and all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in items)
    if items is None or not whole or len(items) != length or min(items) < least:
        found = items[0] if items is not None and option == "seed" else value
        raise UserError(f"phantom: {option}: found {found!r}, expected {expected}")
    return [int(v) for v in items]
