"""docs/csv.md: each example is read as the page says below it, or refused with the words that it quotes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.folder import columns as columns
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.data.sources.folder.splits import STAGE_NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "csv.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```csv\n(.*?)^```\n\n(Reads|Refused): (.*?)$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for grey, name in enumerate(("a.png", "b.png")):
        Image.fromarray(np.full((400, 300), grey, np.uint8)).save(folder / name)
    return folder


def test_every_example_says_what_comes_of_it() -> None:
    assert len(EXAMPLES) == PAGE.count("```csv") >= 14


@pytest.mark.parametrize(("text", "outcome", "said"), EXAMPLES)
def test_examples(root: Path, text: str, outcome: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(root / "cache"))
    (root / "points.csv").write_text(text, encoding="utf-8")
    if outcome == "Refused":
        with pytest.raises(DataError, match=re.escape(said)):
            FolderDataset(root).samples("train")
        return
    dataset = FolderDataset(root)
    samples = [each for stage in ("train", "val", "test") for each in dataset.samples(stage)]  # type: ignore[arg-type]
    unit, names, *points = said.split("; ")
    assert dataset.unit == unit and ", ".join(dataset.landmark_names) == names and len(samples) == 2
    by_file = {sample.image_path.name: sample.annotations[0] for sample in samples if sample.image_path is not None}
    for point in points:
        file, name, x, y = point.split(" ")
        assert by_file[file][dataset.landmark_names.index(name)].tolist() == [float(x), float(y)]


def test_the_page_lists_every_name_of_a_column() -> None:
    sizes = [name for names in columns.SIZE_COLUMNS.values() for name in names]
    known = [
        *columns.IMAGE_COLUMNS, *columns.LANDMARK_COLUMNS, *columns.ANNOTATOR_COLUMNS, *columns.PATIENT_COLUMNS,
        *columns.SPACING_COLUMNS[:-4], *sizes, *STAGE_NAMES,
    ]  # fmt: skip
    assert [name for name in known if f"`{name}`" not in PAGE] == []
