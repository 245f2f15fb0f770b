"""What an analysis leaves behind: measures.csv, measures.json, agreement.csv, agreement.json, and tables to print."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.grid import Grid
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.core.json_files import write_json
from landmark_diffusion.core.texts import counted
from landmark_diffusion.studies.cephalometry.agreement import ALL, LEVEL, Agreement
from landmark_diffusion.studies.cephalometry.agreement import DRAWS as IMAGE_DRAWS
from landmark_diffusion.studies.cephalometry.analysis import CERTAIN, DRAWS, INTERVAL_LEVEL, Analysis, MeasureFinding
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.measures import MEASURES

MEASURES_CSV, MEASURES_JSON = "measures.csv", "measures.json"
AGREEMENT_CSV, AGREEMENT_JSON = "agreement.csv", "agreement.json"
MEASURE_COLUMNS = (
    "image", "measure", "value", "unit", "sd", "low", "high", "class", "class_name", "probability", "uncertain", "note",
    "path",
)  # fmt: skip
AGREEMENT_COLUMNS = ("first", "second", "measure", "images", *(
    f"{column}{edge}" for column in ("same", "kappa", "difference", "shift") for edge in ("", "_low", "_high")
))  # fmt: skip
SYMBOLS = {"deg": "°", "ratio": "", "mm": " mm", "px": " px"}
_MEASURE = {each.name: each for each in MEASURES}


def write_measures(folder: Path, analyses: dict[str, Analysis], facts: dict[str, dict[str, Any]]) -> list[Path]:
    """Write measures.csv and measures.json of analyses by image name; ``facts`` are more of each image, for JSON."""
    rows = [
        _measure_row({**_measure_dict(each), "image": name, "path": facts.get(name, {}).get("path", "")})
        for name, analysis in analyses.items()
        for each in analysis.findings
    ]
    table, document = folder / MEASURES_CSV, folder / MEASURES_JSON
    write_csv(table, [MEASURE_COLUMNS, *rows], _cell)
    write_json(document, measures_document(analyses, facts), indent=1, allow_nan=False)
    return [table, document]


def measures_document(analyses: dict[str, Analysis], facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything of the analyses as plain values; what is not known is None."""
    images = [
        {
            "image": name,
            **facts.get(name, {}),
            "facing": analysis.facing,
            "facing_source": analysis.facing_source,
            "notes": [*facts.get(name, {}).get("notes", []), *analysis.notes],
            "doubts": list(analysis.doubts),
            "measures": [_measure_dict(each) for each in analysis.findings],
        }
        for name, analysis in analyses.items()
    ]
    classes = {
        name: [{"class": n, "name": scheme.name(n), "values": scheme.words(n)} for n in scheme.numbers]
        for name, scheme in SCHEMES.items()
    }
    return {
        "format": "landmark_diffusion measures",
        "version": 1,
        "source": "Wang et al., Medical Image Analysis 31, 2016",
        "draws": DRAWS,
        "interval_level": INTERVAL_LEVEL,
        "certain_from": CERTAIN,
        "classes": classes,
        "images": images,
    }


def _measure_dict(finding: MeasureFinding) -> dict[str, Any]:
    return {
        "measure": finding.measure.name,
        "title": finding.measure.title,
        "value": _plain(finding.value),
        "unit": finding.unit,
        "sd": finding.spread,
        "low": finding.low,
        "high": finding.high,
        "class": finding.class_number,
        "class_name": finding.class_name or None,
        "probability": finding.probability,
        "uncertain": finding.uncertain,
        "probabilities": {str(n): p for n, p in (finding.probabilities or {}).items()} or None,
        "impossible": finding.impossible,
        "doubtful": list(finding.doubtful),
        "note": finding.note or None,
    }


def _measure_row(values: dict[str, Any]) -> list[Any]:
    sure, unsure = values["probability"], values["uncertain"]
    texts = {
        "image": legible(values["image"]),
        "path": legible(str(values["path"])),
        "probability": None if sure is None else f"{sure:.3f}",
        "uncertain": None if unsure is None else str(unsure).lower(),
    }
    return [{**values, **texts}[column] for column in MEASURE_COLUMNS]


def value_words(finding: MeasureFinding) -> str:
    """Value and unit as people read them, such as "82.3°"; a dash where there is no value."""
    if not math.isfinite(finding.value):
        return "\N{EN DASH}"
    return f"{finding.value:.{finding.measure.decimals}f}{SYMBOLS[finding.unit]}"


def interval_words(finding: MeasureFinding) -> str:
    """The 90 % interval, such as "80.1 to 84.0"; empty without one."""
    if finding.low is None or finding.high is None:
        return ""
    return f"{finding.low:.{finding.measure.decimals}f} to {finding.high:.{finding.measure.decimals}f}"


