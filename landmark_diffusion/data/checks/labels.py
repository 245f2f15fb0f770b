"""What the values of all labels together say, by points and image sizes alone: quick enough for the start of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import warn
from landmark_diffusion.data.checks.frames import FrameDoubt, frame_doubts, outside_doubt
from landmark_diffusion.data.checks.physical import size_findings
from landmark_diffusion.data.checks.placeholders import Placeholder, find_placeholders
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Finding, LandmarkDataset

_NAMED = 5


def check_labels(samples: Sequence[LandmarkSample], landmark_names: Sequence[str]) -> list[Finding]:
    """Find labels in another unit or frame, marks that stand for missing ones, and rows that were copied.

    Each finding is one line for all images that it is about and begins with the first one's ``source``.
    """
    if not samples or not samples[0].annotations.shape[1]:
        return []
    points = np.stack([sample.annotations for sample in samples])
    sizes = np.array([sample.size for sample in samples], dtype=np.float64)
    spacing = np.array([sample.spacing or (np.nan, np.nan) for sample in samples])
    placeholders = find_placeholders(points)
    for each in placeholders:
        points[tuple(each.places.T)] = np.nan
    outside = outside_doubt(points, sizes)
    doubts = [outside] if outside is not None else frame_doubts(points, sizes, spacing)
    return [
        *(_frame_finding(samples, doubt) for doubt in doubts),
        *(_placeholder_finding(samples, each, landmark_names) for each in placeholders),
        *(_copied_finding(samples, images) for images in _copied_rows(points)),
        *size_findings(samples),
    ]


def tell_labels(samples: Sequence[LandmarkSample], dataset: LandmarkDataset) -> None:
    """Warn of each doubt of `check_labels` in one line; raise UserError for the first error among them.

    Images that stand in two stages are judged once.
    """
    different = list({sample.image_id: sample for sample in samples}.values())
    findings = check_labels(different, dataset.landmark_names)
    for finding in findings:
        if finding.level == "error":
            raise UserError(
                f"{finding.message}. `ldx data check` lists all; --data.check_labels false goes on all the same"
            )
    for finding in findings:
        warn(f"{finding.message} (`ldx data check` lists all doubts)")


def refuse_mixed_spacing(samples: Sequence[LandmarkSample]) -> None:
    """Raise UserError where some images have a spacing and others none: no table could be in one unit at the end."""
    different = list({sample.image_id: sample for sample in samples}.values())
    without = [place for place, sample in enumerate(different) if sample.spacing is None]
    if without and len(without) < len(different):
        raise UserError(
            f"{different[without[0]].source}: {len(without)} of {len(different)} images have no spacing "
            f"({_named(different, without)}), the others have one: errors would be in mm for some and in px for "
            "others. Give it for all, or for none to measure in px"
        )


def outside_finding(samples: Sequence[LandmarkSample]) -> Finding | None:
    """Say what points outside their images may be where many images have them, as `check_labels`; None where few do."""
    if not samples or not samples[0].annotations.shape[1]:
        return None
    points = np.stack([sample.annotations for sample in samples])
    for each in find_placeholders(points):
        points[tuple(each.places.T)] = np.nan
    doubt = outside_doubt(points, np.array([sample.size for sample in samples], dtype=np.float64))
    return None if doubt is None else _frame_finding(samples, doubt)


def _frame_finding(samples: Sequence[LandmarkSample], doubt: FrameDoubt) -> Finding:
    message = f"{samples[doubt.images[0]].source}: {doubt.message} ({_named(samples, doubt.images)})"
    return Finding("error" if doubt.sure else "warning", message)


def _placeholder_finding(samples: Sequence[LandmarkSample], found: Placeholder, names: Sequence[str]) -> Finding:
    x, y = found.point
    landmarks = [names[int(index)] for index in np.unique(found.places[:, 2])]
    images = found.images
    return Finding(
        "warning",
        f"{samples[images[0]].source}: the exact point ({x:g}, {y:g}) stands {len(found.places)} times in "
        f"{len(images)} of {len(samples)} images ({_named(samples, images)}), for {', '.join(landmarks[:_NAMED])}"
        f"{' ...' if len(landmarks) > _NAMED else ''}: a mark that is missing? Leave such cells empty; as it stands it "
        "is trained on",
    )


def _copied_finding(samples: Sequence[LandmarkSample], images: list[int]) -> Finding:
    return Finding(
        "warning",
        f"{samples[images[1]].source}: {len(images)} images have exactly the same points "
        f"({_named(samples, images)}): a row copied, or the same image twice?",
    )


def _copied_rows(points: np.ndarray) -> list[list[int]]:
    """Groups of images whose points (three landmarks or more) are the same to the last digit."""
    enough = np.flatnonzero(np.isfinite(points).all(-1).any(1).sum(-1) >= 3)
    groups: dict[bytes, list[int]] = {}
    for image in enough:
        groups.setdefault(points[image].tobytes(), []).append(int(image))
    return [images for images in groups.values() if len(images) > 1]


def _named(samples: Sequence[LandmarkSample], images: Sequence[int]) -> str:
    names = ", ".join(samples[int(index)].image_id for index in images[:_NAMED])
    return names + (", ..." if len(images) > _NAMED else "")
