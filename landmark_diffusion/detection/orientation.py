"""What was found in a radiograph that was put right, in the pixels of its file as it is, and upright again."""

from __future__ import annotations

from dataclasses import replace

from landmark_diffusion.data.forms import UPRIGHT
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.reasons import UNKNOWN
from landmark_diffusion.finders.orientation import RecognisedForm


def in_file(detection: Detection, found: RecognisedForm) -> Detection:
    """Bring points, covariance and regions from the pixels of the image put right to those of its file; say so.

    The size, the spacing and the picture of ``detection`` are the file's already.
    """
    form = found.used
    return replace(
        detection,
        points=form.apply_points(detection.points, detection.size),
        covariance=None if detection.covariance is None else form.apply_matrices(detection.covariance),
        regions=None if detection.regions is None else form.apply_matrices(detection.regions),
        orientation=found.form.name if found.certain else UNKNOWN,
        orientation_probability=found.probability,
        notes=(*_notes(found), *detection.notes),
    )


def turned_upright(detection: Detection) -> Detection:
    """Give a detection as in the picture turned upright, without pixels, where it was recognised as turned.

    A mirrored picture stays mirrored: its face looks to the other side, which the points tell.
    """
    turn, spacing = detection.form.turn, detection.spacing
    if turn == UPRIGHT:
        return detection
    return replace(
        detection,
        size=turn.upright_size(detection.size),
        points=turn.undo_points(detection.points, detection.size),
        covariance=None if detection.covariance is None else turn.undo_matrices(detection.covariance),
        regions=None if detection.regions is None else turn.undo_matrices(detection.regions),
        spacing=None if spacing is None else turn.upright_size(spacing),
        pixels=None,
    )


def _notes(found: RecognisedForm) -> list[str]:
    name = found.form.name
    if not found.certain:
        return [f"Its orientation is not certain ({name} with p = {found.probability:.2f}): it was taken as it is."]
    if found.form == UPRIGHT:
        return []
    return [f"It was recognised as {name} and put right to find the points, which are in the file's own pixels."]
