"""Each layout of each format is read to the grey level that another reader finds, or refused by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.radiograph import read_radiograph
from tests.data.layouts import Layout, bmp, dicom, jpeg, png, tiff

pytest.importorskip("tifffile", reason="pip install -e '.[dev]'")
pytest.importorskip("imagecodecs", reason="pip install -e '.[dev]'")


def cases() -> list[ParameterSet]:
    return [
        pytest.param(layout, id=layout.name, marks=pytest.mark.slow if layout.apart else ())
        for module in (tiff, png, bmp, jpeg, dicom)
        for layout in module.layouts()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


@pytest.mark.parametrize("layout", cases())
def test_layout_is_read_as_another_reader_does_or_refused_by_name(folder: Path, layout: Layout) -> None:
    path = folder / "a.tif"  # what it is, is told by its content
    layout.write(path)
    if layout.grey is None:
        with pytest.raises(DataError) as refused:
            read_radiograph(path)
        assert str(refused.value).startswith(f"{path}: ") and layout.says in str(refused.value)
        return
    expected, found = layout.grey(path).astype(int), read_radiograph(path).grey
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found - expected).max() <= layout.tolerance
