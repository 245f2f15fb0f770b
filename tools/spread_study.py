"""Do the regions hold what they state? The tables of docs/experiments/spread.md, from out-of-fold answers and a test.

    python tools/spread_study.py weights/ceph_small.ldx --root ../shared/data/isbi2015 \
        --folds-folder runs/ceph_diffusion_small/folds --output docs/experiments

The folds are those of `ldx calibrate --folds 5`. Written are spread_resplits.csv (random halves of the out-of-fold
images, and of the test images), spread_official.csv (fitted on all training images, counted on the test part) and
spread_landmarks.csv (the same for each landmark, with the shift of its labels). --more FILE... are further models, such
as those of other seeds, counted on the test part with the calibration of the same folds. --variants writes
spread_variants.csv alone: other ways to make regions, out of fold, without a look at the test part.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.modelfile.model_file import read_facts
from landmark_diffusion.spread.calibration import LEVELS, SpreadCalibration, conformal_quantile
from landmark_diffusion.spread.coverage import bootstrap_coverage, coverage, resplit_coverage
from landmark_diffusion.spread.statistics import abstention_curve, covered, mahalanobis, rank_correlation, region_area
from landmark_diffusion.studies.calibrate.collect import Collected, collect
from landmark_diffusion.studies.calibrate.fitting import evaluation
from landmark_diffusion.studies.calibrate.folds import make_folds
from landmark_diffusion.studies.calibrate.material import judge_out_of_fold, labelled_images, make_detectors

SETTINGS = ((1, 1), (2, 1), (4, 1), (8, 1), (8, 8))
SPLITS, REPLICATES, LEVEL = 20, 1000, 0.9


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--root", required=True)
    parser.add_argument("--folds-folder", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("docs/experiments"))
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="models of other seeds")
    parser.add_argument("--variants", action="store_true", help="other ways to make regions, out of fold, alone")
    options = parser.parse_args()
    facts = read_facts(options.model)
    section = {key: facts.data[key] for key in ("dataset", "size", "resize", "split") if key in facts.data}
    section["root"] = options.root
    ids = [sample.image_id for sample in labelled_images(section, "train").samples]
    folds = make_folds(ids, options.folds, options.folds_folder)
    if options.variants:
        chosen, trained = judge_out_of_fold(folds, facts, section, ((1, 1), (8, 1)), lambda: None)
        write(options.output / "spread_variants.csv", variant_rows(chosen, trained))
        return
    chosen, trained = judge_out_of_fold(folds, facts, section, SETTINGS, lambda: None)
    images = labelled_images(section, "test")
    tested: dict[str, list[Collected]] = {}
    for path in (options.model, *options.more):
        detectors = make_detectors(lambda path=path, **each: Detector.load(path, **each), SETTINGS)
        tested[path.name] = collect(detectors, images, lambda: None)
        print(f"{path}: {len(images)} test images", flush=True)
    names = facts.landmark_names
    write(options.output / "spread_resplits.csv", resplit_rows(chosen, trained, tested[options.model.name]))
    write(options.output / "spread_official.csv", official_rows(chosen, trained, tested))
    place = next(n for n, each in enumerate(chosen) if (each["steps"], each["samples"]) == (8, 1))
    rows = landmark_rows(names, trained[place], tested[options.model.name][place], section, images)
    write(options.output / "spread_landmarks.csv", rows)


def resplit_rows(
    chosen: Sequence[dict[str, Any]], trained: Sequence[Collected], tested: Sequence[Collected]
) -> Iterable[dict[str, Any]]:
    """Coverage on random halves, ``SPLITS`` times, within the out-of-fold images and within the test images."""
    for settings, *parts in zip(chosen, trained, tested, strict=True):
        for part, collected in zip(("out of fold", "test"), parts, strict=True):
            half = len(collected.truth) // 2
            for level in LEVELS:
                found = resplit_coverage(evaluation(collected, level), len(collected.truth), half, SPLITS)
                yield {**label(settings), "images": part, "stated": level, "found": found.mean, "std": found.std}


def official_rows(
    chosen: Sequence[dict[str, Any]], trained: Sequence[Collected], tested: dict[str, list[Collected]]
) -> Iterable[dict[str, Any]]:
    """Fitted on all out-of-fold images, counted on the test part, with an interval over both sets of images."""
    for model, found in tested.items():
        for settings, fitting, test in zip(chosen, trained, found, strict=True):
            first = model == next(iter(tested))
            for level in LEVELS if first else (LEVEL,):
                evaluate = evaluation(fitting, level, test)
                count = REPLICATES if first and level == LEVEL else 2
                share = bootstrap_coverage(evaluate, len(fitting.truth), len(test.truth), count).overall
                whole = count > 2
                spread = SpreadCalibration.fit(fitting.residuals, fitting.answers.covariance, (level,))
                calibrated = spread.calibrated(test.answers.covariance)
                expected = spread.expected_error(test.in_unit(calibrated))
                ranks, kept = rank_correlation(expected, test.errors), abstention_curve(expected, test.errors)
                area = region_area(test.in_unit(spread.regions(calibrated, level)))
                yield {
                    "model": model, **label(settings), "stated": level, "found": share.mean,
                    "low": share.low if whole else "", "high": share.high if whole else "",
                    "area_mean": area.mean(), "area_median": np.median(area), "mre": test.errors.mean(),
                    "expected": expected.mean(), "spearman_pooled": ranks.pooled, "spearman_within": ranks.within,
                    "mre_of_90": kept.mre[kept.kept(0.9)], "mre_of_75": kept.mre[kept.kept(0.75)],
                    "mre_of_50": kept.mre[kept.kept(0.5)], "normalized_excess": kept.normalized_excess,
                }  # fmt: skip


def landmark_rows(
    names: Sequence[str], fitting: Collected, test: Collected, section: dict[str, Any], images: Any
) -> Iterable[dict[str, Any]]:
    """Each landmark's coverage on the official split, and how its labels moved between training and test."""
    spread = SpreadCalibration.fit(fitting.residuals, fitting.answers.covariance, (LEVEL,))
    regions = spread.regions(spread.calibrated(test.answers.covariance), LEVEL)
    inside = covered(test.residuals, regions)
    interval = bootstrap_coverage(evaluation(fitting, LEVEL, test), len(fitting.truth), len(test.truth), REPLICATES)
    without = covered(test.residuals - test.residuals.mean(0) + fitting.residuals.mean(0), regions)
    own = resplit_coverage(evaluation(test, LEVEL), len(test.truth), len(test.truth) // 2, SPLITS).landmarks.mean(0)
    doctors = {part: offsets(section, part) for part in ("train", "test")}
    shares, unshifted = coverage(inside)[0], coverage(without)[0]
    for n, name in enumerate(names):
        train, there = (doctors[part][n] for part in ("train", "test"))
        bias = [each.residuals[:, n].mean(0) * each.to_unit[0] for each in (fitting, test)]
        yield {
            "landmark": name, "coverage": shares[n], "low": interval.landmarks[n].low,
            "high": interval.landmarks[n].high, "coverage_without_shift": unshifted[n],
            "coverage_fitted_on_test": own[n],
            "median_area_mm2": np.median(region_area(test.in_unit(regions))[:, n]), "mre_mm": test.errors[:, n].mean(),
            "doctors_offset_train_mm": np.linalg.norm(train), "doctors_offset_test_mm": np.linalg.norm(there),
            "mean_residual_train_mm": np.linalg.norm(bias[0]), "mean_residual_test_mm": np.linalg.norm(bias[1]),
        }  # fmt: skip


def variant_rows(chosen: Sequence[dict[str, Any]], trained: Sequence[Collected]) -> Iterable[dict[str, Any]]:
    """Random halves of the out-of-fold images: coverage, area and rank correlation of three ways to make regions."""
    for settings, found in zip(chosen, trained, strict=True):
        alone = replace(found, answers=replace(found.answers, covariance=np.zeros_like(found.answers.covariance)))
        ways = {"circle of one radius": alone, "own covariance": found, "own covariance + floor": found}
        for way, collected in ways.items():
            rows = []
            rng = np.random.default_rng(0)
            for _ in range(SPLITS):
                order = rng.permutation(len(found.truth))
                rows.append(halves(collected, *np.array_split(order, 2), floor=way != "own covariance"))
            names = ("coverage", "area_mean", "area_median", "spearman_pooled", "spearman_within")
            yield {**label(settings), "way": way, **dict(zip(names, np.mean(rows, 0).tolist(), strict=True))}


def halves(collected: Collected, fitting: np.ndarray, counted: np.ndarray, floor: bool) -> tuple[float, ...]:
    """Fit on some images, measure others; without the floor, lengths in the method's own covariance are the scores."""
    known, new = collected.answers.take(fitting).covariance, collected.answers.take(counted).covariance
    spread = SpreadCalibration.fit(collected.residuals[fitting], known, (LEVEL,))
    if not floor:
        lengths = mahalanobis(collected.residuals[fitting], known)
        bounds = np.array([[conformal_quantile(column, LEVEL)] for column in lengths.T])
        spread = replace(spread, scale=np.ones_like(spread.scale), floor=np.zeros_like(spread.floor), quantiles=bounds)
    calibrated = spread.calibrated(new)
    inside = covered(collected.residuals[counted], spread.regions(calibrated, LEVEL))
    squared = covariance_factors(collected.to_unit[counted])
    area = region_area(spread.regions(calibrated, LEVEL) * squared)
    ranks = rank_correlation(spread.expected_error(calibrated * squared), collected.errors[counted])
    return float(inside.mean()), float(area.mean()), float(np.median(area)), ranks.pooled, ranks.within


def offsets(section: dict[str, Any], part: str) -> np.ndarray:
    """Mean of the second annotator less the first, (N, 2) mm."""
    samples = labelled_images(section, part).samples
    return np.mean([(each.annotations[1] - each.annotations[0]) * each.spacing for each in samples], axis=0)


def label(settings: dict[str, Any]) -> dict[str, Any]:
    """The columns that name a setting."""
    return {key: settings[key] for key in ("variant", "steps", "samples", "spread")}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a table with four decimals."""
    rows = [{key: f"{v:.4f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
