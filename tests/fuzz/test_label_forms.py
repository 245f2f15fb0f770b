"""Labels of other tools: points within reason and names once, or the file is refused by name; never a traceback."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.labels import (
    FORMATS,
    Flag,
    ImageFolder,
    LabelledImage,
    LabelSet,
    LabelSource,
    Mark,
    label_format,
)
from landmark_diffusion.data.labels.label_set import ABSENT
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from tests.fuzz.harness import inputs, judge
from tests.fuzz.json_mutations import spoilt_json
from tests.fuzz.strategies import spoilt_bytes

WRITTEN = [name for name in FORMATS.built_in if label_format(name).writes]


def label_set(name: str) -> LabelSet:
    """Two images with every flag, as far as the form can be given them."""
    names = LANDMARK_NAMES if name == "isbi" else ("N", "S", "Me")
    people = ("senior", "junior") if "annotators" in label_format(name).holds else ("annotator",)
    first = {(by, each): Mark(10.5 + n, 20.25, Flag.HIDDEN) for by in people for n, each in enumerate(names)}
    second = first if name == "isbi" else {(people[0], "N"): Mark(1, 2, score=0.5), (people[0], "S"): ABSENT}
    images = (LabelledImage("sub/a.png", (64, 80), (0.1, 0.2), first), LabelledImage("b.png", (64, 80), None, second))
    return LabelSet(names, people, images)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    """The two images, of which some forms need the size."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("sub/a.png", "b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (64, 80)).save(folder / name)
    return ImageFolder(folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, images: ImageFolder) -> dict[str, tuple[Path, Path]]:
    """What is read of each form, and the file of it that goes wrong."""
    found = {}
    for name in WRITTEN:
        target = tmp_path_factory.mktemp(name) / f"labels{label_format(name).suffix}"
        label_format(name).write(label_set(name), target, ImageFolder())
        ends = (".json", ".xml", ".csv", ".yaml", "a.txt", ".txt")
        inner = [path for end in ends for path in sorted(target.rglob(f"*{end}"))] if target.is_dir() else [target]
        found[name] = target, inner[0]
        if name != "isbi":  # its 19 points lie beyond so small an image
            assert label_format(name).read(LabelSource(target), images).images, name
    return found


@pytest.mark.parametrize("name", WRITTEN)
@inputs(15, 1000)
@given(data=st.data())
def test_a_damaged_file_is_read_within_reason_or_refused(
    name: str, written: dict[str, tuple[Path, Path]], images: ImageFolder, data: st.DataObject
) -> None:
    target, path = written[name]
    whole = path.read_bytes()
    by_value = path.suffix == ".json" and data.draw(st.booleans())
    spoilt = data.draw(spoilt_json(json.loads(whole)) if by_value else spoilt_bytes(whole))
    form = label_format(name)
    try:
        path.write_bytes(spoilt)
        form.recognises(LabelSource(target))
        labels = judge(f"labels: {name}", lambda: form.read(LabelSource(target), images), target, path)
    finally:
        path.write_bytes(whole)
    for image in labels.images if labels is not None else ():
        assert not image.name.startswith("/") and ".." not in image.name.split("/")
        assert image.spacing is None or min(image.spacing) > 0
        for mark in image.marks.values():
            assert math.isnan(mark.x) and math.isnan(mark.y) if not mark.placed else abs(mark.x) + abs(mark.y) < 1e7
