"""How many faults among the labels of real images `ldx data check --model` finds, and what it doubts wrongly.

python tools/label_faults_by_model.py isbi2015 ../shared/data/isbi2015 --model weights/ceph_small.ldx --part test

In each draw eight of the images (5 % of 150) get faults: two lie mirrored or turned, two have two landmarks exchanged,
two the labels of another image, two all labels mirrored or turned. Then one point of eight images slips, for each
distance. What the model finds in an image and its orientations is looked up once and kept in --looks.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.studies.label_faults.judging import LIMITS, Judgement, LabelFault, judge_labels
from landmark_diffusion.studies.label_faults.material import (
    LabelMaterial,
    Landmarks,
    TurnedLooks,
    detections,
    shared_landmarks,
)
from landmark_diffusion.studies.label_faults.orientations import ORIENTATIONS, undo_pixels, undo_points

USUAL = "usual"
ALL = (USUAL, *ORIENTATIONS)
GROSS = ("image mirrored", "image turned", "labels mirrored", "labels turned", "exchanged", "exchanged", "other image",
         "other image")  # fmt: skip
SLIPS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)


def _undo(orientation: str, image: np.ndarray) -> np.ndarray:
    return image if orientation == USUAL else undo_pixels(orientation, image)


def _composed() -> dict[tuple[str, str], str]:
    """(first, second) -> the orientation that is undone by undoing both in this order."""
    image = np.arange(12).reshape(3, 4)
    results = {_undo(name, image).tobytes() + bytes(_undo(name, image).shape): name for name in ALL}
    found = {}
    for first in ALL:
        for second in ALL:
            both = _undo(second, _undo(first, image))
            found[first, second] = results[both.tobytes() + bytes(both.shape)]
    return found


COMPOSED = _composed()


class Looks:
    """What the model finds in each image brought back from each orientation; looked up once."""

    def __init__(self, detector: Detector, dataset, samples, shared: Landmarks, path: Path | None) -> None:
        self.detector, self.dataset, self.samples, self.shared, self.path = detector, dataset, samples, shared, path
        self.known: dict[str, np.ndarray] = {}
        if path is not None and path.exists():
            self.known = dict(np.load(path))

    def get(self, image: int, orientation: str) -> np.ndarray:
        """Points, covariance and unlike, flattened to (N, 7)."""
        key = f"{self.samples[image].image_id}|{orientation}"
        if key not in self.known:
            pixels = self.dataset.load_image(self.samples[image])
            found = detections(self.detector, [_undo(orientation, pixels)])[0]
            chosen = list(self.shared.model)
            covariance = found.covariance[chosen].reshape(-1, 4)
            unlike = np.full((len(chosen), 1), float(bool(found.unlike)))
            self.known[key] = np.concatenate([found.points[chosen], covariance, unlike], axis=1)
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
    covariance, unlike, sizes = clean.covariance.copy(), clean.unlike.copy(), clean.sizes.copy()
    lies: dict[int, str] = {}
    faults = {}
    chosen = rng.choice(len(clean), len(kinds), replace=False)
    for image, kind in zip(map(int, chosen), kinds, strict=True):
        landmarks, other = (), None
        annotator = int(rng.choice(annotators))
        if kind.startswith(("image", "labels")):
            how = "mirrored" if kind.endswith("mirrored") else str(rng.choice(ORIENTATIONS[1:]))
            if kind.startswith("labels"):
                labels[image] = undo_points(how, labels[image], clean.sizes[image])
            else:
                lies[image] = how
                found = looks.get(image, how)
                points[image], covariance[image] = found[:, :2], found[:, 2:6].reshape(-1, 2, 2)
                unlike[image] = bool(found[0, 6])
                if _undo(how, np.zeros((3, 4))).shape != (3, 4):
                    sizes[image] = sizes[image, ::-1]
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
    spoilt = replace(clean, labels=labels, points=points, covariance=covariance, unlike=unlike, sizes=sizes)
    return Spoilt(spoilt, lies, faults)


def judge(spoilt: Spoilt, looks: Looks) -> Judgement:
    """Judge it, with looks at the images as they lie in it."""

    def turned(image: int) -> TurnedLooks:
        lie = spoilt.lies.get(image, USUAL)
        found = np.stack([looks.get(image, COMPOSED[lie, orientation]) for orientation in ORIENTATIONS])
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


def main() -> None:
    """Print what was found of each kind, false alarms, and the curve of slips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root")
    parser.add_argument("--model", required=True)
    parser.add_argument("--split", default="official")
    parser.add_argument("--part", default="test", help="train, val or test")
    parser.add_argument("--leave-out", default="", help="image ids, with commas")
    parser.add_argument("--labels", default="mean", help="mean of the annotators, each (all), or an annotator's name")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--slip-draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--looks", type=Path, help="file in which what the model found is kept")
    parser.add_argument("--limit", type=float, help="score from which a doubt is told, in place of the package's")
    arguments = parser.parse_args()
    if arguments.limit is not None:
        LIMITS.update(dict.fromkeys(LIMITS, arguments.limit))
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Load, spoil, judge, count."""
    detector = Detector.load(arguments.model, orientation="as-is")
    dataset = build_dataset(arguments.dataset, arguments.root, split=arguments.split)
    left_out = set(arguments.leave_out.split(","))
    samples = [each for each in dataset.samples(arguments.part) if each.image_id not in left_out]
    clean, looks = load(detector, dataset, samples, arguments)
    annotators = range(clean.labels.shape[1])
    alarms_of_clean = judge(Spoilt(clean, {}, {}), looks).faults
    print(f"{len(clean)} images, labels {arguments.labels}; as they are: {tell(alarms_of_clean, clean)}", flush=True)
    put, found, told, alarms, missed = {}, {}, {}, [], []
    for draw in range(arguments.draws):
        rng = np.random.default_rng([arguments.seed, draw])
        spoilt = spoil(clean, looks, GROSS, rng, annotators)
        count(spoilt, judge(spoilt, looks), put, found, told, alarms, missed)
    looks.save()
    for kind in put:
        print(f"{kind}: found {found.get(kind, 0)} of {put[kind]}, the reason told in {told.get(kind, 0)}")
    mean = np.mean(alarms) if alarms else float("nan")
    print(
        f"false alarms in {len(clean)} images: mean {mean:.2f}, most {max(alarms, default=0)}; missed: {missed}",
        flush=True,
    )
    for distance in SLIPS if arguments.slip_draws else ():
        put, found, told, alarms, missed = {}, {}, {}, [], []
        for draw in range(arguments.slip_draws):
            rng = np.random.default_rng([arguments.seed, draw, distance])
            spoilt = spoil(clean, looks, [f"slipped {distance}"] * 8, rng, annotators)
            count(spoilt, judge(spoilt, looks), put, found, told, alarms, missed)
        share = sum(told.values()) / max(sum(put.values()), 1)
        print(
            f"slip of {distance} mm: {share:.3f} of {sum(put.values())}; false alarms mean {np.mean(alarms):.2f}",
            flush=True,
        )
    looks.save()


def load(detector, dataset, samples, arguments) -> tuple[LabelMaterial, Looks]:
    """The material of the samples, from looks that are kept where there are some."""
    shared = shared_landmarks(detector.facts.landmark_names, dataset.landmark_names)
    looks = Looks(detector, dataset, samples, shared, arguments.looks)
    found = np.stack([looks.get(image, USUAL) for image in range(len(samples))])
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
        found[:, 0, 6] > 0, dataset.unit,
    ), looks  # fmt: skip


def count(spoilt: Spoilt, judged: Judgement, put, found, told, alarms, missed) -> None:
    """Add one draw to the counts."""
    images: dict[int, list[LabelFault]] = {}
    for each in judged.faults:
        images.setdefault(each.image, []).append(each)
    for image, fault in spoilt.faults.items():
        put[fault[0]] = put.get(fault[0], 0) + 1
        found[fault[0]] = found.get(fault[0], 0) + (image in images)
        told[fault[0]] = told.get(fault[0], 0) + any(named(each, fault) for each in images.get(image, []))
        if image not in images and not fault[0].startswith("slipped"):
            missed.append((fault[0], spoilt.material.ids[image], fault[1]))
    alarms.append(sum(image not in spoilt.faults for image in images))


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
