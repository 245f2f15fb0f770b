"""metrics.json: every number of a test run in plain JSON, with the rules and the counts it was measured by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.plain import plain
from landmark_diffusion.core.texts import counted
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.tables import ResultsTable
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import Unit, unit_words


def write_metrics(path: str | Path, results: Results, extra: Mapping[str, Any] | None = None) -> Path:
    """Write metrics.json, whole or not at all; returns its path. A number that cannot be known is null, never NaN.

    ``extra`` (command, seed, checkpoint, versions ...) is written under its own key. Raises what ``results`` raises,
    and TypeError when ``extra`` holds what JSON cannot.
    """
    content = {**metrics_dict(results), "extra": plain(dict(extra or {}))}
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return Path(path)


def metrics_dict(results: Results) -> dict[str, Any]:
    """Gather what ``write_metrics`` writes as plain values, all but ``extra``."""
    evaluation = results.evaluation
    values: dict[str, Any] = plain(
        {
            **_measured(evaluation, results.table),
            "landmark_names": evaluation.landmark_names,
            "annotator_names": evaluation.annotator_names,
            "main": evaluation.main,
            "variants": _summaries(evaluation),
            "intervals": evaluation.intervals,
            "table": results.table.to_dict()["rows"],
            "landmarks": results.landmarks.to_list(),
            "annotator_view": None if results.annotators is None else results.annotators.to_dict(),
            "other_protocols": {
                each.protocol.name: {**_measured(each, table), "variants": _summaries(each)}
                for each, table in zip(results.others, results.other_tables, strict=True)
            },
            "spread": None if results.spread is None else results.spread.to_dict(),
        }
    )
    return values


def _measured(evaluation: Evaluation, table: ResultsTable) -> dict[str, Any]:
    return {"protocol": table.protocol, "unit": evaluation.unit, "radii": evaluation.radii}


def _summaries(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Each variant's figures, and on how many images and points; ``missing`` are the points without truth."""
    return {
        name: {
            "mre": each.mre, "std": each.std, "median": each.median, "sdr": each.sdr, "beyond_10mm": each.beyond,
            "images": len(evaluation.image_ids), "points": each.points, "missing": evaluation.missing,
        }
        for name, each in evaluation.summaries.items()
    }  # fmt: skip


def interval_lines(found: Mapping[str, Mapping[str, Any]], unit: Unit) -> list[str]:
    """Say the intervals in words, one line each."""
    return [
        f"{name}: {each['mean']:.2f} {unit_words(unit)}, {100 * each['level']:.0f} % interval over "
        f"{counted(each['images'], 'image')} {each['low']:.2f} to {each['high']:.2f}"
        for name, each in found.items()
    ]
