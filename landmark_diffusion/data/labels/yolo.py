"""YOLO pose (Ultralytics): a text for each image with its box and keypoints, and a data.yaml that names them.

Coordinates are shares of the image's sides, from edge to edge: Ultralytics mirrors x as width - x and lets points lie
from 0 to the width, so that the centre of the first pixel is at 0.5 / width. (Its own converter from COCO divides
whole pixels by the width; half a pixel is within what its training notices.)
"""

from __future__ import annotations

import math
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted, one_line
from landmark_diffusion.core.untrusted import check_harmless
from landmark_diffusion.data.labels.building import TWO_ANNOTATORS, LabelBuilder, coordinate, image_name, text
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

CENTRE = 0.5
"""Where the centre of the first pixel lies, in pixels from the image's edge."""
NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2
YAML, LIST, LABELS, IMAGES = "data.yaml", "images.txt", "labels", "images"
CLASS = "landmarks"
MARGIN = 0.05
"""Of the image's sides, around the points: a box of no area would be left out in training."""
_BOX = 5  # class, x, y, width, height
_MOST_KEYPOINTS = 10_000


@dataclass
class _Data:
    """What data.yaml says: how many keypoints of how many numbers, their names by class, and images by their stems."""

    count: int = 0
    dimensions: int = 0
    names: dict[int, list[str]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    def names_of(self, kind: int, count: int) -> list[str]:
        """Landmarks of a class; numbers where the file names none."""
        return self.names.get(kind) or [str(number + 1) for number in range(count)]


class YoloFormat(LabelFormat):
    """A folder with data.yaml, texts in ``labels``, and a list of the images, which are to lie in its ``images``."""

    name, title, suffix = "yolo", "YOLO pose", ""
    holds = frozenset(("hidden", "unmarked images", "unmarked landmarks", "annotators without marks"))
    needs_size = True

    def recognises(self, source: LabelSource) -> bool:
        """A yaml with kpt_shape, a folder with such a one, or with texts of numbers that hold keypoints."""
        if not source.is_folder:
            return source.path.suffix.lower() in (".yaml", ".yml") and b"kpt_shape" in source.head
        if _yamls(source):
            return True
        first = next(iter(_texts(source)), None)
        return first is not None and _holds_keypoints(first)

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read the texts; boxes are not kept, and those without keypoints are counted."""
        builder = LabelBuilder(source.path)
        folder = source if source.is_folder else LabelSource(source.path.parent)
        yamls = _yamls(folder) if source.is_folder else [source.path]
        if len(yamls) > 1:
            shown = ", ".join(folder.relative(path) for path in yamls[:4])
            raise builder.fault(f"found {len(yamls)} files with kpt_shape ({shown}); name the one that counts")
        data = _read_yaml(yamls[0], folder) if yamls else _Data()
        names = [data.names_of(kind, data.count) for kind in data.names or (0,)]
        for path in _texts(folder):
            image = builder.image(_image_of(folder.relative(path), data, images))
            image.source = str(path)
            names += _read_text(builder, path, image, data, images)
        return builder.build(list(dict.fromkeys(name for each in names for name in each)))

    def more_losses(self, labels: LabelSet) -> list[str]:
        """Ultralytics passes over an image with such a point."""
        outside = sum(
            not (-CENTRE <= mark.x <= image.size[0] - CENTRE and -CENTRE <= mark.y <= image.size[1] - CENTRE)
            for image in labels.images for mark in image.marks.values() if mark.placed and image.size
        )  # fmt: skip
        return [f"reads no image with points outside it ({counted(outside, 'point')})"] if outside else []

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give data.yaml, the list, and a text for each image, empty where it has no point."""
        import yaml

        made = {
            posixpath.join(LABELS, f"{posixpath.splitext(image.name)[0]}.txt"): _line(labels, image).encode()
            for image in labels.images
        }
        if len(made) < len(labels.images):
            raise UserError("YOLO pose has one text for images that differ in their endings alone; rename one of them")
        said = {
            "train": LIST, "val": LIST, "kpt_shape": [len(labels.landmark_names), 3], "names": {0: CLASS},
            "kpt_names": {0: list(labels.landmark_names)},
        }  # fmt: skip
        made[YAML] = yaml.safe_dump(said, sort_keys=False, allow_unicode=True).encode()
        made[LIST] = "".join(f"./{IMAGES}/{image.name}\n" for image in labels.images).encode()
        return made


def _yamls(folder: LabelSource) -> list[Path]:
    return [path for path in folder.named(".yaml", ".yml") if b"kpt_shape" in LabelSource(path).head]


def _texts(folder: LabelSource) -> list[Path]:
    """The texts with labels: those in folders called labels, else those that hold keypoints."""
    texts = [path for path in folder.named(".txt") if path.name not in (LIST, "classes.txt")]
    within = [path for path in texts if LABELS in path.relative_to(folder.path).parts[:-1]]
    return within or [path for path in texts if _holds_keypoints(path)]


def _holds_keypoints(path: Path) -> bool:
    """Whether a text begins with a line of a class, a box and two numbers or more."""
    cells = LabelSource(path).beginning.partition("\n")[0].split()
    try:
        return len(cells) > _BOX + 1 and cells[0].isdecimal() and all(map(math.isfinite, map(float, cells)))
    except ValueError:
        return False


def _read_yaml(path: Path, folder: LabelSource) -> _Data:
    import yaml

    try:
        check_harmless(path, urls=True)
        found = yaml.safe_load(LabelSource(path).content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"the file is no yaml that can be read ({one_line(error)})", path) from None
    shape = found.get("kpt_shape") if isinstance(found, dict) else None
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape)):
        raise DataError(f"kpt_shape: found {one_line(repr(shape)):.60}, expected [keypoints, 2 or 3]", path)
    count, dimensions = shape
    if not 0 < count <= _MOST_KEYPOINTS or dimensions not in (2, 3):
        raise DataError(f"kpt_shape: found {shape}, expected [keypoints, 2 or 3]", path)
    names = found.get("kpt_names") or {}
    by_class = names if isinstance(names, dict) else {0: names}
    data = _Data(count, dimensions)
    for kind, listed in by_class.items():
        if not isinstance(listed, list) or len(listed) != count or type(kind) is not int:
            raise DataError(f"kpt_names: expected a list of {count} names for each class", path)
        try:
            data.names[kind] = [text(str(name), "kpt_names") for name in listed]
        except UserError as error:
            raise DataError(str(error), path) from None
    data.images = _listed(found, path.parent)
    return data


