"""Ways to make one first guess of all landmarks, side by side: on plain images and on those of other devices.

    python tools/first_guess_ways.py CHECKPOINT --root ../shared/data/isbi2015 [--images 035,054] [--output FILE.csv]

All ways see the same maps of the checkpoint's first network on images 131-150, and the same Gaussian on configurations,
learned from the training images of the development split (or from ``--images`` among them). A row a way and a group of
images: the plain ones, and the mean over the families of data/shifts. What the package does is "propagation".
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from landmark_diffusion import LandmarkDataModule, PositionDiffusionModule
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.resize import resize_image
from landmark_diffusion.data.shifts import FAMILIES, shift_image
from landmark_diffusion.finders.joint_guess import PRIOR_WIDTH, guess_jointly
from landmark_diffusion.heatmaps.losses import spatial_softmax
from landmark_diffusion.heatmaps.peaks import find_peaks

MISSED = 0.1
ROUNDS, STARTS = 12, 10


class Shape(NamedTuple):
    """Mean (2N,) and covariance (2N, 2N) of configurations, in pixels of the maps."""

    mean: np.ndarray
    covariance: np.ndarray


class Peaks(NamedTuple):
    """Places (N, K, 2) and masses (N, K) of an image's maps, and their area."""

    places: np.ndarray
    masses: np.ndarray
    area: float


Way = Callable[[Peaks, Shape], np.ndarray]
"""Gives the peak of each landmark, (N,), with -1 for none."""


