"""What results are called: no name for two, told apart by what tells the files apart, in whatever order they come."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest

from landmark_diffusion.detection.names import short_names

UID = "1.2.840.113619.2.5.1762583153.215519.978957063"


def hashed(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/001.png", "a/002.dcm"], ["001", "002"]),
        (["a/001.png", "b/001.png", "b/002.png"], ["a_001", "b_001", "002"]),
        (["001.png", "001.dcm"], ["001_png", "001_dcm"]),
        (["a/1.png", "a/1.dcm", "b/1.png"], ["a_1_png", "a_1_dcm", "b_1"]),
        (["p/a/1.png", "q/a/1.png", "q/b/1.png"], ["p_a_1", "q_a_1", "q_b_1"]),
        (["/1.png", "/x/1.png", "../1.png", "y/../z/1.png"], ["1_" + hashed("/1.png"), "x_1",
                                                             "1_" + hashed("../1.png"), "z_1"]),
        (["a/x.png", "b/X.png"], ["a_x", "b_X"]),  # one file on disks that do not tell them apart
        (["left knee: 'old'.png", "a\nb.png"], ["left_knee_'old'", "a_b"]),
        (["...png", "1.2.840.113619", f"{UID}.7", f"{UID}.8.dcm"], ["image", "1.2.840.113619", f"{UID}.7", f"{UID}.8"]),
        (["a/1.png", "a_1.png", "b/1.png"], ["a_1_" + hashed("a/1.png"), "a_1_" + hashed("a_1.png"), "b_1"]),
        (["a b.png", "a_b.png"], ["a_b_png_" + hashed("a b.png"), "a_b_png_" + hashed("a_b.png")]),
    ],
)  # fmt: skip
def test_each_image_has_a_name_of_its_own_whatever_the_order(paths: Sequence[str], names: Sequence[str]) -> None:
    wanted = dict(zip(paths, names, strict=True))
    for order in permutations(paths):
        assert dict(zip(order, short_names(map(Path, order)), strict=True)) == wanted


def test_two_spellings_of_one_letter_are_one_name_on_some_disks() -> None:
    composed, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    names = short_names([Path(f"{composed}.png"), Path(f"{decomposed}.png")])
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == 2


def test_long_names_stay_apart_by_their_ends_and_short_enough_for_a_file_system() -> None:
    paths = [Path(f"{'a' * 200}{number}.png") for number in range(12)]
    paths += [Path(f"{UID}.{study}") / f"{UID}.{study}.1" / "1.dcm" for study in range(3)]
    names = short_names(paths)
    assert len({name.lower() for name in names}) == 15
    assert max(map(len, names)) <= 80
    assert all(f"{number}_{hashed(str(paths[number]))}" in names[number] for number in range(12))


def test_the_same_path_twice_is_numbered() -> None:
    assert len(set(short_names([Path("a.png")] * 3))) == 3
