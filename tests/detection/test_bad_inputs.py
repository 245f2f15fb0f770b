"""Whatever file is given, a prediction reads the right grey from it or says in one line what is wrong with it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.cli.detect_verb import run_detect
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from tests.detection.bad_inputs import NO_CODEC, Input, write_inputs
from tests.detection.tiny_model import tiny_options
from tests.methods.tiny_positions import N, module

CODED = ("JPEG lossless", "JPEG-LS")
LONG_NAME = "a name that is too long"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Input]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def fault_of(item: Input) -> str | None:
    """Read one input; return what is not as expected, None if all is."""
    try:
        grey = read_radiograph(item.path).grey
    except DataError as error:
        message = str(error)
        said = message.removeprefix(f"{item.path}: ")
        if item.grey is not None or item.says not in message or said == message or len(said.splitlines()) != 1:
            return f"{item.what}: {message}"
        return None
    if item.grey is None:
        return f"{item.what}: was read, expected {item.says!r}"
    if grey.dtype != np.uint8 or grey.shape != item.grey.shape:
        return f"{item.what}: found {grey.dtype} of {grey.shape}"
    difference = int(np.abs(grey.astype(int) - item.grey).max())
    return f"{item.what}: off by {difference} grey levels" if difference > item.tolerance else None


def test_each_input_gives_its_grey_or_one_line_with_its_name(inputs: list[Input]) -> None:
    faults = [fault for fault in map(fault_of, inputs) if fault is not None]
    assert not faults, "\n".join(faults)
    assert len(inputs) >= 65
    assert sum(item.grey is None for item in inputs) >= 30 <= sum(item.grey is not None for item in inputs)


@pytest.mark.parametrize(
    "name", ["plain.png", "plain.jpg", "plain.tif", "lzw.tiff", "plain.bmp", "kind_0.dcm", "j2k.dcm"]
)
def test_file_cut_anywhere_is_refused_or_whole(inputs: list[Input], tmp_path: Path, name: str) -> None:
    """Half an image with grey below gives points that look like any others."""
    source = inputs[0].path.parent / name
    content, whole = source.read_bytes(), read_radiograph(source).grey
    cut = tmp_path / name
    for length in np.linspace(1, len(content) - 1, 40).astype(int):
        cut.write_bytes(content[:length])
        try:
            found = read_radiograph(cut).grey
        except DataError:
            continue
        np.testing.assert_array_equal(found, whole)  # only what stands behind the pixels was cut off


def test_damaged_bytes_never_raise_anything_else(inputs: list[Input], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = [item.path for item in inputs if item.grey is not None and item.path.stat().st_size < 9000]
    for path in small:
        if path.stem.startswith("JPEGL"):
            continue  # in a process of its own each time; the list has such a file
        content = bytearray(path.read_bytes())
        for place in rng.integers(0, min(len(content), 900), 3):
            content[place] = rng.integers(256)
        damaged = tmp_path / f"damaged{path.suffix}"
        damaged.write_bytes(content)
        try:
            assert read_radiograph(damaged).grey.dtype == np.uint8
        except DataError as error:
            assert str(error).startswith(f"{damaged}: ") and "\n" not in str(error)


@pytest.mark.parametrize("what", CODED)
def test_without_the_codec_the_line_says_what_to_install(
    inputs: list[Input], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("gdcm", reason="needed to write the file: pip install landmark_diffusion[dicom-codecs]")
    (path,) = (item.path for item in inputs if item.what == f"DICOM with {what}")
    syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    monkeypatch.setattr(pydicom.pixels.get_decoder(syntax), "_available", {})
    with pytest.raises(DataError) as refused:
        read_radiograph(path)
    assert NO_CODEC in str(refused.value) and syntax.name in str(refused.value) and str(syntax) in str(refused.value)


@pytest.mark.parametrize("name", ["jpeg.dcm", "j2k.dcm"])
def test_jpeg_and_jpeg_2000_need_no_more_than_pillow(
    inputs: list[Input], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from pydicom import dcmread
    from pydicom.pixels import get_decoder

    path = inputs[0].path.parent / name
    decoder = get_decoder(dcmread(path).file_meta.TransferSyntaxUID)
    before = read_radiograph(path).grey
    monkeypatch.setattr(decoder, "_available", {"pillow": decoder._available["pillow"]})
    np.testing.assert_array_equal(read_radiograph(path).grey, before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with weights drawn at random."""
    names = tuple(f"point {number}" for number in range(N))
    data = {"dataset": "folder", "size": [64, 80], "resize": "stretch"}
    facts = ModelFacts("PositionDiffusionModule", tiny_options(), names, data, updates=1, seed=0)
    return write_model_file(tmp_path_factory.mktemp("model") / "tiny.ldx", facts, module().state_dict())


@pytest.mark.slow
def test_detect_names_each_bad_file_and_finishes_the_others(
    inputs: list[Input], model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A folder is looked into, so it is no file to name; the long name has a test of its own.
    asked = [item for item in inputs if item.what not in ("a folder", LONG_NAME)]
    options = ["--model", str(model), "--to", "csv", "--output", str(tmp_path), "--batch-size", "16"]
    assert run_detect([*(str(item.path) for item in asked), *options]) == 1
    said = capfd.readouterr().err
    assert "Traceback" not in said
    bad = [item for item in asked if item.grey is None]
    assert said.count("error: ") == len(bad)
    for item in bad:
        assert f"error: {item.path.parent}" in said and item.says in said, item.what
    with (tmp_path / "points.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N * (len(asked) - len(bad))
    assert np.isfinite([[float(row["x"]), float(row["y"])] for row in rows]).all()


def test_detect_names_a_name_that_is_too_long(
    inputs: list[Input], model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (path,) = (item.path for item in inputs if item.what == LONG_NAME)
    assert run_detect([str(path), "--model", str(model), "--output", str(tmp_path)]) == 1
    assert "File name too long" in capfd.readouterr().err
