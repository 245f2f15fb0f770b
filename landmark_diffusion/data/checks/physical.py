"""How large an image is by its spacing: one of 300 metres is a spacing in micrometres."""

from __future__ import annotations

from collections.abc import Sequence

from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Finding

LEAST_MM, MOST_MM = 10.0, 1000.0
"""The longer side of a radiograph: a dental film has 30 mm, a whole leg a metre."""
_UNITS = ((1e-3, "micrometres"), (10.0, "centimetres"), (1e3, "metres"))
_NAMED = 5


def size_doubt(size: tuple[int, int], spacing: tuple[float, float]) -> str | None:
    """Say how large an image (width, height) px is by ``spacing`` mm a pixel (x, y); None where it can be so large."""
    sides = size[0] * spacing[0], size[1] * spacing[1]
    if LEAST_MM <= max(sides) <= MOST_MM:
        return None
    values = " and ".join(f"{each:g}" for each in dict.fromkeys(spacing))
    other = next((word for factor, word in _UNITS if 30 <= max(sides) * factor <= MOST_MM), None)
    guess = f" (is the spacing in {other}?)" if other else ""
    return (
        f"a spacing of {values} mm a pixel makes an image of {size[0]}x{size[1]} px {_length(sides[0])} wide and "
        f"{_length(sides[1])} high{guess}"
    )


def size_findings(samples: Sequence[LandmarkSample]) -> list[Finding]:
    """Warn once of all images whose spacing makes them larger or smaller than any radiograph."""
    doubted = [(sample, size_doubt(sample.size, sample.spacing)) for sample in samples if sample.spacing is not None]
    found = [(sample, said) for sample, said in doubted if said]
    if not found:
        return []
    names = ", ".join(sample.image_id for sample, _ in found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
    first, said = found[0]
    return [
        Finding(
            "warning",
            f"{first.source}: {said}; so for {len(found)} of {counted(len(samples), 'image')} ({names}). All mm would "
            "be wrong",
        )
    ]


def _length(mm: float) -> str:
    return f"{mm / 1000:.3g} m" if mm >= 1000 else f"{mm:.3g} mm"
