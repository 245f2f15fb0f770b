"""The loop of `ldx suggest`, marking and `ldx adapt` on real images, a doctor's labels standing in for the marking.

    python tools/loop_trials.py CLINIC START.ldx --by suggest > suggest.jsonl
    python tools/loop_trials.py CLINIC START.ldx --by random --draw 0 > random0.jsonl

CLINIC is a folder data set outside the project, all of whose images have labels, and START has not seen them. So many
as ``--judge`` says, drawn with seed 0, are kept apart. Of the others ten are labelled, the start is adapted to them,
ten more are labelled, and so on to ``--most``. By "suggest" the first ten are those that `ldx suggest` names by the
start, the next those by the adapted model; by "random" they are drawn. A row of JSON for each size: errors on those
kept apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.say import unsaid
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.model import build_module
from landmark_diffusion.hardware.precision import choose_precision
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_facts
from landmark_diffusion.studies.adapt.adaptation import adapted_facts
from landmark_diffusion.studies.adapt.plan import AdaptPlan
from landmark_diffusion.studies.adapt.rule import rule_for
from landmark_diffusion.studies.adapt.trainings import Weights, train
from landmark_diffusion.studies.calibrate.collect import collect
from landmark_diffusion.studies.calibrate.material import labelled_images
from landmark_diffusion.studies.suggest.looking import look_at
from landmark_diffusion.studies.suggest.pool import folder_images
from landmark_diffusion.studies.suggest.suggestion import pool_distances, suggest

STEP = 10


class Loop:
    """A clinic, the images kept apart, and the model as it stands.

    Args:
        clinic: folder with images and their table.
        start: the model file that each adaptation begins with.
        judged: images kept apart.
    """

    def __init__(self, clinic: Path, start: Path, judged: int) -> None:
        self.facts: ModelFacts = read_facts(start)
        self.start, self.clinic = start, clinic
        self.section: dict[str, Any] = {
            "dataset": "folder", "root": str(clinic), "split": "all", "size": tuple(self.facts.data["size"]),
            "resize": self.facts.data.get("resize", "stretch"),
        }  # fmt: skip
        with unsaid():
            ids = [sample.image_id for sample in labelled_images(self.section, "train").samples]
        order = [str(each) for each in np.random.default_rng(0).permutation(ids)]
        self.apart, self.pool = tuple(sorted(order[:judged])), sorted(order[judged:])
        self.detector = Detector.load(start)

    def suggested(self, labelled: list[str]) -> list[str]:
        """Name the next images of the pool by the model as it stands."""
        wanted = set(self.pool)
        images = [each for each in folder_images(self.clinic, None, lambda _: None) if each.name in wanted]
        seen = look_at(images, self.detector, 10, print, lambda _: None)
        names = [images[place].name for place in seen.places]
        covered = [names.index(name) for name in labelled]
        found = suggest(pool_distances(seen.views, seen.belief), STEP, covered, seen.belief)
        return [names[each.place] for each in found]

    def adapt(self, labelled: list[str]) -> tuple[int, float]:
        """Adapt the start to these images; gives updates and CPU seconds."""
        rule, before = rule_for(len(labelled), len(labelled), 1.0), time.process_time()
        with tempfile.TemporaryDirectory() as folder, unsaid():
            plan = AdaptPlan(
                self.start, self.facts, self.section, labelled_images(self.section, "train", labelled), rule,
                Path(folder, "trial"), "", 0, precision=choose_precision("cpu")[0],
            )  # fmt: skip
            weights: Weights = train(plan, plan.whole(), lambda done: None)
            facts = replace(adapted_facts(plan, 0), calibration=None)
        module = build_module(facts.class_path, facts.model, self.start)
        module.load_state_dict(weights)
        self.detector = Detector(module.eval().requires_grad_(False), facts, self.start.name)
        return rule.updates, time.process_time() - before

    def errors(self) -> dict[str, float]:
        """Measure the model as it stands on the images kept apart."""
        names = self.detector.facts.landmark_names
        with unsaid():
            images = labelled_images(self.section, "train", self.apart, names)
        found = collect([self.detector], images, lambda: None)[0].errors
        return {
            "mre": round(float(np.nanmean(found)), 4),
            "near": round(100 * float(np.nanmean(found < 2)), 2),
            "p90": round(float(np.nanquantile(found, 0.9)), 3),
        }


def main() -> None:
    """Run the loop and print a row for each number of labelled images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clinic", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("--by", choices=("suggest", "random"), required=True)
    parser.add_argument("--draw", type=int, default=0, help="of the random order")
    parser.add_argument("--judge", type=int, default=50, help="images kept apart")
    parser.add_argument("--most", type=int, default=50, help="labelled images at the end")
    options = parser.parse_args()
    loop = Loop(options.clinic, options.start, options.judge)
    drawn = [str(each) for each in np.random.default_rng(1 + options.draw).permutation(loop.pool)]
    labelled: list[str] = []
    said: dict[str, Any] = {"by": options.by, "draw": options.draw, "judged": len(loop.apart)}
    print(json.dumps({**said, "images": 0, **loop.errors()}), flush=True)
    while len(labelled) < options.most:
        new = drawn[len(labelled) : len(labelled) + STEP] if options.by == "random" else loop.suggested(labelled)
        labelled += new
        updates, seconds = loop.adapt(labelled)
        row = {"images": len(labelled), "updates": updates, **loop.errors(), "cpu_s": round(seconds), "new": new}
        print(json.dumps({**said, **row}), flush=True)


if __name__ == "__main__":
    main()
