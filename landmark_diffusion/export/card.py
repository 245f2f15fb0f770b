"""The card of an exported model: what it is, its data, how it was measured, its limits and terms, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_path, atomic_write_bytes
from landmark_diffusion.core.grid import ABSENT, Grid, escape
from landmark_diffusion.core.groups import dotted
from landmark_diffusion.core.texts import LIMITS, counted
from landmark_diffusion.data.landmark_names import have_names
from landmark_diffusion.data.sources import said_of, takes_root
from landmark_diffusion.data.splits import FEW_TESTED
from landmark_diffusion.evaluation.metrics_file import interval_lines
from landmark_diffusion.evaluation.spread_view import LEAST_SPREAD, too_few_for_spread
from landmark_diffusion.evaluation.tables import ResultsRow, ResultsTable
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.modelfile.facts import ModelFacts, facts_from_json
from landmark_diffusion.modelfile.model_file import check_target, model_content, read_model_file


def model_card(facts: ModelFacts, name: str, use: str | None = None) -> str:
    """Write the card of the file called ``name``; all in it comes from the file's own description.

    ``use`` says how to use it, by default how to measure it.
    """
    template = files(__package__).joinpath("card.md.template").read_text("utf-8")
    return Template(template).substitute(
        name=name,
        method=f"{escape(facts.class_path)} {'with' if '.' in facts.class_path else 'of'}",
        version=escape(facts.package_version),
        landmarks=_landmarks(facts),
        size="{}x{}".format(*facts.data["size"]),
        use=use or f"    ldx test {name}" + (" --data.root PATH" if takes_root(str(facts.data["dataset"])) else ""),
        data=_bullets(map(escape, _data(facts))),
        figures=_figures(facts),
        calibration=_calibration(facts),
        limits=_bullets((*LIMITS, *_presence(facts))),
        note=f"{escape(facts.note)}\n\n" if facts.note else "",
        input=_bullets(map(escape, _input(facts))),
    )


def write_model_and_card(
    target: Path, card: Path, facts: ModelFacts, weights: Mapping[str, Any], overwrite: bool = False
) -> None:
    """Write a model file and its card: both, or on any fault neither; raises UserError as ``write_model_file``."""
    check_target(target, overwrite)
    facts, content = model_content(facts, weights)
    text = model_card(facts_from_json(facts.to_json(), target), target.name)
    with atomic_path(card) as draft:
        draft.write_bytes(text.encode("utf-8"))
        atomic_write_bytes(target, content)


def _landmarks(facts: ModelFacts) -> str:
    count = counted(facts.model["num_landmarks"], "landmark")
    if not facts.landmark_names:
        return count
    if not have_names(facts.landmark_names):
        return f"{count} that have no names (data are matched with them by position: 1 to {len(facts.landmark_names)})"
    return f"{count} ({escape(', '.join(facts.landmark_names))})"


def _data(facts: ModelFacts) -> list[str]:
    trained = facts.training
    dataset, split = trained.get("dataset", "unknown"), trained.get("split")
    lines = [f"Trained on {dataset}" + (f", split {split}" if split else "") + _images(dataset, split, trained)]
    if adapted := facts.adapted:
        where = " ".join(str(adapted[key]) for key in ("start_dataset", "start_split") if adapted.get(key))
        before = counted(adapted["start_updates"], "update") + (f" on {where}" if where else "")
        lines.append(f"Adapted from {adapted['start']} ({before}) by {counted(adapted['updates'], 'update')}")
    lines.append(counted(facts.updates, "update") + (f", seed {trained['seed']}" if "seed" in trained else ""))
    words = {"recipe": "augmentation", "target_points": "target points", "batch_size": "batch"}
    told = [f"{word} {trained[key]}" for key, word in words.items() if key in trained]
    return [*lines, *([", ".join(told)] if told else [])]


def _images(dataset: str, split: str | None, trained: Mapping[str, Any]) -> str:
    """How many images trained the model, as far as that is known."""
    if "images" in trained:
        return f": {counted(trained['images'], 'image')} of its training part"
    told = said_of(dataset).trained_on(split)
    return f": {told}" if told else ""


def _figures(facts: ModelFacts) -> str:
    found = facts.measured
    if found is None and facts.adapted:
        return _adapted_figures(facts.adapted)
    if found is None:
        return "None came with the export: measure it before use."
    part = {"test": "the test images", "validate": "the validation images"}.get(str(found.get("verb")), "images")
    where = ", ".join(str(facts.data[key]) for key in ("dataset", "split") if key in facts.data)
    counts = dict.fromkeys(
        f"{counted(each['images'], 'image')}, {counted(each['points'], 'point')}" for each in found["variants"].values()
    )
    table = ResultsTable(
        title="",
        protocol=found["protocol"],
        counts=f"{part} of {where}: {'; '.join(counts)}",
        unit=found["unit"],
        strict="≤" not in found["protocol"],
        radii=tuple(found["radii"]),
        rows=tuple(_row(row) for row in found["table"]),
    )
    lines = interval_lines(found.get("intervals") or {}, found["unit"]) + _spread_lines(found.get("spread"))
    most = max((int(each["images"]) for each in found["variants"].values()), default=0)
    if most < FEW_TESTED:
        lines.insert(0, f"Measured on {counted(most, 'image')} alone: such figures say little of other images")
    return "\n".join(filter(None, [table.to_markdown(), _bullets(map(escape, lines)), _other_devices(found)]))


def _other_devices(measured: Mapping[str, Any]) -> str:
    """The table of ``ldx shifts --card``; nothing where it was not asked for."""
    found = measured.get("other_devices")
    if found is None:
        return ""
    headings = [str(each) for each in found["headings"]]
    rows = [headings, ["---", *["---:"] * (len(headings) - 1)], *found["rows"]]
    cells = [[each if place == 1 else escape(str(each)) for each in row] for place, row in enumerate(rows)]
    title = "The same as other devices would have made the images (`ldx shifts`):"
    about = _bullets(escape(str(each)) for each in found["about"])
    return "\n".join(["", title, "", *(f"| {' | '.join(row)} |" for row in cells), "", about])


def check_figures(path: Path, facts: ModelFacts) -> dict[str, Any]:
    """Return the figures of a model file that a table can be put beside; raises UserError where there are none."""
    if path.is_dir():
        raise UserError(f"{path}: found a hub's folder, expected a model file: export that, and the folder again")
    if facts.measured is None:
        raise UserError(f"{path}: has no figures that a table could be put beside; run `ldx test`, and export again")
    return facts.measured


def with_other_devices(path: Path, grid: Grid) -> None:
    """Put the table of ``ldx shifts`` into a model file's figures and its card beside it.

    Raises UserError as ``check_figures``.
    """
    content = read_model_file(path)
    measured = check_figures(path, content.facts)
    rows = [list(row) for section in grid.sections for row in section]
    told = {"about": list(grid.above), "headings": list(grid.long_headings or grid.headings), "rows": rows}
    facts = replace(content.facts, measured={**measured, "other_devices": told})
    write_model_and_card(path, path.with_suffix(".md"), facts, content.weights, overwrite=True)


def _adapted_figures(found: Mapping[str, Any]) -> str:
    """Errors of an adapted model on its own images, out of fold, beside those of the model that it began as."""
    unit = unit_words(str(found["unit"]))
    lines = [f"| landmarks | as it was: mean error, {unit} | adapted | change |", "| --- | ---: | ---: | ---: |"]
    for row in found["rows"]:
        cells = (escape(str(row["label"])), *(_interval(row[key]) for key in ("before", "after", "difference")))
        lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"On {counted(found['images'], 'image')} with 95 % intervals over images; adapted: each judged by one of "
        f"{found['folds']} models that had not seen it", str(found["verdict"]),
    )  # fmt: skip
    return "\n".join([*lines, "", _bullets(map(escape, told))])


def _interval(ends: Any) -> str:
    return ABSENT if ends is None else "{:.2f} [{:.2f}, {:.2f}]".format(*ends)


def _spread_lines(found: Mapping[str, Any] | None) -> list[str]:
    """How true the spread came out in the test that the figures are of."""
    if found is None:
        return []
    if (count := found.get("images", LEAST_SPREAD)) < LEAST_SPREAD:  # older files do not say how many
        return [too_few_for_spread(count)]
    line, ranks, unit = found["overall"], found["spearman"], unit_words(found["unit"])
    expected, actual, pooled, within = (
        _rounded(value) for value in (line["expected"], line["actual"], ranks["pooled"], ranks["within"])
    )
    told = [
        f"radial error: {expected} {unit} expected, {actual} found; rank correlation of both {pooled} over all points, "
        f"{within} within landmarks" + ("" if found["level"] is not None else " (not calibrated)")
    ]
    if found["level"] is None:
        return told
    share, low, high = (_rounded(line[key], ".1f", 100) for key in ("coverage", "low", "high"))
    inside = f"{share} % of the points lie in their {100 * found['level']:g} % regions (95 % interval {low} to "
    return [f"{inside}{high}, over images)", *told]


def _rounded(value: float | None, form: str = ".2f", times: float = 1) -> str:
    """Round a number of metrics.json, where null stands for what cannot be known (of too few images, for one)."""
    return "unknown" if value is None else format(times * value, form)


def _calibration(facts: ModelFacts) -> str:
    """How far its regions can be trusted, where it was calibrated."""
    if facts.calibration is None:
        return ""
    from landmark_diffusion.spread.model_calibration import Calibration
    from landmark_diffusion.spread.table import calibration_grid

    calibration = Calibration.from_dict(facts.calibration, int(facts.model["num_landmarks"]), "the model's facts")
    if not all(each.figures for each in calibration.settings):  # which are for the reader, and may be left out
        return ""
    return calibration_grid(calibration).to_markdown() + "\n"


def _presence(facts: ModelFacts) -> list[str]:
    """Say what the model tells of landmarks that are not there, and of points that are not right."""
    lines = ["It always gives every landmark, also where one is not in the image."]
    if dotted(facts.model).get("joint.enabled"):
        lines = [
            "It gives a point for every landmark, and how likely the landmark lies outside the image "
            "(`outside_probability`; above 0.5 it counts as outside). That is an estimate: one that is outside, "
            "covered or does not exist may be called found."
        ]
    if any(each.get("doubt") for each in (facts.calibration or {}).get("settings", ())):
        lines.append(
            "It marks points that may be far off (`doubtful`). That is an estimate too: a point without the mark "
            "may be far off."
        )
    return lines


def _row(found: Mapping[str, Any]) -> ResultsRow:
    """A row of metrics.json, where what cannot be known is null."""
    mre, std, median = (math.nan if found[key] is None else found[key] for key in ("mre", "std", "median"))
    sdr = {float(radius): math.nan if rate is None else rate for radius, rate in found["sdr"].items()}
    return ResultsRow(
        label=found["label"], group=found["group"], points=found["points"], mre=mre, std=std, median=median, sdr=sdr,
        beyond=found.get("beyond_10mm"), ratio=found.get("annotator_ratio"), flattering=bool(found.get("flattering")),
    )  # fmt: skip


def _input(facts: ModelFacts) -> list[str]:
    options = ", ".join(
        f"{key.replace('.init_args.', '.')} {value}" for key, value in dotted(facts.model).items() if value is not None
    )
    return [
        f"Size: resize {facts.data.get('resize', 'stretch')} to {facts.data['size'][0]}x{facts.data['size'][1]} px.",
        f"Intensity: {facts.intensity.get('rule', '')}",
        f"Precision: {facts.precision or 'unknown'}; seed of the evaluation: {_or_unknown(facts.seed)}.",
        f"Options: {options}.",
    ]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _or_unknown(value: Any) -> str:
    return "unknown" if value is None else str(value)
