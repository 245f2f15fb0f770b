"""One point that slipped: told by witnesses that have to agree, so that a model's own error accuses no label.

The witnesses of a label are the model's point, the place where the image's other labels put it, and the same landmark's
label by the other annotators. Each has its usual residual (`usual.UsualResidual`). The evidence for a slip by a vector
d is the ratio of likelihoods, with d as likely at any order of distance,

    p(d) prod_k t_k(e_k - d) / prod_k t_k(e_k),

integrated over d (the density at its best place times the width of the peak). Where the model alone errs, the others'
t_k(e_k) are high without a slip, and the ratio is small. The other annotators only speak for a label, never against it:
what two people differ by in marking a point is no slip. A point that the model doubts itself is as likely as not lost
and anywhere: it adds to what the other labels say, and accuses no label alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.data.checks.outliers import left_out_residuals
from landmark_diffusion.studies.label_faults.material import LabelMaterial
from landmark_diffusion.studies.label_faults.usual import UsualResidual

SHAPE_IMAGES = 20
"""Images below which the other labels of an image say too little of where a point should be."""
OTHERS = "other annotators"
FARTHEST = 100.0
"""A slip is at most so many usual distances far; only the logarithm matters."""


@dataclass(frozen=True)
class Witness:
    """One witness of the labels of one annotator.

    Attributes:
        name: "model", "other landmarks" or OTHERS.
        residuals: (I, N, 2) label less what the witness says, in the material's unit; NaN where it says nothing.
        covariance: (I, N, 2, 2) of each image, or None.
        usual: what residuals are usually.
        doubtful: (I, N) bool, where the witness is as likely as not lost, so that a residual has any length; or None.
    """

    name: str
    residuals: np.ndarray
    covariance: np.ndarray | None
    usual: UsualResidual
    doubtful: np.ndarray | None = None

    @property
    def centred(self) -> np.ndarray:
        """(I, N, 2) residuals without the usual offset."""
        centred: np.ndarray = self.residuals - self.usual.offset
        return centred

    def log_density(self, slip: np.ndarray) -> np.ndarray:
        """(I, N) of the residuals, were the labels' slips (I, N, 2) undone; NaN where the witness says nothing."""
        residuals = self.residuals - slip
        density = self.usual.log_density(residuals, self.covariance)
        if self.doubtful is not None:
            lost = self.doubtful & np.isfinite(density)
            least = np.broadcast_to(self.usual.distance, density.shape)[lost]
            far = np.maximum(np.linalg.norm((residuals - self.usual.offset)[lost], axis=-1), least)
            density[lost] = np.logaddexp(density[lost], -log_free_place(far)) - np.log(2)
        return density

    def scatter(self) -> np.ndarray:
        """(I, N, 2, 2) usual scatter."""
        return np.broadcast_to(self.usual.scatter(self.covariance), (*self.residuals.shape, 2))


def model_residuals(material: LabelMaterial) -> np.ndarray:
    """(I, A, N, 2) labels less the model's points in the material's unit."""
    residuals: np.ndarray = (material.labels - material.points[:, None]) * material.spacing[:, None, None]
    return residuals


def model_covariance(material: LabelMaterial) -> np.ndarray | None:
    """(I, N, 2, 2) the model's covariance in the squared unit."""
    if material.covariance is None:
        return None
    spacing = material.spacing
    covariance: np.ndarray = material.covariance * (spacing[:, :, None] * spacing[:, None, :])[:, None]
    return covariance


def model_witness(material: LabelMaterial, annotator: int, fit_to: np.ndarray) -> Witness:
    """Make the model's witness of an annotator's labels, fitted to the images and points ``fit_to`` (I, N) bool."""
    residuals, covariance = model_residuals(material)[:, annotator], model_covariance(material)
    return replace(_witness("model", residuals, covariance, fit_to), doubtful=material.doubtful)


