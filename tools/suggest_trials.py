"""Which images to label: ways to choose them, judged by what they cover, and a plan of trainings to judge the choice.

    python tools/suggest_trials.py proxies --root ~/isbi2015 --keep FOLDER > docs/experiments/suggest_proxies.csv
    python tools/suggest_trials.py warm MODEL.ldx --labelled 035,054,... --root ~/isbi2015 --keep FOLDER
    python tools/suggest_trials.py plan MODEL.ldx --labelled 035,054,... --root ~/isbi2015 --keep FOLDER > PLAN.yaml
    python tools/experiments.py docs/experiments/suggest_draws.yaml    # trains row by row, goes on where it was
    python tools/suggest_trials.py table docs/experiments/suggest_draws.csv
    python tools/suggest_trials.py reasons docs/experiments/suggest_draws.csv --runs runs/experiments/suggest_draws \\
        --root ~/isbi2015

Images 001-130 of ISBI 2015 are the pool, 131-150 judge; FOLDER, outside the project, keeps what was read of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import yaml
from constant_errors import others_mean

from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources.isbi2015 import Isbi2015Dataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.metrics.predictions_file import read_predictions_csv
from landmark_diffusion.metrics.summary import FAR_MM
from landmark_diffusion.spread.statistics import spearman
from landmark_diffusion.studies.suggest.belief import Belief, ask
from landmark_diffusion.studies.suggest.choice import choose, distances
from landmark_diffusion.studies.suggest.features import SCALES, aligned, edge_views, principal
from landmark_diffusion.studies.suggest.suggestion import expected_weights, pool_distances

COUNTS = (1, 5, 10, 25)
TRAINED_COUNTS = (1, 5, 10)
DRAWS, TRAINED_DRAWS, MORE = 200, 10, 10
POOL = 130
MM = 0.1  # a pixel of ISBI 2015


class Material(NamedTuple):
    """Ids, truth (I, N, 2) in mm, small images and ``edge_views`` of the pool and, behind it, the judges."""

    ids: list[str]
    truth: np.ndarray
    small: np.ndarray
    views: list[np.ndarray]


def read_samples(root: str) -> tuple[Isbi2015Dataset, list[LandmarkSample]]:
    """The data, and what they have of the pool and, behind it, of the judges."""
    data = Isbi2015Dataset(root, split="development")
    samples = [*data.samples("train"), *data.samples("val")]
    assert len(samples) == POOL + 20
    return data, samples


def truth_of(samples: Sequence[LandmarkSample]) -> np.ndarray:
    """Landmarks (I, N, 2) in mm."""
    return MM * np.stack([each.mean_points for each in samples])


def read_material(root: str, keep: Path) -> Material:
    """Read all images once."""
    data, samples = read_samples(root)
    kept = keep / "seen.npz"
    if not kept.is_file():
        keep.mkdir(parents=True, exist_ok=True)
        greys = [data.load_image(each) for each in samples]
        small = [cv2.resize(each, (242, 300), interpolation=cv2.INTER_AREA) for each in greys]
        np.savez_compressed(kept, small=np.stack(small), views=np.stack(list(map(edge_views, greys))))
    found = np.load(kept)
    return Material([each.image_id for each in samples], truth_of(samples), found["small"], list(found["views"]))


# -- what may tell how far two images are apart ------------------------------------------------------------------------


def as_they_lie(views: Sequence[np.ndarray]) -> np.ndarray:
    """Edges without laying the images on each other."""
    return np.stack([each[SCALES.index(1.0)].ravel() for each in views]).astype(np.float32)


def pixels(small: np.ndarray) -> np.ndarray:
    """Small images of local contrast, (I, F)."""
    rows = []
    for each in small:
        grey = cv2.resize(each, (96, 96), interpolation=cv2.INTER_AREA).astype(np.float32)
        centred = grey - cv2.GaussianBlur(grey, (0, 0), 6)
        local = centred / (np.sqrt(cv2.GaussianBlur(centred**2, (0, 0), 6)) + 2)
        rows.append(cv2.resize(local, (24, 24), interpolation=cv2.INTER_AREA).ravel())
    return np.stack(rows)


def keypoint_distances(views: Sequence[np.ndarray], count: int = 60, reach: int = 2) -> np.ndarray:
    """After Quan et al. (CVPR 2022), without their training: 1 - mean best match of an image's strongest windows.

    A window is 3x3 cells of edges; it is looked for in the other image within ``reach`` cells of its place. (I, I).
    """
    plain = np.stack([each[SCALES.index(1.0)] for each in views]).astype(np.float32)
    parts = [np.roll(plain, (down, right), (1, 2)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    windows = np.concatenate(parts, -1)
    strength = np.linalg.norm(windows, axis=-1)
    windows /= np.maximum(strength, 1e-3)[..., None]
    padded = np.pad(windows, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    strength[:, [0, 1, -2, -1]] = strength[:, :, [0, 1, -2, -1]] = 0
    rows = []
    for own, strong in zip(windows, strength, strict=True):
        down, right = np.unravel_index(np.argsort(-strong, axis=None, kind="stable")[:count], strong.shape)
        best = np.full((len(windows), count), -1.0, np.float32)
        for y in range(2 * reach + 1):
            for x in range(2 * reach + 1):
                best = np.maximum(best, np.einsum("kd,ikd->ik", own[down, right], padded[:, down + y, right + x]))
        rows.append(1 - best.mean(1))
    each = np.stack(rows)
    return (each + each.T) / 2


def laid_on(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean distance in mm of landmarks (I, N, 2) to those of ``second`` (J, N, 2) laid on them: (I, J)."""
    a, b = ((each - each.mean(1, keepdims=True)) @ np.array([1, 1j]) for each in (first, second))
    factor = (a @ b.conj().T) / np.square(np.abs(b)).sum(1)
    return np.abs(a[:, None] - factor[..., None] * b[None]).mean(-1)


