"""How many faults among the labels of real images `ldx data check --model` finds, and what it doubts wrongly.

python tools/label_faults_by_model.py isbi2015 ../shared/data/isbi2015 --model weights/ceph_small.ldx --part test

In each draw eight of the images (5 % of 150) get faults: two lie mirrored or turned, two have two landmarks exchanged,
two the labels of another image, two all labels mirrored or turned. Then one point of eight images slips, for each
distance. What the model finds in an image and its orientations is looked up once and kept in --looks.

Out of fold: several models, and for each the note of the images that it has not seen, which it judges:

python tools/label_faults_by_model.py isbi2015 ../shared/data/isbi2015 --part train --model fold_1.ldx fold_2.ldx \
    --held-out folds/1_of_2/fold.json folds/2_of_2/fold.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from landmark_diffusion.data.forms import BY_NAME, UPRIGHT
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.studies.label_faults.judging import LIMITS, Judgement, LabelFault, judge_labels
from landmark_diffusion.studies.label_faults.material import (
    ORIENTATIONS,
    LabelMaterial,
    Landmarks,
    TurnedLooks,
    detections,
    own_doubt,
    shared_landmarks,
)

GROSS = ("image mirrored", "image turned", "labels mirrored", "labels turned", "exchanged", "exchanged", "other image",
         "other image")  # fmt: skip
SLIPS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)


def _composed() -> dict[tuple[str, str], str]:
    """(first, second) -> the orientation that is undone by undoing both in this order."""
    image, every = np.arange(12).reshape(3, 4), (UPRIGHT, *ORIENTATIONS)
    results = {form.undo(image).tobytes(): form.name for form in every}
    return {
        (first.name, second.name): results[second.undo(first.undo(image)).tobytes()]
        for first in every
        for second in every
    }


COMPOSED = _composed()


class Looks:
    """What each image's model finds in it brought back from each orientation; looked up once."""

    def __init__(self, detectors: list[Detector], dataset, samples, shared: Landmarks, path: Path | None) -> None:
        self.detectors, self.dataset, self.samples, self.shared, self.path = detectors, dataset, samples, shared, path
        self.known: dict[str, np.ndarray] = {}
        if path is not None and path.exists():
            self.known = dict(np.load(path))

    def get(self, image: int, orientation: str) -> np.ndarray:
        """Points, covariance, unlike and doubtful, flattened to (N, 8)."""
        key = f"{self.samples[image].image_id}|{orientation}"
        if key not in self.known:
            pixels = self.dataset.load_image(self.samples[image])
            found = detections(self.detectors[image], [BY_NAME[orientation].undo(pixels)])[0]
            chosen = list(self.shared.model)
            covariance = found.covariance[chosen].reshape(-1, 4)
            unlike = np.full((len(chosen), 1), float(bool(found.unlike)))
            doubtful = own_doubt(found)[chosen, None]
            self.known[key] = np.concatenate([found.points[chosen], covariance, unlike, doubtful], axis=1)
        return self.known[key]

    def save(self) -> None:
        """Keep what was looked up."""
        if self.path is not None:
            np.savez(self.path, **self.known)


@dataclass
class Spoilt:
    """Material with faults, how each image lies in it, and what was put in: image -> (kind, landmarks, other)."""

    material: LabelMaterial
    lies: dict[int, str]
    faults: dict[int, tuple[str, tuple[int, ...], int | None]]