def _listed(found: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Images by their names without ending, of the lists that data.yaml names."""
    images = {}
    for part in ("train", "val", "test"):
        each = found.get(part)
        path = folder / each if isinstance(each, str) and each.lower().endswith(".txt") else None
        if path is None or not os.path.isfile(path):
            continue
        for line in LabelSource(path).content.decode("utf-8-sig", "replace").splitlines():
            name = line.strip().replace("\\", "/").rpartition(f"{IMAGES}/")[2]
            images[posixpath.splitext(name)[0]] = name
    return images


def _image_of(relative: str, data: _Data, images: ImageFolder) -> str:
    """Name the image of a text: in ``images`` where the text is in ``labels``, with the ending that is known."""
    before, _, within = f"/{relative}".rpartition(f"/{LABELS}/")
    stem = posixpath.splitext(within or relative)[0]
    for name in (posixpath.join(before.lstrip("/"), IMAGES, stem), stem):
        path = images.find(name)
        if path is not None and images.folder is not None and path.with_suffix("") == images.folder / name:
            return images.name_of(name)
    return images.name_of(image_name(data.images.get(stem, stem), "image"))


def _read_text(
    builder: LabelBuilder, path: Path, image: LabelledImage, data: _Data, images: ImageFolder
) -> list[list[str]]:
    """Add the points of one image; gives the landmarks of its object."""
    objects = []
    for number, line in enumerate(LabelSource(path).content.decode("utf-8", "replace").splitlines(), 1):
        cells = line.split()
        if len(cells) == _BOX:
            builder.left_out["box without keypoints"] += 1
        elif cells:
            objects.append((number, cells))
    if len(objects) > 1:
        raise builder.fault(
            f"{image.name}: found {len(objects)} objects with keypoints, expected one an image; keep one of them; "
            f"{TWO_ANNOTATORS}",
            path,
            objects[1][0],
        )
    if not objects:
        return []
    line_number, cells = objects[0]
    image.size = image.size or images.facts(image.name)[0]
    try:
        if image.size is None:
            raise UserError(
                f"the size of the image {image.name!r} is not known, of which the coordinates are shares: it is not in "
                f"{images.folder}; put it there{images.cure}"
            )
        kind, points = _points(cells, data)
        names = data.names_of(kind, len(points))
        for name, point in zip(names, points, strict=True):
            if (mark := _mark(name, point, image.size)) is not None:
                builder.mark(image, "", name, mark)
    except DataError:
        raise
    except UserError as error:
        raise builder.fault(str(error), path, line_number) from None
    return [names]


def _points(cells: Sequence[str], data: _Data) -> tuple[int, list[list[float]]]:
    """Class and keypoints of a line."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        wrong = next(cell for cell in cells if not _is_number(cell))
        raise UserError(f"found {one_line(wrong):.40}, expected numbers") from None
    rest = values[_BOX:]
    dimensions = data.dimensions or (3 if len(rest) % 3 == 0 and all(v in (0, 1, 2) for v in rest[2::3]) else 2)
    count = data.count or len(rest) // dimensions
    if len(rest) != count * dimensions:
        expected = f"{_BOX} and {dimensions} for each of {count} keypoints" if data.count else "2 or 3 a keypoint"
        raise UserError(f"found {len(values)} numbers, expected {expected}")
    if values[0] < 0 or values[0] != math.floor(values[0]):
        raise UserError(f"found the class {cells[0]:.40}, expected a whole number from 0 on")
    return int(values[0]), [rest[at : at + dimensions] for at in range(0, len(rest), dimensions)]


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _mark(name: str, point: Sequence[float], size: tuple[int, int]) -> Mark | None:
    """One keypoint; None where it is not labelled: by its third number, or without one at (0, 0)."""
    x, y, *more = point
    if more[:1] == [NOT_LABELLED] or (not more and x == y == 0):
        return None
    place = [coordinate(share * side, f"{name!r}") - CENTRE for share, side in zip((x, y), size, strict=True)]
    flag = Flag.HIDDEN if more[:1] == [HIDDEN] else Flag.VISIBLE
    if not more or more[0] in (HIDDEN, VISIBLE):
        return Mark(place[0], place[1], flag)
    if not 0 < more[0] < 1:
        raise UserError(f"{name!r}: found the third number {more[0]:g}, expected 0, 1 or 2")
    return Mark(place[0], place[1], score=more[0])  # of a prediction


def _line(labels: LabelSet, image: LabelledImage) -> str:
    """The text of an image."""
    assert image.size is not None
    sides = image.size
    marks = {landmark: mark for (_, landmark), mark in image.marks.items() if mark.placed}
    if not marks:
        return ""
    shares = {name: ((mark.x + CENTRE) / sides[0], (mark.y + CENTRE) / sides[1]) for name, mark in marks.items()}
    lows, highs = (
        [min(1.0, max(0.0, pick(pair[axis] for pair in shares.values()) + by)) for axis in (0, 1)]
        for pick, by in ((min, -MARGIN), (max, MARGIN))
    )
    numbers: list[float] = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    numbers += [high - low for low, high in zip(lows, highs, strict=True)]
    for name in labels.landmark_names:
        hidden = name in marks and marks[name].flag is Flag.HIDDEN
        numbers += [*shares[name], HIDDEN if hidden else VISIBLE] if name in marks else [0, 0, NOT_LABELLED]
    return " ".join(["0", *(f"{number!r}" for number in numbers)]) + "\n"
