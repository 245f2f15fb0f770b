"""The report of a test run: a folder with README.md (the tables), the pictures it links, and all images in a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.grid import escape
from landmark_diffusion.evaluation.annotator_figure import annotator_figure
from landmark_diffusion.evaluation.metrics_file import interval_lines
from landmark_diffusion.evaluation.report_page import write_report_page
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.spread_figure import spread_figure
from landmark_diffusion.metrics.annotators import between_annotators
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.pictures.closeups import closeup_figure
from landmark_diffusion.pictures.figures import annotator_labels, numbered
from landmark_diffusion.pictures.landmark_errors import cumulative_figure, landmark_errors_figure
from landmark_diffusion.pictures.overlays import overlay_figure
from landmark_diffusion.pictures.process_figure import Step, process_figure, salt_and_pepper_figure

if TYPE_CHECKING:
    from landmark_diffusion.data.geometry import Frame


@dataclass(frozen=True)
class CaseDetails:
    """What a method shows of one image beside its points; all maps lie in the network's grid.

    Args:
        image: (H, W) the network's input, uint8 or [0, 1].
        frame: between original and network pixels.
        heatmaps: variant -> (N, H, W).
        trajectory: (t, x_t (N, H, W), estimate of x_0 (N, H, W)) from t = T-1 down; empty without diffusion.
    """

    image: np.ndarray
    frame: Frame
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
class _Report:
    """Everything the pictures share, and the paths written so far."""

    folder: Path
    evaluation: Evaluation
    written: list[Path]

    @property
    def unit(self) -> str:
        """The unit as people read it."""
        return unit_words(self.evaluation.unit)

    @property
    def annotator_names(self) -> list[str]:
        """One for each annotator."""
        return annotator_labels(self.evaluation.annotator_names, self.evaluation.annotations.shape[1])

    def show(self, path: Path, caption: str, more: str) -> list[str]:
        """Note a picture that was written; returns the Markdown lines that show it."""
        self.written.append(path)
        return [f"![{escape(caption)}]({path.name})", "", f"*{escape(caption)}; {escape(more)}.*", ""]


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
    images: Callable[[str], np.ndarray] | None,
    *,
    details: Callable[[str], CaseDetails | None] | None = None,
    overlays: int = 6,
) -> list[Path]:
    """Write the report and return the paths written, README.md first and index.html, the page, second.

    Args:
        folder: where the report goes; made if missing.
        results: what it tells; the best, median and worst images are those of the evaluation's main variant.
        images: image_id -> (H, W) uint8 original image; None leaves the pictures out.
        details: image_id -> CaseDetails or None, asked for the images of ``choose_images`` only, so that it may run the
            model again. It gives the heatmaps in the overlays and, for one image of each kind, the panels of heatmaps
            around landmarks and the reverse process (where the details hold a trajectory).
        overlays: how many images are shown.

    Raises:
        MetricError: where ``results`` raises.
    """
    folder, evaluation, table = Path(folder), results.evaluation, results.table
    report = _Report(folder, evaluation, [])
    text = _plots(report, table.counts)
    by_landmark, sections = results.landmarks, []
    if (view := results.annotators) is not None:
        drawn = annotator_figure(folder / "annotators.png", view)
        link = report.show(drawn, f"Annotators, error and spread of {evaluation.main}", table.counts)
        sections.append("\n".join([view.to_markdown(), *link]))
        by_landmark = replace(by_landmark, people=False)  # the view tells it, beside the spread
    if (spread := results.shown_spread) is not None:
        drawn = spread_figure(folder / "spread.png", spread)
        link = report.show(drawn, f"Spread of {evaluation.main}, and its error", table.counts)
        sections.insert(0, "\n".join([spread.to_markdown(), *link]))
    figures = [(path.stem.replace("_", " ").capitalize(), path) for path in report.written]
    page = write_report_page(folder / "index.html", results, images, figures)
    if images is not None:
        text += _pictures(report, images, details, choose_images(evaluation, overlays))
    confidence = "\n".join(f"- {escape(line)}" for line in interval_lines(evaluation.intervals, evaluation.unit))
    head = table.to_markdown().replace("## ", "# ", 1)
    others = [each.to_markdown() for each in results.other_tables]
    pages = f"[All images by error, to zoom into]({page.name}), in a browser"
    parts = [head, pages, confidence, *others, by_landmark.to_markdown(), *sections, "\n".join(text)]
    readme = folder / "README.md"
    atomic_write_text(readme, "\n\n".join(part.strip("\n") for part in parts if part) + "\n")
    return [readme, page, *report.written]


def _plots(report: _Report, counts: str) -> list[str]:
    """Draw errors by landmark and by radius; returns Markdown lines."""
    evaluation, split = report.evaluation, report.evaluation.disagreement
    people: dict[str, np.ndarray] = {}
    if split is not None:
        name = f"{report.annotator_names[0]} to {report.annotator_names[1]}"
        people[name] = between_annotators(evaluation.annotations, evaluation.scale)
    landmarks = landmark_errors_figure(
        report.folder / "landmark_errors.png", evaluation.errors, evaluation.landmark_names, unit=report.unit,
        human=None if split is None else split.distance, radius=evaluation.radii[0],
    )  # fmt: skip
    curves = cumulative_figure(
        report.folder / "cumulative_errors.png", evaluation.errors, unit=report.unit, radii=evaluation.radii,
        human=people,
    )  # fmt: skip
    lines = report.show(landmarks, "Radial errors by landmark", counts)
    return lines + report.show(curves, "Share of points found within a radius", counts)


def _pictures(
    report: _Report,
    images: Callable[[str], np.ndarray],
    details: Callable[[str], CaseDetails | None] | None,
    choices: Sequence[Choice],
) -> list[str]:
    """Draw every chosen image; returns Markdown lines."""
    telling = [next(each for each in choices[::step] if each.why == why) for why, step in _kinds(choices)]
    lines = [f"## Images: best, median and worst by the mean error of {escape(report.evaluation.main)}", ""]
    for number, choice in enumerate(choices, 1):
        row = report.evaluation.image_ids.index(choice.image_id)
        more = None if details is None else details(choice.image_id)
        stem, caption = f"{number}_{choice.why}", _caption(report, choice)
        lines += _overlays(report, row, images(choice.image_id), more, stem, caption)
        if more is not None and choice in telling:
            lines += _diffusion(report, row, more, stem, caption)
    return lines


def _kinds(choices: Sequence[Choice]) -> list[tuple[str, int]]:
    """The kinds among the choices, each with the direction in which its most telling image is found first."""
    return [(why, -1 if why == "worst" else 1) for why in dict.fromkeys(each.why for each in choices)]


def _overlays(
    report: _Report, row: int, image: np.ndarray, more: CaseDetails | None, stem: str, caption: str
) -> list[str]:
    evaluation = report.evaluation
    found = image, evaluation.points[evaluation.main][row], evaluation.annotations[row]
    names = (evaluation.landmark_names, report.annotator_names)
    shown: dict[str, Any] = {
        "errors": evaluation.errors_to_mean[evaluation.main][row], "bad_beyond": max(evaluation.radii),
        "title": caption,
    }  # fmt: skip
    heat, frame = (None, None) if more is None else (more.heatmaps.get(evaluation.main), more.frame)
    overlay = overlay_figure(
        report.folder / f"overlay_{stem}.png", *found, *names, heatmap=heat, frame=frame, unit=report.unit, **shown
    )
    spacing = None if evaluation.unit == "px" else evaluation.scale[row]
    closeup = closeup_figure(
        report.folder / f"closeups_{stem}.png", *found, *names, spacing=spacing, unit=evaluation.unit, **shown
    )
    lines = report.show(overlay, caption, "prediction, annotators" + (" and heatmap" if more else ""))
    report.written.append(closeup)
    return [*lines, f"[Close-ups of each landmark]({closeup.name})", ""]


def _diffusion(report: _Report, row: int, more: CaseDetails, stem: str, caption: str) -> list[str]:
    """Draw the heatmaps around landmarks, and the reverse process of the landmark with the median error."""
    evaluation, names = report.evaluation, report.evaluation.landmark_names
    truth = more.frame.to_network(evaluation.truth[row])
    lines: list[str] = []
    if more.heatmaps:
        given = {name: evaluation.points[name][row] for name in more.heatmaps if name in evaluation.points}
        panel = salt_and_pepper_figure(
            report.folder / f"heatmaps_{stem}.png", more.image, more.heatmaps, truth, names,
            points={name: more.frame.to_network(points) for name, points in given.items()},
            title=f"Heatmaps: {caption}",
        )  # fmt: skip
        about = f"Heatmaps around five landmarks, image {caption}"
        lines += report.show(panel, about, "truth in green (paper A, figure 3)")
    if len(more.trajectory):
        landmark = _median_landmark(evaluation.errors_to_mean[evaluation.main][row])
        steps = [(int(t), np.asarray(x)[landmark], np.asarray(x0)[landmark]) for t, x, x0 in more.trajectory]
        name = f"{numbered(landmark, names[landmark])}, image {evaluation.image_ids[row]}"
        process = process_figure(report.folder / f"process_{stem}.png", steps, more.image, truth[landmark], name)
        about = f"Reverse process of {name}"
        lines += report.show(process, about, "x_t and the estimate of x_0 (paper A, figure 2)")
    return lines


def _caption(report: _Report, choice: Choice) -> str:
    place = f"{choice.why}: {choice.rank} of {len(report.evaluation.image_ids)}"
    return f"{choice.image_id}, {report.evaluation.main}, mean error {choice.error:.2f} {report.unit} ({place})"


def _median_landmark(values: np.ndarray) -> int:
    known = np.flatnonzero(np.isfinite(values))
    return int(known[np.argsort(values[known], kind="stable")[(len(known) - 1) // 2]]) if known.size else 0


def _thin(ranks: list[int], count: int) -> list[int]:
    """Keep ``count`` of the ranks, spread evenly, the first and the last among them."""
    kept = np.linspace(0, len(ranks) - 1, count).round().astype(int)
    return [ranks[i] for i in sorted(set(kept.tolist()))]