def class_words(finding: MeasureFinding) -> str:
    """The class and how probable it is, such as "3 prognathic mandible, 97 %"; the note where there is no class."""
    if finding.class_number is None:
        return finding.note
    sure = "" if finding.probability is None else f", {_percent(finding.probability)}"
    return f"{finding.class_number} {finding.class_name}{sure}" + (" uncertain" if finding.uncertain else "")


def _percent(share: float) -> str:
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def image_grid(name: str, analysis: Analysis) -> Grid:
    """One image's measures, to print."""
    counts = Counter(each.note for each in analysis.findings if each.note and each.class_number is None)
    common = [note for note, count in counts.items() if count > 2]  # said once, above the table
    rows = tuple(
        (each.measure.name, value_words(each), interval_words(each), SCHEMES[each.measure.name].words(1),
         "no class" if each.note in common and each.class_number is None else _class_cell(each))
        for each in analysis.findings
    )  # fmt: skip
    headings = ("", "value", "90 % interval", "normal", "class")
    facing = "" if analysis.facing is None else f"facing {analysis.facing} ({analysis.facing_source})"
    notes = tuple(each for each in (facing, *analysis.notes, *common) if each)
    return Grid(legible(name), (), headings, headings, (rows,), notes, words=(4,))


def _class_cell(finding: MeasureFinding) -> str:
    words = class_words(finding)
    return words if finding.class_number is None or not finding.doubtful else f"{words} (on doubtful points)"


def counts_grid(analyses: dict[str, Analysis]) -> Grid:
    """How many images are in each class, and how many of those uncertainly, to print after many images.

    Where no image has a probability, how many are uncertain is not known and left out.
    """
    sections = []
    columns = 3 if any(each.probability is not None for one in analyses.values() for each in one.findings) else 2
    for place, measure in enumerate(MEASURES):
        findings = [each.findings[place] for each in analyses.values()]
        scheme = SCHEMES[measure.name]
        names = {number: f"{number} {scheme.name(number)}" for number in scheme.numbers} | {None: "no class"}
        rows = []
        for number, name in names.items():
            found = [each for each in findings if each.class_number == number]
            if found or number is not None:
                unsure = sum(bool(each.uncertain) for each in found)
                rows.append((f"{measure.name}: {name}", str(len(found)), str(unsure))[:columns])
        sections.append(tuple(rows))
    headings = ("measure: class", "images", "uncertain")[:columns]
    return Grid(counted(len(analyses), "image"), (), headings, headings, tuple(sections))


def write_agreement(folder: Path, rows: Sequence[Agreement], facts: dict[str, Any]) -> list[Path]:
    """Write agreement.csv and agreement.json; ``facts`` say what was compared."""
    table, document = folder / AGREEMENT_CSV, folder / AGREEMENT_JSON
    values = [_agreement_values(each) for each in rows]
    write_csv(table, [AGREEMENT_COLUMNS, *values], _cell)
    listed = [dict(zip(AGREEMENT_COLUMNS, each, strict=True)) for each in values]
    content = {**facts, "interval_level": LEVEL, "draws": IMAGE_DRAWS, "rows": listed}
    write_json(document, content, indent=1, allow_nan=False)
    return [table, document]


def agreement_grids(rows: Sequence[Agreement], title: str, above: Sequence[str]) -> list[Grid]:
    """The agreement of each pair, to print and as Markdown."""
    pairs = list(dict.fromkeys((each.first, each.second) for each in rows))
    headings = ("", "same class %", "kappa", "|difference|", "shift")
    long = ("", "same class, %", "Cohen's kappa", "mean absolute difference", "mean of second less first")
    grids = []
    for first, second in pairs:
        cells = tuple(_agreement_cells(each) for each in rows if (each.first, each.second) == (first, second))
        grids.append(Grid(f"{title}: {first} and {second}", tuple(above), headings, long, (cells,)))
    return grids


def _agreement_cells(row: Agreement) -> tuple[str, ...]:
    same = f"{100 * row.same.mean:.1f} [{100 * row.same.low:.1f}, {100 * row.same.high:.1f}]"
    if row.measure == ALL:
        return row.measure, same, "", "", ""
    measure = _MEASURE[row.measure]
    digits = 3 if measure.unit == "ratio" else 2
    shift = f"{row.shift.mean:+.{digits}f}" if row.shift else ""
    return row.measure, same, _interval(row.kappa, 2), _interval(row.difference, digits) + SYMBOLS[measure.unit], shift


def _interval(value: Interval | None, digits: int) -> str:
    return "" if value is None else f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _agreement_values(row: Agreement) -> list[Any]:
    found: list[Any] = [row.first, row.second, row.measure, row.same.images]
    for each in (row.same, row.kappa, row.difference, row.shift):
        found += [None] * 3 if each is None else [_plain(each.mean), _plain(each.low), _plain(each.high)]
    return found


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _cell(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else ""


def legible(text: str) -> str:
    """Spell out what is no Unicode: the name of a file need not be, and nothing could be printed or written of it."""
    return text.encode("utf-8", "backslashreplace").decode()
