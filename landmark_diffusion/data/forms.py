"""The sixteen forms a radiograph may come in: mirrored or not, turned by quarter turns, and negative or not.

A form is what was done to the upright image: first mirrored left to right, then turned, and its grey values inverted.
Points are (x, y) in pixels with pixel centres at integers, so that every map here is exact in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

_WORDS = (
    ("upright", "turned left", "upside down", "turned right"),
    ("mirrored", "turned left and mirrored", "flipped", "turned right and mirrored"),
)
"""By mirrored and quarter turns to the left; "flipped" is mirrored top to bottom."""

NEGATIVE = "negative"
Pair = TypeVar("Pair", tuple[int, int], tuple[float, float])


@dataclass(frozen=True)
class Form:
    """How a radiograph lies in its file.

    Args:
        mirrored: left to right, before it was turned.
        turns: quarter turns to the left (counter-clockwise on the screen), 0 to 3.
        negative: grey value v stands for 255 - v.
    """

    mirrored: bool = False
    turns: int = 0
    negative: bool = False

    @property
    def name(self) -> str:
        """What to call the image: "upright", "mirrored", "negative", "turned left and mirrored, negative"."""
        lie = _WORDS[self.mirrored][self.turns]
        if not self.negative:
            return lie
        return NEGATIVE if lie == "upright" else f"{lie}, {NEGATIVE}"

    @property
    def is_turned(self) -> bool:
        """Whether width and height, and x and y of a spacing, are exchanged."""
        return self.turns % 2 == 1

    @property
    def turn(self) -> Form:
        """Only the form's quarter turns, so that ``undo_points`` leaves a mirrored image mirrored."""
        return Form(False, self.turns)

    def apply(self, upright: np.ndarray) -> np.ndarray:
        """Bring an upright image (H, W) uint8 to this form."""
        image = np.fliplr(upright) if self.mirrored else upright
        image = np.rot90(image, self.turns)
        return np.ascontiguousarray(255 - image if self.negative else image)

    def undo(self, image: np.ndarray) -> np.ndarray:
        """Bring an image (H, W) uint8 of this form upright."""
        upright = np.rot90(image, -self.turns)
        upright = np.fliplr(upright) if self.mirrored else upright
        return np.ascontiguousarray(255 - upright if self.negative else upright)

    def upright_size(self, size: Pair) -> Pair:
        """(width, height) or spacing (x, y) of the upright image from this form's; the same exchange leads back."""
        return (size[1], size[0]) if self.is_turned else size

    def apply_points(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Map points (..., 2) of the upright image to pixels of this form's, whose (width, height) is ``size``."""
        matrix, offset = self._map(size)
        found: np.ndarray = _product(matrix, points) + offset
        return found

    def undo_points(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Map points (..., 2) of this form's image, of ``size`` (width, height), to pixels of the upright one."""
        matrix, offset = self._map(size)
        return _product(matrix.T, points - offset)

    def apply_matrices(self, matrices: np.ndarray) -> np.ndarray:
        """Map covariances or regions (..., 2, 2) in the upright image's squared pixels to this form's: J C J^T."""
        return self._matrices(self.matrix, matrices)

    def undo_matrices(self, matrices: np.ndarray) -> np.ndarray:
        """Map covariances or regions (..., 2, 2) in this form's squared pixels to the upright image's."""
        return self._matrices(self.matrix.T, matrices)

    @property
    def matrix(self) -> np.ndarray:
        """(2, 2): where the upright image's x axis (first column) and y axis point to in this form's."""
        mirror = np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        left = np.array([[0.0, 1.0], [-1.0, 0.0]])  # x goes up, y goes right: (x, y) to (y, -x)
        turned: np.ndarray = np.linalg.matrix_power(left, self.turns) @ mirror
        return turned

    def _map(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and offset: both keep the middle of the image in the middle."""
        middle = (np.array(size, dtype=np.float64) - 1) / 2
        upright = (np.array(self.upright_size(size), dtype=np.float64) - 1) / 2
        return self.matrix, middle - self.matrix @ upright

    @staticmethod
    def _matrices(turn: np.ndarray, matrices: np.ndarray) -> np.ndarray:
        """Exchange and negate entries: exact, and what is unknown (NaN) in one entry stays in that one."""
        mapped = matrices[..., ::-1, ::-1] if turn[0, 0] == 0 else matrices
        signs = turn.sum(1)
        found: np.ndarray = mapped * np.outer(signs, signs)
        return found


def _product(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Turn points (..., 2) by one of the eight matrices: a NaN in one coordinate stays in that one."""
    mapped = points[..., ::-1] if matrix[0, 0] == 0 else points
    found: np.ndarray = mapped * matrix.sum(1)
    return found


FORMS = tuple(
    Form(mirrored, turns, negative) for negative in (False, True) for mirrored in (False, True) for turns in range(4)
)
"""All sixteen: place 8 * negative + 4 * mirrored + turns."""

UPRIGHT = FORMS[0]
BY_NAME = {form.name: form for form in FORMS}
