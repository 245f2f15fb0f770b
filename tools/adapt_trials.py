"""Trials of the rule of `ldx adapt`: trainings on some images of a clinic, judged on others of it.

    python tools/adapt_trials.py make CLINIC --root ~/isbi2015                       # 131-150 as another clinic's
    python tools/adapt_trials.py make CLINIC --root ~/isbi2015 --fold runs/folds/1_of_4 --doctor junior --change none
    python tools/adapt_trials.py run START.ldx CLINIC --images 10 --draw 0 --updates 150 --rate 5e-4
    python tools/adapt_trials.py run START.ldx CLINIC --images 10 --folds --keep RUN.npz   # out-of-fold answers too
    python tools/adapt_trials.py rest MINE.ldx CLINIC --used '["131.png"]'    # what it states, on the others

CLINIC is a folder outside the project, START a model that was not trained on its images: with ``--fold`` they are what
a fold of `ldx calibrate` held out. A row of JSON is printed: errors of the others, CPU seconds. ``--keep`` writes
residuals and covariances, which tools/few_label_regions.py draws small clinics from.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from landmark_diffusion.core.say import unsaid
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.shifts import shift_image
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.hardware.precision import choose_precision
from landmark_diffusion.methods.start import Start
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_facts
from landmark_diffusion.spread.few_labels import Prior, fit_few
from landmark_diffusion.spread.model_calibration import Calibration
from landmark_diffusion.spread.statistics import covered
from landmark_diffusion.studies.adapt.adaptation import adapted_facts, taken
from landmark_diffusion.studies.adapt.plan import AdaptPlan
from landmark_diffusion.studies.adapt.rule import rule_for
from landmark_diffusion.studies.adapt.trainings import begin, judge, train
from landmark_diffusion.studies.calibrate.collect import Collected, collect
from landmark_diffusion.studies.calibrate.material import labelled_images

SIZE = (968, 1200)
TURN, SCALE, COARSER, GAMMA = 8.0, 0.85, 4, 0.55


def make(options: argparse.Namespace) -> None:
    """Write a clinic's images at half their size, and its table."""
    source = build_dataset("isbi2015", options.root, split="official" if options.fold else "development")
    samples = list(source.samples("val"))
    if options.fold:
        held_out = set(json.loads(Path(options.fold, "fold.json").read_text())["held_out"])
        samples = [sample for sample in source.samples("train") if sample.image_id in held_out]
    options.clinic.mkdir(parents=True, exist_ok=True)
    rows = [["image", "spacing", *(f"{name}_{axis}" for name in source.landmark_names for axis in "xy")]]
    for sample in samples:
        factor = np.array(SIZE) / sample.size
        image = Image.fromarray(source.load_image(sample)).resize(SIZE, Image.Resampling.BOX)
        points = (marked(sample, source.annotator_names, options.doctor) + 0.5) * factor - 0.5
        grey, points, scale = changed(np.asarray(image), points, options.change, sample.image_id)
        Image.fromarray(grey).save(options.clinic / f"{sample.image_id}.png")
        assert sample.spacing is not None
        spacing = sample.spacing[0] / factor[0] / scale
        rows.append([f"{sample.image_id}.png", f"{spacing:.5f}", *(f"{value:.2f}" for value in points.ravel())])
    with (options.clinic / "landmarks.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def marked(sample: LandmarkSample, doctors: Sequence[str], doctor: str) -> np.ndarray:
    """Points (N, 2) by one doctor, or the mean of all."""
    return sample.mean_points if doctor == "mean" else sample.annotations[list(doctors).index(doctor)]


def changed(grey: np.ndarray, points: np.ndarray, change: str, image_id: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Image, points and scale as another clinic would have them: "other", "none", or a family of `ldx shifts`."""
    if change == "none":
        return grey, points, 1.0
    if change != "other":
        shifted = shift_image(grey, points, change, 0, image_id)
        return shifted.grey, shifted.to_shifted(points), 1.0
    turn, centre = np.deg2rad(TURN), np.array(SIZE) / 2
    matrix = SCALE * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    inverse = np.linalg.inv(matrix)
    shift = centre - inverse @ centre
    affine = (*inverse[0], shift[0], *inverse[1], shift[1])
    image = Image.fromarray(grey).transform(
        SIZE, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=0
    )
    small = image.resize((SIZE[0] // COARSER, SIZE[1] // COARSER), Image.Resampling.BOX)
    values = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC)) / 255
    coarse = (255 * np.clip((values**GAMMA - 0.35) * 1.5, 0, 1)).astype(np.uint8)
    return coarse, (points - centre) @ matrix.T + centre, SCALE


def section(facts: ModelFacts, clinic: Path) -> dict[str, Any]:
    """Options of the data module for a clinic's folder, as a model sees it."""
    return {
        "dataset": "folder", "root": str(clinic), "split": "all", "size": tuple(facts.data["size"]),
        "resize": facts.data.get("resize", "stretch"),
    }  # fmt: skip


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train on drawn images, with ``--folds`` without each part of them too, and judge others."""
    start = Path(options.start)
    facts = read_facts(start)
    data = section(facts, options.clinic)
    every = labelled_images(data, "train")
    ids = [sample.image_id for sample in every.samples]
    order = [str(each) for each in np.random.default_rng(options.draw).permutation(ids)]
    chosen, rest = order[: options.images], tuple(sorted(order[options.images :][: options.judge]))
    known = set(facts.landmark_names) & set(every.source.landmark_names)
    rule = rule_for(options.images, options.images, len(known) / len(every.source.landmark_names))
    updates = rule.updates if options.updates is None else options.updates
    rule = replace(rule, updates=updates, learning_rate=options.rate or rule.learning_rate)
    with tempfile.TemporaryDirectory() as folder, unsaid():
        images: LandmarkTorchDataset = labelled_images(data, "train", chosen)
        plan = AdaptPlan(
            start, facts, data, images, rule, Path(folder, "trial"), "", options.draw,
            precision=choose_precision("cpu")[0],
        )  # fmt: skip
        new, before = adapted_facts(plan, 0), time.process_time()
        was = begin(plan)[1]
        unseen = out_of_fold(plan, new) if options.folds else None
        weights = train(plan, plan.whole(), lambda done: None) if updates else begin(plan)[0].state_dict()
        seconds = time.process_time() - before
        settings, others = judge(plan, new, weights, rest)[0]
        more = other_priors(plan, new, weights, rest) if options.priors else {}
        if options.blend:
            more["halfway_to_start"] = figures(judge(plan, new, halfway(plan, weights), rest)[0][1])
    arrays = fitted_to(facts, was, settings, {"rest": others, "fold": unseen})
    if options.keep:
        np.savez(options.keep, **arrays)
    if unseen is not None:
        more["coverage"] = coverage(arrays)
    return {
        "clinic": options.clinic.name, "images": options.images, "draw": options.draw, "updates": updates,
        "rate": rule.learning_rate, "judged": len(rest), **figures(others),
        **({} if unseen is None else {"folds": rule.folds, "out_of_fold": figures(unseen)}), **more,
        "cpu_s": round(seconds),
    }  # fmt: skip


def figures(found: Collected) -> dict[str, float]:
    """Mean, median and 90th percentile of the errors."""
    quantiles = np.nanquantile(found.errors, (0.5, 0.9))
    names = ("mre", "median", "p90")
    return {
        name: round(float(each), 3) for name, each in zip(names, (np.nanmean(found.errors), *quantiles), strict=True)
    }


def other_priors(
    plan: AdaptPlan, facts: ModelFacts, weights: Mapping[str, torch.Tensor], rest: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Errors with a shape prior learned from the few images, and with none; no loss of the training depends on it."""
    module = begin(plan)[0]
    module.joint.fit(module.shape_prior, torch.from_numpy(plan.images.network_points()), plan.section["size"][0])
    own = {f"shape_prior.{name}": value for name, value in module.shape_prior.state_dict().items()}
    none = {name: torch.zeros_like(value) for name, value in own.items()}
    return {
        name: figures(judge(plan, facts, {**weights, **prior}, rest)[0][1])
        for name, prior in (("prior_relearned", own), ("prior_none", none))
    }


def halfway(plan: AdaptPlan, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mean of the start's weights and the adapted ones (Wortsman et al. 2022); of landmarks that both know."""
    start = begin(plan)[0].state_dict()
    return {name: (value + start[name]) / 2 if value.is_floating_point() else value for name, value in weights.items()}


def out_of_fold(plan: AdaptPlan, facts: ModelFacts) -> Collected:
    """Answers on the plan's images, each by the fold that has not seen it."""
    folds = plan.folds()
    parts = [judge(plan, facts, train(plan, fold, lambda done: None), fold.held_out)[0][1] for fold in folds]
    order = [name for fold in folds for name in fold.held_out]
    return taken(Collected.join(parts), [order.index(each) for each in plan.ids])


def coverage(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Share of the others' points in regions of each level that are fitted to the out-of-fold answers."""
    prior = Prior(arrays["scale"], arrays["floor"])
    spread = fit_few(arrays["fold_residuals"], arrays["fold_covariance"], prior)
    residuals, calibrated = arrays["rest_residuals"], spread.calibrated(arrays["rest_covariance"])
    shares = {f"{each:g}": covered(residuals, spread.regions(calibrated, each)) for each in spread.levels}
    return {level: round(float(np.nanmean(inside)), 4) for level, inside in shares.items()}


def fitted_to(
    facts: ModelFacts, start: Start, settings: dict[str, Any], found: dict[str, Collected | None]
) -> dict[str, np.ndarray]:
    """What regions are fitted to and judged on, as arrays by name."""
    calibration = None
    if facts.calibration is not None:
        calibration = Calibration.from_dict(facts.calibration, int(facts.model["num_landmarks"]), start.path)
    was = None if calibration is None else calibration.find(settings)
    prior = Prior.of(None if was is None else was.spread, start.places)
    arrays = {"scale": prior.scale, "floor": prior.floor}
    if was is not None:
        arrays |= {"bounds": was.spread.quantiles, "levels": np.array(was.spread.levels)}
    for name, each in found.items():
        if each is None:
            continue
        if was is not None and was.doubt is not None and start.same_anatomy:
            arrays[f"{name}_plain_covariance"] = each.answers.covariance
            each = each.widened(was.doubt)
        arrays |= {f"{name}_residuals": each.residuals, f"{name}_covariance": each.answers.covariance}
    return arrays


def rest(options: argparse.Namespace) -> dict[str, Any]:
    """Errors and coverage of an adapted file on images that it was not adapted to."""
    detector = Detector.load(options.start)
    data, used = section(detector.facts, options.clinic), set(json.loads(options.used))
    ids = [sample.image_id for sample in labelled_images(data, "train").samples if sample.image_id not in used]
    ids = [str(each) for each in np.random.default_rng(1).permutation(ids)[: options.judge]]
    found = collect([detector], labelled_images(data, "train", ids, detector.facts.landmark_names), lambda: None)[0]
    row = {"file": str(options.start), "judged": len(ids), **figures(found)}
    if options.keep:
        np.savez(options.keep, rest_residuals=found.residuals, rest_covariance=found.answers.covariance)
    if detector.calibration is None:
        return row
    spread = detector.calibration.spread
    calibrated = spread.calibrated(detector.calibration.covariance(found.answers))
    shares = {f"{each:g}": covered(found.residuals, spread.regions(calibrated, each)) for each in spread.levels}
    return {**row, "coverage": {level: float(np.nanmean(inside)) for level, inside in shares.items()}}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parsers = parser.add_subparsers(dest="what", required=True)
    made, ran, rested = (parsers.add_parser(name) for name in ("make", "run", "rest"))
    made.add_argument("clinic", type=Path)
    made.add_argument("--root", required=True)
    made.add_argument("--fold", help="folder of a fold of `ldx calibrate`: its held-out images; default 131-150")
    made.add_argument("--doctor", default="mean", help="whose points: junior, senior, mean")
    made.add_argument("--change", default="other", help="other, none, or a family of `ldx shifts --list`")
    for each in (ran, rested):
        each.add_argument("start")
        each.add_argument("clinic", type=Path)
    ran.add_argument("--images", type=int, default=10)
    ran.add_argument("--draw", type=int, default=0)
    ran.add_argument("--updates", type=int, help="default: the rule's; 0: the start as it is")
    ran.add_argument("--rate", type=float, help="learning rate; default: the rule's")
    ran.add_argument("--folds", action="store_true", help="train the rule's folds too")
    ran.add_argument("--priors", action="store_true", help="judge with other shape priors too")
    ran.add_argument("--blend", action="store_true", help="judge the mean of the start's and the adapted weights too")
    ran.add_argument("--keep", type=Path, metavar="FILE.npz", help="write residuals and covariances")
    ran.add_argument("--judge", type=int, default=30, help="how many others at most")
    rested.add_argument("--used", default="[]")
    rested.add_argument("--judge", type=int, default=40, help="how many others at most")
    rested.add_argument("--keep", type=Path, metavar="FILE.npz", help="write residuals and covariances")
    options = parser.parse_args()
    if options.what == "make":
        make(options)
    else:
        print(json.dumps(run(options) if options.what == "run" else rest(options)))


if __name__ == "__main__":
    main()
