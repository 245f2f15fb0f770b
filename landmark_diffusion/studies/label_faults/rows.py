"""A whole image's labels that do not belong to it: what explains them, each weighed against "nothing is wrong".

Explanations of the labels L of image i, with P_i the model's points: the image lies turned (L fits what the model finds
in the image brought back), the labels are turned (L brought back fits P_i), they are those of image j (L fits P_j),
all are moved by one vector, or nothing known (L fits no more than the labels of any image would).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landmark_diffusion.studies.label_faults.material import ORIENTATIONS, LabelMaterial, TurnedLooks
from landmark_diffusion.studies.label_faults.slips import Witness, log_free_place
from landmark_diffusion.studies.label_faults.usual import UsualResidual

RowKind = Literal["image turned", "labels turned", "both turned", "other image", "moved", "unlike any"]
MIN_POINTS = 3
"""Labels of an image below which nothing is said of all of them together."""
_KEPT, _SOUGHT = 0.75, 1.2
"""Images whose better three quarters of labels lie on average so far off are looked at in all orientations; usual ones
have 0.54."""
_FITS, _FITS_UNLIKE = 1.8, 0.9
"""An explanation is only named where these labels are under it at most so far off; the second for another image in
place of one that the model calls unlike: among many there is too easily a better one."""


@dataclass(frozen=True)
class RowExplanation:
    """What is wrong with all labels of an image, and the log ratio of likelihoods against nothing being wrong.

    Attributes:
        orientation: how image or labels lie. other: place of the image whose labels they are. moved: (2,) in the unit.
        alternatives: how many explanations of the kind were tried.
    """

    kind: RowKind
    ratio: float
    alternatives: int
    orientation: str = ""
    other: int | None = None
    moved: tuple[float, float] | None = None


class RowJudge:
    """Weigh explanations of the labels of one annotator.

    Args:
        material: labels and the model's points.
        annotator: whose labels.
        model: the model's witness of them.
        look_turned: what the model finds in the seven orientations of the image at a place.
    """

    def __init__(
        self, material: LabelMaterial, annotator: int, model: Witness, look_turned: Callable[[int], TurnedLooks]
    ) -> None:
        self.material, self.annotator, self.model = material, annotator, model
        self.look_turned = look_turned
        self.labels = material.labels[:, annotator]
        self.usual: UsualResidual = model.usual
        self.here = self.usual.log_density(model.residuals, model.covariance)
        self.here_lengths = self.usual.lengths(model.residuals, model.covariance)
        self.population = self._population()

    def misfits(self) -> np.ndarray:
        """(I,) bool: images whose labels as a whole fit so badly that explanations are sought.

        log(1 + length^2 / tail) tail / 2 of a usual label has an exponential distribution of mean 1.
        """
        found: np.ndarray = (np.isfinite(self.here).sum(1) >= MIN_POINTS) & (self._badness(self.here_lengths) > _SOUGHT)
        return found

    def _badness(self, lengths: np.ndarray) -> np.ndarray:
        """Mean (...,) over the better three quarters of labels of squared lengths (..., N)."""
        ordered = np.sort(np.log1p(lengths / self.usual.tail) * self.usual.tail / 2, axis=-1)  # NaN last
        kept = np.ceil(_KEPT * np.isfinite(ordered).sum(-1, keepdims=True))
        total = np.where(np.arange(ordered.shape[-1]) < kept, ordered, 0.0).sum(-1)
        found: np.ndarray = total / np.maximum(kept[..., 0], 1)
        return found

    def explanations(self, image: int) -> list[RowExplanation]:
        """All explanations of an image's labels that fit, the likeliest first; "unlike any" is always among them."""
        found = [*self._turned(image), *self._others(image), *self._moved(image)]
        better = np.argsort(self.here_lengths[image])[: int(np.ceil(_KEPT * np.isfinite(self.here[image]).sum()))]
        unlike = float((self.population[image] - self.here[image])[better].sum())
        found.append(RowExplanation("unlike any", unlike, 1))
        return sorted(found, key=lambda each: -each.ratio)

    def _turned(self, image: int) -> Iterator[RowExplanation]:
        looks, labels = self.look_turned(image), self.labels[image]
        size, spacing = self.material.sizes[image], self.material.spacing[image]
        for place, form in enumerate(ORIENTATIONS):
            covariance = None if looks.covariance is None else looks.covariance[place]
            there = looks.points[place], covariance, form.upright_size(spacing)
            here = self.material.points[image], self._covariance(image), spacing
            own = form.undo_points(labels, form.upright_size(size))
            both = form.undo_points(labels, size)
            yield from self._explains("image turned", self._fit(labels, *there), image, form.name)
            yield from self._explains("labels turned", self._fit(own, *here), image, form.name)
            yield from self._explains("both turned", self._fit(both, *there), image, form.name)

    def _others(self, image: int) -> Iterator[RowExplanation]:
        ratios: list[tuple[float, int]] = []
        for other in range(len(self.material)):
            if other == image or self.material.unlike[other]:
                continue
            theirs = self.material.points[other], self._covariance(other), self.material.spacing[other]
            fit = self._fit(self.labels[image], *theirs)
            ratios += [(each.ratio, other) for each in self._explains("other image", fit, image)]
        if ratios:
            ratio, other = max(ratios)
            yield RowExplanation("other image", ratio, len(self.material) - 1, other=other)

    def _moved(self, image: int) -> Iterator[RowExplanation]:
        known = np.isfinite(self.here[image])
        moved = np.median(self.model.centred[image, known], axis=0)
        far = float(np.linalg.norm(moved))
        least = float(np.median(self.usual.distance))
        if known.sum() < MIN_POINTS or far < 3 * least:
            return
        points = self.material.points[image] + moved / self.material.spacing[image]
        fit = self._fit(self.labels[image], points, self._covariance(image), self.material.spacing[image])
        width = np.log(2 * np.pi * float(np.median(self.usual.scale)) / known.sum())
        cost = float(log_free_place(np.array(far))) - width
        for each in self._explains("moved", fit, image):
            yield RowExplanation("moved", each.ratio - cost, 1, moved=(float(moved[0]), float(moved[1])))

    def _fit(
        self, labels: np.ndarray, points: np.ndarray, covariance: np.ndarray | None, spacing: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log densities (N,) and squared lengths (N,) of labels against other points, all in pixels."""
        residuals = (labels - points) * spacing
        scaled = None if covariance is None else covariance * np.outer(spacing, spacing)
        return self.usual.log_density(residuals, scaled), self.usual.lengths(residuals, scaled)

    def _explains(
        self, kind: RowKind, fit: tuple[np.ndarray, np.ndarray], image: int, orientation: str = ""
    ) -> Iterator[RowExplanation]:
        density, lengths = fit
        known = np.isfinite(self.here[image])
        doubtful = kind == "other image" and self.material.unlike[image]
        if self._badness(lengths) <= (_FITS_UNLIKE if doubtful else _FITS):
            ratio = float((density - self.here[image])[known].sum())
            yield RowExplanation(kind, ratio, len(ORIENTATIONS), orientation=orientation)

    def _covariance(self, image: int) -> np.ndarray | None:
        return None if self.material.covariance is None else self.material.covariance[image]

    def _population(self) -> np.ndarray:
        """(I, N) log density of labels as those of any image of the set would lie, in shares of the image's size."""
        shares = self.labels / self.material.sizes[:, None]
        usual = UsualResidual.fit(shares, None)
        area = np.log(np.prod(self.material.sizes * self.material.spacing, axis=-1))
        density: np.ndarray = usual.log_density(shares, None) - area[:, None]
        return density