def further_witnesses(material: LabelMaterial, annotator: int, fit_to: np.ndarray, offset: np.ndarray) -> list[Witness]:
    """Make the witnesses beside the model: the image's other labels, and the other annotators.

    ``fit_to`` (I, N) says which labels are not in doubt; where one is, or is missing, the model's point with the usual
    ``offset`` (N, 2) stands for it among the others.
    """
    found = []
    spacing = material.spacing[:, None]
    labels = material.labels[:, annotator] * spacing
    trusted = np.isfinite(labels).all(-1) & fit_to
    if len(labels) >= SHAPE_IMAGES and labels.shape[1] >= 3:
        shapes = np.where(trusted[..., None], labels, material.points * spacing + offset)
        centred = shapes - np.median(shapes, axis=0)
        predicted = shapes - left_out_residuals(centred)
        found.append(_witness("other landmarks", labels - predicted, None, fit_to))
    if material.labels.shape[1] > 1:
        others = mean_of_annotators(np.delete(material.labels, annotator, axis=1)) * spacing
        if np.isfinite(others).all(-1).any():
            found.append(_witness(OTHERS, labels - others, None, fit_to))
    return found


def slip_evidence(witnesses: list[Witness]) -> tuple[np.ndarray, np.ndarray]:
    """Weigh slips of every point: log ratio of likelihoods (I, N), and by how far (I, N, 2) in the unit.

    NaN where there is no label. The first witness is the model.
    """
    ratio, slip = _evidence([each for each in witnesses if each.name != OTHERS])
    if any(each.name == OTHERS for each in witnesses):
        ratio = np.minimum(ratio, _evidence(witnesses)[0])
    return ratio, slip


def _evidence(witnesses: list[Witness]) -> tuple[np.ndarray, np.ndarray]:
    centred = np.stack([each.centred for each in witnesses])  # (K, I, N, 2)
    scatter = np.stack([each.scatter() for each in witnesses])
    speaks = np.isfinite(centred).all(-1)
    values = np.where(speaks[..., None], centred, 0.0)
    precision = np.where(speaks[..., None, None], np.linalg.inv(scatter), 0.0)
    total = precision.sum(0) + 1e-12 * np.eye(2)
    fused = np.linalg.solve(total, np.einsum("kinab,kinb->ina", precision, values)[..., None])[..., 0]

    def density(slip: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.nansum(np.stack([each.log_density(slip) for each in witnesses]), axis=0)
        return found

    least = witnesses[0].usual.distance
    best, slip = np.full(fused.shape[:2], -np.inf), np.zeros_like(fused)
    for candidate in (fused, *values):
        far = np.maximum(np.linalg.norm(candidate, axis=-1), least)
        value = density(candidate) - log_free_place(far)
        better = value > best
        best = np.where(better, value, best)
        slip = np.where(better[..., None], candidate, slip)
    width = np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(total)[1]
    ratio = best + width - density(np.zeros(2))
    labelled = speaks[0]
    return np.where(labelled, ratio, np.nan), np.where(labelled[..., None], slip, np.nan)


def seen_from(witnesses: list[Witness], limit: float) -> float:
    """Tell how far a point slips in the median landmark, in the unit, until the evidence exceeds ``limit``.

    All witnesses say the same of it, with the middle of their scatters; infinite where no distance suffices.
    """
    least = float(np.median(witnesses[0].usual.distance))
    distances = least * np.geomspace(1, FARTHEST, 60)
    asked = []
    for each in witnesses:
        scatter = np.median(each.scatter(), axis=0)
        steps = np.zeros((len(distances), len(scatter), 2))
        steps[..., 0] = distances[:, None]
        usual = replace(each.usual, common=scatter, mix=np.ones(len(scatter)), scale=np.ones(len(scatter)))
        usual = replace(usual, variance=np.ones(len(scatter)))
        asked.append(replace(each, residuals=steps + usual.offset, covariance=None, usual=usual, doubtful=None))
    seen = slip_evidence(asked)[0] > limit  # (D, N)
    first = np.where(seen.any(0), distances[seen.argmax(0)], np.inf)
    return float(np.median(first))


def log_free_place(distance: np.ndarray) -> np.ndarray:
    """Minus the log density, per squared unit, of a vector that is as likely at any order of distance up to FARTHEST
    times the least one: 1 / (2 pi d^2 log FARTHEST)."""
    density: np.ndarray = np.log(2 * np.pi * np.square(distance) * np.log(FARTHEST))
    return density


def _witness(name: str, residuals: np.ndarray, covariance: np.ndarray | None, fit_to: np.ndarray) -> Witness:
    kept = np.where(fit_to[..., None], residuals, np.nan)
    return Witness(name, residuals, covariance, UsualResidual.fit(kept, covariance))
