"""The trainings of an adaptation, one after another in this process, and what their models say of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch

from landmark_diffusion.core.say import unsaid
from landmark_diffusion.core.seeds import noise_seed
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.model import build_module, find_method
from landmark_diffusion.methods import METHODS
from landmark_diffusion.methods.start import Start, load_start
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.studies.adapt.plan import AdaptPlan
from landmark_diffusion.studies.calibrate.collect import Collected, collect
from landmark_diffusion.studies.calibrate.folds import Fold
from landmark_diffusion.studies.calibrate.material import labelled_images, make_detectors
from landmark_diffusion.training import RunFolder
from landmark_diffusion.training.datamodule import LandmarkDataModule
from landmark_diffusion.training.loggers import finish, make_loggers
from landmark_diffusion.training.short_run import fit_short

Weights = Mapping[str, torch.Tensor]


def begin(plan: AdaptPlan) -> tuple[Any, Start]:
    """Build the LightningModule with the start's weights; a new landmark's begin the same way in each training."""
    find_method(plan.facts.class_path, plan.start)
    module = METHODS.load(plan.facts.class_path)(**plan.options)
    torch.manual_seed(noise_seed(plan.seed, 0, 0, 0))
    found = load_start(module, plan.start, plan.names, dict(module.hparams), renamed=plan.landmark_map)
    module.begin_with(found)
    module.fixed_seed = plan.seed
    return module, found


def train(plan: AdaptPlan, fold: Fold, advance: Callable[[int], object]) -> Weights:
    """Train on a fold's images, or go on with what was stopped; returns the averaged weights."""
    module, _ = begin(plan)
    rule, run = plan.rule, RunFolder(fold.folder)
    data = LandmarkDataModule(
        **{name: value for name, value in plan.section.items() if name != "eval_batch_size"},
        recipe=rule.recipe, recipe_options=rule.recipe_options, batch_size=rule.batch_size,
        samples_per_epoch=rule.batch_size * rule.updates, train_images=list(fold.kept), seed=plan.seed,
        check_labels=False,
    )  # fmt: skip
    loggers = make_loggers(run, plan.wandb, f"{plan.folder.name}-{fold.name}")  # type: ignore[arg-type]
    with unsaid("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        found = fit_short(
            module, data, run, rule.updates, ema_decay=rule.ema_decay, precision=cast(Any, plan.precision),
            command=plan.command, loggers=loggers, advance=advance,
        )  # fmt: skip
    for logger in loggers:
        finish(logger)
    weights: Weights = found["state_dict"]
    return weights


def judge(
    plan: AdaptPlan, facts: ModelFacts, weights: Weights, images: tuple[str, ...]
) -> list[tuple[dict[str, Any], Collected]]:
    """Let weights find the points of images: for the model's own settings and for ``--fast``, what was collected."""

    def make(**chosen: Any) -> Detector:
        module = build_module(facts.class_path, facts.model, plan.start)
        module.load_state_dict(weights)
        return Detector(
            module.eval().requires_grad_(False), replace(facts, calibration=None), plan.start.name, **chosen
        )

    detectors = make_detectors(make, [])
    with unsaid():
        data = labelled_images(plan.section, "train", images, facts.landmark_names)
    found = collect(detectors, data, lambda: None)
    return [(detector.settings, each) for detector, each in zip(detectors, found, strict=True)]