def log_gaussian(away: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Logarithm of the density at ``away`` (..., D) from the mean."""
    length = np.einsum("...i,ij,...j->...", away, np.linalg.inv(covariance), away)
    return -length / 2 - np.linalg.slogdet(2 * np.pi * covariance)[1] / 2


def given(shape: Shape, n: int, chosen: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and covariance (2, 2) of landmark n given the chosen places (N, 2) of some others, (N,) bool."""
    own, rest = np.array([2 * n, 2 * n + 1]), np.flatnonzero(np.repeat(chosen & (np.arange(len(chosen)) != n), 2))
    mean, covariance = shape.mean[own], shape.covariance[np.ix_(own, own)]
    if not len(rest):
        return mean, covariance
    spread = shape.covariance[np.ix_(rest, rest)] + np.eye(len(rest))
    gain = np.linalg.solve(spread, shape.covariance[np.ix_(rest, own)]).T
    away = places.ravel()[rest] - shape.mean[rest]
    return mean + gain @ away, covariance - gain @ shape.covariance[np.ix_(rest, own)]


def highest(peaks: Peaks, shape: Shape) -> np.ndarray:
    """Each landmark's own highest peak."""
    return np.zeros(len(peaks.masses), dtype=int)


def search(peaks: Peaks, shape: Shape) -> np.ndarray:
    """Coordinate-wise search of the likeliest choice of peaks, or none, from several starts."""
    count, number = peaks.masses.shape
    rng, best = np.random.default_rng(0), (-np.inf, highest(peaks, shape))
    none = np.log(MISSED / peaks.area)
    for start in range(STARTS):
        drawn = [rng.choice(number, p=mass / mass.sum()) for mass in peaks.masses]
        choice = highest(peaks, shape) if start == 0 else np.full(count, -1) if start == 1 else np.array(drawn)
        for _ in range(ROUNDS):
            before = choice.copy()
            for n in rng.permutation(count):
                mean, covariance = given(shape, n, choice >= 0, peaks.places[np.arange(count), choice])
                score = np.log((1 - MISSED) * peaks.masses[n])
                score = score + log_gaussian(peaks.places[n] - mean, covariance + np.eye(2))
                choice[n] = score.argmax() if score.max() > none else -1
            if (choice == before).all():
                break
        told = np.flatnonzero(choice >= 0)
        index = np.stack((2 * told, 2 * told + 1), -1).ravel()
        energy = none * (count - len(told)) + np.log((1 - MISSED) * peaks.masses[told, choice[told]]).sum()
        away = peaks.places[told, choice[told]].ravel() - shape.mean[index]
        energy += (
            float(log_gaussian(away, shape.covariance[np.ix_(index, index)] + np.eye(len(index)))) if len(told) else 0
        )
        if energy > best[0]:
            best = (energy, choice.copy())
    return best[1]


def belief(neighbours: int) -> Way:
    """Belief propagation over a graph in which each landmark knows its nearest ``neighbours`` by their offsets."""

    def choose(peaks: Peaks, shape: Shape) -> np.ndarray:
        count, number = peaks.masses.shape
        own = np.concatenate([np.log((1 - MISSED) * peaks.masses), np.full((count, 1), np.log(MISSED))], 1)
        blocks = shape.covariance.reshape(count, 2, count, 2)
        offsets = shape.mean.reshape(count, 2)[None] - shape.mean.reshape(count, 2)[:, None]
        pairs, width = np.zeros((count, count, number + 1, number + 1)), np.full((count, count), np.inf)
        for i in range(count):
            for j in range(count):
                if i != j:
                    spread = blocks[i, :, i] + blocks[j, :, j] - blocks[i, :, j] - blocks[j, :, i] + 2 * np.eye(2)
                    width[i, j] = np.linalg.det(spread)
                    away = peaks.places[j][None] - peaks.places[i][:, None] - offsets[i, j]
                    pairs[i, j, :number, :number] = log_gaussian(away, spread) + np.log(peaks.area)
        edges = width <= np.sort(width, 1)[:, [min(neighbours, count - 1) - 1]]
        edges |= edges.T
        degree = edges.sum(1)
        # each landmark is told the same by many: what they say is shared out by their number
        pairs *= np.where(edges, 2 / np.sqrt(np.outer(degree, degree)), 0)[..., None, None]
        messages = np.zeros((count, count, number + 1))
        for _ in range(ROUNDS + 3):
            sent = (own + messages.sum(0))[:, None] - messages.transpose(1, 0, 2)
            new = np.logaddexp.reduce(sent[..., None] + pairs, axis=2)
            new = np.where(edges[..., None], new - new.max(-1, keepdims=True), 0)
            messages = 0.3 * messages + 0.7 * new
        choice = (own + messages.sum(0)).argmax(1)
        return np.where(choice == number, -1, choice)

    return choose


WAYS: dict[str, Way] = {
    "own peaks": highest,
    "coordinate search": search,
    "belief propagation, all pairs": belief(10**6),
    "belief propagation, 5 neighbours": belief(5),
}


def points_of(choice: np.ndarray, peaks: Peaks, shape: Shape) -> np.ndarray:
    """Points (N, 2): the chosen peaks, and where the others say for a landmark without one."""
    places = peaks.places[np.arange(len(choice)), choice]
    return np.array([places[n] if k >= 0 else given(shape, n, choice >= 0, places)[0] for n, k in enumerate(choice)])


def main() -> None:
    """Measure all ways and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--root", default="../shared/data/isbi2015")
    parser.add_argument("--images", help="ids of the labelled images, separated by commas")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    module = PositionDiffusionModule.load_from_checkpoint(options.checkpoint).eval()
    data = LandmarkDataModule(
        "isbi2015", options.root, size=(384, 480), split="development",
        train_images=options.images.split(",") if options.images else None,
    )  # fmt: skip
    module.joint.fit(module.shape_prior, torch.from_numpy(data.stage_dataset("train").network_points()), data.size[0])
    errors: dict[str, dict[str, list[np.ndarray]]] = {}
    seconds: dict[str, float] = {}
    for sample in data.stage_dataset("val").samples:
        grey, truth = data.source.load_image(sample), sample.mean_points
        for family in ("plain", *FAMILIES):
            shown = None if family == "plain" else shift_image(grey, truth, family, 0, sample.image_id)
            image = grey if shown is None else shown.grey
            frame = Frame.fit((image.shape[1], image.shape[0]), data.size, data.resize)
            counted = np.ones(len(truth), bool) if shown is None else shown.visible(truth)
            for way, points in ways_of(module, resize_image(image, frame), seconds).items():
                original = frame.to_original(points)
                original = original if shown is None else shown.to_original(original)
                away = np.linalg.norm((original - truth) * np.asarray(sample.spacing), axis=-1)[counted]
                errors.setdefault(way, {}).setdefault(family, []).append(away)
    images = sum(map(len, errors["own peaks"].values()))
    rows = [("way", "images", "mre", "within_2", "beyond_10", "ms")]
    for way, families in errors.items():
        by_family = {name: np.concatenate(each) for name, each in families.items()}
        groups = {"plain": [by_family.pop("plain")], f"{len(FAMILIES)} families, mean": list(by_family.values())}
        for group, parts in groups.items():
            figures = (np.mean([measure(part) for part in parts]) for measure in (
                np.mean, lambda e: 100 * (e < 2).mean(), lambda e: 100 * (e > 10).mean()
            ))  # fmt: skip
            rows.append((way, group, *(f"{x:.2f}" for x in figures), f"{1e3 * seconds[way] / images:.1f}"))
    csv.writer(sys.stdout).writerows(rows)
    if options.output:
        with options.output.open("w", newline="") as file:
            csv.writer(file).writerows(rows)


@torch.no_grad()
def ways_of(module: PositionDiffusionModule, image: np.ndarray, seconds: dict[str, float]) -> dict[str, np.ndarray]:
    """Points (N, 2) in network pixels by each way; their times are added to ``seconds``."""
    maps = spatial_softmax(module(torch.from_numpy(image)[None, None].float() / 255))
    places, masses = find_peaks(maps, module.joint.peaks)
    peaks = Peaks(places[0].numpy(), masses[0].numpy(), maps.shape[-1] * maps.shape[-2])
    scale = maps.shape[-1] / PRIOR_WIDTH
    shape = Shape(
        (module.shape_prior.mean.double().numpy() + 0.5) * scale - 0.5,
        module.shape_prior.covariance.double().numpy() * scale**2,
    )
    found = {}
    for name, way in WAYS.items():
        started = time.perf_counter()
        found[name] = points_of(way(peaks, shape), peaks, shape)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
    started = time.perf_counter()
    joint = guess_jointly(maps, module.shape_prior, module.joint)
    found["propagation"] = module.decode(joint.maps.log_maps.exp())[0].double().numpy()
    seconds["propagation"] = seconds.get("propagation", 0.0) + time.perf_counter() - started
    return {name: (points + 0.5) * module.coarse_factor - 0.5 for name, points in found.items()}


if __name__ == "__main__":
    main()
