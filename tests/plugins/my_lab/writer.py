"""A form of output: one text file with a line "image landmark x y" for each point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from landmark_diffusion import Detection, Writer


class MyWriter(Writer):
    """Write points.txt in the results' folder."""

    name = "my_text"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lines: list[str] = []

    def targets(self, names: Sequence[str]) -> list[Path]:
        return [self.folder / "points.txt"]

    def add(self, detection: Detection) -> None:
        for landmark, (x, y) in zip(detection.landmark_names, detection.points, strict=True):
            self.lines.append(f"{detection.name} {landmark} {x:.6f} {y:.6f}\n")

    def close(self) -> list[Path]:
        (path,) = self.targets([])
        path.write_text("".join(self.lines), encoding="utf-8")
        return [path]
