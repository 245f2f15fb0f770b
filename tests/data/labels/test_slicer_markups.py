"""3D Slicer's Markups: its documentation's example, files shaped like its own; ITK is the oracle of the geometry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom.uid import DigitalXRayImageStorageForPresentation

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.labels.label_set import ABSENT
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.detection.writers.slicer import write_slicer
from tests.detection.bad_inputs import LEVELS, write_dicom
from tests.detection.detections import make_detection

ME = "annotator"
EXAMPLE = """{"@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.0.json#",
"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [
    { "label": "F-1", "position": [53.388409961685827, 73.33572796934868, 0.0] },
    { "label": "F-2", "position": [49.8682950191571, 88.58955938697324, 0.0] },
    { "label": "F-3", "position": [25.22749042145594, 55.259268199233729, 0.0] }
]}]}
"""
"""Docs/developer_guide/modules/markups.md of Slicer, with the points inside an image."""


def control(label: str, position: list[float] | None, status: str = "defined", description: str = "") -> dict[str, Any]:
    """As Slicer 5 saves it."""
    made: dict[str, Any] = {
        "id": "1", "label": label, "description": description, "associatedNodeID": "vtkMRMLScalarVolumeNode1",
        "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0], "selected": True, "locked": False,
        "visibility": True, "positionStatus": status,
    }  # fmt: skip
    return made if position is None else made | {"position": position}


def markups(*points: dict[str, Any], kind: str = "Fiducial", system: str = "LPS", units: Any = "mm") -> dict[str, Any]:
    return {
        "type": kind, "coordinateSystem": system, "coordinateUnits": units, "locked": False,
        "fixedNumberOfControlPoints": False, "labelFormat": "%N-%d", "lastUsedControlPointNumber": len(points),
        "controlPoints": list(points), "measurements": [], "display": {"visibility": True, "glyphType": "Sphere3D"},
    }  # fmt: skip


def written(folder: Path, *lists: dict[str, Any], name: str = "a.mrk.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": list(lists)}))
    return path


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    (tmp_path / "a.mrk.json").write_text(EXAMPLE)
    Image.new("L", (300, 400)).save(tmp_path / "a.png")
    form, labels = read_labels(tmp_path / "a.mrk.json")
    assert form.name == "slicer" and labels.landmark_names == ("F-1", "F-2", "F-3")
    (image,) = labels.images
    assert image.name == "a.png" and image.marks[ME, "F-2"] == Mark(49.8682950191571, 88.58955938697324)


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "dcm", "nrrd"])
def test_mm_become_the_pixels_that_itk_finds(system: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "dcm":
        place = {"ImagePositionPatient": [5, -6, 7], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
        write_dicom(path, SOPClassUID=DigitalXRayImageStorageForPresentation, ImagerPixelSpacing=[0.2, 0.1], **place)
    elif kind == "nrrd":
        volume = SimpleITK.GetImageFromArray(LEVELS[None])
        volume.SetSpacing((0.1, 0.25, 1))
        volume.SetOrigin((3, 4, 5))
        SimpleITK.WriteImage(volume, str(path))
    else:
        Image.fromarray(LEVELS).save(path, dpi=(254, 127))
    image = SimpleITK.ReadImage(str(path))
    pixels = {"N": (3.25, 17.5), "S": (40.0, 0.0)}
    points = []
    for name, pixel in pixels.items():
        index = (*pixel, 0.0)[: image.GetDimension()]
        x, y, z = (*image.TransformContinuousIndexToPhysicalPoint(index), 0.0)[:3]
        points.append(control(name, [x, y, z] if system == "LPS" else [-x, -y, z]))
    _, labels = read_labels(written(tmp_path, markups(*points, system=system)))
    found = labels.images[0]
    assert found.name == ("a" if kind == "nrrd" else f"a.{kind}")
    for name, pixel in pixels.items():
        assert (found.marks[ME, name].x, found.marks[ME, name].y) == pytest.approx(pixel, abs=1e-6)
    by_dpi = "by the dpi of 1 image file, as Slicer has it: 0.1 to 0.2 mm a pixel; it is kept as their spacing"
    assert by_dpi in labels.notes[0] if kind in ("jpg", "tif") else not labels.notes


def test_several_lists_other_markups_and_what_is_said_of_points(tmp_path: Path) -> None:
    Image.new("L", (300, 400)).save(tmp_path / "a.png")
    first = markups(
        control("N", [1, 2, 0], description="hidden"), control("S", None, "undefined"),
        control("Me", [3, 4, 0], description="expected error 0.7 mm"),
    )  # fmt: skip
    second = markups(
        control("Go", None, "missing"), control("A", None, "undefined", "absent"), units=["um", "UCUM", ""]
    )
    second["controlPoints"].append(control("B", [5000, 6000, 3000]))
    _, labels = read_labels(written(tmp_path, first, markups(control("L-1", [0, 0, 0]), kind="Line"), second))
    assert labels.landmark_names == ("N", "S", "Me", "Go", "A", "B") and labels.left_out == {"Line": 1}
    marks = labels.images[0].marks
    assert marks[ME, "N"] == Mark(1, 2, Flag.HIDDEN) and marks[ME, "Me"] == Mark(3, 4)
    assert {marks[ME, name].flag for name in ("Go", "A")} == {ABSENT.flag} and (ME, "S") not in marks
    assert (marks[ME, "B"].x, marks[ME, "B"].y) == pytest.approx((5, 6))
    assert labels.notes == ("off the plane of their image, and taken at the nearest place in it: 1 of the points",)


def test_a_list_of_no_image_is_refused_and_says_what_its_name_has_to_be(tmp_path: Path) -> None:
    """Its mm mean no pixel: 1 mm for 1 pixel put points of a radiograph 1,749 px off."""
    for name in ("x/a.mrk.json", "y/F_a.mrk.json", "y/F_b.mrk.json"):
        written(tmp_path, markups(control("N", [1, 2, 0])), name=name)
    Image.new("L", (30, 40)).save(tmp_path / "x" / "a.png")
    said = r"y/F_a\.mrk\.json: the list 'y/F_a' \(and of 1 more list\) is of no image in .*, so that nothing tells"
    with pytest.raises(DataError, match=said) as caught:
        read_labels(tmp_path)
    assert str(caught.value).endswith("or name the folder of the images by --images")
    with pytest.raises(DataError, match=said) as caught:
        read_labels(tmp_path, images=tmp_path)
    assert "--images" not in str(caught.value)
    with pytest.raises(DataError, match="is of no image in") as caught:
        FolderDataset(tmp_path)
    assert "--images" not in str(caught.value)
    (tmp_path / "x" / "b").mkdir()
    for name in ("x/F_a.png", "x/b/F_a.png"):
        Image.new("L", (30, 40)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"can be that of F_a\.png, F_a\.png in several folders"):
        read_labels(tmp_path)


def test_dpi_that_were_taken_for_mm_are_said_and_kept_where_all_images_have_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("L", (300, 400)).save(tmp_path / f"{name}.jpg", dpi=(254, 254))
        written(tmp_path, markups(control("N", [1, 2, 0])), name=f"{name}.mrk.json")
    _, labels = read_labels(tmp_path)
    mark = labels.images[0].marks[ME, "N"]
    assert (mark.x, mark.y) == pytest.approx((10, 20))
    assert [image.spacing for image in labels.images] == [(0.1, 0.1)] * 2
    (note,) = labels.notes
    assert "by the dpi of 2 image files, as Slicer has it: 0.1 mm a pixel; it is kept as their spacing" in note
    Image.new("L", (300, 400)).save(tmp_path / "c.png")
    written(tmp_path, markups(control("N", [1, 2, 0])), name="c.mrk.json")
    _, labels = read_labels(tmp_path)
    assert [image.spacing for image in labels.images] == [None] * 3
    assert "it is not kept as spacing, since the other images have none" in labels.notes[0]


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ([markups(control("N", [1, 2, 0]), control("N", [3, 4, 0]))], "the landmark 'N' is marked twice"),
        ([markups(control("N", [1, 2]))], r"markups\[0\]\.controlPoints\[0\] \('N'\): found \[1, 2\], expected three"),
        ([markups(control("N", [1, 2, 0]), system="XYZ")], r"coordinateSystem: found 'XYZ', expected LPS or RAS"),
        ([markups(control("N", [1, 2, 0]), units="m")], r"coordinateUnits: found 'm', expected mm or um"),
        ([markups(control("", [1, 2, 0]))], r"controlPoints\[0\]\.label: found an empty text"),
        ([3], r"markups\[0\]: expected an object"),
    ],
)
def test_faults_name_the_file_and_the_point(lists: list[Any], said: str, tmp_path: Path) -> None:
    path = written(tmp_path, *lists)
    Image.new("L", (30, 40)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.mrk\.json: .*{said}"):
        read_labels(path)


@pytest.mark.parametrize("spacing", [(0.1, 0.25), None])
@pytest.mark.parametrize("kept", [True, False], ids=["as it is", "saved by Slicer"])
def test_what_detect_wrote_comes_back(spacing: tuple[float, float] | None, kept: bool, tmp_path: Path) -> None:
    """Slicer keeps nothing of ours; the volume beside the list then tells the geometry."""
    detection = make_detection(spacing=spacing, count=8, size=(301, 400))
    path = write_slicer(tmp_path / f"{detection.name}.mrk.json", detection)
    if not kept:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: content[key] for key in ("@schema", "markups")}))
    _, labels = read_labels(path)
    np.testing.assert_allclose(labels.points(labels.images[0])[0], detection.points, atol=1e-6)
    assert labels.landmark_names == tuple(detection.landmark_names)
    assert labels.images[0].spacing == (spacing if kept else None)


def test_points_are_written_where_slicer_shows_the_image(tmp_path: Path) -> None:
    path = tmp_path / "x" / "a.jpg"
    path.parent.mkdir()
    Image.fromarray(LEVELS).save(path, dpi=(254, 127))
    image = LabelledImage("x/a.jpg", (48, 40), (0.5, 0.5), {("anna", "N"): Mark(3.25, 17.5)})
    labels = LabelSet(("N", "S"), ("anna",), (image,))
    label_format("slicer").write(labels, tmp_path / "out", ImageFolder(tmp_path))
    (markup,) = json.loads((tmp_path / "out" / "x" / "a.mrk.json").read_text())["markups"]
    itk = SimpleITK.ReadImage(str(path))
    expected = itk.TransformContinuousIndexToPhysicalPoint((3.25, 17.5))
    assert markup["controlPoints"][0]["position"] == pytest.approx([*expected, 0])
    assert [each["positionStatus"] for each in markup["controlPoints"]] == ["defined", "undefined"]
    twins = LabelSet(("N",), ("anna",), (LabelledImage("a.png"), LabelledImage("a.jpg")))
    with pytest.raises(UserError, match=r"one file 'a\.mrk\.json': a\.jpg"):
        label_format("slicer").write(twins, tmp_path / "twins", ImageFolder())
