"""metrics.json: every number of a test run in plain JSON, with the rules and the counts it was measured by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.plain import plain
from landmark_diffusion.core.texts import counted
from landmark_diffusion.evaluation.annotator_view import annotator_view
from landmark_diffusion.evaluation.landmark_table import landmark_table
from landmark_diffusion.evaluation.spread_view import SpreadView
from landmark_diffusion.evaluation.tables import other_table, results_table
from landmark_diffusion.metrics.bootstrap import bootstrap_interval, paired_difference
from landmark_diffusion.metrics.protocols import Protocol, error_table, evaluate, get_protocol
from landmark_diffusion.metrics.records import Prediction, Unit, in_dataset_order, unit_words


def write_metrics(
    path: str | Path,
    variants: Mapping[str, Sequence[Prediction]],
    landmark_names: Sequence[str],
    annotator_names: Sequence[str] = (),
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
    protocol: Protocol | str = "default",
    extra: Mapping[str, Any] | None = None,
    other_protocols: Sequence[Protocol | str] = (),
    spread: SpreadView | None = None,
    main: str | None = None,
) -> Path:
    """Write metrics.json, whole or not at all; returns its path. A number that cannot be known is null, never NaN.

    ``main`` is the variant whose points are the prediction (by default the last). ``extra`` (command, seed, checkpoint,
    versions ...) is written under its own key, what :func:`other_metrics` finds under ``other_protocols``, ``spread``
    under its own. Raises what ``evaluate`` raises, and TypeError when ``extra`` holds what JSON cannot.
    """
    content = metrics_dict(variants, landmark_names, annotator_names, radii, unit, protocol, main)
    content["other_protocols"] = plain(other_metrics(variants, other_protocols, radii))
    content["spread"] = None if spread is None else plain(spread.to_dict())
    content["extra"] = plain(dict(extra or {}))
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return Path(path)


def metrics_dict(
    variants: Mapping[str, Sequence[Prediction]],
    landmark_names: Sequence[str],
    annotator_names: Sequence[str] = (),
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
    protocol: Protocol | str = "default",
    main: str | None = None,
) -> dict[str, Any]:
    """Gather what ``write_metrics`` writes as plain values: ``protocol``, ``unit``, ``radii``, ``main``, ``variants``,
    ``table``, ``landmarks``, ``annotator_view`` (of ``main``; null without two annotators), ``intervals``.
    """
    main = main or list(variants)[-1]
    table = results_table(variants, annotator_names, radii, unit, protocol)
    summaries = {name: _summary(predictions, protocol, radii, unit) for name, predictions in variants.items()}
    view = annotator_view(variants, landmark_names, annotator_names, table.unit, protocol, main)
    return plain(
        {
            "protocol": table.protocol,
            "unit": table.unit,
            "radii": table.radii,
            "landmark_names": landmark_names,
            "annotator_names": annotator_names,
            "main": main,
            "variants": summaries,
            "intervals": intervals(variants, table.unit, protocol),
            "table": table.to_dict()["rows"],
            "landmarks": landmark_table(variants, landmark_names, radii, unit, protocol).to_list(),
            "annotator_view": None if view is None else view.to_dict(),
        }
    )


def other_metrics(
    variants: Mapping[str, Sequence[Prediction]],
    protocols: Sequence[Protocol | str],
    radii: Sequence[float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure the variants under other protocols: name -> ``protocol`` (the line), ``unit``, ``radii``, ``variants``.

    ``radii`` are the dataset's, for protocols without their own. Raises what ``evaluate`` raises.
    """
    found: dict[str, dict[str, Any]] = {}
    for rules in (get_protocol(each) if isinstance(each, str) else each for each in protocols):
        table = other_table(variants, rules, radii)
        summaries = {name: _summary(predictions, rules, table.radii) for name, predictions in variants.items()}
        found[rules.name] = {
            "protocol": table.protocol, "unit": table.unit, "radii": table.radii, "variants": summaries
        }  # fmt: skip
    return found


def intervals(
    variants: Mapping[str, Sequence[Prediction]], unit: Unit, protocol: Protocol | str = "default"
) -> dict[str, dict[str, Any]]:
    """Bootstrap 95 % intervals over images of each variant's mean error, and of the paired differences of two.

    Keys are "a" and "a - b"; values hold mean, low, high (in ``unit``, each image counting alike), level and images.
    Images without any truth are left out; fewer than two images give no interval.
    """
    tables = {name: _by_image(predictions, protocol, unit) for name, predictions in variants.items()}
    found = {name: vars(bootstrap_interval(table)) for name, table in tables.items() if len(table) > 1}
    for first, second in combinations(tables, 2):
        a, b = tables[first], tables[second]
        if _images(variants[first]) == _images(variants[second]) and a.shape == b.shape and len(a) > 1:
            found[f"{first} - {second}"] = vars(paired_difference(a, b))
    return found


def interval_lines(found: Mapping[str, Mapping[str, Any]], unit: Unit) -> list[str]:
    """Say the intervals in words, one line each."""
    return [
        f"{name}: {each['mean']:.2f} {unit_words(unit)}, {100 * each['level']:.0f} % interval over "
        f"{counted(each['images'], 'image')} {each['low']:.2f} to {each['high']:.2f}"
        for name, each in found.items()
    ]


def _summary(
    predictions: Sequence[Prediction],
    protocol: Protocol | str,
    radii: Sequence[float] | None,
    unit: Unit | None = None,
) -> dict[str, Any]:
    """What ``evaluate`` finds, without what metrics.json holds elsewhere."""
    elsewhere = ("protocol", "unit", "landmark_mre", "landmark_sdr")
    found = evaluate(predictions, protocol, radii, unit)
    return {key: value for key, value in found.items() if key not in elsewhere}


def _by_image(predictions: Sequence[Prediction], protocol: Protocol | str, unit: Unit) -> np.ndarray:
    """Errors (I, ...) of the images that have any truth; for truth "each", an image's annotators stand side by side."""
    ordered = in_dataset_order(predictions)
    table = error_table(ordered, protocol, unit)
    table = table.reshape(len(ordered), -1)
    return table[np.isfinite(table).any(1)]


def _images(predictions: Sequence[Prediction]) -> list[str]:
    return [prediction.image_id for prediction in in_dataset_order(predictions)]
