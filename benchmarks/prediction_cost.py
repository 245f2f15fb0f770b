"""Cost of a prediction over the number of network evaluations, against one pass of the baseline, in one run.

    OMP_NUM_THREADS=1 python benchmarks/prediction_cost.py [--size 96 120] [--repeats 7] [--json out.json]

The network is that of ceph_diffusion_small.yaml with random weights: the time does not depend on them. Everything from
image to decoded points is timed, interleaved, on one thread; ratios are medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from landmark_diffusion import DiffusionHeatmapModule

SMALL: dict[str, Any] = {
    "encoder_channels": (32, 64, 96, 128),
    "decoder_channels": (128, 96, 64, 32),
    "blocks_per_level": 1,
    "attention_factors": (8,),
    "channels_last": True,
}
LANDMARKS = 19


def predict_once(module: DiffusionHeatmapModule, batch: dict[str, Any], steps: int) -> float:
    """Return the seconds from image to points."""
    module.sampling_steps = steps
    start = time.perf_counter()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for maps in module.predict_maps(batch).values():
            module.decode(maps)
    return time.perf_counter() - start


def measure(size: tuple[int, int], evaluations: list[int], repeats: int) -> list[dict[str, Any]]:
    """Time the baseline and each number of evaluations in turn; seconds an image and ratio to the baseline."""
    width, height = size
    batch = {"image": torch.rand(1, 1, height, width), "index": torch.zeros(1, dtype=torch.long)}
    baseline = DiffusionHeatmapModule(LANDMARKS, diffusion=False, **SMALL).eval()
    diffusion = DiffusionHeatmapModule(LANDMARKS, aggregate="mean", **SMALL).eval()
    times = np.array(
        [
            [predict_once(baseline, batch, 1), *(predict_once(diffusion, batch, n) for n in evaluations)]
            for _ in range(repeats + 1)
        ][1:]
    )
    median, ratio = np.median(times, 0), np.median(times / times[:, :1], 0)
    names = ["baseline", *(f"diffusion, {n}" for n in evaluations)]
    return [
        {"method": name, "evaluations": n, "seconds": seconds, "ratio": r}
        for name, n, seconds, r in zip(names, [1, *evaluations], median.tolist(), ratio.tolist(), strict=True)
    ]


def main() -> int:
    """Measure, print a table, write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 120), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--evaluations", type=int, nargs="+", default=[1, 2, 4, 8, 16, 50])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(tuple(options.size), options.evaluations, options.repeats)
    size = "x".join(map(str, options.size))
    table = Table(title=f"One image at {size}, one thread, bf16, median of {options.repeats}")
    for heading in ("method", "evaluations", "ms an image", "ratio to the baseline"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        table.add_row(row["method"], str(row["evaluations"]), f"{row['seconds'] * 1000:.1f}", f"{row['ratio']:.2f}")
    Console().print(table)
    if options.json:
        record = {"size": list(options.size), "repeats": options.repeats, "rows": rows, "machine": platform.platform()}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
