"""Detection: the landmarks of one radiograph as people use them - points, how sure each is, and where mm come from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.forms import BY_NAME, UPRIGHT, Form
from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.detection.forms import save_detection

NOT_IN_IMAGE = "not in the image"
DOUBTFUL = "doubtful"
"""What lists call a landmark that is ``absent``, and one that somebody should look at."""


@dataclass(frozen=True)
class Detection:
    """What was found in one radiograph.

    A point (x, y) is in pixels of the stored image, with pixel centres at integers; in mm it is (x, y) times the
    spacing, measured from the centre of the first pixel. NaN is nowhere.

    Attributes:
        name: short name of the image, unique among those of one call and safe as a file name, without suffix.
        path: the file as it was given; the name again where the image came as an array.
        size: (width, height) of the image in pixels.
        landmark_names: N names.
        points: (N, 2) float64 original pixels.
        covariance: (N, 2, 2) squared original pixels: the spread of the true point around ``points``, calibrated where
            ``level`` is set; None where the method gives none.
        level: stated coverage of the regions, such as 0.9; None without regions.
        regions: (N, 2, 2) squared original pixels: the region of a landmark is the ellipse of all points p with
            (p - point)^T regions^-1 (p - point) <= 1. None without a calibration, and for an image that is ``unlike``.
        expected_error: (N,) expected radial error in original pixels; None where there are no regions.
        outside: (N,) probability that the landmark lies outside the image; None where the method cannot tell.
        far: (N,) probability that the point is far off, by more than 5 % of the image's width; None where the
            calibration does not tell.
        doubtful: (N,) bool: whether it may be, so that somebody should look; likewise.
        spacing: mm per pixel (x, y), None where it is not known.
        spacing_source: where the spacing was found, such as "option", "ImagerPixelSpacing"; "unknown" without one.
        image_score: how unlike the training images this one is, as a p-value in (0, 1]: small is unlike; None without
            a calibration.
        unlike: True where ``image_score`` is so small that no point should be used; None without a calibration, and
            with one of so few images that it cannot tell.
        unlike_reason: why it is, one of ``detection.reasons.REASONS`` such as "mirrored" or "unknown"; empty for an
            image that is not called unlike, and where nobody looked.
        orientation: how the image lies in its file beside those of training, one of ``data.forms.BY_NAME`` such as
            "upright", "mirrored" or "turned left, negative": it was put right for the network, and all of this is in
            the pixels of the file as it is. "unknown" where that was not certain, and the image was taken as it is;
            empty where nobody looked.
        orientation_probability: of the most probable one; None where nobody looked.
        notes: what the reader has to know, one sentence each, such as a spacing that is not calibrated.
        model: name of the model file.
        settings: options that the points came from (steps, samples, decoder, spread, seed).
        pixels: (H, W) uint8, the grey image that the model saw before resizing, for pictures; may be left out.
    """

    name: str
    path: str
    size: tuple[int, int]
    landmark_names: tuple[str, ...]
    points: np.ndarray
    covariance: np.ndarray | None = None
    level: float | None = None
    regions: np.ndarray | None = None
    expected_error: np.ndarray | None = None
    outside: np.ndarray | None = None
    far: np.ndarray | None = None
    doubtful: np.ndarray | None = None
    spacing: tuple[float, float] | None = None
    spacing_source: str = UNKNOWN_SPACING
    image_score: float | None = None
    unlike: bool | None = None
    unlike_reason: str = ""
    orientation: str = ""
    orientation_probability: float | None = None
    notes: tuple[str, ...] = ()
    model: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    pixels: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.landmark_names)
        shapes = {
            "points": (count, 2), "covariance": (count, 2, 2), "regions": (count, 2, 2), "expected_error": (count,),
            "outside": (count,), "far": (count,), "doubtful": (count,),
        }  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise UserError(f"{self.name}: found {name} of shape {value.shape}, expected {shape}")

    @property
    def form(self) -> Form:
        """The form that the image was put right from; upright where it was taken as it is."""
        return BY_NAME.get(self.orientation, UPRIGHT)

    @property
    def absent(self) -> np.ndarray:
        """Which landmarks (N,) lie outside the image more likely than not: their points are where the others say."""
        count = len(self.landmark_names)
        return np.zeros(count, dtype=bool) if self.outside is None else np.asarray(self.outside > 0.5)

    @property
    def in_doubt(self) -> np.ndarray:
        """Which landmarks (N,) somebody should look at: the doubtful ones in the image; none where that is unknown."""
        count = len(self.landmark_names)
        return np.zeros(count, dtype=bool) if self.doubtful is None else np.asarray(self.doubtful & ~self.absent)

    @property
    def marks(self) -> tuple[str, ...]:
        """A word for each of the N landmarks: ``NOT_IN_IMAGE``, ``DOUBTFUL``, or empty where nothing is to be said."""
        each = zip(self.absent, self.in_doubt, strict=True)
        return tuple(NOT_IN_IMAGE if absent else DOUBTFUL if doubtful else "" for absent, doubtful in each)

    def without_absent(self) -> Detection:
        """Give the detection with NaN for all that is stated of the place of a landmark outside the image."""
        if not self.absent.any():
            return self
        stated = ("points", "covariance", "regions", "expected_error")
        known = {name: getattr(self, name) for name in stated if getattr(self, name) is not None}
        hidden: dict[str, Any] = {
            name: np.where(self.absent.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)
            for name, values in known.items()
        }
        return replace(self, **hidden)

    @property
    def unlike_words(self) -> str:
        """Say that the image is unlike the training images, why, and how sure that is; for where it is called so."""
        known = [f"reason {self.unlike_reason}" if self.unlike_reason == "unknown" else self.unlike_reason]
        score = "" if self.image_score is None else f"p = {self.image_score:.2g}"
        facts = ", ".join(filter(None, [*known, score]))
        return "unlike the training images" + (f" ({facts})" if facts else "")

    @property
    def points_mm(self) -> np.ndarray | None:
        """(N, 2) mm from the centre of the first pixel; None where the spacing is not known."""
        return None if self.spacing is None else self.points * np.asarray(self.spacing)

    @property
    def expected_error_mm(self) -> np.ndarray | None:
        """(N,) expected radial error in mm, exact where x and y share a spacing; None where that is not known."""
        if self.spacing is None or self.expected_error is None:
            return None
        return self.expected_error * float(np.sqrt(self.spacing[0] * self.spacing[1]))

    @property
    def shown_errors(self) -> tuple[np.ndarray | None, str]:
        """Expected radial errors (N,) in mm where the spacing is known, else in px, and the unit; None without."""
        return (self.expected_error, "px") if self.spacing is None else (self.expected_error_mm, "mm")

    @property
    def region_words(self) -> str:
        """Call a region, with its stated coverage."""
        return "region" if self.level is None else f"{self.level:.0%} region"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say that the points are not to be used where the image is unlike; nothing otherwise."""
        return (f"This image is {self.unlike_words}: do not use its points.",) if self.unlike else ()

    def ellipses(self) -> np.ndarray | None:
        """The regions as (N, 3): semi-axes in original pixels, the longer first, and the longer one's angle in degrees.

        The angle goes from the x axis towards the y axis (down in the picture), in [0, 180). None without regions.
        """
        return None if self.regions is None else ellipse_axes(self.regions)

    def ellipses_mm(self) -> np.ndarray | None:
        """``ellipses`` in mm, also where x and y have spacings of their own; None without regions or spacing."""
        if self.regions is None or self.spacing is None:
            return None
        return ellipse_axes(self.regions * covariance_factors(np.asarray(self.spacing)))

    def numbers(self) -> dict[str, np.ndarray]:
        """Gather what tables list of the N landmarks by name, (N,) each in pixels unless it says mm; NaN where unknown.

        ``longer``, ``shorter`` and ``angle`` are of the regions, as in ``ellipses``.
        """
        columns = {
            ("x", "y"): self.points, ("x_mm", "y_mm"): self.points_mm, ("longer", "shorter", "angle"): self.ellipses(),
            ("area_mm2",): self.areas_mm2(), ("error_mm",): self.expected_error_mm,
            ("error_px",): self.expected_error,
        }  # fmt: skip
        unknown = np.full(len(self.landmark_names), np.nan)
        found: dict[str, np.ndarray] = {}
        for names, values in columns.items():
            parts = [unknown] * len(names) if values is None else np.reshape(values, (-1, len(names))).T
            found |= dict(zip(names, parts, strict=True))
        return found

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a .csv, .json, .mrk.json (3D Slicer, with the image as .nrrd beside it), .png or .html file.

        Raises UserError for another suffix and where a file is already, unless ``overwrite``.
        """
        return save_detection(self, path, overwrite)

    def areas_mm2(self) -> np.ndarray | None:
        """(N,) area of each region in mm2; None without regions or spacing."""
        axes = self.ellipses_mm()
        return None if axes is None else np.pi * axes[:, 0] * axes[:, 1]


def ellipse_axes(regions: np.ndarray) -> np.ndarray:
    """Turn region matrices (N, 2, 2) into semi-axes and angle, (N, 3): longer, shorter, degrees in [0, 180)."""
    values, vectors = np.linalg.eigh(regions)
    longer, shorter = np.sqrt(values[:, 1].clip(0)), np.sqrt(values[:, 0].clip(0))
    angle = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1])) % 180
    return np.stack([longer, shorter, angle], -1)
