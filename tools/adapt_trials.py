"""Trials of the rule of `ldx adapt`: one training on some images of a clinic, judged on others of it.

    python tools/adapt_trials.py make CLINIC --root ~/isbi2015        # images 131-150 as another clinic's
    python tools/adapt_trials.py run START.ldx CLINIC --images 10 --draw 0 --updates 150 --rate 5e-4
    python tools/adapt_trials.py rest MINE.ldx CLINIC --used '["131.png"]'    # what it states, on the others

CLINIC is a folder outside the project, START a model that was not trained on its images. A row of JSON is printed:
errors of the others, CPU seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from landmark_diffusion.core.say import unsaid
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.hardware.precision import choose_precision
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_facts
from landmark_diffusion.spread.statistics import covered
from landmark_diffusion.studies.adapt.adaptation import adapted_facts
from landmark_diffusion.studies.adapt.plan import AdaptPlan
from landmark_diffusion.studies.adapt.rule import rule_for
from landmark_diffusion.studies.adapt.trainings import begin, judge, train
from landmark_diffusion.studies.calibrate.collect import collect
from landmark_diffusion.studies.calibrate.material import labelled_images

SIZE = (968, 1200)
TURN, SCALE, COARSER, GAMMA = 8.0, 0.85, 4, 0.55


def make(clinic: Path, root: str) -> None:
    """Write images 131-150 turned by 8 degrees, at 0.85 of their size, a quarter of the resolution and other greys."""
    source = build_dataset("isbi2015", root, split="development")
    clinic.mkdir(parents=True, exist_ok=True)
    turn, centre = np.deg2rad(TURN), np.array(SIZE) / 2
    matrix = SCALE * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    inverse = np.linalg.inv(matrix)
    shift = centre - inverse @ centre
    affine = (*inverse[0], shift[0], *inverse[1], shift[1])
    rows = [["image", "spacing", *(f"{name}_{axis}" for name in source.landmark_names for axis in "xy")]]
    for sample in source.samples("val"):
        factor = np.array(SIZE) / sample.size
        image = Image.fromarray(source.load_image(sample)).resize(SIZE, Image.Resampling.BOX)
        image = image.transform(SIZE, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=0)
        small = image.resize((SIZE[0] // COARSER, SIZE[1] // COARSER), Image.Resampling.BOX)
        grey = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC)) / 255
        Image.fromarray((255 * np.clip((grey**GAMMA - 0.35) * 1.5, 0, 1)).astype(np.uint8)).save(
            clinic / f"{sample.image_id}.png"
        )
        points = ((sample.mean_points + 0.5) * factor - 0.5 - centre) @ matrix.T + centre
        assert sample.spacing is not None
        spacing = sample.spacing[0] / factor[0] / SCALE
        rows.append([f"{sample.image_id}.png", f"{spacing:.5f}", *(f"{value:.2f}" for value in points.ravel())])
    with (clinic / "landmarks.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def section(facts: ModelFacts, clinic: Path) -> dict[str, Any]:
    """Options of the data module for a clinic's folder, as a model sees it."""
    return {
        "dataset": "folder", "root": str(clinic), "split": "all", "size": tuple(facts.data["size"]),
        "resize": facts.data.get("resize", "stretch"),
    }  # fmt: skip


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train once on drawn images and judge up to 30 others."""
    start = Path(options.start)
    facts = read_facts(start)
    data = section(facts, options.clinic)
    ids = [sample.image_id for sample in labelled_images(data, "train").samples]
    order = [str(each) for each in np.random.default_rng(options.draw).permutation(ids)]
    chosen, rest = order[: options.images], tuple(sorted(order[options.images :][:30]))
    rule = replace(rule_for(options.images, options.images, 1.0), updates=options.updates, learning_rate=options.rate)
    with tempfile.TemporaryDirectory() as folder, unsaid():
        images: LandmarkTorchDataset = labelled_images(data, "train", chosen)
        plan = AdaptPlan(
            start, facts, data, images, rule, Path(folder, "trial"), "", options.draw,
            precision=choose_precision("cpu")[0],
        )  # fmt: skip
        before = time.process_time()
        weights = train(plan, plan.whole(), lambda done: None) if options.updates else begin(plan)[0].state_dict()
        seconds = time.process_time() - before
        errors = judge(plan, adapted_facts(plan, 0), weights, rest)[0][1].errors
    return {
        "clinic": options.clinic.name, "images": options.images, "draw": options.draw, "updates": options.updates,
        "rate": options.rate, "judged": len(rest), "mre": float(np.nanmean(errors)),
        "median": float(np.nanmedian(errors)), "cpu_s": round(seconds),
    }  # fmt: skip


def rest(options: argparse.Namespace) -> dict[str, Any]:
    """Errors and coverage of an adapted file on up to 40 images that it was not adapted to."""
    detector = Detector.load(options.start)
    data, used = section(detector.facts, options.clinic), set(json.loads(options.used))
    ids = [sample.image_id for sample in labelled_images(data, "train").samples if sample.image_id not in used]
    ids = [str(each) for each in np.random.default_rng(1).permutation(ids)[:40]]
    found = collect([detector], labelled_images(data, "train", ids, detector.facts.landmark_names), lambda: None)[0]
    assert detector.calibration is not None
    spread = detector.calibration.spread
    calibrated = spread.calibrated(found.answers.covariance)
    shares = {f"{each:g}": covered(found.residuals, spread.regions(calibrated, each)) for each in spread.levels}
    return {
        "file": str(options.start), "judged": len(ids), "mre": float(np.nanmean(found.errors)),
        "coverage": {level: float(np.nanmean(inside)) for level, inside in shares.items()},
    }  # fmt: skip


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parsers = parser.add_subparsers(dest="what", required=True)
    made, ran, rested = (parsers.add_parser(name) for name in ("make", "run", "rest"))
    made.add_argument("clinic", type=Path)
    made.add_argument("--root", required=True)
    for each in (ran, rested):
        each.add_argument("start")
        each.add_argument("clinic", type=Path)
    ran.add_argument("--images", type=int, default=10)
    ran.add_argument("--draw", type=int, default=0)
    ran.add_argument("--updates", type=int, default=150)
    ran.add_argument("--rate", type=float, default=5e-4)
    rested.add_argument("--used", default="[]")
    options = parser.parse_args()
    if options.what == "make":
        make(options.clinic, options.root)
    else:
        print(json.dumps(run(options) if options.what == "run" else rest(options)))


if __name__ == "__main__":
    main()
