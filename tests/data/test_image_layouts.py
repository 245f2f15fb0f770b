"""Each layout of each format is read to the grey level that another reader finds, or refused by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.data.radiograph import read_radiograph
from landmark_diffusion.errors import DataError
from tests.data.layouts import Layout, bmp, dicom, jpeg, png, tiff

pytest.importorskip("tifffile", reason="pip install -e '.[dev]'")
pytest.importorskip("imagecodecs", reason="pip install -e '.[dev]'")

LAYOUTS = [layout for module in (tiff, png, bmp, jpeg, dicom) for layout in module.layouts()]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_layout_is_read_as_another_reader_does_or_refused_by_name(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "a.tif"  # what it is, is told by its content
    layout.write(path)
    if layout.grey is None:
        with pytest.raises(DataError) as refused:
            read_radiograph(path)
        assert str(refused.value).startswith(f"{path}: ") and layout.says in str(refused.value)
        return
    expected, found = layout.grey(path).astype(int), read_radiograph(path).grey
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found - expected).max() <= layout.tolerance
