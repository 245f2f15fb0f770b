"""Seconds that ``ldx detect`` takes an image, cold and warm, over network evaluations and samples, in one run.

    python benchmarks/detect.py [--model weights/ceph_small.ldx] [--threads 2] [--budget 120] [--json out.json]

The image is a phantom of 1935x2400 px, as the radiographs of ISBI 2015 are, saved as 8-bit PNG. Warm: a Detector that
is loaded already, from the file to the points. Cold: a process of its own, ``python -m landmark_diffusion detect``,
from its start to its end, with points.csv and points.json. Settings take turns, so that other loads hit all alike;
figures are medians over as many rounds as fit into the budget (seconds, half for each), and at least one: a loaded
machine takes longer. The parts are measured one by one: reading, resizing, the network at the model's own steps, each
output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import Detector, network_input
from landmark_diffusion.detection.writers import make_writers

MODEL = Path(__file__).parents[1] / "weights" / "ceph_small.ldx"
SIZE = (1935, 2400)
EVALUATIONS, SAMPLES = (1, 2, 4, 8, 16), (1, 8)
FORMS = (("csv", "json"), ("overlay",), ("html",), ("slicer",))
Setting = tuple[int, int]


def write_phantom(path: Path) -> Path:
    """Draw a phantom and save it at the size of the ISBI 2015 radiographs."""
    dataset = PhantomDataset(count=(1, 1, 1))
    grey = dataset.load_image(dataset.samples("test")[0])
    Image.fromarray(grey).resize(SIZE, Image.Resampling.BICUBIC).save(path)
    return path


def settings(evaluations: Sequence[int], samples: Sequence[int]) -> list[Setting]:
    """Evaluations and samples to measure; one evaluation looks without noise, so that there is nothing to sample."""
    return [(steps, count) for count in samples for steps in evaluations if steps > 1 or count == 1]


def seconds(action: Callable[[], Any]) -> float:
    """Run and time an action."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def rounds(actions: Sequence[Callable[[], Any]], budget: float) -> np.ndarray:
    """Time all actions in turn while another round fits into the budget of seconds: (rounds, actions)."""
    start = time.perf_counter()
    times: list[list[float]] = []
    while not times or (time.perf_counter() - start) * (len(times) + 1) / len(times) < budget:
        times.append([seconds(action) for action in actions])
    return np.array(times)


def cold(image: Path, model: Path, folder: Path, setting: Setting, threads: int) -> None:
    """Run ``ldx detect`` on one image as a process of its own."""
    steps, samples = map(str, setting)
    line = ["detect", image, "--model", model, "--steps", steps, "--samples", samples, "--to", "csv,json"]
    command = [sys.executable, "-m", "landmark_diffusion", *map(str, line), "--output", str(folder), "--overwrite"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, capture_output=True, env=environment)


def parts(detector: Detector, image: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """What an image's time is made of, each alone."""
    radiograph = read_radiograph(image)
    frame = Frame.fit(radiograph.grey.shape[::-1], detector.size, detector.resize)
    ready = network_input(radiograph.grey, frame)
    detection = detector(image)
    steps, samples = detector.settings["steps"], detector.settings["samples"]
    made: dict[str, Callable[[], Any]] = {
        "reading": lambda: read_radiograph(image),
        "resizing": lambda: network_input(radiograph.grey, frame),
        f"network, {steps} evaluations, {samples} samples": lambda: detector.find([ready]),
    }
    for forms in FORMS:
        made[f"writing {' + '.join(forms)}"] = lambda forms=forms: write(detection, forms, folder)  # type: ignore[misc]
    return made


def write(detection: Detection, forms: Sequence[str], folder: Path) -> None:
    """Write one image's results in these forms."""
    for writer in make_writers(forms, folder):
        writer.add(detection)
        writer.close()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time everything on one phantom; seconds."""
    image = write_phantom(folder / "phantom.png")
    cases = settings(options.evaluations, options.samples)
    detectors = [Detector.load(options.model, steps=steps, samples=samples) for steps, samples in cases]
    made = parts(Detector.load(options.model), image, folder / "parts")
    warm_actions = [*(lambda detector=detector: detector(image) for detector in detectors), *made.values()]
    cold_actions = [
        lambda case=case: cold(image, options.model, folder / "cold", case, options.threads) for case in cases
    ]
    for action in (warm_actions[0], warm_actions[1], *made.values()):  # what is imported and allocated at first use
        action()
    warm = rounds(warm_actions, options.budget / 2)
    starts = rounds(cold_actions, options.budget / 2)
    rows = [
        {"evaluations": steps, "samples": samples, "warm": w, "warm_ratio": wr, "cold": c, "cold_ratio": cr}
        for (steps, samples), w, wr, c, cr in zip(
            cases, *_medians(warm[:, : len(cases)]), *_medians(starts), strict=True
        )
    ]
    alone = dict(zip(made, np.median(warm[:, len(cases) :], 0).tolist(), strict=True))
    return {"rows": rows, "parts": alone, "warm_rounds": len(warm), "cold_rounds": len(starts)}


def _medians(times: np.ndarray) -> tuple[list[float], list[float]]:
    """Seconds of each column, and its ratio to the first, both medians over the rounds."""
    return np.median(times, 0).tolist(), np.median(times / times[:, :1], 0).tolist()


def show(found: dict[str, Any], console: Console) -> None:
    """Print both tables."""
    rounds_of = f"{found['warm_rounds']} rounds warm and {found['cold_rounds']} cold"
    title = f"Seconds an image of {SIZE[0]}x{SIZE[1]} px, {torch.get_num_threads()} threads, medians of {rounds_of}"
    table = Table(title=f"{title}; ratios to the first row")
    for heading in ("evaluations", "samples", "warm s", "ratio", "cold s", "ratio"):
        table.add_column(heading, justify="right")
    for row in found["rows"]:
        table.add_row(
            str(row["evaluations"]), str(row["samples"]), f"{row['warm']:.3f}", f"{row['warm_ratio']:.2f}",
            f"{row['cold']:.2f}", f"{row['cold_ratio']:.2f}",
        )  # fmt: skip
    console.print(table)
    reading, resizing, network = list(found["parts"].values())[:3]
    table = Table(title="Parts, each alone, beside from file to points (reading + resizing + network)")
    for heading in ("part", "s", "beside file to points"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part, value in found["parts"].items():
        table.add_row(part, f"{value:.3f}", f"{100 * value / (reading + resizing + network):.0f} %")
    console.print(table)


def main() -> int:
    """Measure, print two tables, write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--budget", type=float, default=120, help="seconds that it is meant to take (default 120)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    options.model = options.model.resolve()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    show(found, Console())
    if options.json:
        record = {"model": options.model.name, "size": SIZE, "machine": platform.platform()}
        record |= {"threads": options.threads, **found}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
