"""Time paper A's recipe, ours against imgaug's, in one run: interleaved repeats, one thread each, median ratio.

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py [--repeats 40] [--size 640 800] [--json out.json]

Both get the same settings, the same image and the same seeds; the aim is that ours is at least 5 times as fast.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import get_recipe

AIM = 5.0
PARTS: dict[str, dict[str, bool]] = {
    "whole recipe": {},
    "geometry alone": {"intensity": False, "cutout": False},
    "affine alone": {"elastic": False, "intensity": False, "cutout": False},
    "intensity and cutout alone": {"affine": False, "elastic": False},
}


def radiograph(size: tuple[int, int]) -> np.ndarray:
    """Make a smooth grey image with noise, (H, W) uint8, for ``size`` (width, height)."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(20, 230, (10, 8)).astype(np.float32)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, size[::-1])
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)


def time_once(recipe: Callable, image: np.ndarray, points: np.ndarray, seed: int) -> float:
    """Return the seconds of one call."""
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    recipe(image, points, rng)
    return time.perf_counter() - start


def compare(size: tuple[int, int], repeats: int) -> list[dict[str, Any]]:
    """Time each part with both recipes in turn; times in ms, ratio = imgaug / ours, its median over the pairs."""
    image = radiograph(size)
    points = np.random.default_rng(1).uniform((0, 0), size, (19, 2))
    rows: list[dict[str, Any]] = []
    for part, switches in PARTS.items():
        ours, theirs = get_recipe("paper_a", **switches), get_recipe("paper_a_imgaug", **switches)
        for seed in range(3):  # imports, tables and caches
            time_once(ours, image, points, seed), time_once(theirs, image, points, seed)
        pairs = np.array(
            [[time_once(recipe, image, points, seed) for recipe in (ours, theirs)] for seed in range(repeats)]
        )
        median = np.median(pairs, axis=0) * 1000
        ratio = float(np.median(pairs[:, 1] / pairs[:, 0]))
        rows.append({"part": part, "ours_ms": median[0], "imgaug_ms": median[1], "ratio": ratio})
    return rows


def main() -> int:
    """Run the comparison, print a table, write JSON when asked; the exit status tells whether the aim is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 800), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console()
    try:
        rows = compare(tuple(options.size), options.repeats)
    except UserError as error:
        console.print(f"[red]{error}")
        return 1
    size = "x".join(map(str, options.size))
    table = Table(title=f"Paper A's recipe at {size}, one thread, median of {options.repeats}")
    for heading in ("part", "ours ms", "imgaug ms", "ratio (median)"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for row in rows:
        table.add_row(row["part"], f"{row['ours_ms']:.2f}", f"{row['imgaug_ms']:.2f}", f"{row['ratio']:.1f}")
    console.print(table)
    met = rows[0]["ratio"] >= AIM
    console.print(f"aim: whole recipe at least {AIM:g} times as fast: {'met' if met else 'MISSED'}")
    if options.json:
        record = {"size": list(options.size), "repeats": options.repeats, "rows": rows, "machine": platform.platform()}
        options.json.write_text(
            json.dumps({**record, "opencv": cv2.__version__, "numpy": np.__version__}, indent=2) + "\n"
        )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
