"""Pictures of generated radiographs: each beside its nearest training image, and the curves of both sets.

They show training images, and so belong in the git-ignored run folder (docs/conventions.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landmark_diffusion.core.grid import rounded
from landmark_diffusion.evaluation.generated import (
    BINS,
    ROUNDING_POWER,
    TOP,
    SampleStatistics,
    StatisticsCurves,
    frequencies,
    nearest_training,
    reference_parts,
    sample_statistics,
    training_nearest_distances,
    two_sets,
)
from landmark_diffusion.pictures.charts import style_chart
from landmark_diffusion.pictures.figures import BAD, FAINT, INK, LEGEND, VARIANTS, Canvas, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, HEAD = 16, 66  # output pixels
LEAST_SHARE = 1e-3  # of the pixels in percent: rarer grey levels are drawn at the bottom of the logarithmic axis
TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def samples_figure(
    path: str | Path,
    generated: np.ndarray,
    training: np.ndarray,
    *,
    updates: int | None = None,
    columns: int = 4,
    height: int = 220,
) -> Path:
    """Draw each generated image beside its nearest training image, the distance below, as PNG; returns the path.

    The distance is red where it is no larger than that of the two most alike training images.

    Args:
        generated, training: (G,H,W) and (M,H,W), float in [0,1] or uint8.
        updates: optimiser steps so far, for the title.
        columns: pairs in a row.
        height: of one image in output pixels.
    """
    made, real = two_sets(generated, training)
    index, distance = nearest_training(made, real)
    yardstick = training_nearest_distances(real)
    columns = min(columns, len(made))
    width = max(40, round(height * made.shape[2] / made.shape[1]))
    pair, row = 2 * width + 28, height + 32
    canvas = Canvas(max(columns * pair + LEFT, 640), HEAD + -(-len(made) // columns) * row + LEGEND)
    for place, (image, nearest, rms) in enumerate(zip(made, real[index], distance, strict=True)):
        left, top = LEFT + place % columns * pair, HEAD + place // columns * row
        halves = [canvas.picture(left + i * (width + 4), top, width, height) for i in range(2)]
        for axes, pixels, name in zip(halves, (image, nearest), ("generated", "nearest training"), strict=True):
            show_image(axes, pixels)
            axes.set_title(name if place < columns else "", fontsize=9 if width > 110 else 6.5, color=INK, pad=4)
        copied = bool(rms <= yardstick.min())
        style = {"color": BAD if copied else INK, "weight": "bold" if copied else "normal"}
        canvas.write(left + width + 2, top + height + 12, f"{rms:.1f}", size=9.5, ha="center", **style)
    canvas.write(LEFT, 20, _title("Generated radiographs", updates), size=11.5, weight="bold")
    note = "Root mean square difference in grey levels. "
    if len(real) > 1:
        low, middle = yardstick.min(), np.median(yardstick)
        note += f"From a training image to its nearest: median {middle:.1f}, least {low:.1f} (red: no more than that)."
    canvas.write(LEFT, canvas.height - 16, note, size=8.5)
    return canvas.save(path)


def statistics_figure(
    path: str | Path,
    generated: np.ndarray,
    training: np.ndarray,
    *,
    updates: int | None = None,
    statistics: SampleStatistics | None = None,
) -> Path:
    """Draw histograms and power spectra of generated (G,H,W) and training images (M,H,W) as PNG; returns the path.

    The band is the range of the reference's draws (see SampleStatistics).

    Args:
        generated, training: float in [0,1] or uint8.
        updates: optimiser steps so far, for the title.
        statistics: of the same images, where they are known already.
    """
    made, real = two_sets(generated, training)
    found = sample_statistics(made, real) if statistics is None else statistics
    known = found if found.reference is None else found.reference
    ours, theirs = StatisticsCurves.of(made), StatisticsCurves.of(real)
    held = [part for part, _ in reference_parts(len(made), len(real))]
    canvas = Canvas(1080, 470)
    grey, power = (canvas.figure.add_axes((left, 0.13, 0.415, 0.65)) for left in (0.065, 0.57))
    levels = (np.arange(BINS) + 0.5) * (TOP + 1) / BINS
    _draw(grey, levels, 100 * ours.histograms, 100 * theirs.histograms, held, LEAST_SHARE)
    grey.set(xlabel="grey level", ylabel=f"pixels, % in each of {BINS} ranges", xlim=(0, TOP), ylim=(LEAST_SHARE, None))
    _heading(grey, "Grey levels", found.histogram_distance, known.histogram_distance)
    _draw(power, frequencies(made.shape[1:]), ours.spectra, theirs.spectra, held, ROUNDING_POWER)
    power.set(xlabel="frequency, cycles per pixel", ylabel="power, grey levels squared", xscale="log")
    ticks = [tick for tick in TICKS if tick >= 1 / min(made.shape[1:])]
    power.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    power.set_xticks([], minor=True)
    _heading(power, "Power, log10", found.spectrum_distance, known.spectrum_distance)
    canvas.write(LEFT, 22, _title("Generated and training radiographs", updates), size=11.5, weight="bold")
    handles, labels = grey.get_legend_handles_labels()
    canvas.figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.005, 0.935), ncols=3, frameon=False, fontsize=9
    )
    return canvas.save(path)


def _draw(axes: Axes, x: np.ndarray, made: np.ndarray, real: np.ndarray, held: list[np.ndarray], least: float) -> None:
    """Mean curves of both sets, rows being images, on a logarithmic axis from ``least`` upwards."""
    if held:
        drawn = np.maximum([real[part].mean(0) for part in held], least)
        label = f"training, {len(held)} draws of {len(held[0])}"
        axes.fill_between(x, drawn.min(0), drawn.max(0), color=FAINT, alpha=0.35, linewidth=0, label=label, zorder=0.4)
    axes.plot(x, np.maximum(real.mean(0), least), color=INK, linewidth=1.3, label=f"training ({len(real)})")
    axes.plot(x, np.maximum(made.mean(0), least), color=VARIANTS[1], linewidth=1.6, label=f"generated ({len(made)})")
    axes.set_yscale("log")
    style_chart(axes, "both", 10)


def _heading(axes: Axes, name: str, distance: float, reference: float) -> None:
    axes.set_title(f"{name}: {distance:.2f} apart (reference {rounded(reference)})", fontsize=10, loc="left", color=INK)


def _title(text: str, updates: int | None) -> str:
    return text if updates is None else f"{text} after {updates:,} updates"
