"""Freeze what the commands leave, change the code, and compare: what differs is listed value by value.

    python benchmarks/frozen_outputs.py make FOLDER [--isbi ../shared/data/isbi2015] [--only detect test ...]
    python benchmarks/frozen_outputs.py compare BEFORE AFTER

``make`` runs each part with one thread in float32: ``detect`` (20 real radiographs, all writers), ``analyse`` (their
measures), ``test`` (the shipped model on the 150 images of Test 1), one small fit and test of each method on phantoms
(``positions``, ``maps``, ``finetuning``, ``pretraining``) with an export, and ``grid``, four few-shot cells. The parts
that need ISBI 2015 are left out, with a word, where it is absent.

``compare`` reads tables and pages byte for byte, JSON by value, pictures by pixel, and checkpoints and model files by
tensor. What is made anew each time (dates, seconds, paths, versions) is not compared: VOLATILE names it. The exit
status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from benchmarks.chaos_grid import CELL  # noqa: E402
from benchmarks.compare_runs import differences  # noqa: E402

ISBI = REPOSITORY.parent / "shared" / "data" / "isbi2015"
MODEL = REPOSITORY / "weights" / "ceph_small.ldx"
REAL = [f"{number:03}" for number in range(151, 301, 7)][:20]
WRITERS = "csv,json,slicer,overlay,html"

NETWORK = """
  init_args:
    network:
      class_path: UNet
      init_args: {encoder_channels: [8, 16], decoder_channels: [16, 8], blocks_per_level: 1, attention_factors: [2],
        dropout: 0.1}
    optimisation: {ema_decay: 0.9, warmup_steps: 2, learning_rate: 0.002}
"""
RUN = """
seed_everything: 3
trainer: {max_steps: 24, check_val_every_n_epoch: 2, precision: 32-true, accelerator: cpu, log_every_n_steps: 1}
data: {dataset: phantom, dataset_options: {count: [8, 4, 6]}, size: [64, 80], batch_size: 2, eval_batch_size: 3,
  num_workers: 0, recipe: mild}
"""
METHODS = {
    "positions": "PositionDiffusionModule",
    "maps": "DiffusionHeatmapModule",
    "finetuning": "HeatmapFinetuneModule",
    "pretraining": "DDPMPretrainModule",
}
OPTIONS = {
    "positions": {
        "coarse_factor": 2,
        "window_network": {
            "class_path": "UNet",
            "init_args": {"encoder_channels": [8], "decoder_channels": [8], "dropout": 0.1},
        },
        "windows": {"size": 8},
    },
    "maps": {"sampling": {"steps": 3}},
    "finetuning": {"target": {"kind": "disc"}},
    "pretraining": {"sampling": {"every": 0}},
}
PLAN = """
fewshot:
  {folder: grid, fit: [cell.yaml], n: [2, 4], draws: 2, seed: 0, starts: {scratch: {}}, checkpoints: [best, last],
   stage: test, options: {pictures: 0, trainer.log_every_n_steps: 1}}
"""
VOLATILE = re.compile(
    r"seconds|date|created|time|path|file$|folder|version|command|torch|python|machine|host|processor|commit|arguments"
)
"""Keys of JSON whose values are made anew with each run."""
LINES = re.compile(r"\d{4}-\d\d-\d\d|\bseconds\b|version|/")
"""Lines of text and HTML that hold a date, a time, a version or a path."""


# ---- making ----------------------------------------------------------------------------------------------------------


def ldx(place: Path, *arguments: str) -> None:
    """Run a command in ``place``; raises RuntimeError with its last words where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "disabled"}
    with (place / "output.txt").open("a") as output:
        status = subprocess.run(
            [sys.executable, "-m", "landmark_diffusion", *arguments],
            cwd=place, stdout=output, stderr=output, env=environment, check=False,
        ).returncode  # fmt: skip
    if status:
        raise RuntimeError(f"ldx {' '.join(arguments)}: status {status}\n{(place / 'output.txt').read_text()[-3000:]}")


def make_detect(place: Path, isbi: Path) -> None:
    """Find the landmarks of 20 radiographs, with every writer of the default install."""
    images = [str(isbi / "cepha400" / f"{name}.jpg") for name in REAL]
    ldx(place, "detect", *images, "--model", str(MODEL), "--to", WRITERS, "--output", "found")
    ldx(place, "analyse", "found/points.json", "--output", "measures")


def make_test(place: Path, isbi: Path) -> None:
    """Test the shipped model on Test 1."""
    options = ("--data.root", str(isbi), "--run_folder", "run", "--trainer.precision=32-true", "--data.num_workers=0")
    ldx(place, "test", str(MODEL), *options)


def make_method(place: Path, method: str) -> None:
    """Fit, test and export one method on phantoms."""
    options = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in OPTIONS[method].items())
    (place / "small.yaml").write_text(f"{RUN}model:\n  class_path: {METHODS[method]}{NETWORK}{options}")
    ldx(place, "fit", "--config", "small.yaml", "--run_folder", "run")
    ldx(place, "test", "run", "--pictures", "2")
    if method != "pretraining":
        ldx(place, "export", "run/checkpoints/last.ckpt", "exported.ldx")


