"""Which labels are doubted: rows that do not belong to their image, landmarks exchanged, points that slipped.

What is usual is fitted, faults are found, and both are done again without what was found. A finding's score is the
natural logarithm of the odds that something is wrong: of the ratio of likelihoods, times the odds beforehand (PRIOR),
over the number of explanations that were tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from landmark_diffusion.data.checks.outliers import left_out_residuals
from landmark_diffusion.studies.label_faults.exchanges import best_pairs, exchange_gains
from landmark_diffusion.studies.label_faults.material import LabelMaterial, TurnedLooks, with_own_doubts
from landmark_diffusion.studies.label_faults.rows import RowExplanation, RowJudge
from landmark_diffusion.studies.label_faults.slips import (
    SHAPE_IMAGES,
    Witness,
    further_witnesses,
    model_witness,
    seen_from,
    slip_evidence,
)

FaultKind = Literal[
    "image turned", "labels turned", "both turned", "other image", "moved", "unlike any", "exchanged", "slipped",
    "not judged",
]  # fmt: skip
PRIOR = 1e-3
"""Odds beforehand that a given point, pair or image is labelled wrongly."""
LIMITS = {"slipped": 3.0, "exchanged": 0.5, "row": 0.5}
"""Scores from which a doubt is told, chosen out of fold on images 001-150 of ISBI 2015 (docs/experiments/
label_faults.md): no doubt about a whole row or a pair was wrong there, and of single points at most two in 150 images,
on which the doctors lie 9 to 12 mm apart; on Test 1 three, with 5 to 8 mm."""
_ROUNDS = 2
_MOST_SLIPS = 6
_OWN_LIMIT = 6.0


@dataclass(frozen=True)
class LabelFault:
    """A doubt about labels of one image.

    Attributes:
        kind: what is wrong. image: its place. annotators: places of those whose labels it is about.
        landmarks: places of the landmarks that it is about; empty for all.
        score: log odds that something is wrong; NaN for what cannot be judged.
        distance: how far labels and model's points lie apart (of several the median), in the unit.
        orientation, other: of ``RowExplanation``.
    """

    kind: FaultKind
    image: int
    annotators: tuple[int, ...]
    landmarks: tuple[int, ...]
    score: float
    distance: float
    orientation: str = ""
    other: int | None = None

    @property
    def probability(self) -> float:
        """That something is wrong, by the score."""
        return float(1 / (1 + np.exp(-self.score)))


@dataclass(frozen=True)
class Judgement:
    """What was found: faults, the worst first; images that the model cannot judge; notes; and what is usual.

    Attributes:
        turned: images that lie turned together with their labels, which is no fault of a label.
        witnesses: by annotator, those of the last round.
        seen_from: how far a point has to slip to be found, in the unit: the median of the landmarks, for a direction
            that all witnesses tell alike.
    """

    faults: tuple[LabelFault, ...]
    not_judged: tuple[LabelFault, ...]
    turned: tuple[LabelFault, ...]
    witnesses: tuple[tuple[Witness, ...], ...]
    seen_from: float


def judge_labels(material: LabelMaterial, look_turned: Callable[[int], TurnedLooks]) -> Judgement:
    """Find labels that do not belong; ``look_turned`` gives what the model finds in an image's other orientations."""
    looks = cache(look_turned)
    material = with_own_doubts(material, odd_looks(material))
    results = [_judge_annotator(material, annotator, looks) for annotator in range(material.labels.shape[1])]
    found = _merged([each for faults, _, _ in results for each in faults])
    order = sorted(found, key=lambda each: (-each.score, each.image))
    return Judgement(
        tuple(each for each in order if each.kind not in ("not judged", "both turned")),
        tuple(sorted((each for each in found if each.kind == "not judged"), key=lambda each: each.image)),
        tuple(each for each in order if each.kind == "both turned"),
        tuple(tuple(witnesses) for _, witnesses, _ in results),
        float(np.median([seen for _, _, seen in results])),
    )


def odd_looks(material: LabelMaterial) -> np.ndarray:
    """Tell images (I,) whose model's points are unlike those of the other images, or far less sure: bool.

    For models without a calibration; needs SHAPE_IMAGES images.
    """
    odd = np.zeros(len(material), dtype=bool)
    if len(material) < SHAPE_IMAGES:
        return odd
    shapes = material.points * material.spacing[:, None]
    if shapes.shape[1] >= 3:
        distance = np.linalg.norm(left_out_residuals(shapes - np.median(shapes, axis=0)), axis=-1)
        ratio = np.median(distance / np.maximum(np.median(distance, axis=0), 1e-9), axis=1)
        odd |= ratio > _OWN_LIMIT
    if material.covariance is not None:
        spread = np.nanmean(0.5 * np.log(np.linalg.det(material.covariance)), axis=1)
        usual = np.median(spread)
        odd |= spread - usual > _OWN_LIMIT * 1.4826 * max(float(np.median(np.abs(spread - usual))), 1e-9)
    return odd


def _judge_annotator(
    material: LabelMaterial, annotator: int, looks: Callable[[int], TurnedLooks]
) -> tuple[list[LabelFault], list[Witness], float]:
    """Faults in one annotator's labels, the witnesses by which they were judged, and from where on a slip is seen."""
    labelled = np.isfinite(material.labels[:, annotator]).all(-1)
    trusted = labelled & ~material.unlike[:, None]
    faults: list[LabelFault] = []
    witnesses: list[Witness] = []
    seen = np.inf
    for _ in range(_ROUNDS):
        model = model_witness(material, annotator, trusted)
        rows = _row_faults(RowJudge(material, annotator, model, looks), material)
        wrong = {each.image for each in rows}
        trusted = labelled & ~material.unlike[:, None]
        trusted[sorted(wrong)] = False
        slips, witnesses, seen = _point_faults(material, annotator, model, trusted, wrong)
        for each in slips:
            trusted[each.image, list(each.landmarks)] = False
        faults = rows + slips
    return faults, witnesses, seen


