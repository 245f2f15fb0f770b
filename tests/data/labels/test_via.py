"""VIA 2: files that version 2.0.10 wrote in a browser, and others in the shape of its code (via.js)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.labels.label_set import ABSENT

ME = "annotator"


def point(x: Any, y: Any, **said: Any) -> dict[str, Any]:
    return {"shape_attributes": {"name": "point", "cx": x, "cy": y}, "region_attributes": said}


RECTANGLE = {
    "shape_attributes": {"name": "rect", "x": 3, "y": 4, "width": 5, "height": 6},
    "region_attributes": {"landmark": "film"},
}


def entry(name: str, size: int, *regions: Any, **said: Any) -> dict[str, Any]:
    return {"filename": name, "size": size, "regions": list(regions), "file_attributes": said}


def project(*entries: dict[str, Any], **region: Any) -> dict[str, Any]:
    """As version 2.0.10 saves it: keys are the file's name with its bytes."""
    images = {f"{each['filename']}{each['size']}": each for each in entries}
    return {
        "_via_settings": {
            "ui": {"annotation_editor_height": 25, "image": {"region_label": "__via_region_id__"}},
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""}, "project": {"name": "heads"},
        },
        "_via_img_metadata": images,
        "_via_attributes": {"region": region, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(reversed(images)),
    }  # fmt: skip


def written(folder: Path, content: Any, name: str = "via.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_value_counts_pixels_and_other_regions_are_counted(tmp_path: Path) -> None:
    heads = project(
        entry("b.png", 20, point(7, 9, landmark="S")),
        entry("x/a.png", 1234, point(0, 0, landmark="N"), RECTANGLE, point(12, 34, landmark="S", flag="hidden")),
        landmark={
            "type": "dropdown",
            "description": "",
            "options": {"Me": "", "S": "", "N": ""},
            "default_options": {},
        },
    )
    form, labels = read_labels(written(tmp_path, heads))
    assert form.name == "via" and labels.landmark_names == ("Me", "S", "N")  # in the order of the menu
    assert [image.name for image in labels.images] == ["x/a.png", "b.png"]  # in that of the project
    assert labels.images[0].marks == {(ME, "N"): Mark(0, 0), (ME, "S"): Mark(12, 34, Flag.HIDDEN)}
    assert labels.left_out == {"rect": 1}


def test_exports_as_json_and_as_csv_say_the_same(tmp_path: Path) -> None:
    """The CSV's quotes are those of VIA's own test data (_via_test_csv_import)."""
    export = {"a.png9": entry("a.png", 9, point(51, 37, name='red "dot"')), "b.png-1": entry("b.png", -1)}
    table = (
        "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
        'a.png,9,"{""caption"":""+-&$""}",1,0,"{""name"":""point"",""cx"":51,""cy"":37}",'
        '"{""name"":""red \\""dot\\""""}"\n'
        'b.png,-1,"{}",0,0,"{}","{}"\n'
    )
    found = [
        read_labels(written(tmp_path, content, name))
        for content, name in ((export, "a.json"), (table, "b.csv"), (table[1:], "c.csv"))
    ]
    assert [form.name for form, _ in found] == ["via"] * 3
    for _, labels in found:
        assert labels.landmark_names == ('red "dot"',)
        assert labels.images[0].marks == {(ME, 'red "dot"'): Mark(51, 37)}
        assert [image.name for image in labels.images] == ["a.png", "b.png"] and not labels.images[1].marks


EXPORTED_JSON = (
    '{"a.png976":{"filename":"a.png","size":976,"regions":[{"shape_attributes":{"name":"point","cx":10.25,"cy":20.5},'
    '"region_attributes":{"landmark":"N","flag":"visible"}},{"shape_attributes":{"name":"point","cx":150.75,"cy":99.125},'
    '"region_attributes":{"landmark":"S","flag":"hidden"}},{"shape_attributes":{"name":"point","cx":40,"cy":60},'
    '"region_attributes":{"landmark":"Go"}}],"file_attributes":{"absent":{"Me":true}}}}'
)
EXPORTED_CSV = """filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes
a.png,976,"{""absent"":{""Me"":true}}",3,0,"{""name"":""point"",""cx"":10.25,""cy"":20.5}","{""landmark"":""N"",""flag"":""visible""}"
a.png,976,"{""absent"":{""Me"":true}}",3,1,"{""name"":""point"",""cx"":150.75,""cy"":99.125}","{""landmark"":""S"",""flag"":""hidden""}"
a.png,976,"{""absent"":{""Me"":true}}",3,2,"{""name"":""point"",""cx"":40,""cy"":60}","{""landmark"":""Go""}"
"""
"""What VIA 2.0.10 in Chromium 150 exported of a project that was written here, opened with its image of 300x200 px; the
third point was clicked there, 40.1 and 60.1 px from the image's corner (its name and the count are put in by hand)."""


@pytest.mark.parametrize(("name", "content"), [("a.json", EXPORTED_JSON), ("a.csv", EXPORTED_CSV)])
def test_what_via_itself_exported(name: str, content: str, tmp_path: Path) -> None:
    form, labels = read_labels(written(tmp_path, content, name))
    assert form.name == "via" and labels.landmark_names == ("N", "S", "Go", "Me")
    assert labels.images[0].marks == {
        (ME, "N"): Mark(10.25, 20.5), (ME, "S"): Mark(150.75, 99.125, Flag.HIDDEN), (ME, "Go"): Mark(40, 60),
        (ME, "Me"): ABSENT,
    }  # fmt: skip


def test_regions_of_version_1_and_ticked_boxes(tmp_path: Path) -> None:
    regions = {"0": point(1, 2, kind={"N": True, "S": False}), "1": point(3, 4, kind={"S": True})}
    content = {"a.png9": {"filename": "a.png", "size": 9, "regions": regions, "file_attributes": {}}}
    _, labels = read_labels(written(tmp_path, content))
    assert labels.images[0].marks == {(ME, "N"): Mark(1, 2), (ME, "S"): Mark(3, 4)}


def test_points_without_names_are_numbered_where_all_images_have_as_many(tmp_path: Path) -> None:
    same = project(entry("a.png", 1, point(1, 2), point(3, 4)), entry("b.png", 1, point(5, 6), point(7, 8)))
    _, labels = read_labels(written(tmp_path, same))
    assert labels.landmark_names == ("1", "2") and "numbered in the order" in labels.notes[0]
    same["_via_img_metadata"]["a.png1"]["regions"].pop()
    with pytest.raises(DataError, match=r"via\.json: the points have no attribute .*images have 1, 2 of them"):
        read_labels(written(tmp_path, same))


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ([point(1, 2, landmark="N"), point(3, 4, landmark="N")], "a.png: the landmark 'N' is marked twice"),
        ([point("1", 2, landmark="N")], r"'a\.png1', regions\[0\]: cx: found '1', expected a number"),
        ([point(1, 2, landmark="N"), point(1, 2)], r"'a\.png1', regions\[1\]: landmark: the landmark: found an empty"),
        ([point(1, 2, side="left", part="N")], r"several attributes may name the landmarks \('side', 'part'\)"),
        ([3], r"'a\.png1', regions\[0\]: found 3, expected an object"),
    ],
)
def test_faults_name_the_image_and_the_region(regions: list[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, project(entry("a.png", 1, *regions))))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,9,{}", r"b\.csv:2: found 3 cells, expected 7"),
        ('a.png,9,{},1,0,"{""name"":",{}', r"b\.csv:2: region_shape_attributes: found .*, expected JSON"),
        ('a.png,9,{},1,0,"{""name"":""point"",""cx"":1}","{""n"":""N""}"', r"b\.csv:2: cy: found None, expected a num"),
    ],
)
def test_faults_of_the_csv_name_the_line(row: str, said: str, tmp_path: Path) -> None:
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, header + row + "\n", "b.csv"))


