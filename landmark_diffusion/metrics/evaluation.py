"""Evaluation: what several variants predicted of the same images, stacked once, with the rules that measure it.

Letters: I images, A annotators, N landmarks. Points are original pixels (x, y); what is not known is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.metrics.annotators import Disagreement, split_disagreement
from landmark_diffusion.metrics.bootstrap import bootstrap_interval, paired_difference
from landmark_diffusion.metrics.functional import MetricError, check_radii
from landmark_diffusion.metrics.grid256 import grid_errors
from landmark_diffusion.metrics.protocols import ANNOTATOR, TRUTHS, Protocol, get_protocol
from landmark_diffusion.metrics.records import Prediction, Unit, in_dataset_order
from landmark_diffusion.metrics.summary import ErrorSummary, mean_over_images, within


@dataclass(frozen=True)
class Evaluation:
    """Predictions of the same images, in dataset order; made by :func:`evaluate`.

    Args:
        image_ids, indices: of the I images; ``indices`` are their places in the dataset.
        landmark_names: N.
        annotator_names: as the dataset gives them; there may be fewer than A.
        main: the variant whose points are the prediction.
        points: variant -> (I, N, 2).
        covariance: variant -> (I, N, 2, 2) squared original pixels, None where no image has one.
        annotations: (I, A, N, 2).
        spacing: (I, 2) length of an original pixel (x, y) in the image's own unit.
        units: of each image's spacing, "px" where it is not known.
        sizes: (I, 2) width and height.
        protocol: the rules, with the radii and the unit that were asked for.
        outside, missed: (I, N) probabilities of the main variant that a landmark lies outside the image, or that the
            image tells nothing of it; None where an image has none.
    """

    image_ids: tuple[str, ...]
    indices: tuple[int, ...]
    landmark_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    main: str
    points: Mapping[str, np.ndarray]
    covariance: Mapping[str, np.ndarray | None]
    annotations: np.ndarray
    spacing: np.ndarray
    units: tuple[Unit, ...]
    sizes: np.ndarray
    protocol: Protocol
    outside: np.ndarray | None = None
    missed: np.ndarray | None = None

    def under(self, protocol: Protocol | str) -> Evaluation:
        """Measure the same predictions under another protocol; radii that it leaves open are those of this one."""
        rules = get_protocol(protocol) if isinstance(protocol, str) else protocol
        return replace(self, protocol=replace(rules, radii=rules.radii or self.protocol.radii))

    @property
    def radii(self) -> tuple[float, ...]:
        """Radii of the success detection rate; raises MetricError where neither protocol nor dataset gave any."""
        if self.protocol.radii is None:
            raise MetricError(
                f"protocol {self.protocol.name} leaves the radii to the dataset: pass radii=dataset.radii"
            )
        return self.protocol.radii

    @cached_property
    def unit(self) -> Unit:
        """Unit of all errors: the protocol's, or the spacing's; raises MetricError where images differ in theirs."""
        if self.protocol.unit is not None:
            return self.protocol.unit
        units = set(self.units)
        if len(units) == 1:
            return units.pop()
        if "px" in units:
            example = self.image_ids[self.units.index("px")]
            raise MetricError(
                f"some images have a spacing and others none ({example}): give it for all, or use unit 'px'"
            )
        raise MetricError(f"images of different units: {', '.join(sorted(units))}; measure each dataset by itself")

    @cached_property
    def truth(self) -> np.ndarray:
        """Mean of the annotators, (I, N, 2); NaN where nobody marked the point."""
        return mean_of_annotators(self.annotations)

    @cached_property
    def scale(self) -> np.ndarray:
        """Length of an original pixel in ``unit``, (I, 2); raises MetricError where that is not known."""
        if self.unit == "px":
            return np.ones_like(self.spacing)
        for name, known in zip(self.image_ids, self.units, strict=True):
            if known != self.unit:
                raise MetricError(
                    f"{name}: an error in {self.unit} needs the spacing in {self.unit}, which is not known; use unit "
                    f"{known!r}"
                )
        return self.spacing

    def residuals(self, variant: str) -> np.ndarray:
        """Mean of the annotators less a variant's points, (I, N, 2) in ``unit``, in the original frame."""
        residuals: np.ndarray = (self.truth - self.points[variant]) * self.scale[:, None]
        return residuals

    @cached_property
    def errors_to_mean(self) -> dict[str, np.ndarray]:
        """Variant -> radial errors (I, N) to the mean of the annotators in the original frame, in ``unit``."""
        return {variant: np.linalg.norm(self.residuals(variant), axis=-1) for variant in self.points}

    @cached_property
    def rms_spread(self) -> np.ndarray | None:
        """How far the main variant's points spread, (I, N) in ``unit``: the root of the covariance's trace.

        NaN for an image without covariance, None where no image has one. Raises MetricError on a negative trace.
        """
        covariance = self.covariance[self.main]
        if covariance is None:
            return None
        variances = np.diagonal(covariance, axis1=-2, axis2=-1)
        variance = (variances @ (self.scale**2)[..., None])[..., 0]
        if (variance < 0).any():
            row, landmark = np.argwhere(variance < 0)[0]
            raise MetricError(f"{self.image_ids[row]}: covariance of point {landmark} is negative")
        spread: np.ndarray = np.sqrt(variance)
        return spread

    @cached_property
    def errors(self) -> dict[str, np.ndarray]:
        """Variant -> radial errors under the protocol, (I, N), or (I A, N) for truth "each"; NaN without truth."""
        truths = self._truths()
        return {variant: self._radial_errors(points, truths) for variant, points in self.points.items()}

    @cached_property
    def errors_by_image(self) -> dict[str, np.ndarray]:
        """Variant -> ``errors`` of the images that have any truth; for truth "each" an image's stand side by side."""
        by_image = {name: table.reshape(len(self.image_ids), -1) for name, table in self.errors.items()}
        return {name: table[np.isfinite(table).any(1)] for name, table in by_image.items()}

    @cached_property
    def summaries(self) -> dict[str, ErrorSummary]:
        """Variant -> its errors summed up; raises MetricError where no landmark has a truth."""
        if all(np.isnan(table).all() for table in self.errors.values()):
            raise MetricError("none of the predictions has a truth to be measured against")
        return {name: self.summary(table) for name, table in self.errors.items()}

    def summary(self, errors: np.ndarray) -> ErrorSummary:
        """Sum up errors of any shape by the evaluation's radii."""
        return ErrorSummary.of(errors, self.radii, self.unit, self.protocol.strict)

    @property
    def missing(self) -> int:
        """How many points have no truth."""
        return int(np.isnan(self.errors[self.main]).sum())

    @cached_property
    def landmark_mre(self) -> dict[str, list[float]]:
        """Variant -> mean error of each landmark, NaN for one without truth anywhere."""
        return {name: mean_over_images(table, ~np.isnan(table)).tolist() for name, table in self.errors.items()}

    @cached_property
    def landmark_sdr(self) -> dict[str, dict[float, list[float]]]:
        """Variant -> radius -> percent of images within it, for each landmark."""
        strict = self.protocol.strict
        return {
            name: {
                radius: mean_over_images(100.0 * within(table, radius, strict), ~np.isnan(table)).tolist()
                for radius in self.radii
            }
            for name, table in self.errors.items()
        }

    @cached_property
    def intervals(self) -> dict[str, dict[str, Any]]:
        """Bootstrap 95 % intervals over images of each variant's mean error, and of the paired differences of two.

        Keys are "a" and "a - b"; values hold mean, low, high (in ``unit``, each image counting alike), level and
        images. Images without any truth are left out; fewer than two images give no interval.
        """
        tables = {name: table for name, table in self.errors_by_image.items() if len(table) > 1}
        found = {name: vars(bootstrap_interval(table)) for name, table in tables.items()}
        pairs = combinations(tables.items(), 2)
        return found | {f"{first} - {second}": vars(paired_difference(a, b)) for (first, a), (second, b) in pairs}

    @cached_property
    def disagreement(self) -> Disagreement | None:
        """The first two annotators', in ``unit``; None where no image was marked by both, or on another grid."""
        if self.annotations.shape[1] < 2 or self.protocol.frame != "original":
            return None
        split = split_disagreement(self.annotations, self.scale)
        return split if split.count.any() else None

    def _truths(self) -> np.ndarray:
        """What a prediction is measured against: one or A truths, (I, T, N, 2)."""
        truth = self.protocol.truth
        if truth == "mean":
            return self.truth[:, None]
        if truth == "each":
            return self.annotations
        place, count = ANNOTATOR[truth], self.annotations.shape[1]
        if place >= count:
            raise MetricError(
                f"{self.image_ids[0]}: the protocol's truth is the {TRUTHS[truth]}, found {count} annotator(s); take a "
                "protocol with truth 'mean'"
            )
        return self.annotations[:, place : place + 1]

    def _radial_errors(self, points: np.ndarray, truths: np.ndarray) -> np.ndarray:
        if self.protocol.frame == "original":
            errors: np.ndarray = np.linalg.norm((points[:, None] - truths) * self.scale[:, None, None], axis=-1)
        else:
            errors = np.stack([self._grid_errors(*row) for row in enumerate(zip(points, truths, strict=True))])
        return errors.reshape(-1, points.shape[1])

    def _grid_errors(self, row: int, pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        size, pixel, known = self.sizes[row], self.spacing[row], self.units[row]
        try:
            return grid_errors(*pair, size, pixel, known, self.protocol.scale, self.unit)
        except MetricError as error:
            raise MetricError(f"{self.image_ids[row]}: {error}") from None


def evaluate(
    variants: Mapping[str, Sequence[Prediction]],
    landmark_names: Sequence[str] = (),
    annotator_names: Sequence[str] = (),
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
    protocol: Protocol | str = "default",
    main: str | None = None,
) -> Evaluation:
    """Stack the predictions of all variants, each image once and in dataset order, to be measured under a protocol.

    Args:
        variants: name -> predictions, each image once or more (the first counts); all of the same images.
        landmark_names: N; without them landmarks are called by their numbers.
        annotator_names: A; there may be fewer.
        radii, unit: fill in, or override, the protocol's.
        main: the variant whose points are the prediction; may be left out where there is one variant.

    Raises:
        MetricError: without predictions, on variants of different images, on images of different numbers of landmarks
            or annotators, and on a point that is not finite although its truth is known.
    """
    rules = get_protocol(protocol) if isinstance(protocol, str) else protocol
    rules = replace(rules, radii=rules.radii if radii is None else check_radii(radii), unit=unit or rules.unit)
    ordered = {name: in_dataset_order(predictions) for name, predictions in variants.items()}
    main = _main(ordered, main)
    first = ordered[main]
    _check_shapes(ordered, main)
    count = len(first[0].points)
    names = tuple(landmark_names) or tuple(str(number + 1) for number in range(count))
    if len(names) != count:
        raise MetricError(f"{first[0].image_id}: found {count} points for {len(names)} landmark names")
    evaluation = Evaluation(
        image_ids=tuple(each.image_id for each in first),
        indices=tuple(each.index for each in first),
        landmark_names=names,
        annotator_names=tuple(annotator_names),
        main=main,
        points={name: np.stack([each.points for each in found]) for name, found in ordered.items()},
        covariance={name: _covariance(found) for name, found in ordered.items()},
        annotations=np.stack([each.annotations for each in first]),
        spacing=np.array([each.spacing or (1.0, 1.0) for each in first], dtype=np.float64),
        units=tuple(each.unit for each in first),
        sizes=np.array([each.image_size or (np.nan, np.nan) for each in first], dtype=np.float64),
        protocol=rules,
        outside=_probabilities([each.outside for each in first]),
        missed=_probabilities([each.missed for each in first]),
    )
    _check_finite(evaluation)
    return evaluation


def misfit(predictions: Sequence[Prediction], protocol: Protocol | str) -> str | None:
    """Say why images cannot be measured under a protocol, before there is any prediction; None where they can.

    ``predictions`` hold annotations, spacing and size of the images; their points are not looked at.
    """
    known = [replace(each, points=np.nan_to_num(each.truth)) for each in predictions]
    try:
        evaluate({"truth": known}, protocol=protocol).errors  # noqa: B018
    except MetricError as error:
        return str(error)
    return None


def _main(variants: Mapping[str, Sequence[Prediction]], main: str | None) -> str:
    if not variants:
        raise MetricError("no variants to evaluate")
    main = next(iter(variants)) if main is None and len(variants) == 1 else main
    if main is None or main not in variants:
        raise MetricError(f"main: found {main!r}, expected the variant that predicts, of {', '.join(variants)}")
    if not variants[main]:
        raise MetricError("no predictions to evaluate")
    return main


def _check_shapes(variants: Mapping[str, Sequence[Prediction]], main: str) -> None:
    images = [each.image_id for each in variants[main]]
    for name, predictions in variants.items():
        if [each.image_id for each in predictions] != images:
            raise MetricError(
                f"variants of different images: {name} has {len(predictions)}, {main} has {len(images)}; evaluate each "
                "by itself"
            )
    shapes = sorted({each.annotations.shape for predictions in variants.values() for each in predictions})
    if len({landmarks for _, landmarks, _ in shapes}) > 1:
        raise MetricError(f"images of different numbers of landmarks: {sorted({shape[1] for shape in shapes})}")
    if len(shapes) > 1:
        raise MetricError(f"found annotations of shapes {shapes}, expected one shape (A, N, 2) for all images")


def _covariance(predictions: Sequence[Prediction]) -> np.ndarray | None:
    """Covariances (I, N, 2, 2), NaN where an image has none; None where no image has one."""
    if all(each.covariance is None for each in predictions):
        return None
    found = np.full((len(predictions), len(predictions[0].points), 2, 2), np.nan)
    for row, each in enumerate(predictions):
        if each.covariance is None:
            continue
        if np.shape(each.covariance) != found.shape[1:]:
            raise MetricError(
                f"{each.image_id}: found a covariance of shape {np.shape(each.covariance)}, expected {found.shape[1:]}"
            )
        found[row] = each.covariance
    return found


def _probabilities(found: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Stack (N,) probabilities to (I, N); None where an image has none."""
    known = [each for each in found if each is not None]
    return np.stack(known) if len(known) == len(found) else None


def _check_finite(evaluation: Evaluation) -> None:
    """Raise MetricError where a predicted point is not finite although its truth is known."""
    known = ~np.isnan(evaluation.truth).any(-1)
    for points in evaluation.points.values():
        faulty = known & ~np.isfinite(points).all(-1)
        if faulty.any():
            row, landmark = np.argwhere(faulty)[0]
            raise MetricError(
                f"{evaluation.image_ids[row]}: predicted point {landmark} is {points[row, landmark].tolist()}, "
                "expected finite pixels"
            )
