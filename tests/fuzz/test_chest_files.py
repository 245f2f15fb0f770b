"""The chests' label files: six shares each, read to the point or refused by the line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.sources.chest import ChestDataset
from tests.fuzz.harness import inputs, judge, lines_of, number, on_image, text_of
from tests.fuzz.strategies import mostly, spoilt_rows, text_files, valid_pairs

SIZE = (40, 20)
NAMES = ("CHNCXR_0001_0", "CHNCXR_0002_0", "CHNCXR_0662_1")
VALID = "6\n" + "\n".join(f"0.{n} 0.{n}" for n in range(1, 7)) + "\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chest")
    for part in ("pngs", "labels"):
        (folder / part).mkdir()
    for name in NAMES:
        Image.new("L", SIZE).save(folder / "pngs" / f"{name}.png")
        (folder / "labels" / f"{name}.txt").write_text(VALID)
    return folder


def points_in(data: bytes) -> np.ndarray | None:
    """What the file says, (6, 2) pixels: ``6``, then six lines of two shares that lie on the image."""
    lines = [line.strip() for line in (text_of(data) or "").split("\n") if line.strip()]
    if len(lines) != 7 or lines[0] != "6":
        return None
    pairs = [line.split(",") if "," in line else line.split() for line in lines[1:]]
    if any(len(pair) != 2 for pair in pairs):
        return None
    shares = [[number(part) for part in pair] for pair in pairs]
    if any(share is None or not 0 <= share <= 1 for pair in shares for share in pair):
        return None
    points = np.array(shares, dtype=float) * SIZE
    return points if all(on_image(x, y, SIZE) for x, y in points) else None


@st.composite
def label_files(draw: st.DrawFn) -> bytes:
    pairs = valid_pairs(draw(st.integers(0, 999)), 6, (9001, 9001))
    rows = [["6"], *([f"{float(value) / 1e4:.5f}" for value in pair] for pair in pairs)]
    return draw(text_files(draw(spoilt_rows(rows)), draw(mostly(" ", ",", "\t", ", ", ";", ",,"))))


@inputs(50, 1200)
@given(data=label_files())
def test_no_label_file_gives_other_points_than_it_says(root: Path, data: bytes) -> None:
    path = root / "labels" / f"{NAMES[1]}.txt"
    path.write_bytes(data)
    found = judge("chest: labels", lambda: ChestDataset(root).samples("train"), path, lines=lines_of(data))
    expected = points_in(data)
    assert (found is None) == (expected is None)
    if found is not None:
        assert [sample.image_id for sample in found] == list(NAMES)
        np.testing.assert_array_equal(found[1].annotations[0], expected)


@inputs(30, 500)
@given(
    images=st.sets(st.sampled_from((*NAMES, "CHNCXR_0059_0", "x"))),
    labels=st.sets(st.sampled_from((*NAMES, "CHNCXR_0059_0", "CHNCXR_0003_0"))),
    options=st.fixed_dictionaries({"split": st.sampled_from(("paper_b", "all_train")), "require_all": st.booleans()}),
)
def test_what_is_left_out_is_told(
    tmp_path_factory: pytest.TempPathFactory, images: set[str], labels: set[str], options: dict
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for folder, names, suffix in (("pngs", images, "png"), ("labels", labels, "txt")):
        (root / folder).mkdir()
        for name in names:
            path = root / folder / f"{name}.{suffix}"
            Image.new("L", SIZE).save(path) if suffix == "png" else path.write_text(VALID)
    told: list[str] = []

    def read() -> list:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            samples = ChestDataset(root, **options).samples("train")
        told.extend(str(warning.message) for warning in caught)
        return samples

    found = judge("chest: folders", read, root)
    images, labels = images - {"CHNCXR_0059_0"}, labels - {"CHNCXR_0059_0"}
    usable, strict = images & labels, options["split"] == "paper_b" and options["require_all"]
    refused = (
        not images or not labels or (strict and labels - images) or (options["split"] == "all_train" and not usable)
    )
    assert (found is None) == bool(refused)
    if found is not None:
        assert [sample.image_id for sample in found] == sorted(usable)
        assert any("without annotation" in message for message in told) == bool(images - labels)
        assert any("not there" in message for message in told) == bool(labels - images)
