"""A data set: pictures in a folder, and points.txt with a line "picture.png x1 y1 x2 y2" for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landmark_diffusion import DataError, Finding, LandmarkDataset, LandmarkSample, check_samples, read_radiograph
from landmark_diffusion.data.readers.image_io import read_header
from landmark_diffusion.data.splits import fold_split, parse_folds, seeded_split


class MyData(LandmarkDataset):
    """Pictures with two landmarks each, 0.5 mm a pixel.

    Args:
        root: the folder with the pictures and points.txt.
        split: "seeded" (6 of 10 train, 2 validate, 2 test), or "folds:5/2".
    """

    name = "my_data"
    landmark_names = ("left", "right")
    annotator_names = ("me",)
    radii = (2.0, 4.0)
    unit = "mm"
    terms = "Trained on the pictures of my lab: ask us."
    knows_folds = True

    def __init__(self, root: str | Path, split: str = "seeded") -> None:
        self.root, self.folds = Path(root), parse_folds(split)

    def samples(self, stage: str) -> list[LandmarkSample]:
        every = {sample.image_id: sample for sample in self._read()}
        fractions = (0.6, 0.2, 0.2)
        parts = fold_split(list(every), *self.folds) if self.folds else seeded_split(list(every), fractions)
        return [every[name] for name in parts["test" if stage == "predict" else stage]]

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        return read_radiograph(sample.image_path).grey

    def check(self, decode: bool = True) -> list[Finding]:
        try:
            return check_samples(self, self._read(), [], decode)
        except DataError as error:
            return [Finding("error", str(error))]

    def _read(self) -> list[LandmarkSample]:
        path = self.root / "points.txt"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", path) from error
        return [self._sample(line, path, number) for number, line in enumerate(lines, 1)]

    def _sample(self, line: str, path: Path, number: int) -> LandmarkSample:
        name, *numbers = line.split()
        try:
            points = np.array(numbers, float).reshape(1, 2, 2)  # annotators, landmarks, (x, y)
        except ValueError:
            raise DataError(f"found {line!r}, expected a picture and four numbers", path, number) from None
        image = self.root / name
        return LandmarkSample(name, read_header(image), points, (0.5, 0.5), image, f"{path}:{number}")