def make_grid(place: Path) -> None:
    """Run four cells of the few-shot protocol."""
    (place / "cell.yaml").write_text(CELL)
    (place / "plan.yaml").write_text(PLAN)
    ldx(place, "fewshot", "--config", "plan.yaml")


def make(folder: Path, isbi: Path, only: list[str] | None) -> None:
    """Run the parts, each in a folder of its own."""
    real = {"detect": make_detect, "test": make_test}
    for part in only or [*real, *METHODS, "grid"]:
        if part in real and not isbi.is_dir():
            print(f"{part}: left out, there is no {isbi}")
            continue
        place, began = folder / part, time.monotonic()
        place.mkdir(parents=True)
        if part in real:
            real[part](place, isbi)
        elif part == "grid":
            make_grid(place)
        else:
            make_method(place, part)
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)


# ---- comparing -------------------------------------------------------------------------------------------------------


def compare(before: Path, after: Path) -> int:
    """Print what differs, and how many files of each kind were alike; returns the number of files that differ."""
    parts = [{place.name for place in root.iterdir() if place.is_dir()} for root in (before, after)]
    if parts[0] ^ parts[1]:
        print(f"not compared, made once only: {', '.join(sorted(parts[0] ^ parts[1]))}")
    files = [
        {str(p.relative_to(root)) for part in parts[0] & parts[1] for p in (root / part).rglob("*") if is_compared(p)}
        for root in (before, after)
    ]
    alike: Counter[str] = Counter()
    differing = 0
    for name in sorted(files[0] | files[1]):
        if name not in files[0] & files[1]:
            found = ["only " + ("before" if name in files[0] else "after")]
        else:
            found = list(file_differences(before / name, after / name))
        alike[Path(name).suffix] += not found
        differing += bool(found)
        for line in found[:8]:
            print(f"{name}: {line}")
        if len(found) > 8:
            print(f"{name}: and {len(found) - 8} differences more")
    print(f"alike: {', '.join(f'{n} {suffix}' for suffix, n in sorted(alike.items()))}; files that differ: {differing}")
    return differing


def is_compared(path: Path) -> bool:
    """Tell results from logs, claims and what a run keeps for itself."""
    kinds = {".csv", ".json", ".png", ".html", ".md", ".ckpt", ".ldx", ".svg"}
    return path.is_file() and path.suffix in kinds and not {"claims", "cache"} & set(path.parts)


def file_differences(a: Path, b: Path) -> Iterator[str]:
    """Yield what differs between two files of one kind."""
    if a.suffix == ".png":
        yield from picture_differences(a, b)
    elif a.suffix in (".ckpt", ".ldx"):
        for where, size in differences(tensors(a), tensors(b)):
            yield f"{where} by {size:.3g}"
    elif a.suffix == ".json":
        yield from value_differences(json.loads(a.read_text()), json.loads(b.read_text()))
    else:
        yield from line_differences(a, b)


def picture_differences(a: Path, b: Path) -> Iterator[str]:
    """Compare two pictures by their pixels."""
    with Image.open(a) as first, Image.open(b) as second:
        pixels, others = np.asarray(first), np.asarray(second)
    if pixels.shape != others.shape:
        yield f"size {pixels.shape} before, {others.shape} after"
    elif not np.array_equal(pixels, others):
        yield f"{int((pixels != others).sum())} values differ"


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint (the moving average, where there is one, too) or a model file."""
    if path.suffix == ".ldx":
        return load_file(path)
    held = torch.load(path, weights_only=True, map_location="cpu")
    parts = {name: held[name] for name in ("state_dict", "current_model_state") if name in held}
    return {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}


def value_differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Yield where two JSON values differ; what is volatile is passed over."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            if VOLATILE.search(key):
                continue
            if key not in a or key not in b:
                yield f"{where}/{key}: only {'before' if key in a else 'after'}"
            else:
                yield from value_differences(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from value_differences(one, other, f"{where}/{index}")
    elif a != b:
        yield f"{where}: {str(a)[:80]} before, {str(b)[:80]} after"


def line_differences(a: Path, b: Path) -> Iterator[str]:
    """Yield the lines of two texts that differ, those with dates, times, versions and paths left out."""
    if a.read_bytes() == b.read_bytes():
        return
    texts = [p.read_text().splitlines() for p in (a, b)]
    if a.suffix != ".csv":
        texts = [[line for line in text if not LINES.search(line)] for text in texts]
    if len(texts[0]) != len(texts[1]):
        yield f"{len(texts[0])} lines before, {len(texts[1])} after"
    for number, (one, other) in enumerate(zip(*texts, strict=False), 1):
        if one != other:
            yield f"line {number}: {one[:100]!r} before, {other[:100]!r} after"


def main() -> int:
    """Make or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--isbi", type=Path, default=ISBI)
    maker.add_argument("--only", nargs="+", choices=["detect", "test", *METHODS, "grid"])
    comparer = verbs.add_parser("compare")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.verb == "make":
        make(options.folder.resolve(), options.isbi.resolve(), options.only)
        return 0
    return 1 if compare(options.before, options.after) else 0


if __name__ == "__main__":
    sys.exit(main())
