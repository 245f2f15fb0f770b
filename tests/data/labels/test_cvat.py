"""CVAT 1.1: files in the shape that cvat/apps/dataset_manager/formats/cvat.py dumps, and an independent XML reader."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.labels.label_set import ABSENT

META = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>7</id>
      <name>ceph</name>
      <size>2</size>
      <mode>annotation</mode>
      <labels>
        {labels}
      </labels>
    </task>
    <dumped>2026-01-01 10:00:00.000000+00:00</dumped>
  </meta>
  {images}
</annotations>
"""
LABEL = "<label><name>{}</name><color>#33ddff</color><type>{}</type><attributes></attributes>{}</label>"
POINTS = META.format(
    labels="".join(LABEL.format(name, "points", "") for name in ("Me", "S", "N")),
    images="""<image id="0" name="sub/a.png" width="300" height="400">
    <points label="N" source="manual" occluded="0" points="0.50,0.50" z_order="0">
    </points>
    <points label="S" source="semi-auto" occluded="1" points="100.00,50.25" z_order="0">
      <attribute name="sure">no</attribute>
    </points>
    <box label="N" source="manual" occluded="0" xtl="1.00" ytl="2.00" xbr="3.00" ybr="4.00" z_order="0">
    </box>
    <tag label="S" source="manual">
    </tag>
  </image>
  <image id="1" name="b.png" width="30" height="40">
  </image>""",
)
SKELETON = META.format(
    labels=LABEL.format("ceph", "skeleton", "<svg>&lt;circle r=&quot;1&quot;&gt;&lt;/circle&gt;</svg>")
    + "".join(LABEL.format(name, "points", "<parent>ceph</parent>") for name in ("S", "N", "Me")),
    images="""<image id="0" name="a.png" width="300" height="400">
    <skeleton label="ceph" source="manual" z_order="0">
      <points label="N" source="manual" outside="0" occluded="1" points="10.50,20.50">
      </points>
      <points label="S" source="manual" outside="1" occluded="0" points="150.00,200.00">
      </points>
    </skeleton>
  </image>""",
)


def written(folder: Path, text: str) -> Path:
    path = folder / "annotations.xml"
    path.write_text(text, encoding="utf-8")
    return path


def test_points_with_the_corner_of_the_first_pixel_at_zero(tmp_path: Path) -> None:
    form, labels = read_labels(written(tmp_path, POINTS))
    assert form.name == "cvat" and labels.landmark_names == ("Me", "S", "N")
    first, second = labels.images
    assert (first.name, first.size, second.name, second.marks) == ("sub/a.png", (300, 400), "b.png", {})
    assert first.marks == {
        ("annotator", "N"): Mark(0, 0, origin="by hand"),
        ("annotator", "S"): Mark(99.5, 49.75, Flag.HIDDEN, "corrected"),
    }
    assert labels.left_out == {"box": 1, "tag": 1}


def test_a_skeleton_with_a_point_outside(tmp_path: Path) -> None:
    _, labels = read_labels(written(tmp_path, SKELETON))
    assert labels.landmark_names == ("S", "N", "Me")
    marks = labels.images[0].marks
    assert marks["annotator", "N"] == Mark(10, 20, Flag.HIDDEN, "by hand")
    assert marks["annotator", "S"].flag is Flag.ABSENT and len(marks) == 2


def test_several_points_of_one_shape_are_numbered(tmp_path: Path) -> None:
    _, labels = read_labels(written(tmp_path, POINTS.replace('points="0.50,0.50"', 'points="0.50,0.50;2.5,3.5"')))
    assert labels.landmark_names == ("N 1", "N 2", "S")
    assert labels.notes == ("points of one shape were named by its label and their number",)


def test_what_is_written_is_as_cvat_loads_it(tmp_path: Path) -> None:
    """Its loader (load_anno) takes name and id of an image, label, occluded, points, and of a skeleton's outside."""
    marks = {("annotator", "N & <M>"): Mark(0.125, 2, Flag.HIDDEN, "model"), ("annotator", "S"): ABSENT}
    labels = LabelSet(
        ("N & <M>", "S"), ("annotator",), (LabelledImage("sub/a.png", (300, 400), None, marks),), (("S", "N & <M>"),)
    )
    lost = label_format("cvat").write(labels, tmp_path / "a.xml", ImageFolder())
    assert lost == [
        "CVAT cannot say that a point is not in the image: it is missing then (1 point)",
        "CVAT keeps no lines between landmarks (1)",
    ]
    (image,) = ElementTree.parse(tmp_path / "a.xml").getroot().iter("image")
    assert image.attrib == {"id": "0", "name": "sub/a.png", "width": "300", "height": "400"}
    assert [each.attrib for each in image] == [
        {"label": "N & <M>", "source": "auto", "occluded": "1", "points": "0.625,2.5", "z_order": "0"}
    ]
    assert json.loads((tmp_path / "a.labels.json").read_text())[0] == {
        "name": "N & <M>", "type": "points", "attributes": []
    }  # fmt: skip
    label_format("cvat-skeleton").write(labels, tmp_path / "b.xml", ImageFolder())
    (skeleton,) = ElementTree.parse(tmp_path / "b.xml").getroot().iter("skeleton")
    assert [(each.get("label"), each.get("outside"), each.get("points")) for each in skeleton] == [
        ("N & <M>", "0", "0.625,2.5"), ("S", "1", "150.0,200.0")
    ]  # fmt: skip
    (label,) = json.loads((tmp_path / "b.labels.json").read_text())
    drawn = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
    assert [each.get("data-label-name") for each in drawn.iter("circle")] == ["N & <M>", "S"]
    assert [(each.get("data-node-from"), each.get("data-node-to")) for each in drawn.iter("line")] == [("2", "1")]


ENTITY = '<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a "aaaa">]><annotations>&a;</annotations>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (POINTS.replace('label="S"', 'label="N"'), r"sub/a\.png: the landmark 'N' is marked twice"),
        (POINTS.replace("0.50,0.50", "0.50"), r"image 0: 'N': found points '0\.50', expected x,y"),
        (POINTS.replace("0.50,0.50", "nan,0.50"), r"x of 'N': found nan, expected a finite number"),
        (POINTS.replace('width="300"', 'width="3e2"'), r"image 0: width: found nan|expected .*pixels"),
        (POINTS.replace("<points", "<points label='N'", 1), r"annotations\.xml:17: the file is no whole XML"),
        (POINTS.replace("</annotations>", '<track id="0" label="N"></track></annotations>'), "tracks of a video"),
        (ENTITY, "the file defines entities"),
        ("<annotations>" + "<image>" * 200, "has deeper elements"),
    ],
)
def test_faults_are_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, text), "cvat")
