"""``ldx data convert``: labels from one tool's form into another's, without loss or with every loss said."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels import (
    FORMATS,
    ImageFolder,
    LabelFormat,
    LabelSet,
    images_of,
    read_labels,
    target_format,
)
from landmark_diffusion.data.labels.label_set import MEAN, SOLE_ANNOTATOR, Flag
from landmark_diffusion.data.sources.folder.label_doubts import label_doubts

DESCRIPTION = """Read labels in the form of one tool and write them in that of another. The form of the source is told
by its content. Points keep to 1e-6 pixels, with names, flags and annotators; what the target cannot hold is said."""
EXAMPLES = """examples:
  ldx data convert cvat.xml --to csv --output labels.csv
  ldx data convert labels.csv --to label-studio --images my_xrays --output tasks.json
  ldx data convert ~/isbi2015 --to coco --annotator senior --output senior.json

Nothing is overwritten without --overwrite. docs/formats.md says for each form where a pixel's centre lies, what it
holds and what it loses.
"""
_SHOWN = 6


def run_data_convert(argv: list[str]) -> int:
    """Convert and return 0; ``argv`` are the arguments behind ``ldx data convert``.

    Raises UserError for what cannot be read or written; then nothing was written.
    """
    options = _parse(argv)
    target = target_format(options.to)
    source, labels = read_labels(options.source, options.form, options.images)
    images = images_of(options.source, options.images)
    labels = _with_facts(labels, images)
    _tell("\n".join(_read_lines(source, labels)))
    for doubt in label_doubts(labels, options.source, source):
        _tell(f"warning: {doubt}")
    labels = one_annotator(labels, target, options.annotator)
    lost = target.write(labels, options.output, images, options.overwrite)
    _tell(f"wrote {options.output} ({target.title})")
    for sentence in lost:
        _tell(f"not kept: {sentence}")
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser("data convert", DESCRIPTION, EXAMPLES)
    known = ", ".join(FORMATS.names())
    parser.add_argument("source", metavar="SOURCE", type=Path, help="file or folder with labels")
    parser.add_argument("--to", required=True, metavar="FORM", help=f"form to write: {known}")
    parser.add_argument("--from", dest="form", metavar="FORM", help="form of the source, where it is not recognised")
    parser.add_argument("--output", required=True, metavar="TARGET", type=Path, help="file or folder to write")
    parser.add_argument(
        "--images", metavar="FOLDER", type=Path,
        help="folder of the images, for their sizes, spacings and names; by default that of the source",
    )  # fmt: skip
    parser.add_argument(
        "--annotator", metavar="NAME",
        help=f"the one annotator to write; {MEAN}: the mean of all. Needed where the form holds one and there are more",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace what is there already")
    return parser.parse(argv)


def one_annotator(labels: LabelSet, target: LabelFormat, asked: str | None) -> LabelSet:
    """Give the labels of the annotator that was asked for, or all where the form holds them.

    Raises UserError where the form holds one and several marked: a mean is never taken unasked.
    """
    if asked is not None:
        return labels.by(asked)
    marking = labels.marking()
    if "annotators" in target.holds:
        return labels
    if len(marking) > 1:
        shown = ", ".join(marking[:_SHOWN]) + (", ..." if len(marking) > _SHOWN else "")
        raise UserError(
            f"--to {target.name}: {target.title} holds one annotator, and {len(marking)} marked: {shown}; choose one "
            f"by --annotator NAME, or their mean by --annotator {MEAN}"
        )
    return labels.by((marking or labels.annotator_names)[0])


def _with_facts(labels: LabelSet, images: ImageFolder) -> LabelSet:
    """Add sizes and spacings of the images that are there; refuse a size that is another than the file's."""
    known = []
    for image in labels.images:
        size, spacing = images.facts(image.name)
        if size is not None and image.size not in (None, size):
            found = f"{image.size[0]}x{image.size[1]}" if image.size else ""
            raise UserError(
                f"{image.name}: the labels say {found} px, the file {images.find(image.name)} has {size[0]}x{size[1]}: "
                "they were made on another copy; name the folder of the right images by --images"
            )
        known.append(replace(image, size=image.size or size, spacing=image.spacing or spacing))
    return replace(labels, images=tuple(known))


def _read_lines(source: LabelFormat, labels: LabelSet) -> list[str]:
    """Say what was read and what was left."""
    counts = labels.counts()
    flags = ", ".join(f"{counts[flag]} {flag}" for flag in Flag if counts[flag] and flag is not Flag.VISIBLE)
    places = len(labels.images) * len(labels.landmark_names) * max(1, len(labels.marking()))
    missing = places - sum(counts.values())
    parts = ", ".join(filter(None, [flags, f"{missing} missing" if missing else ""]))
    marked = sum(counts[flag] for flag in Flag if flag is not Flag.ABSENT)
    lines = [
        f"read {source.title}: {counted(len(labels.images), 'image')}, "
        f"{counted(len(labels.landmark_names), 'landmark')} ({_names(labels.landmark_names)}), "
        f"{counted(marked, 'point')}" + (f" ({parts})" if parts else ""),
    ]
    if labels.annotator_names != (SOLE_ANNOTATOR,):
        lines.append(f"annotators: {_names(labels.annotator_names)}")
    left = ", ".join(f"{kind} ({count})" for kind, count in labels.left_out.items())
    return lines + [f"left out: {left}"] * bool(left) + [f"note: {note}" for note in labels.notes]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _tell(text: str) -> None:
    print(text, flush=True)
