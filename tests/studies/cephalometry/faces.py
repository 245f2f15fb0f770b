"""Faces drawn by hand from lines of known direction, for measures that can be worked out on paper."""

from __future__ import annotations

import numpy as np

from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES

TO_IMAGE = np.array([1000.0, 1200.0])
"""Where sella lies in the image, in mm: far enough from the corner for the whole head."""


def ray(start: np.ndarray, degrees: float, length: float) -> np.ndarray:
    """Go from ``start`` in the patient's frame: x forward, y up, degrees counterclockwise from straight forward."""
    angle = np.deg2rad(degrees)
    return start + length * np.array([np.cos(angle), np.sin(angle)])


def make_face(
    sna: float = 82.0,
    snb: float = 79.0,
    frankfort: float = -3.0,
    palatal: float = -6.0,
    mandible: float = -35.0,
    facial: float = 88.0,
    upper_ahead: tuple[float, float] = (3.0, 0.0),
) -> dict[str, np.ndarray]:
    """A face looking right, in mm in the patient's frame with sella at the origin and nasion straight ahead.

    Args:
        sna, snb: degrees at nasion.
        frankfort, palatal, mandible: directions of porion-orbitale, of the nasal spines from behind, of gonion-menton
            (and gonion-gnathion), negative where they fall forward.
        facial: direction from pogonion up to nasion.
        upper_ahead: how far the upper incisor's edge lies ahead of and above the lower one's.
    """
    sella, nasion = np.zeros(2), np.array([70.0, 0.0])
    porion, spine, gonion = np.array([-8.0, -22.0]), np.array([20.0, -48.0]), np.array([-5.0, -75.0])
    lower = np.array([62.0, -80.0])
    return {
        "sella": sella,
        "nasion": nasion,
        "porion": porion,
        "orbitale": ray(porion, frankfort, 72),
        "posterior nasal spine": spine,
        "anterior nasal spine": ray(spine, palatal, 50),
        "subspinale": ray(nasion, 180 + sna, 58),
        "supramentale": ray(nasion, 180 + snb, 100),
        "pogonion": ray(nasion, 180 + facial, 115),
        "gonion": gonion,
        "menton": ray(gonion, mandible, 70),
        "gnathion": ray(gonion, mandible, 75),
        "lower incisal incision": lower,
        "upper incisal incision": lower + upper_ahead,
        "upper lip": np.array([80.0, -70.0]),
        "lower lip": np.array([78.0, -88.0]),
        "subnasale": np.array([78.0, -55.0]),
        "soft tissue pogonion": np.array([72.0, -115.0]),
        "articulare": np.array([0.0, -35.0]),
    }


def in_image(
    face: dict[str, np.ndarray], spacing: tuple[float, float] = (0.1, 0.1), facing: str = "right"
) -> np.ndarray:
    """(19, 2) pixels in the order of LANDMARK_NAMES, y down; the corner lies where sella is at TO_IMAGE mm."""
    points = np.stack([face[name] for name in LANDMARK_NAMES]) * (1 if facing == "right" else -1, -1)
    return (points + TO_IMAGE * 0.1) / np.asarray(spacing)


def turned(face: dict[str, np.ndarray], degrees: float) -> dict[str, np.ndarray]:
    """The same head, nodding."""
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return {name: rotation @ point for name, point in face.items()}


def direction(face: dict[str, np.ndarray], start: str, end: str) -> float:
    """Degrees from straight forward to the line between two landmarks, counterclockwise."""
    across, up = face[end] - face[start]
    return float(np.degrees(np.arctan2(up, across)))
