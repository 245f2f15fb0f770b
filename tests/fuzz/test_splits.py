"""`split` values and split columns, damaged: each image in one part of the split that was asked for, or refused."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.sources.folder.source import FolderDataset
from tests.fuzz.harness import inputs, judge
from tests.fuzz.strategies import mostly, spoilt_bytes

COUNT = 12
IMAGES = [f"{chr(97 + n)}.png" for n in range(COUNT)]
STAGES = ("train", "val", "test")
WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
         "test": "test", "testing": "test"}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    for shade, name in enumerate(IMAGES):
        Image.new("L", (40, 30), 20 * shade).save(folder / name)
    return folder


def write(root: Path, **columns: list[str]) -> None:
    rows = [",".join(["image", "x1", "y1", *columns])]
    rows += [",".join([name, f"{k}.5", f"{k + 7}", *(c[k] for c in columns.values())]) for k, name in enumerate(IMAGES)]
    (root / "points.csv").write_text("\n".join(rows) + "\n")


def parts(root: Path, **options: str) -> dict[str, list[str]]:
    dataset = FolderDataset(root, **options)  # type: ignore[arg-type]
    return {stage: [s.image_id for s in dataset.samples(stage)] for stage in STAGES}  # type: ignore[arg-type]


@st.composite
def fold_texts(draw: st.DrawFn) -> str:
    """folds:K/N, whole or with damaged bytes, and words that are near a split."""
    odd = st.sampled_from(("05", "+2", " 2", "1e0", "2.0", "\u0662", "9" * 9, ""))
    whole = st.integers(-1, COUNT + 3).map(str)
    number = whole | whole | whole | odd
    colon, slash = draw(mostly(":", "", " : ", "=")), draw(mostly("/", "", "//", "-", "\\"))
    text = f"folds{colon}{draw(number)}{slash}{draw(number)}"
    text = draw(st.sampled_from((text, text, text, "seeded", "auto", "column", text.upper(), text + "\n", "fold:5/1")))
    if draw(st.integers(0, 4)) == 4:
        text = draw(spoilt_bytes(text.encode())).decode("utf-8", "replace")
    return text


@inputs(100, 1000)
@given(text=fold_texts(), patients=st.sampled_from((0, 3, 8)))
def test_a_split_by_name_divides_as_it_says(root: Path, text: str, patients: int) -> None:
    who = [f"P{k % patients}" for k in range(COUNT)] if patients else []
    write(root, **({"patient": who} if who else {}))
    found = judge("split: values", lambda: parts(root, split=text), Path("split"), root)
    exact = re.fullmatch("folds:([0-9]{1,6})/([0-9]{1,6})", text)
    folds = (int(exact[1]), int(exact[2])) if exact and not text.endswith("\n") else None
    groups = patients or COUNT
    right = text in ("seeded", "auto") or (folds is not None and 2 <= folds[0] <= groups and 1 <= folds[1] <= folds[0])
    assert (found is not None) == right
    if found is None:
        return
    assert sorted(chain(*found.values())) == IMAGES and found["train"] and found["test"]
    if who:
        part_of = {image: stage for stage, images in found.items() for image in images}
        assert len({(who[k], part_of[image]) for k, image in enumerate(IMAGES)}) == patients
    if folds is not None:  # each image is tested in exactly one fold
        tested = [parts(root, split=f"folds:{folds[0]}/{n}")["test"] for n in range(1, folds[0] + 1)]
        assert sorted(chain(*tested)) == IMAGES and found["test"] == tested[folds[1] - 1]


CELLS = st.sampled_from((*WORDS, "Train", "TEST", " val ", "", "0", "1", "tset", "train;", "hold-out", "train test"))


@inputs(100, 1000)
@given(
    cells=st.lists(st.sampled_from(("train", "train", "val", "test")), min_size=COUNT, max_size=COUNT),
    spoilt=st.lists(st.tuples(st.integers(0, COUNT - 1), CELLS), max_size=3),
    name=st.sampled_from(("split", "Split", "set", "part", "author_split")),
    split=st.sampled_from(("auto", "auto", "column", "seeded")), ask=st.sampled_from((None, None, "as it is", "parts")),
)  # fmt: skip
def test_a_split_column_divides_as_its_cells_say(
    root: Path, cells: list[str], spoilt: list[tuple[int, str]], name: str, split: str, ask: str | None
) -> None:
    cells = list(cells)
    for place, cell in spoilt:
        cells[place] = cell
    write(root, **{name: cells})
    options = {"split": split} | ({} if ask is None else {"split_column": name if ask == "as it is" else "parts"})
    found = judge("split: columns", lambda: parts(root, **options, val_fraction=0), root)  # type: ignore[arg-type]
    said = [WORDS.get(cell.strip().lower()) for cell in cells]
    expected = _expected(name, said, [c.strip().lower() for c in cells], split, options.get("split_column", "split"))
    if expected == "refused":
        assert found is None
    elif expected == "random":
        assert found is not None and sorted(chain(*found.values())) == IMAGES
    else:
        assert found == {stage: [i for i, part in zip(IMAGES, said, strict=True) if part == stage] for stage in STAGES}


def _expected(name: str, said: list[str | None], cells: list[str], split: str, column: str) -> str:
    """By docs/csv.md: "cells", "random", or "refused"."""
    asked = column.lower() == name.lower()
    if split == "seeded":
        return "random"
    if asked:  # named split, or by the option: taken as it is
        return "cells" if None not in said else "refused"
    if split == "column" or column != "split":
        return "refused"  # a column that is not there
    filled = [cell for cell in cells if cell]
    if None not in said and len(set(said)) > 1:
        return "cells"
    by_name = name == "author_split"
    if len(set(filled)) > 1 and (by_name or (any(said) and 2 * sum(s is not None for s in said) >= len(filled))):
        return "refused"
    return "random"
