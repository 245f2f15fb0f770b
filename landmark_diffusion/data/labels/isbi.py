"""The text files of ISBI 2015: a folder for each of its two doctors, a file an image, a line x,y for each landmark.

No tool's documentation says where a pixel's centre lies; the doctors' files hold whole numbers, and like the data set's
users this package takes them for the pixels that were clicked, so that the centre of the first one is (0, 0).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.labels.building import LabelBuilder
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource
from landmark_diffusion.data.landmark_names import respelled
from landmark_diffusion.data.sources.isbi2015 import (
    ANNOTATOR_FOLDERS,
    FULL_SIZE,
    LANDMARK_NAMES,
    SPACING_MM,
    read_points,
)

_PARENTS = ("", "AnnotationsByMD")


class IsbiFormat(LabelFormat):
    """The folders 400_senior and 400_junior, also within AnnotationsByMD."""

    name, title, suffix = "isbi", "ISBI 2015", ""
    holds = frozenset(("annotators", "unmarked landmarks"))

    def recognises(self, source: LabelSource) -> bool:
        """A folder with one of the doctors' folders."""
        return source.is_folder and bool(_doctors(source.path))

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read both doctors; the spacing is known where an image has the challenge's size."""
        builder = LabelBuilder(source.path)
        for doctor, folder in _doctors(source.path).items():
            builder.annotator(doctor)
            for path in sorted(folder.glob("*.txt")):
                points, faults = read_points(path)
                for fault in faults:
                    raise fault
                name = images.name_of(path.stem)
                size = images.facts(name)[0]
                image = builder.image(name, size, (SPACING_MM,) * 2 if size == FULL_SIZE else None, again=True)
                for landmark, (x, y) in zip(LANDMARK_NAMES, points.tolist(), strict=True):
                    builder.mark(image, doctor, landmark, Mark(x, y))
        return builder.build(LANDMARK_NAMES)

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give a file for each image and doctor who marked all 19 points."""
        names = _names(labels)
        _refuse_others(labels.marking())
        made: dict[str, bytes] = {}
        for image in labels.images:
            for doctor, folder in ANNOTATOR_FOLDERS.items():
                points = [image.marks.get((doctor, names[name])) for name in LANDMARK_NAMES]
                if not _whole(points):
                    continue
                file = f"{folder}/{_stem(image)}.txt"
                if file in made:
                    raise UserError(f"--to isbi: two images would have the file {file}; rename one of them")
                made[file] = "".join(f"{mark.x!r},{mark.y!r}\n" for mark in points if mark).encode()
        return made

    def more_losses(self, labels: LabelSet) -> list[str]:
        """What has no line of its own."""
        names = _names(labels)
        torn = [
            image.name
            for image in labels.images
            for doctor in labels.marking()
            if any(by == doctor for by, _ in image.marks)
            and not _whole([image.marks.get((doctor, names[name])) for name in LANDMARK_NAMES])
        ]
        moved = sum(_stem(image) != image.name for image in labels.images)
        return [
            *([f"has no line for a missing point: left out {len(torn)} images or readings, {torn[0]}"] if torn else []),
            *([f"keeps no folder and ending of an image's name ({moved} images)"] if moved else []),
        ]


def _doctors(path: Path) -> dict[str, Path]:
    """Folder of each doctor that is there."""
    found = {
        doctor: path / parent / folder
        for parent in _PARENTS
        for doctor, folder in ANNOTATOR_FOLDERS.items()
        if (path / parent / folder).is_dir()
    }
    return {doctor: found[doctor] for doctor in ANNOTATOR_FOLDERS if doctor in found}


def _refuse_others(marking: Sequence[str]) -> None:
    """Refuse annotators who have no folder; raises UserError that says what to do."""
    others = [name for name in marking if name not in ANNOTATOR_FOLDERS]
    if not others:
        return
    known = [name for name in ANNOTATOR_FOLDERS if name in marking]
    chosen = f"; or write {known[0]} alone by --annotator {known[0]}" if known else ""
    doctors = tuple(ANNOTATOR_FOLDERS)
    raise UserError(
        f"--to isbi: it has folders for the annotators {' and '.join(doctors)} alone, found {others[0]!r}: write the "
        f"labels by --to csv, put {' or '.join(doctors)} for {others[0]!r} in its column annotator, and convert "
        f"that{chosen}"
    )


def _names(labels: LabelSet) -> dict[str, str]:
    """The challenge's name of each landmark to that in the labels; raises UserError where they are not its 19."""
    ours = dict(zip(respelled(labels.landmark_names, LANDMARK_NAMES), labels.landmark_names, strict=True))
    lacking = [name for name in LANDMARK_NAMES if name not in ours]
    if lacking or len(ours) != len(LANDMARK_NAMES):
        what = f"{lacking[0]!r} is missing" if lacking else f"found {len(labels.landmark_names)} landmarks"
        raise UserError(f"--to isbi: its files hold its 19 landmarks without their names, and {what}")
    return ours


def _whole(points: list[Mark | None]) -> bool:
    return all(mark is not None and mark.placed for mark in points)


def _stem(image: LabelledImage) -> str:
    return posixpath.splitext(posixpath.basename(image.name))[0]
