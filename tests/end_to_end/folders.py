"""Small data sets on disk, whole ones: each test breaks one thing in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 194, 240


def make_isbi(root: Path, numbers: tuple[int, ...] = (1, 2, 131, 151)) -> Path:
    """Write a small copy of the layout of ISBI 2015."""
    rng = np.random.default_rng(0)
    for name in ("cepha400", "400_senior", "400_junior"):
        (root / name).mkdir(parents=True)
    for number in numbers:
        pixels = rng.integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "cepha400" / f"{number:03d}.jpg")
        for name in ("400_senior", "400_junior"):
            points = rng.integers(1, (WIDTH - 1, HEIGHT - 1), (19, 2))
            text = "".join(f"{x},{y}\n" for x, y in points)
            (root / name / f"{number:03d}.txt").write_text(text)
    return root


def make_folder(root: Path, images: int = 6, long: bool = False) -> Path:
    """Write images and points.csv with two landmarks, wide or long."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows = ["image,landmark,x,y" if long else "image,x1,y1,x2,y2"]
    for number in range(images):
        name = f"i{number}.png"
        Image.fromarray(rng.integers(0, 255, (50, 40), dtype=np.uint8)).save(root / "images" / name)
        x1, y1, x2, y2 = rng.integers(1, 38, 4)
        rows += [f"{name},1,{x1},{y1}", f"{name},2,{x2},{y2}"] if long else [f"{name},{x1},{y1},{x2},{y2}"]
    (root / "points.csv").write_text("\n".join(rows) + "\n")
    return root


def set_line(path: Path, line: int, text: str | None) -> None:
    """Replace a line (1-based) of a text file, or remove it."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def cut_in_half(path: Path) -> None:
    """Keep the first half of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
