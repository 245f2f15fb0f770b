"""Cost of a prediction over the number of network evaluations, against one pass of the baseline, in one run.

    OMP_NUM_THREADS=1 python benchmarks/prediction_cost.py [--repeats 15] [--json out.json]

The networks are those of the small cephalogram configs with random weights: the time does not depend on them.
Everything from image to points is timed, interleaved, on one thread; ratios are medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Table

from landmark_diffusion import DiffusionHeatmapModule, PositionDiffusionModule
from landmark_diffusion.methods.base import LandmarkModule

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS: dict[str, tuple[str, Callable[..., LandmarkModule]]] = {
    "baseline": ("ceph_baseline_small", DiffusionHeatmapModule),
    "diffusion": ("ceph_diffusion_small", PositionDiffusionModule),
    "paper A": ("ceph_diffusion_paper_a_small", DiffusionHeatmapModule),
}
LANDMARKS = 19


def build(name: str) -> tuple[LandmarkModule, dict[str, Any]]:
    """Make a method's module as its config has it, and one image of its size as a batch."""
    config, method = METHODS[name]
    options = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())
    width, height = options["data"]["size"]
    batch = {"image": torch.rand(1, 1, height, width), "index": torch.zeros(1, dtype=torch.long)}
    return method(LANDMARKS, **options["model"]["init_args"]).eval(), batch


def predict_once(module: Any, batch: dict[str, Any], steps: int) -> float:
    """Return the seconds from image to points."""
    module.choose_sampling(steps)
    start = time.perf_counter()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        module.find(batch)
    return time.perf_counter() - start


def measure(evaluations: list[int], repeats: int) -> list[dict[str, Any]]:
    """Time each method at each number of evaluations in turn; seconds an image and ratio to the baseline."""
    built = {name: build(name) for name in METHODS}
    cases = [("baseline", 1), *((name, n) for name in ("diffusion", "paper A") for n in evaluations)]
    times = np.array([[predict_once(*built[name], n) for name, n in cases] for _ in range(repeats + 1)][1:])
    median, ratio = np.median(times, 0), np.median(times / times[:, :1], 0)
    return [
        {"method": name, "config": METHODS[name][0], "evaluations": n, "seconds": seconds, "ratio": r}
        for (name, n), seconds, r in zip(cases, median.tolist(), ratio.tolist(), strict=True)
    ]


def main() -> int:
    """Measure, print a table, write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[1, 2, 4, 8, 16, 50])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.evaluations, options.repeats)
    table = Table(title=f"One image with the small configs, one thread, bf16, median of {options.repeats}")
    for heading in ("method", "evaluations", "ms an image", "ratio to the baseline"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        table.add_row(row["method"], str(row["evaluations"]), f"{row['seconds'] * 1000:.1f}", f"{row['ratio']:.2f}")
    Console().print(table)
    if options.json:
        record = {"repeats": options.repeats, "rows": rows, "machine": platform.platform()}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
