"""Does the whole-image score tell images that are nothing like the training set? No annotation is read.

python tools/unlike_images.py weights/ceph_small.ldx --shared ../shared/data
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from landmark_diffusion import Detector
from landmark_diffusion.data.readers.image_io import list_images, read_grey

HEADS = range(151, 301)
SOME = range(151, 201)
SIZE = (2400, 1935)


def main() -> None:
    """Print, for each kind of image, how many are called unlike, and the largest p-value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--shared", type=Path, required=True)
    options = parser.parse_args()
    detector = Detector.load(options.model)
    rng = np.random.default_rng(0)
    heads = {n: read_grey(options.shared / "isbi2015" / "cepha400" / f"{n}.jpg") for n in HEADS}
    kinds: dict[str, list[np.ndarray]] = {
        "cephalograms of Test 1": list(heads.values()),
        "hands": [read_grey(path) for path in list_images(options.shared / "hand", recursive=True)],
        "chests": [read_grey(path) for path in list_images(options.shared / "chest15", recursive=True)[:50]],
        "white noise": [rng.integers(0, 256, SIZE, dtype=np.uint8) for _ in range(10)],
        "soft blobs, as of a photograph": [blobs(rng, 10.0 * n) for n in range(1, 11)],
        "black, white": [np.zeros(SIZE, np.uint8), np.full(SIZE, 255, np.uint8)],
    }
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "upside down": lambda grey: grey[::-1, ::-1],
        "mirrored": lambda grey: grey[:, ::-1],
        "negative": lambda grey: 255 - grey,
        "a quarter turn": np.rot90,
        "turned by 20 degrees": lambda grey: turned(grey, 20),
        "turned by 10 degrees": lambda grey: turned(grey, 10),
        "upper half": lambda grey: grey[: len(grey) // 2],
        "a tenth cut off each side": lambda grey: grey[240:-240, 194:-194],
        "darkened to 30 %": lambda grey: (0.3 * grey).astype(np.uint8),
    }
    kinds |= {name: [np.ascontiguousarray(change(heads[n])) for n in SOME] for name, change in changes.items()}
    print("| images | number | unlike (p <= 0.01), % | largest p |\n|---|---:|---:|---:|")
    for name, images in kinds.items():
        found = [detector(image) for image in images]
        share = 100 * np.mean([bool(each.unlike) for each in found])
        largest = max(each.image_score or 0 for each in found)
        print(f"| {name} | {len(found)} | {share:.1f} | {largest:.3f} |", flush=True)


def blobs(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """White noise blurred by ``sigma`` px, over the whole range of grey."""
    field = cv2.GaussianBlur(rng.standard_normal(SIZE).astype(np.float32), (0, 0), sigma)
    return cv2.normalize(field, field, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def turned(grey: np.ndarray, degrees: float) -> np.ndarray:
    """The image turned around its middle."""
    height, width = grey.shape
    return cv2.warpAffine(grey, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))


if __name__ == "__main__":
    main()
