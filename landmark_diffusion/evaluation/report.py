"""The report of a test run: a folder with README.md (the tables), the pictures it links, and all images in a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.grid import escape
from landmark_diffusion.evaluation.annotator_figure import annotator_figure
from landmark_diffusion.evaluation.metrics_file import interval_lines
from landmark_diffusion.evaluation.report_page import write_report_page
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.spread_figure import spread_figure
from landmark_diffusion.evaluation.tables import Table
from landmark_diffusion.metrics.annotators import between_annotators
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.pictures.closeups import closeup_figure
from landmark_diffusion.pictures.figures import annotator_labels, numbered
from landmark_diffusion.pictures.landmark_errors import cumulative_figure, landmark_errors_figure
from landmark_diffusion.pictures.overlays import overlay_figure
from landmark_diffusion.pictures.process_figure import Step, process_figure, salt_and_pepper_figure

Value = TypeVar("Value")
Source = Callable[[str], Value] | Mapping[str, Value]


@dataclass(frozen=True)
class CaseDetails:
    """What a method shows of one image beside its points; all maps lie in the network's grid.

    Args:
        image: (H, W) the network's input, uint8 or [0, 1].
        frame: the image's data.geometry.Frame, between original and network pixels.
        heatmaps: variant -> (N, H, W).
        trajectory: (t, x_t (N, H, W), estimate of x_0 (N, H, W)) from t = T-1 down; empty without diffusion.
    """

    image: np.ndarray
    frame: Any
    heatmaps: Mapping[str, np.ndarray]
    trajectory: Sequence[Step] = ()


@dataclass(frozen=True)
class Choice:
    """One image that the report shows: ``why`` is "best", "median" or "worst"; ``error`` its mean error in ``unit``."""

    image_id: str
    why: str
    rank: int
    error: float


@dataclass(frozen=True)
class _Case:
    """Everything the pictures share."""

    folder: Path
    evaluation: Evaluation
    annotator_names: Sequence[str]

    @property
    def unit(self) -> str:
        """The unit as people read it."""
        return unit_words(self.evaluation.unit)


def choose_images(evaluation: Evaluation, count: int = 6) -> list[Choice]:
    """Choose the images with the best, median and worst mean error, ``count`` in total (fewer where there are fewer).

    The errors are the main variant's to the mean of the annotators; images without any truth are passed over. Sorted
    from best to worst; ``rank`` counts from 1.
    """
    found = zip(evaluation.image_ids, evaluation.errors_to_mean[evaluation.main], strict=True)
    means = sorted((float(np.nanmean(each)), image) for image, each in found if np.isfinite(each).any())
    total, part = len(means), -(-min(count, len(means)) // 3)
    middle = max(0, (total - part) // 2)
    wanted = {rank: "median" for rank in range(middle, min(middle + part, total))}
    wanted |= {rank: "worst" for rank in range(total - part, total)}
    wanted |= {rank: "best" for rank in range(part)}
    ranks = sorted(wanted)[:count] if len(wanted) <= count else _thin(sorted(wanted), count)
    return [Choice(means[rank][1], wanted[rank], rank + 1, means[rank][0]) for rank in ranks]


def write_report(
    folder: str | Path,
    results: Results,
    images: Source[np.ndarray] | None,
    *,
    details: Source[CaseDetails | None] | None = None,
    overlays: int = 6,
) -> list[Path]:
    """Write the report and return the paths written, README.md first and index.html, the page, second.

    Args:
        folder: where the report goes; made if missing.
        results: what it tells; the best, median and worst images are those of the evaluation's main variant.
        images: image_id -> (H, W) uint8 original image, as a function or a mapping; None leaves the pictures out.
        details: image_id -> CaseDetails or None, asked for the images of ``choose_images`` only, so that a function may
            run the model again. It gives the heatmaps in the overlays and, for one image of each kind, the panels of
            heatmaps around landmarks and the reverse process (where the details hold a trajectory).
        overlays: how many images are shown.

    Raises:
        MetricError: where ``results`` raises.
    """
    folder, evaluation, table = Path(folder), results.evaluation, results.table
    labels = annotator_labels(evaluation.annotator_names, evaluation.annotations.shape[1])
    case = _Case(folder, evaluation, labels)
    written, text = _plots(case, table)
    by_landmark, doctors, trust = results.landmarks, "", ""
    if (view := results.annotators) is not None:
        written.append(annotator_figure(folder / "annotators.png", view))
        link = _link(written[-1], f"Annotators, error and spread of {evaluation.main}", table.counts)
        doctors = "\n".join([view.to_markdown(), *link])
        by_landmark = replace(by_landmark, disagreement=None)  # the view tells it, beside the spread
    if (spread := results.shown_spread) is not None:
        written.append(spread_figure(folder / "spread.png", spread))
        link = _link(written[-1], f"Spread of {evaluation.main}, and its error", table.counts)
        trust = "\n".join([spread.to_markdown(), *link])
    figures = [(path.stem.replace("_", " ").capitalize(), path) for path in written]
    image_of = None if images is None else partial(_ask, images)
    page = write_report_page(folder / "index.html", results, image_of, figures)
    if images is not None:
        more, lines = _pictures(case, images, details, choose_images(evaluation, overlays))
        written, text = written + more, text + lines
    confidence = [f"- {escape(line)}" for line in interval_lines(evaluation.intervals, evaluation.unit)]
    head = table.to_markdown().replace("## ", "# ", 1)
    others = [each.to_markdown() for each in results.other_tables]
    parts = [
        head,
        f"[All images by error, to zoom into]({page.name}), in a browser",
        "\n".join(confidence),
        *others,
        by_landmark.to_markdown(),
        trust,
        doctors,
        "\n".join(text),
    ]
    readme = folder / "README.md"
    atomic_write_text(readme, "\n\n".join(part.strip("\n") for part in parts if part) + "\n")
    return [readme, page, *written]


def _plots(case: _Case, table: Table) -> tuple[list[Path], list[str]]:
    """Draw errors by landmark and by radius; returns paths and Markdown lines."""
    evaluation, split = case.evaluation, case.evaluation.disagreement
    people: dict[str, np.ndarray] = {}
    if split is not None:
        name = f"{case.annotator_names[0]} to {case.annotator_names[1]}"
        people[name] = between_annotators(evaluation.annotations, evaluation.scale)
    landmarks = landmark_errors_figure(
        case.folder / "landmark_errors.png", evaluation.errors, evaluation.landmark_names, unit=case.unit,
        human=None if split is None else split.distance, radius=evaluation.radii[0],
    )  # fmt: skip
    curves = cumulative_figure(
        case.folder / "cumulative_errors.png", evaluation.errors, unit=case.unit, radii=evaluation.radii, human=people
    )
    lines = _link(landmarks, "Radial errors by landmark", table.counts)
    return [landmarks, curves], lines + _link(curves, "Share of points found within a radius", table.counts)


def _pictures(
    case: _Case, images: Source[np.ndarray], details: Source[CaseDetails | None] | None, choices: Sequence[Choice]
) -> tuple[list[Path], list[str]]:
    """Draw every chosen image; returns paths and Markdown lines."""
    telling = [next(each for each in choices[::step] if each.why == why) for why, step in _kinds(choices)]
    written: list[Path] = []
    lines = [f"## Images: best, median and worst by the mean error of {escape(case.evaluation.main)}", ""]
    for number, choice in enumerate(choices, 1):
        row = case.evaluation.image_ids.index(choice.image_id)
        more = None if details is None else _ask(details, choice.image_id)
        stem, caption = f"{number}_{choice.why}", _caption(case, choice)
        overlay, closeup = _overlays(case, row, _ask(images, choice.image_id), more, stem, caption)
        lines += _link(overlay, caption, "prediction, annotators" + (" and heatmap" if more else ""))
        lines += [f"[Close-ups of each landmark]({closeup.name})", ""]
        written += [overlay, closeup]
        if more is not None and choice in telling:
            paths, about = _diffusion(case, row, more, stem, caption)
            written, lines = written + paths, lines + about
    return written, lines


def _kinds(choices: Sequence[Choice]) -> list[tuple[str, int]]:
    """The kinds among the choices, each with the direction in which its most telling image is found first."""
    return [(why, -1 if why == "worst" else 1) for why in dict.fromkeys(each.why for each in choices)]


def _overlays(
    case: _Case, row: int, image: np.ndarray, more: CaseDetails | None, stem: str, caption: str
) -> tuple[Path, Path]:
    evaluation = case.evaluation
    found = image, evaluation.points[evaluation.main][row], evaluation.annotations[row]
    names = (evaluation.landmark_names, case.annotator_names)
    shown: dict[str, Any] = {
        "errors": evaluation.errors_to_mean[evaluation.main][row], "bad_beyond": max(evaluation.radii),
        "title": caption,
    }  # fmt: skip
    heat = None if more is None else more.heatmaps.get(evaluation.main)
    overlay = overlay_figure(
        case.folder / f"overlay_{stem}.png", *found, *names, heatmap=heat, frame=None if more is None else more.frame,
        unit=case.unit, **shown,
    )  # fmt: skip
    spacing = None if evaluation.unit == "px" else evaluation.scale[row]
    closeup = closeup_figure(
        case.folder / f"closeups_{stem}.png", *found, *names, spacing=spacing, unit=evaluation.unit, **shown
    )
    return overlay, closeup


def _diffusion(case: _Case, row: int, more: CaseDetails, stem: str, caption: str) -> tuple[list[Path], list[str]]:
    """Draw the heatmaps around landmarks, and the reverse process of the landmark with the median error."""
    evaluation, names = case.evaluation, case.evaluation.landmark_names
    truth = more.frame.to_network(evaluation.truth[row])
    written: list[Path] = []
    lines: list[str] = []
    if more.heatmaps:
        given = {name: points[row] for name, points in evaluation.points.items() if name in more.heatmaps}
        points = {name: more.frame.to_network(given[name]) for name in more.heatmaps if name in given}
        panel = salt_and_pepper_figure(
            case.folder / f"heatmaps_{stem}.png", more.image, more.heatmaps, truth, names, points=points,
            title=f"Heatmaps: {caption}",
        )  # fmt: skip
        written.append(panel)
        lines += _link(panel, f"Heatmaps around five landmarks, image {caption}", "truth in green (paper A, figure 3)")
    if len(more.trajectory):
        landmark = _median_landmark(evaluation.errors_to_mean[evaluation.main][row])
        steps = [(int(t), np.asarray(x)[landmark], np.asarray(x0)[landmark]) for t, x, x0 in more.trajectory]
        name = f"{numbered(landmark, names[landmark])}, image {evaluation.image_ids[row]}"
        process = process_figure(case.folder / f"process_{stem}.png", steps, more.image, truth[landmark], name)
        written.append(process)
        lines += _link(process, f"Reverse process of {name}", "x_t and the estimate of x_0 (paper A, figure 2)")
    return written, lines


def _caption(case: _Case, choice: Choice) -> str:
    place = f"{choice.why}: {choice.rank} of {len(case.evaluation.image_ids)}"
    return f"{choice.image_id}, {case.evaluation.main}, mean error {choice.error:.2f} {case.unit} ({place})"


def _link(path: Path, caption: str, more: str) -> list[str]:
    return [f"![{escape(caption)}]({path.name})", "", f"*{escape(caption)}; {escape(more)}.*", ""]


def _median_landmark(values: np.ndarray) -> int:
    known = np.flatnonzero(np.isfinite(values))
    return int(known[np.argsort(values[known], kind="stable")[(len(known) - 1) // 2]]) if known.size else 0


def _ask(source: Source[Value], image_id: str) -> Value:
    return source[image_id] if isinstance(source, Mapping) else source(image_id)


def _thin(ranks: list[int], count: int) -> list[int]:
    """Keep ``count`` of the ranks, spread evenly, the first and the last among them."""
    kept = np.linspace(0, len(ranks) - 1, count).round().astype(int)
    return [ranks[i] for i in sorted(set(kept.tolist()))]
