"""One chart style: what every figure of numbers has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def style_chart(axes: Axes, grid: Literal["x", "y", "both"], size: float = 9.5) -> None:
    """Give axes a light grid below what is drawn, no frame above and on the right, and ticks labelled in ``size``."""
    axes.tick_params(labelsize=size)
    axes.grid(axis=grid, color="#E6E6E6")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def label_rows(axes: Axes, names: list[str]) -> None:
    """Name the rows 0, 1, ... of a chart of horizontal marks, without an axis line."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def head_chart(axes: Axes, title: str, pad: float, columns: int, left: float = -0.01, **style: Any) -> None:
    """Write a title ``pad`` points above the axes, and between them the legend in ``columns``."""
    axes.set_title(title, fontsize=11.5, weight="bold", loc="left", pad=pad)
    axes.legend(
        loc="lower left", bbox_to_anchor=(left, 1.0), ncols=columns, frameon=False, fontsize=9, borderpad=0.2, **style
    )


def round_numbers(low: float, high: float) -> list[float]:
    """List 1, 2 and 5 times each power of ten from ``low`` to ``high``."""
    return [m * 10.0**e for e in range(-4, 6) for m in (1, 2, 5) if low <= m * 10.0**e <= high]


def log_axis(axes: Axes, name: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic with plain round numbers from ``low`` to ``high``."""
    axis, ticks = getattr(axes, f"{name}axis"), round_numbers(low, high)
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
