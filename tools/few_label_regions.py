"""What regions from few labelled images hold, by drawing such images from many answers of one model.

    python tools/adapt_trials.py rest MINE.ldx CLINIC --used '[...]' --judge 200 --keep answers.npz
    python tools/few_label_regions.py answers.npz [--images 5 10 25] [--draws 120]

Each draw calibrates on some of the images as `ldx adapt` does (landmarks without a prior) and counts how many points of
all the others its regions hold: mean and standard deviation over draws, and the mean bound, for three numbers of
independent draws that the images are taken for: as many as images, what `independent_draws` says, infinitely many.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from landmark_diffusion.spread.calibration import likeliest_mix
from landmark_diffusion.spread.few_labels import (
    independent_draws,
    others_lengths,
    pooled_quantile,
    shrunk_factors,
    stated_levels,
)
from landmark_diffusion.spread.statistics import mahalanobis

WAYS = ("images", "worth", "points")


def one_draw(
    residuals: np.ndarray, covariance: np.ndarray, images: int, rng: np.random.Generator
) -> dict[tuple[str, float], tuple[float, float]]:
    """Coverage of the others and the bound, by way and level."""
    order = rng.permutation(len(residuals))
    few, others = order[:images], order[images:]
    scale, floor = likeliest_mix(residuals[few].reshape(-1, 2), covariance[few].reshape(-1, 2, 2))
    lengths = mahalanobis(residuals, scale * covariance + floor * np.eye(2))
    known = np.zeros(lengths.shape[1], dtype=bool)
    unseen = others_lengths(lengths[few], known)
    new = lengths[others] / shrunk_factors(lengths[few], known)
    worth = dict(zip(WAYS, (float(images), independent_draws(unseen), 1e9), strict=True))
    bounds = {
        (way, level): pooled_quantile(unseen, level, draws)
        for way, draws in worth.items()
        for level in stated_levels(images)
    }
    return {key: (float(np.mean(new <= bound)), bound) for key, bound in bounds.items()}


def main() -> None:
    """Print a table for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=(5, 10, 25))
    parser.add_argument("--draws", type=int, default=120)
    options = parser.parse_args()
    content = np.load(options.answers)
    residuals, covariance = content["rest_residuals"], content["rest_covariance"]
    rng = np.random.default_rng(0)
    print("| images | stated | " + " | ".join(f"{way}: found, bound" for way in WAYS) + " |\n|---:|---:|---|---|---|")
    for images in options.images:
        drawn = [one_draw(residuals, covariance, images, rng) for _ in range(options.draws)]
        for level in stated_levels(images):
            cells = []
            for way in WAYS:
                held, bounds = np.array([each[way, level] for each in drawn]).T
                cells.append(f"{100 * held.mean():.1f} ± {100 * held.std():.1f} %, {bounds.mean():.2f}")
            print(f"| {images} | {100 * level:g} % | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
