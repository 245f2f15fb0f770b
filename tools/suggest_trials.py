"""Ways to choose which images to label, by what they cover of images kept apart: docs/experiments/suggest.md.

python tools/suggest_trials.py proxies --root ~/isbi2015 --keep FOLDER
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from landmark_diffusion.data.sources.isbi2015 import Isbi2015Dataset
from landmark_diffusion.studies.suggest.choice import choose, distances
from landmark_diffusion.studies.suggest.features import _normalised, edge_histograms, principal

COUNTS = (1, 5, 10, 25)
DRAWS = 200
POOL = 130


def pixels(grey: np.ndarray) -> np.ndarray:
    """A small image as it is, of local contrast."""
    return cv2.resize(_normalised(grey, 96), (24, 24), interpolation=cv2.INTER_AREA).ravel()


# -- key points, after Quan et al. (CVPR 2022), without their training ------------------------------------------------

SIDE, GRID, REACH = 96, 4, 2


def local_descriptors(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of small windows on a grid (G, G, D) of length 1 at two scales, and their strength (G, G)."""
    levels = []
    strength = None
    for side in (SIDE, SIDE // 2):
        image = _normalised(grey, side)
        across, down = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
        length, angle = np.hypot(across, down), np.arctan2(down, across) / np.pi * 8 % 8
        planes = np.stack([length * np.clip(1 - np.abs((angle - k + 4) % 8 - 4), 0, None) for k in range(8)], -1)
        blurred = np.stack([cv2.GaussianBlur(planes[..., k], (0, 0), 2.0) for k in range(8)], -1)
        parts = [np.roll(blurred, (dy, dx), (0, 1)) for dy in (-4, 0, 4) for dx in (-4, 0, 4)]
        step = GRID * side // SIDE
        flat = np.concatenate(parts, -1)[::step, ::step]
        if strength is None:
            strength = np.linalg.norm(flat, axis=-1)
        levels.append(flat / (np.linalg.norm(flat, axis=-1, keepdims=True) + 1e-3))
    return np.concatenate(levels, -1).astype(np.float32) / np.sqrt(2), strength


def keypoint_distances(greys: list[np.ndarray], count: int = 60) -> np.ndarray:
    """1 - mean best match of an image's strongest windows within another, near their place: (I, I), made symmetric."""
    found = [local_descriptors(each) for each in greys]
    grids = np.stack([each for each, _ in found])
    size = grids.shape[1]
    padded = np.pad(grids, ((0, 0), (REACH, REACH), (REACH, REACH), (0, 0)))
    rows = []
    for grid, strength in found:
        inner = np.zeros_like(strength)
        inner[2:-2, 2:-2] = strength[2:-2, 2:-2]
        ys, xs = np.unravel_index(np.argsort(-inner, axis=None)[:count], inner.shape)
        own = grid[ys, xs]
        best = np.full((len(grids), count), -1.0)
        for dy in range(2 * REACH + 1):
            for dx in range(2 * REACH + 1):
                best = np.maximum(best, np.einsum("kd,ikd->ik", own, padded[:, ys + dy, xs + dx]))
        rows.append(1 - best.mean(1))
        assert size
    each = np.stack(rows)
    return (each + each.T) / 2


# -- ways to choose ------------------------------------------------------------------------------------------------


def facility(distance: np.ndarray, count: int) -> list[int]:
    return [each.place for each in choose(distance, count)]


def swapped(distance: np.ndarray, count: int) -> list[int]:
    """k-medoids: the greedy choice, bettered by exchanges until none helps."""
    chosen = facility(distance, count)
    cost = distance[chosen].min(0).sum()
    better = True
    while better:
        better = False
        for place in range(count):
            rest = chosen[:place] + chosen[place + 1 :]
            base = distance[rest].min(0) if rest else np.full(distance.shape[1], np.inf)
            costs = np.minimum(base, distance).sum(1)
            best = int(costs.argmin())
            if costs[best] < cost - 1e-9:
                chosen[place], cost, better = best, costs[best], True
    return chosen


def k_centre(distance: np.ndarray, count: int) -> list[int]:
    chosen = [int(distance.sum(1).argmin())]
    while len(chosen) < count:
        chosen.append(int(distance[chosen].min(0).argmax()))
    return chosen


def typiclust(features: np.ndarray, count: int, seed: int = 0, neighbours: int = 20) -> list[int]:
    """The most typical image of each of ``count`` clusters of k-means (Hacohen et al., ICML 2022)."""
    rng = np.random.default_rng(seed)
    best, cost = None, np.inf
    for _ in range(10):
        centres = features[rng.choice(len(features), count, replace=False)]
        for _ in range(50):
            nearest = distances(features, centres).argmin(1)
            centres = np.stack(
                [features[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(count)]
            )
        found = distances(features, centres)
        if found.min(1).sum() < cost:
            best, cost = found.argmin(1), found.min(1).sum()
    chosen = []
    for k in range(count):
        members = np.flatnonzero(best == k)
        if not len(members):
            continue
        within = np.sort(distances(features[members], features[members]), 1)[:, 1 : neighbours + 1]
        typical = within.mean(1) if within.shape[1] else np.zeros(len(members))
        chosen.append(int(members[typical.argmin()]))
    return chosen


# -- what a choice covers --------------------------------------------------------------------------------------------


def shape_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean distance of landmarks of ``first`` (I, N, 2) to those of ``second`` (J, N, 2) laid on them, (I, J)."""
    a = (first - first.mean(1, keepdims=True)) @ np.array([1, 1j])
    b = (second - second.mean(1, keepdims=True)) @ np.array([1, 1j])
    factor = (a @ b.conj().T) / np.square(np.abs(b)).sum(1)
    return np.abs(a[:, None] - factor[..., None] * b[None]).mean(-1)


def material(root: str, keep: Path) -> tuple[list[str], list[np.ndarray], np.ndarray]:
    data = Isbi2015Dataset(root, split="development")
    samples = [*data.samples("train"), *data.samples("val")]
    assert len(samples) == POOL + 20
    points = np.stack([each.mean_points for each in samples]) * 0.1
    kept = keep / "small.npz"
    if not kept.is_file():
        keep.mkdir(parents=True, exist_ok=True)
        greys = []
        for each in samples:
            grey = data.load_image(each)
            greys.append(cv2.resize(grey, (484, 600), interpolation=cv2.INTER_AREA))
        np.savez_compressed(kept, greys=np.stack(greys))
    greys = list(np.load(kept)["greys"])
    return [each.image_id for each in samples], greys, points


def proxies(options: argparse.Namespace) -> None:
    ids, greys, points = material(options.root, Path(options.keep))
    raw = {"edges": np.stack(list(map(edge_histograms, greys))), "pixels": np.stack(list(map(pixels, greys)))}
    features, between = {}, {}
    for name, values in raw.items():
        mean = values[:POOL].mean(0)
        _, _, axes = np.linalg.svd(values[:POOL] - mean, full_matrices=False)
        features[name] = (values - mean) @ axes[:32].T
        a, b = distances(features[name][:POOL], features[name][:POOL]), distances(*[principal(values[:POOL])] * 2)
        print(np.abs(a - b).max(), a.max(), file=sys.stderr)
        between[name] = distances(features[name], features[name])
    between["key points"] = keypoint_distances(greys)
    between["shapes"] = shape_distances(points, points)
    for name in between:
        upper = np.triu_indices(POOL, 1)
        r = np.corrcoef(between[name][:POOL, :POOL][upper], between["shapes"][:POOL, :POOL][upper])[0, 1]
        print(f"correlation of distances by {name} with those of shapes: {r:.3f}", file=sys.stderr)
    ways: dict[str, Callable[[int], list[int]]] = {}
    for name, values in between.items():
        pool = values[:POOL, :POOL]
        ways[f"greedy, {name}"] = lambda n, d=pool: facility(d, n)
        if name != "shapes":
            ways[f"k-medoids, {name}"] = lambda n, d=pool: swapped(d, n)
            ways[f"k-centre, {name}"] = lambda n, d=pool: k_centre(d, n)
        if name in features:
            ways[f"TypiClust, {name}"] = lambda n, f=features[name][:POOL]: typiclust(f, n)
    figures = {
        "shape_judges": lambda chosen: between["shapes"][POOL:, chosen].min(1).mean(),
        "shape_pool": lambda chosen: between["shapes"][:POOL, chosen].min(1).mean(),
        "edges_judges": lambda chosen: between["edges"][POOL:, chosen].min(1).mean(),
        "pixels_judges": lambda chosen: between["pixels"][POOL:, chosen].min(1).mean(),
    }
    rng = np.random.default_rng(0)
    rows = []
    for n in COUNTS:
        draws = [rng.choice(POOL, n, replace=False) for _ in range(DRAWS)]
        usual = {name: np.array([figure(draw) for draw in draws]) for name, figure in figures.items()}
        rows.append({"way": "random", "n": n, **{k: f"{v.mean():.3f}" for k, v in usual.items()}, "images": ""})
        for name, way in ways.items():
            chosen = way(n)
            row = {"way": name, "n": n, "images": " ".join(ids[place] for place in chosen)}
            for key, figure in figures.items():
                value = figure(chosen)
                row[key] = f"{value:.3f}"
                row[f"{key}_worse"] = f"{np.mean(usual[key] > value):.3f}"
            rows.append(row)
    names = ["way", "n", *(f"{key}{end}" for key in figures for end in ("", "_worse")), "images"]
    writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("proxies",))
    parser.add_argument("--root", required=True)
    parser.add_argument("--keep", required=True)
    proxies(parser.parse_args())


if __name__ == "__main__":
    main()