def spoil(clean: LabelMaterial, looks: Looks, kinds, rng: np.random.Generator, annotators) -> Spoilt:
    """Put one fault of each kind into as many images; exchanges and slips into one annotator's labels alone."""
    labels, points = clean.labels.copy(), clean.points.copy()
    covariance, unlike, doubtful = clean.covariance.copy(), clean.unlike.copy(), clean.doubtful.copy()
    sizes = clean.sizes.copy()
    lies: dict[int, str] = {}
    faults = {}
    chosen = rng.choice(len(clean), len(kinds), replace=False)
    for image, kind in zip(map(int, chosen), kinds, strict=True):
        landmarks, other = (), None
        annotator = int(rng.choice(annotators))
        if kind.startswith(("image", "labels")):
            how = "mirrored" if kind.endswith("mirrored") else str(rng.choice([form.name for form in ORIENTATIONS[1:]]))
            if kind.startswith("labels"):
                labels[image] = BY_NAME[how].undo_points(labels[image], clean.sizes[image])
            else:
                lies[image] = how
                found = looks.get(image, how)
                points[image], covariance[image] = found[:, :2], found[:, 2:6].reshape(-1, 2, 2)
                unlike[image], doubtful[image] = bool(found[0, 6]), found[:, 7] > 0
                sizes[image] = BY_NAME[how].upright_size(clean.sizes[image])
        elif kind == "other image":
            other = int(rng.choice(np.setdiff1d(np.arange(len(clean)), [image])))
            labels[image] = clean.labels[other]
        elif kind == "exchanged":
            landmarks = tuple(sorted(map(int, rng.choice(labels.shape[2], 2, replace=False))))
            labels[image, annotator, landmarks] = labels[image, annotator, landmarks[::-1]]
        else:
            landmarks, angle = (int(rng.integers(labels.shape[2])),), rng.uniform(0, 2 * np.pi)
            step = float(kind.split()[1]) * np.array([np.cos(angle), np.sin(angle)]) / clean.spacing[image]
            labels[image, annotator, landmarks[0]] += step
        faults[image] = (kind, landmarks, other)
    spoilt = replace(
        clean, labels=labels, points=points, covariance=covariance, unlike=unlike, doubtful=doubtful, sizes=sizes
    )
    return Spoilt(spoilt, lies, faults)


def judge(spoilt: Spoilt, looks: Looks) -> Judgement:
    """Judge it, with looks at the images as they lie in it."""

    def turned(image: int) -> TurnedLooks:
        lie = spoilt.lies.get(image, UPRIGHT.name)
        found = np.stack([looks.get(image, COMPOSED[lie, form.name]) for form in ORIENTATIONS])
        return TurnedLooks(found[..., :2], found[..., 2:6].reshape(*found.shape[:2], 2, 2))

    return judge_labels(spoilt.material, turned)


def named(fault: LabelFault, put: tuple[str, tuple[int, ...], int | None]) -> bool:
    """Whether the reason that was told is the one that was put in."""
    kind, landmarks, other = put
    if kind == "other image":
        return fault.kind == "other image" and fault.other == other
    if kind == "exchanged":
        return fault.kind == "exchanged" and fault.landmarks == landmarks
    if kind.startswith("slipped"):
        return fault.landmarks == landmarks
    return fault.kind in ("image turned", "labels turned") and fault.kind.split()[0] == kind.split()[0]


@dataclass
class Tally:
    """What was put in and found over draws, by kind; and doubts about images without a fault, by what was doubted."""

    put: Counter = field(default_factory=Counter)
    found: Counter = field(default_factory=Counter)
    told: Counter = field(default_factory=Counter)
    alarms: list[int] = field(default_factory=list)
    doubts: Counter = field(default_factory=Counter)
    missed: list = field(default_factory=list)

    def add(self, spoilt: Spoilt, judged: Judgement) -> None:
        """Count one draw."""
        images: dict[int, list[LabelFault]] = {}
        for each in judged.faults:
            images.setdefault(each.image, []).append(each)
        for image, put in spoilt.faults.items():
            self.put[put[0]] += 1
            self.found[put[0]] += image in images
            self.told[put[0]] += any(named(each, put) for each in images.get(image, []))
            if image not in images and not put[0].startswith("slipped"):
                self.missed.append((put[0], spoilt.material.ids[image], put[1]))
        wrongly = set(images) - set(spoilt.faults)
        self.alarms.append(len(wrongly))
        self.doubts.update(
            " ".join((spoilt.material.ids[image], each.kind, *(spoilt.material.landmarks[n] for n in each.landmarks)))
            for image in wrongly
            for each in images[image]
        )

    @property
    def rate(self) -> str:
        """False alarms a draw."""
        return f"mean {np.mean(self.alarms):.2f}, most {max(self.alarms)}" if self.alarms else "none counted"


