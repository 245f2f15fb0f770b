"""What is odd in a tool's labels as they are converted: what `ldx data check` would find in the table made of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels import LabelFormat, LabelSet, LabelSource
from landmark_diffusion.data.sources.annotations_text import inside
from landmark_diffusion.data.sources.folder.misspelt import rare_names
from landmark_diffusion.data.sources.folder.tool_labels import as_table

_NAMED = 3


def label_doubts(labels: LabelSet, path: Path, form: LabelFormat) -> list[str]:
    """Say which points lie outside their image, where its size is known, and which names are likely one, misspelt."""
    if not any(mark.placed for image in labels.images for mark in image.marks.values()):
        return []
    rare = rare_names(as_table(labels, LabelSource(path), form))
    alike = [doubt for first, doubt in _alike(labels) if not any(repr(first) in each for each in rare)]
    return [*_outside(labels), *rare, *alike]


def _outside(labels: LabelSet) -> Iterator[str]:
    """One sentence for all points outside, with the first ones."""
    found = [
        f"{landmark!r} of {image.name} at ({mark.x:.1f}, {mark.y:.1f}) of {image.size[0]}x{image.size[1]} px"
        for image in labels.images if image.size is not None
        for (_, landmark), mark in image.marks.items()
        if mark.placed and not inside(np.array([mark.x, mark.y]), image.size)
    ]  # fmt: skip
    if found:
        verb = "lies" if len(found) == 1 else "lie"
        more = ", ..." if len(found) > _NAMED else ""
        yield f"{counted(len(found), 'point')} {verb} outside the image: {', '.join(found[:_NAMED])}{more}"


def _alike(labels: LabelSet) -> Iterator[tuple[str, str]]:
    """Names that differ in case, blanks, signs or Unicode form alone, and are never in one image together."""
    known: dict[str, str] = {}
    for name in labels.landmark_names:
        folded = "".join(each for each in unicodedata.normalize("NFKC", name).casefold() if each.isalnum()) or name
        first = known.setdefault(folded, name)
        together = any({first, name} <= {landmark for _, landmark in image.marks} for image in labels.images)
        if first != name and not together:
            yield (
                name,
                f"landmarks {first!r} and {name!r} are nearly the same name: if they are one, rename one of them",
            )
