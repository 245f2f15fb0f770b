"""A folder of DICOM files is a data set as one of PNG files is: the same grey, its own mm, patients kept together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data import headers
from landmark_diffusion.data.readers.image_io import check_contrast
from landmark_diffusion.data.readers.radiograph import read_any_grey, read_radiograph_header
from landmark_diffusion.data.source import Finding
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.training.datamodule import LandmarkDataModule
from tests.data.layouts.dicom import coded
from tests.detection.bad_inputs import LEVELS, H, W, deep, write_dicom, write_inputs

SPACING: dict[str, Any] = {"ImagerPixelSpacing": [0.2, 0.1]}  # row, column: y, x
XY = (0.1, 0.2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def picture(number: int) -> np.ndarray:
    """A picture (H, W) uint8 of its own, with both ends of the range."""
    return np.roll(LEVELS, (number, 2 * number), (0, 1))


def monochrome1(path: Path, grey: np.ndarray, **elements: Any) -> None:
    write_dicom(path, 255 - grey, PhotometricInterpretation="MONOCHROME1", **elements)


FORMS: dict[str, Callable[..., object]] = {
    "8 bits": write_dicom,
    "12 bits": lambda path, grey, **more: write_dicom(path, deep(12, grey), BitsStored=12, **more),
    "12 bits called 16": lambda path, grey, **more: write_dicom(path, deep(12, grey), **more),
    "MONOCHROME1": monochrome1,
    "RLE": lambda path, grey, **more: rle(path, grey, **more),
    "JPEG 2000": lambda path, grey, **more: coded(path, "JPEG 2000", grey, 8, **more),
    "deflated": lambda path, grey, **more: write_dicom(path, grey, DeflatedExplicitVRLittleEndian, **more),
}


def rle(path: Path, grey: np.ndarray, **elements: Any) -> None:
    from pydicom import dcmread

    dataset = dcmread(write_dicom(path, grey, **elements))
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.save_as(path)


def table(root: Path, names: list[str], columns: str = "", values: dict[str, str] | None = None) -> Path:
    """A wide table of two landmarks, one of them missing in the second image."""
    lines = [f"image,tip_x,tip_y,base_x,base_y{columns}"]
    for place, name in enumerate(names):
        base = f"{20 + place}.25,{30 - place}" if place != 1 else ","
        lines.append(f"{name},{3 + place},{4.5 + place},{base}{(values or {}).get(name, ',' * columns.count(','))}")
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    return root


def dicom_folder(root: Path, count: int = 4, columns: str = "", *, of: Callable[[int], dict[str, Any]]) -> Path:
    """A folder of DICOM files with a table; ``of`` gives the elements of each."""
    root.mkdir(exist_ok=True)
    for number in range(count):
        write_dicom(root / f"{number}.dcm", picture(number), **of(number))
    return table(root, [f"{number}.dcm" for number in range(count)], columns)


def spaced(_: int) -> dict[str, Any]:
    return SPACING


def messages(findings: list[Finding], level: str) -> list[str]:
    return [finding.message for finding in findings if finding.level == level]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_samples_of_the_same_pixels_as_png(form: str, tmp_path: Path) -> None:
    names = ["a", "1.2.840.7", "c.dcm", "IM0004"]
    png, dicom = tmp_path / "png", tmp_path / "dicom"
    for root in (png, dicom):
        root.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(png / f"{name}.png")
        FORMS[form](dicom / name, picture(number), **SPACING)
    rows = {f"{name}.png": ",0.1,0.2" for name in names}
    first = FolderDataset(table(png, [f"{n}.png" for n in names], ",spacing_x,spacing_y", rows), split="all")
    second = FolderDataset(table(dicom, names), split="all")
    assert first.unit == second.unit == "mm" and first.radii == second.radii
    pairs = list(zip(first.samples("train"), second.samples("train"), strict=True))
    assert len(pairs) == 4
    for one, other in pairs:
        assert one.image_id.removesuffix(".png") == other.image_id and one.size == other.size == (W, H)
        assert other.spacing == one.spacing == XY
        np.testing.assert_array_equal(one.annotations, other.annotations)
        np.testing.assert_array_equal(first.load_image(one), second.load_image(other))
    assert not messages(second.check(), "error")


def test_batches_are_those_of_the_same_pixels_as_png(tmp_path: Path) -> None:
    batches = []
    for kind in ("png", "dcm"):
        root = tmp_path / kind
        root.mkdir()
        for number in range(4):
            if kind == "png":
                Image.fromarray(picture(number)).save(root / f"{number}.png")
            else:
                write_dicom(root / f"{number}.dcm", deep(12, picture(number)), BitsStored=12)
        table(root, [f"{number}.{kind}" for number in range(4)])
        data = LandmarkDataModule(
            dataset="folder", root=str(root), split="all", size=(24, 32), recipe="none",
            batch_size=4, num_workers=0,
        )  # fmt: skip
        data.setup("fit")
        batches.append(next(iter(data.train_dataloader())))
    for key in ("image", "points", "target_points", "visible", "frame", "image_size"):
        np.testing.assert_array_equal(batches[0][key].numpy(), batches[1][key].numpy())


def test_a_header_gives_the_size_that_the_pixels_have(tmp_path: Path) -> None:
    """On all odd inputs of a prediction; what the header refuses, the pixels do not give."""
    compared = 0
    for item in write_inputs(tmp_path / "inputs"):
        try:
            radiograph = read_any_grey(item.path)
            check_contrast(radiograph.grey, item.path)
        except DataError:
            continue
        header = read_radiograph_header(item.path)
        assert header.size == radiograph.grey.shape[::-1], item.what
        assert (header.spacing, header.spacing_source) == (radiograph.spacing, radiograph.spacing_source), item.what
        compared += header.dicom
    assert compared > 15


def test_headers_are_read_without_decoding_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = dicom_folder(tmp_path / "own", of=lambda number: {**SPACING, "PatientID": f"P{number}"})
    content = (root / "1.dcm").read_bytes()
    (root / "1.dcm").write_bytes(content[:-200])  # the pixels are cut off, which only decoding finds
    dataset = FolderDataset(root)
    assert [sample.spacing for sample in dataset._read()[0]] == [XY] * 4
    (error,) = messages(dataset.check(), "error")
    assert error.startswith(f"{root / '1.dcm'}: ") and not messages(dataset.check(decode=False), "error")

    def never(path: Path) -> None:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(headers, "read_radiograph_header", never)
    again = FolderDataset(root)
    assert again.samples("train") and again.unit == "mm" and again.patients() == dataset.patients()


def test_the_tables_spacing_wins_and_a_contradiction_is_told(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", of=spaced)
    rows = {"0.dcm": ",0.1,0.2", "2.dcm": ",0.3,0.3", "3.dcm": ",0.10001,0.2"}
    table(root, [f"{number}.dcm" for number in range(4)], ",spacing_x,spacing_y", rows)
    dataset = FolderDataset(root, split="all")
    said = (
        "the table's spacing is taken, but 1 DICOM file says another one: '2.dcm' (line 4) 0.3 x 0.3 mm, its file "
        "0.1 x 0.2 mm (ImagerPixelSpacing)"
    )
    with pytest.warns(UserWarning) as caught:
        samples = dataset.samples("train")
    assert [str(each.message) for each in caught] == [said]
    assert [sample.spacing for sample in samples] == [(0.1, 0.2), XY, (0.3, 0.3), (0.10001, 0.2)]
    assert f"{root / 'points.csv'}: {said}" in messages(dataset.check(), "warning")
    assert f"{root / 'points.csv'}: spacing from the DICOM files: ImagerPixelSpacing in 1 image" in dataset.notes()


def test_where_the_mm_come_from_is_said(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        SPACING,
        {"PixelSpacing": [0.2, 0.1]},
        {**SPACING, "EstimatedRadiographicMagnificationFactor": 1.25},
        {"ImagerPixelSpacing": [0.3, 0.3], "PixelSpacing": [0.2, 0.1]},
    ]
    dataset = FolderDataset(dicom_folder(tmp_path / "own", of=kinds.__getitem__), split="all")
    found = [sample.spacing for sample in dataset.samples("train")]
    assert found == [XY, XY, pytest.approx((0.08, 0.16)), XY]
    (note,) = [note for note in dataset.notes() if "spacing from" in note]
    assert note.endswith(
        "ImagerPixelSpacing in 1 image, PixelSpacing (uncalibrated) in 1 image, ImagerPixelSpacing / magnification in "
        "1 image, PixelSpacing (calibrated) in 1 image; without a word on where it holds mm may be wrong"
    )


def test_without_spacing_errors_are_in_px_and_that_is_said(tmp_path: Path) -> None:
    dataset = FolderDataset(dicom_folder(tmp_path / "own", of=lambda _: {}))
    assert dataset.unit == "px"
    assert any("the DICOM files say no spacing, so that errors are in px" in note for note in dataset.notes())
    assert not messages(dataset.check(), "warning")


def test_a_spacing_of_some_files_is_none(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", of=lambda number: SPACING if number else {})
    dataset = FolderDataset(root, split="all")
    with pytest.warns(UserWarning, match=r"1 of 4 image files say no spacing \(0\.dcm\), so that errors are in px"):
        assert [sample.spacing for sample in dataset.samples("train")] == [None] * 4
    assert dataset.unit == "px"
    table(root, [f"{number}.dcm" for number in range(4)], ",spacing", {"0.dcm": ",0.3"})
    filled = FolderDataset(root, split="all")
    assert filled.unit == "mm" and [each.spacing for each in filled.samples("train")] == [(0.3, 0.3), XY, XY, XY]
    table(root, [f"{number}.dcm" for number in range(4)], ",spacing", {"1.dcm": ",0.3"})
    with pytest.raises(DataError, match=r"the spacing of '0\.dcm' is empty, while 3 other images have one"):
        FolderDataset(root, split="all").samples("train")


def test_faulty_files_are_named_beside_the_good_ones(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", 6, of=spaced)
    write_dicom(root / "1.dcm", LEVELS, NumberOfFrames=3, PixelData=LEVELS.tobytes() * 3)
    (root / "2.dcm").write_bytes((root / "2.dcm").read_bytes()[:300])
    write_dicom(root / "4.dcm", LEVELS, PixelData=None)
    dataset = FolderDataset(root, split="all")
    errors = messages(dataset.check(), "error")
    assert [error.partition(": ")[0] for error in errors] == [str(root / f"{number}.dcm") for number in (1, 2, 4)]
    assert "found 3 frames, expected one image" in errors[0] and "found no pixels" in errors[2]
    assert [sample.image_id for sample in dataset._read()[0]] == ["0.dcm", "3.dcm", "5.dcm"]
    with pytest.raises(DataError, match=r"1\.dcm: found 3 frames"):
        dataset.samples("train")
    assert dataset.unit == "mm"


def test_names_in_the_table_find_their_files(tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    files = ["1.2.840.1", "1.2.840.2", "IM1", "b.DCM", "c.dicom", "d.ima"]
    for number, name in enumerate(files):
        write_dicom(root / name, picture(number))
    write_dicom(root / "DICOMDIR", LEVELS)
    asked = ["1.2.840.1", "1.2.840.2.dcm", "IM1.dcm", "b", "c.dcm", "d.ima"]
    dataset = FolderDataset(table(root, asked), split="all")
    found = {sample.image_id: sample.image_path.name for sample in dataset.samples("train") if sample.image_path}
    assert found == dict(zip(asked, files, strict=True))
    (root / "c.dicom").rename(root / "e.dcm")
    with pytest.raises(DataError, match=r"the image 'c\.dcm' is not there"):
        FolderDataset(root, split="all").samples("train")


def test_images_without_labels(tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    Image.fromarray(picture(9)).save(root / "c.png")
    for number, name in enumerate(("a.dcm", "1.2.3", "b.dcm")):
        write_dicom(root / name, picture(number), PatientID="77-B" if name == "b.dcm" else "77-A", **SPACING)
    dataset = FolderDataset(root, labels=False)
    assert [sample.image_id for sample in dataset.samples("train")] == ["1.2.3", "a.dcm", "b.dcm", "c.png"]
    assert dataset.patients() == {name: "patient of 1.2.3" for name in ("1.2.3", "a.dcm")} | {
        "b.dcm": "patient of b.dcm"
    }


SECRET = "HOSP-0815"


def of_patient(number: int) -> dict[str, Any]:
    """Three images of each patient, whose name and id are nobody's business."""
    issuer = {"IssuerOfPatientID": "North"} if number % 2 else {}
    return {"PatientID": f"{SECRET}-{number // 6}", "PatientName": "Secret^Sue", **issuer, **SPACING}


