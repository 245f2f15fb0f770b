"""What is written in a form is read from it again: points, names, flags, images; the rest is said."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from landmark_diffusion.data.labels import FORMATS, ImageFolder, LabelSet, label_format, recognise
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import ABSENT
from tests.data.labels.label_sets import assert_same, label_sets
from tests.detection.bad_inputs import png_of_size

WRITTEN = [name for name in FORMATS.built_in if label_format(name).writes and name != "isbi"]
"""ISBI's files hold 19 landmarks, all marked: test_isbi.py."""


def round_trip(form: LabelFormat, labels: LabelSet, folder: Path) -> LabelSet:
    """Write and read back, the form told by content alone; YOLO's shares are read by the images' headers."""
    target = folder / f"labels{form.suffix}"
    form.write(labels, target, ImageFolder())
    found, source = recognise(target)
    assert form.name.startswith(found.name)  # both kinds of CVAT's XML are read as one, and of VIA's
    return found.read(source, ImageFolder(with_headers(labels, folder / "images") if form.name == "yolo" else None))


def with_headers(labels: LabelSet, folder: Path) -> Path:
    """A folder of the images, PNG files whose headers claim their sizes."""
    for image in labels.images:
        assert image.size is not None
        (folder / image.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / image.name).write_bytes(png_of_size(*image.size))
    return folder


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(labels=label_sets())
def test_what_is_written_is_read_again(name: str, labels: LabelSet) -> None:
    form = label_format(name)
    if "annotators" not in form.holds:
        labels = labels.by(labels.annotator_names[0])
    if name == "xlsx":
        labels = in_twelve_digits(labels)
    with tempfile.TemporaryDirectory() as folder:
        found = round_trip(form, labels, Path(folder))
    assert_same(found, filled(labels) if name == "cvat-skeleton" else labels, form.holds)


def in_twelve_digits(labels: LabelSet) -> LabelSet:
    """A workbook keeps 16 digits of a number."""
    for image in labels.images:
        if image.spacing is not None:
            image.spacing = (float(f"{image.spacing[0]:.12g}"), float(f"{image.spacing[1]:.12g}"))
        for key, mark in image.marks.items():
            if mark.score is not None:
                image.marks[key] = replace(mark, score=float(f"{mark.score:.12g}"))
    return labels


def filled(labels: LabelSet) -> LabelSet:
    """A skeleton of CVAT has all its points: what is missing comes back as said not to be in the image."""
    by = labels.annotator_names[0]
    for image in labels.images:
        for name in labels.landmark_names if image.marks else ():
            image.marks.setdefault((by, name), ABSENT)
    return labels
