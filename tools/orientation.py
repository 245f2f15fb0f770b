"""How often mirrored, turned and negative radiographs are recognised: docs/experiments/orientation.md.

    python tools/orientation.py ceph --root ~/isbi2015 --train 1-130 --measure 131-150 --output development.csv
    python tools/orientation.py chest --root ~/chest15 --folds 5 --output chest.csv

Every image is measured in all sixteen forms as it is, and in one form under each change (the answer is the same in
each form by construction; the first rows show it).
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from landmark_diffusion.data.forms import FORMS
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.finders.orientation import CERTAIN, RecognisedForm, learn_forms, recognise
from landmark_diffusion.models.form_network import FormNetwork

LONGER_SIDE = 384
"""Pixels of an image that is changed: the changes are meant for these, and cost little there."""
DRAWS = 5
"""Of the changes that are drawn at random, for each image."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def main() -> None:
    """Learn, measure and write one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("ceph", "chest"))
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--train", default="1-150", help="numbers of the cephalograms to learn from")
    parser.add_argument("--measure", default="151-300", help="numbers of the cephalograms to measure")
    parser.add_argument("--folds", type=int, default=0, help="measure each fold by a network of the others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--forms-only", action="store_true", help="leave the changes out")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    files = find_files(options.root, options.data)
    parts = list(divide(files, options))
    rows: dict[str, list[tuple[RecognisedForm, int]]] = {}
    for train, measured in parts:
        network = learned(train, options.steps, options.seed)
        for name, results in measure(network, measured, options.forms_only).items():
            rows.setdefault(name, []).extend(results)
    table = [row(name, results) for name, results in rows.items()]
    out = csv.writer(sys.stdout)
    out.writerows([COLUMNS, *table])
    if options.output:
        with options.output.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *table])


def find_files(root: Path, data: str) -> list[Path]:
    """The images in order."""
    return sorted((root / "cepha400").glob("*.jpg") if data == "ceph" else (root / "images").glob("*"))


def divide(files: Sequence[Path], options: argparse.Namespace) -> Iterable[tuple[list[Path], list[Path]]]:
    """Give what is learned from and what is measured, once or for each fold."""
    if options.folds:
        order = np.random.default_rng(0).permutation(len(files))
        for fold in range(options.folds):
            held = set(order[fold :: options.folds].tolist())
            yield (
                [file for place, file in enumerate(files) if place not in held],
                [file for place, file in enumerate(files) if place in held],
            )
        return
    chosen = []
    for limits in (options.train, options.measure):
        low, high = (int(each) for each in limits.split("-"))
        chosen.append([file for file in files if low <= int(file.stem) <= high])
    yield chosen[0], chosen[1]


def learned(files: Sequence[Path], steps: int, seed: int) -> FormNetwork:
    """Learn from images, and say how long it took."""
    images = [read_radiograph(file).grey for file in files]
    start = time.process_time()
    network = learn_forms(images, steps, seed)
    print(f"# {len(files)} images, {steps} steps, seed {seed}: {time.process_time() - start:.0f} s of CPU", flush=True)
    return network


def measure(
    network: FormNetwork, files: Sequence[Path], forms_only: bool
) -> dict[str, list[tuple[RecognisedForm, int]]]:
    """What was recognised, and the place of the true form in ``FORMS``, of each form and each change."""
    rows: dict[str, list[tuple[RecognisedForm, int]]] = {}
    rng, spent = np.random.default_rng(0), 0.0
    for file in files:
        grey = read_radiograph(file).grey
        for place, form in enumerate(FORMS):
            image = form.apply(grey)
            start = time.process_time()
            (found,) = recognise(network, [image])
            spent += time.process_time() - start
            rows.setdefault(form.name, []).append((found, place))
        if forms_only:
            continue
        scale = LONGER_SIDE / max(grey.shape)
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for name, change in CHANGES.items():
            images = [change(small, rng) for _ in range(DRAWS if name in DRAWN else 1)]
            rows.setdefault(name, []).extend((each, 0) for each in recognise(network, images))
    print(f"# {1000 * spent / len(files) / len(FORMS):.1f} ms of CPU an image of full size", flush=True)
    return rows


COLUMNS = ("images", "number", "right_percent", "right_and_certain_percent", "wrong_and_certain_percent",
           "mirror_wrong_percent", "negative_wrong_percent", "turn_wrong_percent", "lowest_p_of_right")  # fmt: skip


def row(name: str, results: Sequence[tuple[RecognisedForm, int]]) -> list[str]:
    """One row: shares in percent."""
    truth = [FORMS[place] for _, place in results]
    forms = [found.form for found, _ in results]
    right = np.array([form == true for form, true in zip(forms, truth, strict=True)])
    certain = np.array([found.probability >= CERTAIN for found, _ in results])
    shares = [right, right & certain, ~right & certain] + [
        np.array([getattr(form, what) != getattr(true, what) for form, true in zip(forms, truth, strict=True)])
        for what in ("mirrored", "negative", "turns")
    ]
    of_right = [found.probability for (found, _), good in zip(results, right, strict=True) if good]
    lowest = f"{min(of_right):.3f}" if of_right else ""
    return [name, str(len(results)), *(f"{100 * each.mean():.2f}" for each in shares), lowest]


# ---- changes ---------------------------------------------------------------------------------------------------------


def tone(function: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change grey values in [0, 1]."""
    return lambda grey, _: np.rint(255 * function(np.arange(256) / 255).clip(0, 1)).astype(np.uint8)[grey]