def main() -> None:
    """Print what was found of each kind, false alarms, and the curve of slips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root")
    parser.add_argument("--model", required=True, nargs="+", help="one, or one for each --held-out")
    parser.add_argument("--held-out", type=Path, nargs="+", help="fold.json of each model: it judges the images there")
    parser.add_argument("--split", default="official")
    parser.add_argument("--part", default="test", help="train, val or test")
    parser.add_argument("--leave-out", default="", help="image ids, with commas")
    parser.add_argument("--labels", default="mean", help="mean of the annotators, each (all), or an annotator's name")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--slip-draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--looks", type=Path, help="file in which what the model found is kept")
    parser.add_argument("--limit", type=float, help="score from which a doubt is told, in place of the package's")
    parser.add_argument("--slip-limit", type=float, help="the same of slips alone")
    parser.add_argument("--no-doubt", action="store_true", help="take no notice of what the model doubts itself")
    arguments = parser.parse_args()
    if arguments.limit is not None:
        LIMITS.update(dict.fromkeys(LIMITS, arguments.limit))
    if arguments.slip_limit is not None:
        LIMITS["slipped"] = arguments.slip_limit
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Load, spoil, judge, count."""
    models = [Detector.load(path, orientation="as-is") for path in arguments.model]
    dataset = build_dataset(arguments.dataset, arguments.root, split=arguments.split)
    left_out = set(arguments.leave_out.split(","))
    samples = [each for each in dataset.samples(arguments.part) if each.image_id not in left_out]
    judges = {each.image_id: models[0] for each in samples}
    if arguments.held_out:
        notes = [json.loads(note.read_text())["held_out"] for note in arguments.held_out]
        judges = {image_id: model for model, ids in zip(models, notes, strict=True) for image_id in ids}
        samples = [each for each in samples if each.image_id in judges]
    clean, looks = load([judges[each.image_id] for each in samples], dataset, samples, arguments)
    annotators = range(clean.labels.shape[1])
    alarms_of_clean = judge(Spoilt(clean, {}, {}), looks).faults
    print(f"{len(clean)} images, labels {arguments.labels}; as they are: {tell(alarms_of_clean, clean)}", flush=True)
    gross = Tally()
    for draw in range(arguments.draws):
        spoilt = spoil(clean, looks, GROSS, np.random.default_rng([arguments.seed, draw]), annotators)
        gross.add(spoilt, judge(spoilt, looks))
    looks.save()
    for kind, put in gross.put.items():
        print(f"{kind}: found {gross.found[kind]} of {put}, the reason told in {gross.told[kind]}")
    print(f"false alarms in {len(clean)} images: {gross.rate}; missed: {gross.missed}")
    print(f"what was doubted wrongly, and in how many draws: {dict(gross.doubts.most_common())}", flush=True)
    for distance in SLIPS if arguments.slip_draws else ():
        slips = Tally()
        for draw in range(arguments.slip_draws):
            rng = np.random.default_rng([arguments.seed, draw, distance])
            spoilt = spoil(clean, looks, [f"slipped {distance}"] * 8, rng, annotators)
            slips.add(spoilt, judge(spoilt, looks))
        share, put = slips.told.total() / slips.put.total(), slips.put.total()
        print(f"slip of {distance} mm: {share:.3f} of {put}; false alarms {slips.rate}", flush=True)
    looks.save()


def load(detectors, dataset, samples, arguments) -> tuple[LabelMaterial, Looks]:
    """The material of the samples, from looks that are kept where there are some."""
    shared = shared_landmarks(detectors[0].facts.landmark_names, dataset.landmark_names)
    looks = Looks(detectors, dataset, samples, shared, arguments.looks)
    found = np.stack([looks.get(image, UPRIGHT.name) for image in range(len(samples))])
    looks.save()
    labels = np.stack([sample.annotations[:, list(shared.data)] for sample in samples])
    names = dataset.annotator_names
    if arguments.labels == "mean":
        labels, names = labels.mean(1, keepdims=True), ("mean",)
    elif arguments.labels != "all":
        labels, names = labels[:, [names.index(arguments.labels)]], (arguments.labels,)
    return LabelMaterial(
        tuple(each.image_id for each in samples), tuple(each.source for each in samples), shared.names, tuple(names),
        labels, found[..., :2], found[..., 2:6].reshape(*found.shape[:2], 2, 2),
        np.array([each.size for each in samples], float), np.array([each.spacing for each in samples], float),
        found[:, 0, 6] > 0, (found[..., 7] > 0) & (not arguments.no_doubt), dataset.unit,
    ), looks  # fmt: skip


def tell(faults, material: LabelMaterial) -> str:
    """Short words for faults."""
    words = [
        f"{material.ids[each.image]} {each.kind} {'/'.join(material.landmarks[n] for n in each.landmarks)} "
        f"{each.distance:.1f} ({each.score:.1f})"
        for each in faults
    ]
    return f"{len({each.image for each in faults})} images in doubt: {'; '.join(words)}"


if __name__ == "__main__":
    sys.exit(main())
