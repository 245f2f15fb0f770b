"""Points as DICOM structured report (Comprehensive SR, TID 1500) about the DICOM image they were found in.

Each landmark is a planar ROI measurement group (TID 1410) whose region is one SCOORD of type POINT. The origin of an
SCOORD is the top left corner of the top left pixel (PS3.3 C.18.6.1.1), half a pixel from its centre, our (0, 0).
Importing this needs highdicom, the extra ``dicom-sr``.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom import sr
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_path, writing
from landmark_diffusion.core.texts import LIMITS
from landmark_diffusion.core.version import version
from landmark_diffusion.data.readers.dicom import is_dicom
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import FileAnImage

SCHEME = "99LDX"
"""Our private coding scheme (PS3.16, 8: private designators begin with 99)."""

DEVICE_UID = "2.25.18737276010870793080958183015212009534"
"""This software as the observer; made once from a random UUID (PS3.5 B.2)."""

PACKAGE = "landmark_diffusion"
HALF_PIXEL = 0.5
IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime",
)  # fmt: skip
"""Type 2 attributes that a report takes over from the image; many files leave them out, then they are empty."""


class DicomSrWriter(FileAnImage):
    """Write ``dicom_sr/NAME.dcm`` for each image that is a DICOM file, and say at the end how many are not."""

    name, subfolder, suffix = "dicom-sr", "dicom_sr", ".dcm"
    reads_image = True
    why_none = "a DICOM report refers to the image's own DICOM file, and this is none"
    left_out = 0

    def add(self, detection: Detection) -> None:
        """Write one image's report; raises UserError where its file lacks what a report needs or cannot be written."""
        image = read_dicom_header(detection.path)
        if image is None:
            self.left_out += 1
            return
        write_report(self.path(detection.name), detection, image)
        self.written += 1

    def close(self) -> list[Path]:
        """Say how many images had no report and return the folder; nothing where there are none."""
        if self.left_out:
            from landmark_diffusion.core.say import say

            count = self.written + self.left_out
            say(f"dicom-sr: no report for {self.left_out} of {count} images, which are no DICOM files")
        return super().close()


def read_dicom_header(path: str | Path) -> pydicom.Dataset | None:
    """Read all but the pixels of a DICOM file; None where the path is another file, or none as for an array."""
    path = Path(path)
    if not path.is_file() or not is_dicom(path):
        return None
    with _odd_values(path):
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def write_report(path: Path, detection: Detection, image: pydicom.Dataset) -> Path:
    """Write the report on ``image``, the header of the file the points were found in; returns the path.

    Raises UserError where the header lacks identifiers or holds what DICOM does not allow, where no point lies in the
    image, and where the file cannot be written.
    """
    missing = [keyword for keyword in IDENTIFIERS if not image.get(keyword)]
    if missing:
        raise UserError(f"{detection.path}: a DICOM report refers to the image by {', '.join(missing)}, which it lacks")
    for keyword in PATIENT_AND_STUDY:
        if keyword not in image:
            setattr(image, keyword, None)
    with writing(path), _odd_values(detection.path):
        report = _report(detection, image)
        with atomic_path(path) as temporary:
            report.save_as(temporary, enforce_file_format=True)
    return path


@contextmanager
def _odd_values(path: str | Path) -> Iterator[None]:
    """Turn what pydicom and highdicom raise about a header's values into UserError; leave out what they warn of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, TypeError, AttributeError, KeyError, InvalidDicomError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: no DICOM report can be made from its header ({reason})") from error


def to_scoord(points: np.ndarray) -> np.ndarray:
    """Turn points (N, 2) with pixel centres at integers into SCOORD (column, row), PS3.3 C.18.6.1.1."""
    return points + HALF_PIXEL


def landmark_code(name: str) -> sr.CodedConcept:
    """Code a landmark in our scheme: the same for the same name, whichever model found it."""
    return _own("L" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12].upper(), _text(name)[:64])


def _report(detection: Detection, image: pydicom.Dataset) -> sr.ComprehensiveSR:
    places = to_scoord(detection.points)
    inside = np.all((places >= 0) & (places <= detection.size), axis=-1)  # NaN is not; the standard allows no other
    inside &= ~detection.absent
    if not inside.any():
        raise UserError(f"{detection.path}: no landmark lies in the image: there is nothing to report")
    groups = [_group(detection, image, int(index), places[index]) for index in np.flatnonzero(inside)]
    observer = sr.ObserverContext(
        codes.DCM.Device,
        sr.DeviceObserverIdentifyingAttributes(
            DEVICE_UID, name=PACKAGE, manufacturer_name=PACKAGE, model_name=f"{PACKAGE} {version()}"
        ),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.PlainRadiography,
        imaging_measurements=groups,
    )
    content[0].ContentSequence.extend(_comments(detection, inside))
    return sr.ComprehensiveSR(
        evidence=[image],
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=PACKAGE,
        manufacturer_model_name=PACKAGE,
        software_versions=version(),
        series_description="Landmarks, research use only",
        is_complete=True,
        specific_character_set="ISO_IR 192",  # UTF-8: landmarks may have names in any language
        coding_schemes=[
            hd.coding_schemes.CodingSchemeIdentificationItem(SCHEME, name="Landmarks of landmark_diffusion models")
        ],
    )


def _group(
    detection: Detection, image: pydicom.Dataset, index: int, place: np.ndarray
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """One landmark: where it is, what it is called, and how far off it is expected to be."""
    name = detection.landmark_names[index]
    source = sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
    settings = [f"{key}={value}" for key, value in detection.settings.items()]
    errors = detection.expected_error_mm
    measurements = []
    if errors is not None and np.isfinite(errors[index]):
        concept = _own("EXPECTED_ERROR", "Expected radial error")
        measurements.append(sr.Measurement(concept, float(errors[index]), codes.UCUM.Millimeter))
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=hd.UID(), identifier=_text(name)),
        referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POINT, place[None], source),
        finding_type=landmark_code(name),
        algorithm_id=sr.AlgorithmIdentification(
            PACKAGE, version(), parameters=[_text(value) for value in (f"model={detection.model}", *settings)]
        ),
        measurements=measurements,
    )


def _comments(detection: Detection, inside: np.ndarray) -> list[sr.TextContentItem]:
    absent = [name for name, is_inside in zip(detection.landmark_names, inside, strict=True) if not is_inside]
    doubtful = [
        name for name, is_it in zip(detection.landmark_names, inside & detection.in_doubt, strict=True) if is_it
    ]
    texts = [
        LIMITS[0],
        *detection.warnings,
        *(["Not found in the image: " + ", ".join(absent) + "."] if absent else []),
        *(["Doubtful, to be looked at: " + ", ".join(doubtful) + "."] if doubtful else []),
        *detection.notes,
    ]
    return [sr.TextContentItem(codes.DCM.Comment, _text(text), sr.RelationshipTypeValues.CONTAINS) for text in texts]


def _own(value: str, meaning: str) -> sr.CodedConcept:
    return sr.CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


def _text(value: Any) -> str:
    """A text without what DICOM forbids: the backslash separates values, control characters are not allowed."""
    kept = "".join(mark if mark.isprintable() else " " for mark in str(value).replace("\\", "/"))
    return kept.strip() or "?"