def test_images_of_a_patient_stay_together_and_the_id_goes_nowhere(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", 24, of=of_patient)
    dataset = FolderDataset(root)
    groups = [{f"{number}.dcm" for number in range(first, first + 6, 2)} for first in (0, 1, 6, 7, 12, 13, 18, 19)]
    patients = dataset.patients()
    assert len(set(patients.values())) == 8  # the same id of another issuer is another person
    parts: list[set[str]] = [
        {sample.image_id for sample in dataset.samples(stage)} for stage in ("train", "val", "test")
    ]  # type: ignore[arg-type]
    assert all(parts) and sum(map(len, parts)) == 24
    assert all(len({patients[image] for image in group}) == 1 for group in groups)
    assert all(sum(bool(group & part) for part in parts) == 1 for group in groups)
    assert patients["0.dcm"] == patients["2.dcm"] == "patient of 0.dcm"
    for fold in range(1, 5):
        tested = {sample.image_id for sample in FolderDataset(root, split=f"folds:4/{fold}").samples("test")}
        assert all(group <= tested or not group & tested for group in groups)
    assert any("8 patients kept together (DICOM files' Patient ID)" in note for note in dataset.notes())
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*.json"))
    said = "".join((repr(vars(dataset)), *dataset.notes(), *map(repr, dataset.check()), repr(patients)))
    assert b"0.dcm" in kept
    for secret in (SECRET, "Secret", "North"):
        assert secret not in said and secret.encode() not in kept
    plain = [f"{SECRET}-{number}" for number in range(4)]
    digests = {entry[-1] for entry in _entries(tmp_path / "cache")}
    assert len(digests) == 8 and not any(_plain_digest(each) in digests for each in plain)


def _entries(cache: Path) -> list[list[Any]]:
    import json

    (store,) = (cache / "headers").iterdir()
    return list(json.loads(store.read_text())["headers"].values())


def _plain_digest(text: str) -> str:
    """What a list of ids could be compared with, were there no key."""
    import hashlib

    return hashlib.blake2b(f"{text}\0".encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize("word", ["", "ANON", "Anonymous", "0000", "unknown", "de-identified", "all alike"])
def test_what_anonymising_leaves_is_no_patient(word: str, tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", 12, of=lambda _: {"PatientID": word})
    dataset = FolderDataset(root)
    assert dataset.patients() == {} and not any("patients kept" in note for note in dataset.notes())
    assert any("all DICOM files have one Patient ID" in note for note in dataset.notes()) == (word == "all alike")
    assert len(dataset.samples("test")) == 2


def test_the_tables_patients_win_and_none_keeps_no_images_together(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", 12, of=lambda number: {"PatientID": f"{SECRET}{number // 6}"})
    with pytest.raises(DataError, match=r"DICOM files' Patient ID has 2 values for 12 images; .*patient_column none"):
        FolderDataset(root).samples("train")
    free = FolderDataset(root, patient_column="none")
    assert free.patients() == {} and len(free.samples("train")) == 8
    names = [f"{number}.dcm" for number in range(12)]
    table(root, names, ",patient", {name: f",p{place // 4}" for place, name in enumerate(names)})
    dataset = FolderDataset(root)
    assert dataset.patients()["4.dcm"] == "p1"
    said = (
        "the column 'patient' is taken, but gives images of one DICOM Patient ID to several: 0.dcm, 4.dcm, and 1 more"
    )
    (doubt,) = [each for each in messages(dataset.check(), "warning") if "Patient ID" in each]
    assert said in doubt and SECRET not in doubt


def test_a_split_column_that_tears_a_patient_apart_is_told_without_the_id(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", 6, of=lambda number: {"PatientID": f"{SECRET}{number // 2}"})
    names = [f"{number}.dcm" for number in range(6)]
    table(root, names, ",split", {name: f",{'test' if name in ('1.dcm', '5.dcm') else 'train'}" for name in names})
    (doubt,) = [each for each in messages(FolderDataset(root, val_fraction=0).check(), "warning") if "tears" in each]
    assert "'patient of 0.dcm' has images in train and test and 1 others like that" in doubt and SECRET not in doubt


def test_a_changed_file_is_another_one_in_the_cache(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "own", of=spaced)
    dataset = FolderDataset(root, split="all")
    sample = dataset.samples("train")[0]
    before = dataset.cache_key(sample)
    write_dicom(root / "0.dcm", picture(9), **SPACING)
    os.utime(root / "0.dcm", ns=(5, 5))
    assert dataset.cache_key(sample) != before