# -- ways to choose ----------------------------------------------------------------------------------------------------


def greedy(distance: np.ndarray, count: int) -> list[int]:
    return [each.place for each in choose(distance, count)]


def k_medoids(distance: np.ndarray, count: int) -> list[int]:
    """The greedy choice, bettered by exchanges until none helps."""
    chosen = greedy(distance, count)
    cost, better = distance[chosen].min(0).sum(), True
    while better:
        better = False
        for place in range(count):
            rest = chosen[:place] + chosen[place + 1 :]
            costs = np.minimum(distance[rest].min(0) if rest else np.inf, distance).sum(1)
            if costs.min() < cost - 1e-9:
                chosen[place], cost, better = int(costs.argmin()), costs.min(), True
    return chosen


def k_centre(distance: np.ndarray, count: int) -> list[int]:
    """The most typical image, then always the one that is farthest from all chosen ones."""
    chosen = [int(distance.sum(1).argmin())]
    while len(chosen) < count:
        chosen.append(int(distance[chosen].min(0).argmax()))
    return chosen


def typiclust(features: np.ndarray, count: int, neighbours: int = 20) -> list[int]:
    """The most typical image of each cluster of k-means, best of 10 starts (Hacohen et al., ICML 2022)."""
    rng, best = np.random.default_rng(0), (np.inf, np.zeros(0))
    for _ in range(10):
        centres = features[rng.choice(len(features), count, replace=False)]
        for _ in range(50):
            nearest = distances(features, centres).argmin(1)
            groups = [features[nearest == k] for k in range(count)]
            centres = np.stack([each.mean(0) if len(each) else centres[k] for k, each in enumerate(groups)])
        found = distances(features, centres)
        best = min(best, (found.min(1).sum(), found.argmin(1)), key=lambda pair: pair[0])
    chosen = []
    for members in (np.flatnonzero(best[1] == k) for k in range(count)):
        if len(members):
            near = np.sort(distances(features[members], features[members]), 1)[:, 1 : neighbours + 1]
            chosen.append(int(members[near.mean(1).argmin()]) if near.shape[1] else int(members[0]))
    return chosen


# -- what a choice covers ----------------------------------------------------------------------------------------------