def test_what_is_written_is_a_project_that_finds_its_images(tmp_path: Path) -> None:
    """VIA tells images apart by name and bytes; its menu lists the landmarks, and boxes those that are absent."""
    Image.new("L", (30, 40)).save(tmp_path / "a.png")
    marks = {("anna", "N"): Mark(1.25, 2, Flag.UNSURE), ("anna", "S"): ABSENT}
    labels = LabelSet(("N", "S"), ("anna",), (LabelledImage("a.png", (30, 40), None, marks),))
    lost = label_format("via").write(labels, tmp_path / "heads.json", ImageFolder(tmp_path))
    content = json.loads((tmp_path / "heads.json").read_text())
    (key,) = content["_via_image_id_list"]
    size = (tmp_path / "a.png").stat().st_size
    assert key == f"a.png{size}" and content["_via_img_metadata"][key] == {
        "filename": "a.png", "size": size, "regions": [point(1.25, 2, landmark="N", flag="unsure")],
        "file_attributes": {"absent": {"S": True}},
    }  # fmt: skip
    assert content["_via_attributes"]["region"]["landmark"]["options"] == {"N": "N", "S": "S"}
    assert content["_via_settings"]["project"] == {"name": "heads"}
    assert lost == ["VIA keeps no annotator's name", "VIA keeps no size of images (1 image)"]