def _row_faults(judge: RowJudge, material: LabelMaterial) -> list[LabelFault]:
    found = []
    for image in map(int, np.flatnonzero(judge.misfits())):
        explanations = judge.explanations(image)
        known = np.isfinite(judge.here[image])
        distance = float(np.median(np.linalg.norm(judge.model.centred[image, known], axis=-1)))
        scored = [(each.ratio + np.log(PRIOR / each.alternatives), each) for each in explanations]
        explained = [(score, each) for score, each in scored if each.kind != "unlike any" and score > LIMITS["row"]]
        unlike = next(score for score, each in scored if each.kind == "unlike any")
        best: tuple[float, RowExplanation] | None = max(explained, key=lambda each: each[0]) if explained else None
        kind: FaultKind
        if best is not None and not (material.unlike[image] and best[1].kind in ("moved", "labels turned")):
            score, each = best
            kind = each.kind
            found.append(
                LabelFault(kind, image, (judge.annotator,), (), float(score), distance, each.orientation, each.other)
            )
        elif unlike > LIMITS["row"]:
            kind = "not judged" if material.unlike[image] else "unlike any"
            score = np.nan if material.unlike[image] else float(unlike)
            found.append(LabelFault(kind, image, (judge.annotator,), (), score, distance))
    return found


def _point_faults(
    material: LabelMaterial, annotator: int, model: Witness, trusted: np.ndarray, wrong: set[int]
) -> tuple[list[LabelFault], list[Witness], float]:
    """Slips one by one in each image, the worst first: a wrong point also misleads the witness of its neighbours.

    Returns the faults, the witnesses and from how far on a slip is seen.
    """
    trusted = trusted.copy()
    rest = ~np.isin(np.arange(len(material)), sorted(wrong))
    judged = ~material.unlike & rest
    scores: dict[tuple[int, int], tuple[float, float]] = {}
    witnesses: list[Witness] = []
    for _ in range(_MOST_SLIPS):
        witnesses = [model, *further_witnesses(material, annotator, trusted, model.usual.offset)]
        ratio, slip = slip_evidence(witnesses)
        score = np.where(np.isfinite(ratio) & judged[:, None] & trusted, ratio + np.log(PRIOR), -np.inf)
        worst = score.argmax(1)
        beyond = np.flatnonzero(score.max(1) > LIMITS["slipped"])
        if not len(beyond):
            break
        for image, landmark in zip(map(int, beyond), map(int, worst[beyond]), strict=True):
            trusted[image, landmark] = False
            scores[image, landmark] = float(score[image, landmark]), float(np.linalg.norm(slip[image, landmark]))
    faults = [
        LabelFault("slipped", image, (annotator,), (landmark,), score, distance)
        for (image, landmark), (score, distance) in scores.items()
    ]
    faults = _with_exchanges(material, annotator, model, faults, judged)
    seen = seen_from(witnesses, LIMITS["slipped"] - np.log(PRIOR))
    return faults + _not_judged(annotator, model, material.unlike & rest), witnesses, seen


def _not_judged(annotator: int, model: Witness, unlike: np.ndarray) -> list[LabelFault]:
    """Images that the model calls unlike, where a label would be doubted by its point."""
    ratio, slip = slip_evidence([model])
    score = np.where(np.isfinite(ratio), ratio + np.log(PRIOR), -np.inf)
    found = []
    for image in map(int, np.flatnonzero(unlike & (score.max(1) > LIMITS["slipped"]))):
        landmarks = tuple(map(int, np.flatnonzero(score[image] > LIMITS["slipped"])))
        distance = float(np.median(np.linalg.norm(slip[image, list(landmarks)], axis=-1)))
        found.append(LabelFault("not judged", image, (annotator,), landmarks, float("nan"), distance))
    return found


def _with_exchanges(
    material: LabelMaterial, annotator: int, model: Witness, slips: list[LabelFault], judged: np.ndarray
) -> list[LabelFault]:
    """Put an exchange in place of two slips that it explains, and find exchanges that no slip told."""
    found = list(slips)
    alone = {(each.image, each.landmarks[0]): each for each in slips}
    gains = exchange_gains(material, annotator, model)
    pairs = gains.shape[1] * (gains.shape[1] - 1) / 2
    for image in map(int, np.flatnonzero(judged)):
        for pair, gain in best_pairs(gains[image]):
            told = [alone[image, landmark] for landmark in pair if (image, landmark) in alone]
            score = gain + np.log(PRIOR / pairs)
            both = len(told) == 2 and gain > np.log(pairs)
            if score <= LIMITS["exchanged"] and not both:
                break
            score = max(score, sum(each.score for each in told)) if both else score
            distance = float(np.linalg.norm(model.centred[image, list(pair)], axis=-1).mean())
            found = [each for each in found if each not in told]
            found.append(LabelFault("exchanged", image, (annotator,), pair, float(score), distance))
    return found


def _merged(faults: list[LabelFault]) -> list[LabelFault]:
    """One fault for what several annotators' labels say alike, with the highest score."""
    found: dict[tuple[object, ...], LabelFault] = {}
    for each in faults:
        key = (each.kind, each.image, each.landmarks, each.orientation, each.other)
        if key in found:
            before = found[key]
            best = max(before, each, key=lambda fault: np.nan_to_num(fault.score))
            found[key] = replace(best, annotators=(*before.annotators, *each.annotators))
        else:
            found[key] = each
    return list(found.values())