def noise(deviation: float) -> Change:
    """Add normal noise, in grey values."""
    return lambda grey, rng: (grey + rng.normal(0, deviation, grey.shape)).clip(0, 255).astype(np.uint8)


def margins(value: int, left: float = 0, right: float = 0, top: float = 0, bottom: float = 0) -> Change:
    """Add margins, in shares of width and height."""

    def change(grey: np.ndarray, _: np.random.Generator) -> np.ndarray:
        height, width = grey.shape
        rows = (round(top * height), round(bottom * height))
        return np.pad(grey, (rows, (round(left * width), round(right * width))), constant_values=value)

    return change


def crop(left: float = 0, right: float = 0, top: float = 0, bottom: float = 0) -> Change:
    """Cut off shares of width and height."""

    def change(grey: np.ndarray, _: np.random.Generator) -> np.ndarray:
        height, width = grey.shape
        return grey[
            round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
        ]

    return change


def warp(angle: float = 0, zoom: float = 1, value: int = 0) -> Change:
    """Turn by degrees and zoom about the middle."""

    def change(grey: np.ndarray, _: np.random.Generator) -> np.ndarray:
        height, width = grey.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, zoom)
        return cv2.warpAffine(grey, matrix, (width, height), borderValue=value)

    return change


def clahe(grey: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Local contrast."""
    return cv2.createCLAHE(4, (8, 8)).apply(grey)


def everything(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All changes at once, each drawn from its whole range."""
    grey = warp(rng.uniform(-15, 15), rng.uniform(0.7, 1.3), int(rng.choice([0, 255])))(grey, rng)
    gamma, contrast = np.exp(rng.uniform(np.log(0.4), np.log(2.5))), rng.uniform(0.4, 1.8)
    grey = tone(lambda v: 0.5 + contrast * (v - 0.5))(tone(lambda v: v**gamma)(grey, rng), rng)
    grey = clahe(grey, rng) if rng.random() < 0.5 else grey
    share = rng.uniform(0, 0.15)
    return margins(int(rng.choice([0, 255])), share, share, share, share)(noise(rng.uniform(0, 40))(grey, rng), rng)


def turned_and_zoomed(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by up to 15 degrees and zoomed from 0.7 to 1.3."""
    return warp(rng.uniform(-15, 15), rng.uniform(0.7, 1.3), int(rng.choice([0, 255])))(grey, rng)


CHANGES: dict[str, Change] = {
    "gamma 0.4": tone(lambda v: v**0.4), "gamma 2.5": tone(lambda v: v**2.5),
    "contrast 0.4": tone(lambda v: 0.5 + 0.4 * (v - 0.5)), "contrast 2": tone(lambda v: 0.5 + 2 * (v - 0.5)),
    "darkest 40 % cut off": tone(lambda v: 1.6 * v - 0.6), "brightest 40 % cut off": tone(lambda v: 1.6 * v),
    "CLAHE": clahe, "noise 20": noise(20), "noise 50": noise(50),
    "blur 1.5 % of the width": lambda grey, _: cv2.GaussianBlur(grey, (0, 0), 0.015 * grey.shape[1]),
    "black margins 15 %": margins(0, 0.15, 0.15, 0.15, 0.15),
    "white margins 15 %": margins(255, 0.15, 0.15, 0.15, 0.15),
    "black margin 30 % at the left": margins(0, left=0.3), "black margin 30 % at the right": margins(0, right=0.3),
    "black margin 30 % at the top": margins(0, top=0.3), "10 % cut off all around": crop(0.1, 0.1, 0.1, 0.1),
    "25 % cut off at the left": crop(left=0.25), "20 % cut off at the right": crop(right=0.2),
    "25 % cut off at the top": crop(top=0.25), "20 % cut off at the bottom": crop(bottom=0.2),
    "turned by 15 degrees": warp(15), "turned by -15 degrees": warp(-15), "zoom 0.7": warp(zoom=0.7),
    "zoom 1.3": warp(zoom=1.3), "turned and zoomed at random": turned_and_zoomed, "all at random": everything,
}  # fmt: skip
DRAWN = ("turned and zoomed at random", "all at random")

if __name__ == "__main__":
    main()
