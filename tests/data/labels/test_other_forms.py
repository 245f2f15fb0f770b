"""Forms of labels that other packages bring by entry points."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from landmark_diffusion.data.labels import (
    FORMATS,
    ImageFolder,
    LabelFormat,
    LabelledImage,
    LabelSet,
    LabelSource,
    Mark,
    label_format,
    read_labels,
)
from landmark_diffusion.data.labels.building import LabelBuilder
from tests.plugins.install import write_dist_info


class Lines(LabelFormat):
    """A form of another package: ``name landmark x y`` in lines."""

    name, title, suffix = "lines", "Lines", ".lines"
    holds = frozenset(("annotators without marks",))

    def recognises(self, source: LabelSource) -> bool:
        return source.beginning.startswith("#lines")

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        builder = LabelBuilder(source.path)
        for line in source.content.decode().splitlines()[1:]:
            name, landmark, x, y = line.split()
            builder.mark(builder.image(name, again=True), "", landmark, Mark(float(x), float(y)))
        return builder.build()

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        lines = [
            f"{image.name} {n} {mark.x} {mark.y}" for image in labels.images for (_, n), mark in image.marks.items()
        ]
        return {"": "\n".join(["#lines", *lines]).encode()}


def test_another_package_brings_a_form_and_a_broken_one_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {
        FORMATS.group: {"lines": "my_lines:Lines", "gone": "gone_lab:Form", "odd": "json:JSONDecoder"}
    }  # fmt: skip
    monkeypatch.syspath_prepend(write_dist_info(tmp_path, entries, "lines_lab"))
    module = ModuleType("my_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_lines", module)
    labels = LabelSet(("N",), ("a",), (LabelledImage("x.png", None, None, {("a", "N"): Mark(1, 2)}),))
    lost = label_format("lines").write(labels, tmp_path / "a.lines", ImageFolder())
    assert lost == ["Lines keeps no annotator's name"]
    form, found = read_labels(tmp_path / "a.lines")
    assert form.name == "lines" and found.images[0].marks == {("annotator", "N"): Mark(1, 2)}
