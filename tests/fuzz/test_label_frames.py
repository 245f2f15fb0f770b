"""Label units and frames: what the labels are is known by construction, and so is what has to be said of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.checks.labels import check_labels, tell_labels
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources.folder.source import FolderDataset
from tests.fuzz.harness import inputs, judge

Said = tuple[str, str]
"""Level of a finding, and a pattern of its words."""

_NAMES = [f"p{number}" for number in range(12)]
SHARES = r"lie within 0\.\.1: shares of the image's size\?"


@dataclass(frozen=True, repr=False)
class Labels:
    """Images' sizes (I, 2), points (I, A, N, 2) as they stand in the table, spacing, and the one finding expected."""

    sizes: np.ndarray
    points: np.ndarray
    spacing: float | None
    said: Said | None
    images: tuple[int, ...] = ()

    def samples(self) -> list[LandmarkSample]:
        spacing = self.spacing and (self.spacing, self.spacing)
        return [
            LandmarkSample(f"{i:02d}", (int(size[0]), int(size[1])), points, spacing, None, f"t.csv:{i + 2}")
            for i, (size, points) in enumerate(zip(self.sizes, self.points, strict=True))
        ]  # fmt: skip


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    """Points that fill the image, as pixels or as something else. One landmark lies near the far corner.

    Of fewer images, half of them halved, not each is named: the usual distance of three tells little.
    """
    count, landmarks = draw(st.integers(12, 30)), draw(st.integers(5, 12))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    width = draw(st.sampled_from((400, 600, 1935)))
    size = np.array((width, width * draw(st.sampled_from((0.8, 1.25, 1.5)))), dtype=int)
    sizes = np.broadcast_to(size, (count, 2)).copy()
    if draw(st.booleans()):  # images of other sizes, and the points with them
        sizes = (sizes * rng.choice((1.0, 0.8, 1.2), (count, 1))).astype(int)
    shape = rng.uniform(0.25, 0.9, (landmarks, 2))
    shape[0] = 0.9
    shape[1] = (0.15, 0.85)
    share = shape + rng.normal(0, 0.01, (count, draw(st.integers(1, 2)), landmarks, 2))
    share[rng.random(share.shape[:3]) < draw(st.sampled_from((0.0, 0.0, 0.1)))] = np.nan
    share[:, :, 2] = shape[2] + rng.normal(0, 0.01, share[:, :, 2].shape)  # so that no image is without points
    share[:, :, :2] = shape[:2] + rng.normal(0, 0.01, share[:, :, :2].shape)
    return _made(draw, np.clip(share, 0.01, 0.97), sizes)


def _made(draw: st.DrawFn, share: np.ndarray, sizes: np.ndarray) -> Labels:
    pixels = share * sizes[:, None, None]
    count = len(sizes)
    what = draw(st.sampled_from(_KINDS))
    if what == "pixels":
        return Labels(sizes, pixels, draw(st.sampled_from((None, 0.1))), None)
    if what == "shares":
        return Labels(sizes, share, None, ("error", f"all points of all {count} images {SHARES}"), tuple(range(count)))
    if what == "centred shares":
        return Labels(sizes, 2 * share - 1, None, ("error", r"lie within -1\.\.1: shares"), tuple(range(count)))
    if what == "percent":
        sure = "error" if sizes.min() >= 500 else "warning"
        return Labels(sizes, 100 * share, None, (sure, r"0\.\.100: percent of its size\?"), tuple(range(count)))
    if what == "mm":
        points = pixels * 0.1
        sure = 50 < np.nanmax(points) <= 100 and sizes.min() >= 500  # then they may be percent as well, never pixels
        return Labels(sizes, points, 0.1, ("error" if sure else "warning", r"mm\?"), tuple(range(count)))
    if what == "halves":
        return Labels(sizes, pixels / 2.2, None, ("warning", r"a copy up to \d.* times smaller"), tuple(range(count)))
    if what == "doubles":
        factor = draw(st.sampled_from((2, 4)))
        said = r"outside their image, by up to \d\.\d+ times its size: marked on a copy [\d.]+ times as large\?"
        return Labels(sizes, pixels * factor, None, ("error", said), tuple(range(count)))
    every = draw(st.integers(2, 3))
    some = np.arange(count) % every == 1
    here = tuple(int(i) for i in np.flatnonzero(some))
    if what == "some shares":
        points = np.where(some[:, None, None, None], share, pixels)
        said = rf"all points of {len(here)} of {count} images lie within 0\.\.1, those of the others do not: shares"
        return Labels(sizes, points, None, ("error", said), here)
    factor = draw(st.sampled_from((2.0, 3.0)))
    points = np.where(some[:, None, None, None], pixels / factor, pixels)
    said = rf"of {len(here)} of {count} images are 0\.\d+ times as large"
    return Labels(sizes, points, None, ("warning", said), here)


_KINDS = (
    "pixels", "pixels", "shares", "centred shares", "percent", "mm", "halves", "doubles", "some shares", "some halves",
)  # fmt: skip


@inputs(60, 1000)
@given(made=labels())
def test_the_unit_and_frame_of_labels_are_told_and_pixels_left_in_peace(made: Labels) -> None:
    found = judge("labels: units and frames", lambda: check_labels(made.samples(), _NAMES))
    assert found is not None
    if made.said is None:
        assert found == []
        return
    (finding,) = found
    level, words = made.said
    assert finding.level == level and re.search(words, finding.message), (finding, words)
    named = [f"{i:02d}" for i in made.images][:5]
    assert ", ".join(named) in finding.message and finding.message.startswith(f"t.csv:{(made.images or [0])[0] + 2}: ")


@inputs(10, 200)
@given(
    what=st.sampled_from(("pixels", "shares", "some shares")), count=st.integers(4, 12), seed=st.integers(0, 999),
    decimals=st.integers(4, 6), comma=st.booleans(),
)  # fmt: skip
def test_a_table_of_shares_is_refused_at_the_start_of_a_run(
    tmp_path_factory: pytest.TempPathFactory, what: str, count: int, seed: int, decimals: int, comma: bool
) -> None:
    """Through the table's text, whatever its decimals: refused with the line of the first such row, or read on."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(seed)
    shape = rng.uniform(0.2, 0.8, (5, 2))
    shape[0] = 0.92
    share = shape + rng.normal(0, 0.01, (count, 5, 2))
    wrong = np.arange(count) % 2 == 1 if what == "some shares" else np.full(count, what == "shares")
    rows = ["image;" + ";".join(f"p{n}_{axis}" for n in range(5) for axis in "xy")]
    for index in range(count):
        (folder / f"{index:02d}.png").symlink_to(_image(folder.parent))
        values = share[index] if wrong[index] else share[index] * (400, 300)
        cells = [f"{value:.{decimals}f}" for value in values.ravel()]
        rows.append(f"{index:02d}.png;" + ";".join(cell.replace(".", ",") if comma else cell for cell in cells))
    (folder / "points.csv").write_text("\n".join(rows) + "\n")

    def read() -> bool:
        dataset = FolderDataset(folder, split="seeded")
        samples = [s for stage in ("train", "val", "test") for s in dataset.samples(stage)]  # type: ignore[arg-type]
        tell_labels(sorted(samples, key=lambda sample: sample.image_id), dataset)
        return True

    found = judge("labels: tables of shares", read, folder, lines=count + 1)
    assert found is (None if wrong.any() else True)


def _image(folder: Path) -> Path:
    path = folder / "one.png"
    if not path.exists():
        Image.new("L", (400, 300)).save(path)
    return path
