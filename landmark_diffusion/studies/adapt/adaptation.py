"""An adaptation from beginning to end: trainings of folds and of all images, errors, calibration, facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.sources import said_of
from landmark_diffusion.methods.start import Start
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.spread.calibration import LEVELS, SpreadCalibration
from landmark_diffusion.spread.few_labels import Prior, fit_few, stated_levels
from landmark_diffusion.spread.image_score import ImageScore
from landmark_diffusion.spread.model_calibration import Calibration, SettingCalibration
from landmark_diffusion.spread.statistics import covered
from landmark_diffusion.studies.adapt.outcome import BeforeAfter, compare
from landmark_diffusion.studies.adapt.plan import AdaptPlan
from landmark_diffusion.studies.adapt.trainings import begin, judge, train
from landmark_diffusion.studies.calibrate.collect import Collected
from landmark_diffusion.studies.calibrate.folds import Fold
from landmark_diffusion.studies.calibrate.learned_images import with_learned


class Steps(Protocol):
    """Counts what is done, of the rule's ``total`` updates and the images twice; the text says what is being done."""

    def __call__(self, text: str, done: int = 0, there: bool = False) -> None:
        """Count; ``there`` says that it was done before."""


@dataclass(frozen=True)
class Adapted:
    """What came of it: facts and weights for a model file, the start's words, and the errors."""

    facts: ModelFacts
    weights: Mapping[str, torch.Tensor]
    outcome: BeforeAfter


def adapt(plan: AdaptPlan, tell: Callable[[str], None], progress: Steps) -> Adapted:
    """Run all trainings that are not finished yet and give the adapted model, calibrated by its folds."""
    module, start = begin(plan)
    tell(start.describe())
    facts = adapted_facts(plan, start.updates)
    progress("as it was")
    before = judge(plan, facts, module.state_dict(), tuple(plan.ids))[0][1]
    progress("as it was", len(plan.ids))
    order: list[str] = []
    parts: list[list[Collected]] = []
    for fold in plan.folds():
        tell(beginning(plan, fold))
        progress(fold.title, fold.updates_done(plan.rule.updates), there=True)
        weights = train(plan, fold, partial(progress, fold.title))
        found = judge(plan, facts, weights, fold.held_out)
        parts.append([each for _, each in found])
        settings = [each for each, _ in found]
        order += fold.held_out
        progress(fold.title, len(fold.held_out))
    whole = plan.whole()
    tell(beginning(plan, whole))
    progress("all images", whole.updates_done(plan.rule.updates), there=True)
    weights = train(plan, whole, partial(progress, "all images"))
    back = [order.index(each) for each in plan.ids]
    joined = [taken(Collected.join([part[place] for part in parts]), back) for place in range(len(settings))]
    outcome = compare(before, joined[0], start.places, plan.rule.folds)
    calibration = calibrate(plan, start, settings, joined)
    training = {**facts.training, "adapted": {**facts.training["adapted"], **outcome.to_dict()}}
    return Adapted(replace(facts, calibration=calibration.to_dict(), training=training), weights, outcome)


def beginning(plan: AdaptPlan, fold: Fold) -> str:
    """Say what a training is about to do: from its beginning, or from where it was stopped."""
    updates = plan.rule.updates
    asked = f"{updates} updates on {counted(len(fold.kept), 'image')}"
    return f"{fold.title}: {fold.standing(updates) or asked}"


def taken(collected: Collected, places: list[int]) -> Collected:
    """Give some images of what was collected, in this order."""
    chosen = np.array(places)
    return Collected(collected.answers.take(chosen), collected.truth[chosen], collected.to_unit[chosen], collected.unit)


def adapted_facts(plan: AdaptPlan, start_updates: int) -> ModelFacts:
    """What the adapted model says of itself, but for its errors and calibration."""
    rule, dataset = plan.rule, str(plan.section["dataset"])
    was = plan.facts.training
    data: dict[str, Any] = {key: plan.section[key] for key in ("dataset", "size", "resize") if key in plan.section}
    if plan.section.get("split") != "all":  # nothing of which could be tested
        data |= {key: plan.section[key] for key in ("split", "dataset_options") if plan.section.get(key) is not None}
    own = said_of(dataset).terms
    return replace(
        plan.facts,
        model={name: value for name, value in plan.options.items() if name not in ("pretrained", "landmark_map")},
        landmark_names=plan.names,
        data=data,
        updates=start_updates + rule.updates,
        seed=plan.seed,
        length_unit=plan.images.source.unit if plan.images.source.unit != "px" else None,
        precision=plan.precision,
        training={
            "dataset": dataset, "images": len(plan.ids), "recipe": rule.recipe, "recipe_options": rule.recipe_options,
            "target_points": "mean", "batch_size": rule.batch_size, "seed": plan.seed,
            "adapted": {
                "start": plan.start.name, "start_updates": start_updates, "updates": rule.updates,
                "start_dataset": was.get("dataset"), "start_split": was.get("split"),
                "seen": with_learned(plan.facts, plan.images),
            },
        },
        measured=None,
        calibration=None,
        note="\n\n".join(dict.fromkeys(filter(None, (plan.facts.note, own)))),
    )  # fmt: skip


def calibrate(plan: AdaptPlan, start: Start, settings: list[dict[str, Any]], found: list[Collected]) -> Calibration:
    """Fit each setting to the fold models' answers on images that they had not seen.

    What the start knows of doubt is kept where it knows most of the landmarks; the clinic's own images are then as
    usual as its own.
    """
    before = None
    if plan.facts.calibration is not None:
        count = int(plan.facts.model["num_landmarks"])
        before = Calibration.from_dict(plan.facts.calibration, count, plan.start)
    fitted = []
    for each, collected in zip(settings, found, strict=True):
        was = None if before is None else before.find(each)
        prior = Prior.of(None if was is None else was.spread, start.places)
        doubt = was.doubt.with_images(collected.answers) if was and was.doubt and start.same_anatomy else None
        if doubt is not None:
            collected = collected.widened(doubt)
        spread = fit_few(collected.residuals, collected.answers.covariance, prior)
        figures = few_figures(collected, prior)
        fitted.append(SettingCalibration(each, spread, ImageScore.fit(collected.answers), figures, doubt))
    images = len(plan.ids)
    source = f"{images} images, each judged by one of {plan.rule.folds} models that had not seen it"
    return Calibration(source, images, tuple(fitted))


def few_figures(collected: Collected, prior: Prior) -> dict[str, Any]:
    """How regions do on each image when they are fitted on all the others: plain numbers for JSON."""
    residuals, covariance = collected.residuals, collected.answers.covariance
    images = len(residuals)
    levels = stated_levels(images - 1, LEVELS)
    inside: dict[float, list[np.ndarray]] = {level: [] for level in levels}
    for image in range(images) if images > 2 else ():
        others = np.delete(np.arange(images), image)
        fitted: SpreadCalibration = fit_few(residuals[others], covariance[others], prior, levels)
        for level in levels:
            regions = fitted.regions(fitted.calibrated(covariance[image]), level)
            inside[level].append(covered(residuals[image], regions))
    coverage = {
        f"{level:g}": {"mean": float(np.nanmean(shares)), "std": float(np.nanstd(np.nanmean(shares, axis=1)))}
        for level, shares in inside.items()
        if shares
    }
    return {
        "images": images, "unit": collected.unit, "mre": float(np.nanmean(collected.errors)), "splits": images,
        "parts": "each image by a fit to the others", "coverage": coverage,
    }  # fmt: skip
