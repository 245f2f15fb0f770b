"""The report of a test as one HTML page: all images by error, each with its points, beside the report's tables."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.html_page import image_record
from landmark_diffusion.evaluation.abstention_table import abstention_grid
from landmark_diffusion.evaluation.by_landmark import mean_of_known
from landmark_diffusion.evaluation.metrics_file import interval_lines
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.metrics.summary import within
from landmark_diffusion.pictures.figures import annotator_labels
from landmark_diffusion.pictures.page import Page, number
from landmark_diffusion.spread.calibration import Spreads
from landmark_diffusion.spread.statistics import expected_radial_error

SHARP, MOST = 12_000_000, 60_000_000
"""Characters of pictures up to which those of the worst images keep their resolution, and of all pictures."""

DIGITS = 6
"""Decimals of errors, so that two decimals of them are those of the tables."""


def write_report_page(
    path: Path,
    results: Results,
    image_of: Callable[[str], np.ndarray] | None,
    figures: Sequence[tuple[str, Path]] = (),
) -> Path:
    """Write the page and return its path; images come by the main variant's mean error, worst first.

    The worst images' pictures keep their resolution; the others are reduced, and left out from ``MOST`` characters on,
    which is some 400 cephalograms. All numbers are there for every image.

    Args:
        image_of: image_id -> (H, W) uint8 original image; where it raises UserError or OSError, the image is listed
            with that as a note. None: no pictures.
        figures: captions and PNG files that stand below the tables.
    """
    evaluation = results.evaluation
    own = evaluation.covariance[evaluation.main]
    spreads = results.spreads or (None if own is None else Spreads(own, expected_radial_error(own)))
    page = Page(path, "report", thumbnails=False, sharp=SHARP, most=MOST)
    means = [number(mean_of_known(each), DIGITS) for each in evaluation.errors_to_mean[evaluation.main]]
    for row in sorted(range(len(means)), key=lambda row: (means[row] is None, -(means[row] or 0.0))):
        pixels, notes = _picture(image_of, evaluation.image_ids[row])
        page.add({**_record(evaluation, spreads, row, pixels, notes), "mean": means[row]}, pixels)
    return page.write(results.title, _head(results, spreads, figures))


def _picture(image_of: Callable[[str], np.ndarray] | None, image_id: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if image_of is None:
        return None, ()
    try:
        return image_of(image_id), ()
    except (UserError, OSError) as error:
        return None, (f"The image could not be read for this page: {error}",)


def _head(results: Results, spreads: Spreads | None, figures: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    evaluation, spread, people = results.evaluation, results.shown_spread, results.annotators
    table, sign = results.table.grid(), "<" if evaluation.protocol.strict else "≤"
    unit = unit_words(evaluation.unit)
    grids = [replace(table, notes=(*table.notes, *interval_lines(evaluation.intervals, evaluation.unit)))]
    grids += [each.grid() for each in results.other_tables]
    grids += [(results.landmarks if people is None else replace(results.landmarks, people=False)).grid()]
    grids += [] if spread is None else [spread.grid(), abstention_grid(spread.by_point, spread.by_image, spread.unit)]
    grids += [] if people is None else [people.grid()]
    calibrated = spreads is not None and spreads.regions is not None
    return {
        "kind": "report",
        "model": f"{evaluation.main}, mean error {evaluation.summaries[evaluation.main].mre:.2f} {unit}",
        "unit": unit,
        "length": "mm" if evaluation.unit == "mm" else "px",
        "error": "found",
        "threshold": float(evaluation.radii[0]),
        "within": f"{sign} {evaluation.radii[0]:g} {unit}",
        "expected": "" if spreads is None else "calibrated" if calibrated else "by the uncalibrated spread",
        "landmarks": list(evaluation.landmark_names),
        "annotators": annotator_labels(evaluation.annotator_names, evaluation.annotations.shape[1]),
        "grids": [asdict(each) for each in grids],
        "figures": [[caption, base64.b64encode(file.read_bytes()).decode("ascii")] for caption, file in figures],
    }


def _record(
    evaluation: Evaluation, spreads: Spreads | None, row: int, pixels: np.ndarray | None, notes: tuple[str, ...]
) -> dict[str, Any]:
    """What the page of detections knows of an image, and beside it truth and errors."""
    points, people = evaluation.points[evaluation.main][row], evaluation.annotations[row]
    errors = evaluation.errors_to_mean[evaluation.main][row]
    to_each = np.linalg.norm((points - people) * evaluation.scale[row], axis=-1)
    record = image_record(_detection(evaluation, spreads, row, _size(evaluation, row, pixels), notes))
    for index, landmark in enumerate(record["landmarks"]):
        landmark["found"] = number(errors[index], DIGITS)
        landmark["to"] = [number(each, DIGITS) for each in to_each[:, index]]
        landmark["mean"] = _point(evaluation.truth[row, index])
        landmark["people"] = [_point(each) for each in people[:, index]]
    known = np.isfinite(errors)
    share = (
        100 * float(within(errors, evaluation.radii[0], evaluation.protocol.strict)[known].mean())
        if known.any()
        else np.nan
    )
    return {**record, "within": number(share), "worst": int(np.nanargmax(errors)) if known.any() else None}


def _detection(
    evaluation: Evaluation, spreads: Spreads | None, row: int, size: tuple[int, int], notes: tuple[str, ...]
) -> Detection:
    name, spacing = evaluation.image_ids[row], evaluation.spacing[row]
    found = {} if spreads is None else {"expected_error": spreads.expected_error[row]}
    if spreads is not None and spreads.regions is not None:
        found |= {"regions": spreads.regions[row], "level": spreads.level}
    return Detection(
        name, name, size, evaluation.landmark_names, evaluation.points[evaluation.main][row],
        spacing=(float(spacing[0]), float(spacing[1])) if evaluation.unit == "mm" else None,
        spacing_source="the data set", notes=notes, **found,
    )  # fmt: skip


def _size(evaluation: Evaluation, row: int, pixels: np.ndarray | None) -> tuple[int, int]:
    """(width, height) of the image; without any, of what its points need."""
    if pixels is not None:
        return pixels.shape[1], pixels.shape[0]
    size = evaluation.sizes[row]
    if np.isnan(size).any():
        known = np.concatenate([evaluation.points[evaluation.main][row][None], evaluation.annotations[row]])
        size = 1.1 * np.nanmax(known, axis=(0, 1), initial=1.0)
    return int(size[0]), int(size[1])


def _point(point: np.ndarray) -> list[float] | None:
    return [round(float(value), 3) for value in point] if np.isfinite(point).all() else None
