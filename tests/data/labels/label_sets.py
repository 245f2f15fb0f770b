"""Any label set that a tool may hold, for round trips: hypothesis strategies, and what is compared."""

from __future__ import annotations

import math
import string

from hypothesis import strategies as st

from landmark_diffusion.data.labels import Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_set import ABSENT, ORIGINS

LETTERS = string.ascii_letters + string.digits + " _-.()'äßé中Ω&<>\"=,;@+"
names = st.text(LETTERS, min_size=1, max_size=12).map(str.strip).filter(bool)
"""Names of landmarks and annotators: with what CSV, XML and spreadsheets take for marks of their own."""
_parts = st.text(string.ascii_letters + string.digits + "_-äé", min_size=1, max_size=8)
image_names = st.tuples(st.lists(_parts, min_size=1, max_size=3), st.sampled_from((".png", ".jpg", ".dcm"))).map(
    lambda pair: "/".join(pair[0]) + pair[1]
)
scores = st.none() | st.floats(0, 1)
times = st.just("") | st.datetimes().map(lambda time: time.isoformat(timespec="seconds"))


def _spelled(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@st.composite
def label_sets(draw: st.DrawFn, most: int = 4) -> LabelSet:
    """Up to ``most`` images of up to 4 landmarks by up to 3 annotators, with every flag."""
    landmarks = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.casefold))
    annotators = draw(st.lists(names, min_size=1, max_size=3, unique_by=str.casefold))
    images = [
        _image(draw, name, landmarks, annotators)
        for name in draw(st.lists(image_names, min_size=1, max_size=most, unique_by=lambda name: name.casefold()))
    ]
    pairs = st.tuples(st.sampled_from(landmarks), st.sampled_from(landmarks)).filter(lambda pair: pair[0] != pair[1])
    skeleton = draw(st.lists(pairs, max_size=3, unique=True)) if len(landmarks) > 1 else []
    return LabelSet(tuple(landmarks), tuple(annotators), tuple(images), tuple(skeleton))


def _image(draw: st.DrawFn, name: str, landmarks: list[str], annotators: list[str]) -> LabelledImage:
    width, height = draw(st.tuples(st.integers(1, 4000), st.integers(1, 4000)))
    spacing = draw(st.none() | st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)))
    marks = {}
    for annotator in annotators:
        for landmark in landmarks:
            flag = draw(st.none() | st.sampled_from(Flag))
            if flag is Flag.ABSENT:
                marks[annotator, landmark] = ABSENT
            elif flag is not None:
                x, y = draw(st.floats(-0.5, width - 0.5)), draw(st.floats(-0.5, height - 0.5))
                origin = draw(st.none() | st.sampled_from(ORIGINS))
                marks[annotator, landmark] = Mark(x, y, flag, origin, draw(times), draw(scores))
    return LabelledImage(name, (width, height), spacing, marks)


def assert_same(found: LabelSet, expected: LabelSet, holds: frozenset[str], within: float = 1e-6) -> None:
    """Hold what was read to what was written, as far as the form ``holds`` it."""
    kept = [image for image in expected.images if image.marks or "unmarked images" in holds]
    assert sorted(each.name for each in found.images) == sorted(each.name for each in kept)
    by_name = {each.name: each for each in found.images}
    if "unmarked landmarks" in holds:
        assert found.landmark_names == expected.landmark_names
    if "skeleton" in holds:
        assert set(found.skeleton) == set(expected.skeleton)
    for image in kept:
        read = by_name[image.name]
        assert read.size == image.size or "size" not in holds
        assert read.spacing == image.spacing or "spacing" not in holds
        wanted = {key: mark for key, mark in image.marks.items() if mark.placed or "absent" in holds}
        if "annotators" not in holds:
            wanted = {(found.annotator_names[0], landmark): mark for (_, landmark), mark in wanted.items()}
        assert read.marks.keys() == wanted.keys()
        for key, mark in wanted.items():
            _assert_mark(read.marks[key], mark, holds, within)


def _assert_mark(read: Mark, mark: Mark, holds: frozenset[str], within: float) -> None:
    if mark.placed:
        assert math.dist((read.x, read.y), (mark.x, mark.y)) <= within
    assert read.flag == (mark.flag if mark.flag in holds else Flag.VISIBLE)
    for name in ("origin", "time", "score"):
        assert getattr(read, name) == getattr(mark, name) or name not in holds
