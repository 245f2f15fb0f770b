"""ISBI 2015: both layouts are read, the official splits hold, and each fault names its file and line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES, Isbi2015Dataset, read_points
from landmark_diffusion.data.splits import ISBI2015_SPLITS

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "isbi2015"
pytestmark = pytest.mark.filterwarnings("ignore:.*belongs to the full size")  # these images are small on purpose


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def _points(number: int, annotator: str) -> np.ndarray:
    return np.random.default_rng([number, len(annotator), annotator == "junior"]).integers(0, 60, (19, 2))


def _write_case(root: Path, number: int, image: str = "cepha400/{:03d}.png", marks: str = "", types: int = 0) -> None:
    path = root / image.format(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.add.outer(np.arange(80), np.arange(64)) // 10 + number % 200
    Image.fromarray(ramp.astype(np.uint8)).save(path)
    for annotator in ("senior", "junior"):
        target = root / marks / f"400_{annotator}" / f"{path.stem}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{x},{y}" for x, y in _points(number, annotator)] + ["2"] * types
        target.write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (1, 130, 131, 151, 301):
        _write_case(tmp_path / "isbi", number)
    return tmp_path / "isbi"


@pytest.mark.parametrize(
    ("image", "marks", "types"),
    [
        ("cepha400/{:03d}.jpg", "", 0),
        ("RawImage/TrainingData/{:03d}.bmp", "", 8),
        ("RawImage/TrainingData/{:03d}.bmp", "AnnotationsByMD", 8),
        ("RawImage/{:03d}.png", "AnnotationsByMD", 0),
        ("{:d}.png", "", 0),
    ],
)
def test_layouts(tmp_path: Path, image: str, marks: str, types: int) -> None:
    for number in (2, 1):
        _write_case(tmp_path, number, image, marks, types)
    samples = Isbi2015Dataset(tmp_path).samples("train")
    assert [sample.image_id for sample in samples] == ["001", "002"]
    for number, sample in enumerate(samples, 1):
        assert sample.size == (64, 80) and sample.spacing == (0.1, 0.1)
        expected = np.stack([_points(number, "senior"), _points(number, "junior")])
        np.testing.assert_array_equal(sample.annotations, expected)
        assert sample.annotations.dtype == np.float64


def test_real_radiographs_agree_with_the_measured_facts() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"the real radiographs are not here ({SHARED})")
    dataset = Isbi2015Dataset(SHARED, split="official")
    train, test = dataset.samples("train"), dataset.samples("test")
    assert [s.image_id for s in train] == [f"{n:03d}" for n in range(1, 151)]
    assert [s.image_id for s in test] == [f"{n:03d}" for n in range(151, 301)]
    assert dataset.samples("val") == [] and {s.size for s in train + test} == {(1935, 2400)}
    for samples, between in ((train, 2.35), (test, 2.36)):  # mm between the doctors, README of the data
        points = np.stack([sample.annotations for sample in samples])
        assert np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).mean() * 0.1 == pytest.approx(between, abs=0.005)
    image = dataset.load_image(train[0])
    assert image.shape == (2400, 1935) and image.dtype == np.uint8 and image.std() > 20
    assert [f for f in dataset.check(decode=False) if f.level == "error"] == []


@pytest.mark.parametrize(
    ("split", "train", "val", "test"),
    [
        ("official", "001 130 131", "", "151"),
        ("development", "001 130", "131", "151"),
        ("test2", "001 130 131", "", "301"),
    ],
)
def test_split_by_number_with_only_some_images(root: Path, split: str, train: str, val: str, test: str) -> None:
    dataset = Isbi2015Dataset(root, split=split)
    found = [" ".join(sample.image_id for sample in dataset.samples(stage)) for stage in ("train", "val", "test")]
    assert found == [train, val, test]
    assert dataset.samples("predict")[0].image_id == test.split()[0]


def test_no_split_measures_on_what_it_trains_on() -> None:
    for name, parts in ISBI2015_SPLITS.items():
        train, val, test = (set(parts[stage]) for stage in ("train", "val", "test"))
        assert not (train & test or train & val or val & test), name


def test_unknown_split_and_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split: found 'offical', expected one of official, development"):
        Isbi2015Dataset(tmp_path, split="offical")
    with pytest.raises(DataError, match=r"nowhere: data\.root: the folder does not exist"):
        Isbi2015Dataset(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: data\.root: found a file"):
        Isbi2015Dataset(tmp_path / "file")


def test_root_without_images(tmp_path: Path) -> None:
    for folder in ("", "cepha400"):
        (tmp_path / folder).mkdir(exist_ok=True)
        with pytest.raises(DataError, match=r"no image found; expected cepha400/\*.jpg or RawImage"):
            Isbi2015Dataset(tmp_path).samples("train")
    assert [finding.level for finding in Isbi2015Dataset(tmp_path).check()] == ["error"]


def _edit(line: int, text: str | None) -> Callable[[list[str]], list[str]]:
    """Replace a line (1-based), or delete it with None."""
    return lambda lines: lines[: line - 1] + ([] if text is None else [text]) + lines[line:]


BAD_FILES = {
    "18 points": (_edit(19, None), 19, "found 18 points, expected 19"),
    "18 points and 8 types": (lambda lines: lines[:18] + ["1"] * 8, 19, "found 18 points, expected 19"),
    "20 points": (lambda lines: [*lines, "3,4"], 20, "found 20 points, expected 19"),
    "7 types": (lambda lines: lines + ["1"] * 7, 20, "found 7 lines behind the 19 points"),
    "empty": (lambda lines: [], 1, "found 0 points, expected 19"),
    "a word": (_edit(7, "12,abc"), 7, "found 'abc', expected a number for pogonion"),
    "three numbers": (_edit(3, "1,2,3"), 3, "found '1,2,3', expected x,y"),
    "semicolon": (_edit(3, "1;2"), 3, "found '1;2', expected x,y"),
    "nan": (_edit(1, "nan,5"), 1, "found 'nan', expected a finite number for sella"),
    "inf": (_edit(4, "5,-inf"), 4, "found '-inf', expected a finite number"),
    "overflow": (_edit(4, "5,1e999"), 4, "too large"),
    "underscore": (_edit(4, "5,1_0"), 4, "found '1_0', expected a number"),
    "right of the image": (_edit(5, "64,10"), 5, r"subspinale lies at \(64, 10\), outside its image of 64x80 px"),
    "below the image": (_edit(6, "10,79.5"), 6, r"supramentale lies at \(10, 79.5\), outside"),
    "negative": (_edit(19, "-1,3"), 19, r"articulare lies at \(-1, 3\), outside"),
}


@pytest.mark.parametrize("annotator", ["senior", "junior"])
@pytest.mark.parametrize(("edit", "line", "said"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_annotation_names_file_and_line(
    root: Path, annotator: str, edit: Callable[[list[str]], list[str]], line: int, said: str
) -> None:
    path = root / f"400_{annotator}" / "130.txt"
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=rf"400_{annotator}/130\.txt:{line}: .*{said}") as caught:
        Isbi2015Dataset(root).samples("train")
    assert (caught.value.path, caught.value.line) == (path, line)
    assert Isbi2015Dataset(root).samples("test")  # the other stage is untouched by it


@pytest.mark.parametrize("text", ["63.49,79.49", "-0.5,-0.5", "1e1, 2.5", " 3\t4 ", "+5.,.5"])
def test_lines_that_are_right(root: Path, text: str) -> None:
    path = root / "400_senior" / "001.txt"
    path.write_text("\ufeff" + "\r\n".join(_edit(2, text)(path.read_text().splitlines())) + "\r\n\r\n", "utf-8")
    points, faults = read_points(path, (64, 80))
    assert faults == []
    np.testing.assert_allclose(points[1], [float(part) for part in text.replace(",", " ").split()])


def test_binary_annotation_names_the_file(root: Path) -> None:
    (root / "400_senior" / "001.txt").write_bytes(b"\xff\xfe\x00\x81" * 20)
    with pytest.raises(DataError, match=r"400_senior/001\.txt: the file is not UTF-8 text"):
        Isbi2015Dataset(root).samples("train")


def test_image_without_annotation_names_both(root: Path) -> None:
    (root / "400_junior" / "130.txt").unlink()
    with pytest.raises(DataError, match=r"130\.png: the image has no annotation by the junior; expected .*130\.txt"):
        Isbi2015Dataset(root).samples("train")


def test_annotation_without_image_is_left_out_and_told_once(root: Path) -> None:
    for number in (1, 151):
        (root / "cepha400" / f"{number:03d}.png").unlink()
    dataset = Isbi2015Dataset(root)
    assert [sample.image_id for sample in dataset.samples("train")] == ["130", "131"]
    warnings = [finding.message for finding in dataset.check() if finding.level == "warning"]
    assert any("001.txt: 2 annotated images are not there (001, 151)" in message for message in warnings)


@pytest.mark.parametrize("name", ["500.png", "000.png", "scan.png", "0131.png"])
def test_image_name_that_says_no_split(root: Path, name: str) -> None:
    shutil.copy(root / "cepha400" / "001.png", root / "cepha400" / name)
    with pytest.raises(DataError, match=rf"{name}: expected an image name from 001 to 400"):
        Isbi2015Dataset(root).samples("test")


def test_image_there_twice(root: Path) -> None:
    shutil.copy(root / "cepha400" / "130.png", root / "cepha400" / "130.bmp")
    with pytest.raises(DataError, match=r"130\.png: image 130 is there twice, also as .*130\.bmp"):
        Isbi2015Dataset(root).samples("train")


def test_truncated_image_shows_when_decoded(root: Path) -> None:
    path = root / "cepha400" / "001.png"
    path.write_bytes(path.read_bytes()[:50])  # the header is whole, the pixels are not
    dataset = Isbi2015Dataset(root)
    sample = dataset.samples("train")[0]
    with pytest.raises(DataError, match=r"001\.png: the image cannot be decoded"):
        dataset.load_image(sample)
    errors = [finding.message for finding in dataset.check() if finding.level == "error"]
    assert len(errors) == 1 and "001.png: the image cannot be decoded" in errors[0]
    assert not [finding for finding in dataset.check(decode=False) if finding.level == "error"]


def test_check_lists_all_faults_at_once(root: Path) -> None:
    (root / "cepha400" / "131.png").write_bytes(b"")
    (root / "400_junior" / "301.txt").unlink()
    for annotator, line, text in (("senior", 2, "x,1"), ("senior", 9, "nan,1"), ("junior", 3, "900,1")):
        path = root / f"400_{annotator}" / "001.txt"
        path.write_text("\n".join(_edit(line, text)(path.read_text().splitlines())))
    errors = [finding.message for finding in Isbi2015Dataset(root).check() if finding.level == "error"]
    expected = ["131.png: ", "301.png: ", "senior/001.txt:2: ", "senior/001.txt:9: ", "junior/001.txt:3: "]
    assert len(errors) == len(expected)
    assert all(any(part in message for message in errors) for part in expected)


@pytest.mark.filterwarnings("default")
def test_images_of_another_size_are_doubted_because_of_the_spacing(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"64x80 px instead of 1935x2400 \(3 images\): the spacing of 0.1 mm"):
        Isbi2015Dataset(root).samples("train")
    assert any("belongs to the full size" in finding.message for finding in Isbi2015Dataset(root).check())


def test_landmark_names_follow_the_challenge() -> None:
    assert len(set(LANDMARK_NAMES)) == 19
    numbered = dict(enumerate(LANDMARK_NAMES, 1))  # numbers as in the challenge's description
    assert (numbered[1], numbered[10], numbered[16], numbered[19]) == (
        "sella", "gonion", "soft tissue pogonion", "articulare"
    )  # fmt: skip


def test_the_papers_split_counts_what_is_absent_and_goes_on_only_when_told(root: Path) -> None:
    with pytest.raises(DataError, match=r"128 of the 130 .* are not there, the first is 002; .*require_all"):
        Isbi2015Dataset(root, split="paper_b").samples("train")
    some = Isbi2015Dataset(root, split="paper_b", require_all=False)
    with pytest.warns(UserWarning, match="248 of the 250 images .* the first is 152; going on with 2"):
        assert [sample.image_id for sample in some.samples("test")] == ["151", "301"]
    with pytest.raises(DataError, match=r"149 of the 150 images"):
        Isbi2015Dataset(root, require_all=True).samples("test")


def test_without_labels_no_annotation_is_read(root: Path) -> None:
    for annotator in ("senior", "junior"):
        shutil.rmtree(root / f"400_{annotator}")
    dataset = Isbi2015Dataset(root, split="development", labels=False)
    assert dataset.landmark_names == () == dataset.annotator_names
    samples = dataset.samples("train")
    assert [sample.image_id for sample in samples] == ["001", "130"]
    assert samples[0].annotations.shape == (1, 0, 2) and samples[0].spacing == (0.1, 0.1)
    assert samples[0].mean_points.shape == (0, 2)
    assert dataset.load_image(samples[0]).shape == (80, 64)
    assert [finding.level for finding in dataset.check()] == ["warning"]  # about the size alone
    with pytest.raises(DataError, match="no annotation by the senior"):
        Isbi2015Dataset(root, split="development").samples("train")


@pytest.mark.parametrize("other", ["400_junior/1.txt", "AnnotationsByMD/400_junior/001.txt"])
def test_a_second_file_of_one_doctor_is_refused(root: Path, other: str) -> None:
    (root / other).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "400_junior" / "130.txt", root / other)
    said = r"1\.txt: the annotation of image 001 is there twice, also as .*400_junior/001\.txt; keep one"
    with pytest.raises(DataError, match=said):
        Isbi2015Dataset(root).samples("train")


@pytest.mark.parametrize("text", ["1,,2", ",1,2", "1,2,"])
def test_a_pair_with_a_hole_is_refused(root: Path, text: str) -> None:
    path = root / "400_senior" / "001.txt"
    path.write_text("\n".join(_edit(2, text)(path.read_text().splitlines())))
    with pytest.raises(DataError, match=rf"001\.txt:2: found '{text}', expected x,y"):
        Isbi2015Dataset(root).samples("train")


def test_types_in_other_digits_are_refused(root: Path) -> None:
    path = root / "400_senior" / "001.txt"
    path.write_text(path.read_text() + "\u0661\n" * 8, encoding="utf-8")
    with pytest.raises(DataError, match=r"001\.txt:20: found 27 points, expected 19"):
        Isbi2015Dataset(root).samples("train")
