"""DICOM SR: a DICOM reader finds each landmark on the pixel where it was found, in the image it was found in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.forms import make_writers
from tests.detection.detections import make_detection, make_doubted

sr = pytest.importorskip("highdicom.sr")

SCOORD_OF_TOP_LEFT_CENTRE = 0.5
"""PS3.3 C.18.6: the top left corner of the top left pixel is 0.0\\0.0, its bottom right corner 1.0\\1.0."""


def make_dicom(path: Path, **changes: object) -> FileDataset:
    """A small radiograph as DICOM file; None as a change leaves the attribute out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientID, image.PatientName, image.Modality = "p1", "Jörg^Anna", "DX"
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 400, 300, 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PixelData = np.zeros((400, 300), np.uint8).tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    image.save_as(path)
    return image


def from_dicom(tmp_path: Path, detection: Detection, **changes: object) -> tuple[Detection, FileDataset]:
    image = make_dicom(tmp_path / f"{detection.name}.dcm", **changes)
    return replace(detection, path=str(tmp_path / f"{detection.name}.dcm")), image


def report(tmp_path: Path, detection: Detection) -> sr.ComprehensiveSR:
    (writer,) = make_writers(["dicom-sr"], tmp_path / "out")
    writer.add(detection)
    assert writer.close() == [tmp_path / "out" / "dicom_sr"]
    return sr.srread(writer.targets([detection.name])[0])


def comments(found: sr.ComprehensiveSR) -> str:
    return " ".join(item.value for item in found.content[0].ContentSequence if item.name == codes.DCM.Comment)


def test_each_landmark_is_a_point_on_its_pixel_with_its_name_and_error(tmp_path: Path) -> None:
    names = ("Sella", "Größe " + "x" * 70, "back\\slash")
    detection, image = from_dicom(tmp_path, replace(make_detection(count=3), landmark_names=names))
    found = report(tmp_path, detection)
    groups = found.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["Sella", "Größe " + "x" * 70, "back/slash"]
    for group, point, error in zip(groups, detection.points, detection.expected_error_mm, strict=True):
        assert group.roi.graphic_type == sr.GraphicTypeValues.POINT
        assert group.roi.value[0] == pytest.approx(point + SCOORD_OF_TOP_LEFT_CENTRE, abs=0.01)
        assert group.roi.ContentSequence[0].referenced_sop_instance_uid == image.SOPInstanceUID
        (measurement,) = group.get_measurements()
        assert (measurement.value, measurement.unit) == (pytest.approx(error), codes.UCUM.Millimeter)
    assert groups[0].finding_type.meaning == "Sella"
    assert {group.finding_type.scheme_designator for group in groups} == {"99LDX"}
    assert len({group.finding_type.value for group in groups}) == 3


def test_corners_of_the_image_are_where_the_standard_has_them(tmp_path: Path) -> None:
    corners = np.array([[-0.5, -0.5], [0.0, 0.0], [299.5, 399.5]])
    detection, _ = from_dicom(tmp_path, replace(make_detection(count=3), points=corners))
    groups = report(tmp_path, detection).content.get_planar_roi_measurement_groups()
    assert [tuple(group.roi.value[0]) for group in groups] == [(0, 0), (0.5, 0.5), (300, 400)]  # Columns\Rows at most


def test_the_report_belongs_to_the_patient_and_study_of_the_image(tmp_path: Path) -> None:
    detection, image = from_dicom(tmp_path, make_detection())
    found = report(tmp_path, detection)
    assert (found.StudyInstanceUID, found.PatientID) == (image.StudyInstanceUID, "p1")
    assert str(found.PatientName) == "Jörg^Anna"  # Latin-1 in the image, UTF-8 in the report
    assert found.SOPInstanceUID != image.SOPInstanceUID
    assert found.SeriesInstanceUID != image.SeriesInstanceUID
    assert (found.VerificationFlag, found.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_the_report_names_the_software_and_says_it_is_no_medical_device(tmp_path: Path) -> None:
    detection, _ = from_dicom(tmp_path, replace(make_detection(), unlike=True, notes=("Check the spacing.",)))
    found = report(tmp_path, detection)
    text = comments(found)
    for words in ("Not a medical device", "unlike the training images", "Check the spacing."):
        assert words in text
    (device,) = (each for each in found.content.get_observer_contexts() if each.observer_type == codes.DCM.Device)
    assert device.observer_identifying_attributes.name == "landmark_diffusion"
    assert device.observer_identifying_attributes.model_name == f"landmark_diffusion {found.SoftwareVersions}"


def test_landmarks_that_are_not_in_the_image_are_named_and_left_out(tmp_path: Path) -> None:
    detection = make_detection(count=3)
    points = np.array([[np.nan, np.nan], [10.0, 20.0], [299.6, 20.0]])
    detection, _ = from_dicom(tmp_path, replace(detection, points=points))
    found = report(tmp_path, detection)
    (group,) = found.content.get_planar_roi_measurement_groups()
    assert group.tracking_identifier == "landmark 2"
    assert "Not found in the image: landmark 1, landmark 3." in comments(found)


def test_doubtful_points_are_named_and_landmarks_outside_are_left_out(tmp_path: Path) -> None:
    detection, _ = from_dicom(tmp_path, make_doubted())
    found = report(tmp_path, detection)
    groups = found.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [f"landmark {number}" for number in (1, 3, 4, 5)]
    assert "Not found in the image: landmark 2." in comments(found)
    assert "Doubtful, to be looked at: landmark 3, landmark 5." in comments(found)


def test_without_a_calibration_there_is_no_error_to_report(tmp_path: Path) -> None:
    detection, _ = from_dicom(tmp_path, make_detection(regions=False, spacing=None))
    groups = report(tmp_path, detection).content.get_planar_roi_measurement_groups()
    assert [group.get_measurements() for group in groups] == [[]] * 5


def test_images_that_are_no_dicom_files_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], aloud: None
) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    detection, _ = from_dicom(tmp_path, make_detection("real"))
    (writer,) = make_writers(["dicom-sr"], tmp_path / "out")
    for each in (detection, make_detection("absent"), replace(detection, path=str(tmp_path / "photo.png"))):
        writer.add(each)
    writer.close()
    assert "no report for 2 of 3 images" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out" / "dicom_sr").iterdir()] == ["real.dcm"]


def test_a_header_that_cannot_be_referred_to_is_named(tmp_path: Path) -> None:
    detection, _ = from_dicom(tmp_path, make_detection(), StudyInstanceUID=None)
    with pytest.raises(UserError, match=r"a\.dcm: .*by StudyInstanceUID, which it lacks"):
        report(tmp_path, detection)
    assert not (tmp_path / "out").exists()


def test_an_image_without_patient_still_gets_its_report(tmp_path: Path) -> None:
    detection, _ = from_dicom(tmp_path, make_detection(), PatientID=None, PatientName=None, SpecificCharacterSet=None)
    found = report(tmp_path, detection)
    assert pydicom.dcmread(tmp_path / "out" / "dicom_sr" / "a.dcm").SOPClassUID.name == "Comprehensive SR Storage"
    assert found.PatientID in (None, "")


def test_a_header_with_a_value_that_dicom_does_not_know_is_one_clear_line(tmp_path: Path) -> None:
    detection, _ = from_dicom(tmp_path, make_detection(), PatientSex="X")
    with pytest.raises(UserError, match=r"a\.dcm: no DICOM report can be made from its header \(.*X"):
        report(tmp_path, detection)