def proxies(options: argparse.Namespace) -> None:
    """Print a row a way and number: what the choice covers, and how many of 200 draws cover less."""
    seen = read_material(options.root, options.keep)
    raw: dict[str, Callable[[slice], np.ndarray]] = {
        "edges, laid on each other": lambda part: aligned(seen.views[part]),
        "edges as they lie": lambda part: as_they_lie(seen.views[part]),
        "pixels": lambda part: pixels(seen.small[part]),
    }
    pool, whole = slice(POOL), slice(None)
    features = {name: principal(make(pool)) for name, make in raw.items()}
    between = {name: distances(each, each) for name, each in features.items()}
    between["key points"] = keypoint_distances(seen.views[pool])
    shapes = laid_on(seen.truth, seen.truth)
    between["true shapes"] = shapes[pool, pool]
    for name, each in between.items():
        told = np.corrcoef(each[np.triu_indices(POOL, 1)], shapes[pool, pool][np.triu_indices(POOL, 1)])[0, 1]
        print(f"distances by {name}: correlation {told:.3f} with those of true shapes", file=sys.stderr)
    ways: dict[str, Callable[[int], list[int]]] = {}
    for name, each in between.items():
        ways[f"greedy; {name}"] = lambda n, d=each: greedy(d, n)
        if name.startswith("edges, "):
            ways[f"k-medoids; {name}"] = lambda n, d=each: k_medoids(d, n)
            ways[f"k-centre; {name}"] = lambda n, d=each: k_centre(d, n)
            ways[f"TypiClust; {name}"] = lambda n, f=features[name]: typiclust(f, n)
    looks = distances(*[principal(raw["edges, laid on each other"](whole))] * 2)
    figures = {"shape_judges": shapes[POOL:], "shape_pool": shapes[:POOL], "looks_judges": looks[POOL:]}
    rng = np.random.default_rng(0)
    rows: list[dict[str, str]] = []
    for n in COUNTS:
        draws = [rng.choice(POOL, n, replace=False) for _ in range(DRAWS)]
        usual = {key: np.array([each[:, draw].min(1).mean() for draw in draws]) for key, each in figures.items()}
        rows.append({"way": "random", "n": str(n), **{key: f"{each.mean():.3f}" for key, each in usual.items()}})
        for name, way in ways.items():
            chosen = way(n)
            found = {key: each[:, chosen].min(1).mean() for key, each in figures.items()}
            worse = {f"{key}_worse": f"{(usual[key] > value).mean():.3f}" for key, value in found.items()}
            images = " ".join(seen.ids[place] for place in chosen)
            rows.append(
                {"way": name, "n": str(n), **{k: f"{v:.3f}" for k, v in found.items()}, **worse, "images": images}
            )
    names = ["way", "n", *(f"{key}{end}" for key in figures for end in ("", "_worse")), "images"]
    write_rows(names, rows)


def write_rows(names: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _kept_belief(options: argparse.Namespace) -> Belief:
    """Ask the model about all images once."""
    kept = options.keep / f"{options.model.stem}_belief.npz"
    if not kept.is_file():
        detector = Detector.load(options.model)
        data, samples = read_samples(options.root)
        found = Belief.join([ask(detector, [data.load_image(each)]) for each in samples])
        np.savez(kept, **vars(found))
    return Belief(**np.load(kept))


def warm(options: argparse.Namespace) -> None:
    """Print how well a model's doubt tells its errors, and what ten more images that it chooses cover."""
    seen = read_material(options.root, options.keep)
    belief = _kept_belief(options)
    labelled = [seen.ids.index(each) for each in options.labelled.split(",")]
    error = np.linalg.norm(MM * belief.points - seen.truth, axis=-1).mean(1)
    shapes, rng = laid_on(seen.truth, seen.truth), np.random.default_rng(0)
    others = np.setdiff1d(np.arange(len(error)), labelled)
    for name, values in (("expected", belief.of_images), ("spread", belief.spread), ("moved", belief.moved)):
        told = [spearman(values[part], error[part]) for part in (others, np.arange(POOL, len(error)))]
        print(f"{name}: rank correlation with the error {told[0]:.2f} (unlabelled), {told[1]:.2f} (131-150)")
    free = np.setdiff1d(np.arange(POOL), labelled)

    def judged(chosen: Sequence[int]) -> np.ndarray:
        near = shapes[:, [*labelled, *chosen]].min(1)
        weighted = near * error / error.mean()
        return np.array([error[chosen].mean(), near[POOL:].mean(), near[:POOL].mean(), weighted[:POOL].mean()])

    draws = np.stack([judged(rng.choice(free, MORE, replace=False)) for _ in range(DRAWS)])
    part = Belief(*(value[:POOL] for value in vars(belief).values()))
    looks, both = pool_distances(seen.views[:POOL]), pool_distances(seen.views[:POOL], part)
    ways = {
        "by looks alone": [each.place for each in choose(looks, MORE, None, labelled)],
        "by looks and shapes": [each.place for each in choose(both, MORE, None, labelled)],
        "and expected error (ldx suggest)": [e.place for e in choose(both, MORE, expected_weights(part), labelled)],
        "the largest expected errors": [*free[np.argsort(-belief.of_images[free])[:MORE]]],
    }
    print("mean error of the ten, shapes of 131-150, of 001-130, of 001-130 by error, mm; share of draws that do worse")
    print("random", draws.mean(0).round(2))
    for name, chosen in ways.items():
        worse = [(draws[:, 0] < judged(chosen)[0]).mean(), *(draws > judged(chosen)).mean(0)[1:]]
        print(name, judged(chosen).round(2), np.round(worse, 2), " ".join(seen.ids[place] for place in chosen))


# -- trainings ---------------------------------------------------------------------------------------------------------


def plan(options: argparse.Namespace) -> None:
    """Print the plan of tools/experiments.py: the choice, and ten draws, of 1, 5 and 10 images, and of 10 more."""
    seen = read_material(options.root, options.keep)
    order = greedy(pool_distances(seen.views[:POOL]), max(TRAINED_COUNTS))
    lists: list[tuple[str, Sequence[int]]] = [(f"n={n} suggested", order[:n]) for n in TRAINED_COUNTS]
    for number in range(TRAINED_DRAWS):
        for n in TRAINED_COUNTS:
            drawn = np.random.default_rng([number, n]).choice(POOL, n, replace=False)
            lists.append((f"n={n} draw {number}", np.sort(drawn).tolist()))
    lists += _more_images(options, seen)
    rows = []
    for name, places in lists:
        images = json.dumps([seen.ids[place] for place in places])
        rows.append({"name": name, "fit": [f"--data.train_images={images}"], "evaluate": [{"name": "131-150"}]})
    common = [
        "--config=ceph_diffusion_small.yaml", "--data.root=../shared/data/isbi2015", "--data.split=development",
        "--data.size=[256, 320]", "--trainer.max_steps=400", "--trainer.check_val_every_n_epoch=1000",
        "--data.samples_per_epoch=150", "--trainer.precision=32-true",
    ]  # fmt: skip
    print(
        "# What ldx suggest chooses of 001-130 against ten draws of as many: 256x320, 400 updates, last weights, "
        "131-150 judge."
    )
    print("# n=10+10: ten more beside those of a model. By tools/suggest_trials.py plan; tools/experiments.py runs it.")
    print(yaml.safe_dump({"seeds": [0], "common": common, "rows": rows}, sort_keys=False, width=2000), end="")


def _more_images(options: argparse.Namespace, seen: Material) -> list[tuple[str, Sequence[int]]]:
    """Ten more beside the images of a model, which `warm` has asked about all."""
    belief, labelled = _kept_belief(options), [seen.ids.index(each) for each in options.labelled.split(",")]
    part = Belief(*(value[:POOL] for value in vars(belief).values()))
    both = pool_distances(seen.views[:POOL], part)
    free = np.setdiff1d(np.arange(POOL), labelled)
    ways = {
        "suggested": [each.place for each in choose(both, MORE, expected_weights(part), labelled)],
        "unweighted": [each.place for each in choose(both, MORE, None, labelled)],
        "looks": [each.place for each in choose(pool_distances(seen.views[:POOL]), MORE, None, labelled)],
    }
    for number in range(TRAINED_DRAWS):
        ways[f"draw {number}"] = np.random.default_rng([number, MORE]).choice(free, MORE, replace=False).tolist()
    return [(f"n={len(labelled)}+{MORE} {name}", sorted([*labelled, *more])) for name, more in ways.items()]


def table(options: argparse.Namespace) -> None:
    """Print what the trainings came to so far: each choice, the mean of its seeds, beside the draws."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with options.table.open() as file:
        for row in csv.DictReader(file):
            n, _, name = row["row"].partition(" ")
            found[n, row["variant"]][name].append(float(row["mre"]))
    print(
        "| images | variant | choice | MRE mm (seeds) | draws: mean ± deviation (least to most) | draws that do worse |"
    )
    print("|---" * 6 + "|")
    for (n, variant), errors in found.items():
        draws = np.array([np.mean(values) for name, values in errors.items() if name.startswith("draw")])
        for name, values in errors.items():
            if not name.startswith("draw") and len(draws) > 1:
                usual = f"{draws.mean():.2f} ± {draws.std(ddof=1):.2f} ({draws.min():.2f} to {draws.max():.2f})"
                own = np.mean(values)
                worse = f"{(draws > own).sum()} of {len(draws)}"
                print(f"| {n[2:]} | {variant} | {name} | {own:.2f} ({len(values)}) | {usual} | {worse} |")


def reasons(options: argparse.Namespace) -> None:
    """Print what the errors of the trainings go with: what the images cover, and shifts that all of 131-150 share."""
    _, samples = read_samples(options.root)
    ids, truth = [each.image_id for each in samples], truth_of(samples)
    covers = laid_on(truth[POOL:], truth[:POOL])
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for name, images in _trained_images(options.table).items():
        table = read_predictions_csv(options.runs / f"{name}_s0" / "validate" / "predictions.csv")
        assert list(table.image_ids) == ids[POOL:]
        missed = MM * (table.points - table.truth)
        error, freed = (np.linalg.norm(each, axis=-1) for each in (missed, missed - others_mean(missed)))
        shift = np.linalg.norm(missed.mean(0), axis=-1)
        covered = covers[:, [ids.index(image) for image in images]].min(1)
        n, _, choice = name.partition(" ")
        found[n][choice] = [*(each.mean() for each in (error, freed, shift, covered)), 100.0 * (error > FAR_MM).mean()]
    names = ("MRE mm", "shifts removed", "shift mm", "covered mm", "> 10 mm, %")
    print(f"| images | choice | {' | '.join(names)} | MRE with shift, covered, > 10 mm (rank correlation over draws) |")
    print("|---" * 8 + "|")
    for n, of_choice in found.items():
        draws = np.array([values for name, values in of_choice.items() if name.startswith("draw")])
        told = [f"{spearman(draws[:, 0], draws[:, place]):.2f}" for place in (2, 3, 4)]
        usual = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in zip(draws.mean(0), draws.std(0, ddof=1), strict=True)]
        print(f"| {n[2:]} | {len(draws)} draws | {' | '.join(usual)} | {', '.join(told)} |")
        for name, values in of_choice.items():
            if not name.startswith("draw"):
                print(f"| {n[2:]} | {name} | {' | '.join(f'{value:.2f}' for value in values)} | |")


def _trained_images(table: Path) -> dict[str, list[str]]:
    """The training images of each row, by its name."""
    with table.open() as file:
        commands = {row["row"]: row["command"] for row in csv.DictReader(file)}
    return {name: re.findall(r'"(\d+)"', command) for name, command in commands.items()}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for run in (proxies, warm, plan):
        verb = verbs.add_parser(run.__name__)
        verb.set_defaults(run=run)
        if run is not proxies:
            verb.add_argument("model", type=Path)
            verb.add_argument("--labelled", required=True, help="ids of the model's training images, with commas")
        verb.add_argument("--root", required=True)
        verb.add_argument("--keep", type=Path, required=True)
    for run in (table, reasons):
        verb = verbs.add_parser(run.__name__)
        verb.set_defaults(run=run)
        verb.add_argument("table", type=Path)
    verb.add_argument("--runs", type=Path, required=True, help="where the rows were trained")
    verb.add_argument("--root", required=True)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
