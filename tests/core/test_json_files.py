"""JSON of our own: written with its style, and one line for a file that is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.json_files import read_json, write_json


def radii(content: dict) -> list[float]:
    return [float(radius) for radius in content["radii"]]


def read(path: Path) -> list[float]:
    return read_json(path, radii, "no figures", "measure again")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"radii": [2, 2.5], "name": "Öl"}, indent=1, ensure_ascii=False)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.endswith("}\n") and '\n "name": "Öl"' in text
    assert read(tmp_path / "x.json") == [2.0, 2.5]


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"radii": ["x"]}', b'{"radius": [2]}', b"\xff\xff"])
def test_a_damaged_file_is_told_with_its_cure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.json: no figures \(.+\); measure again"):
        read(path)


def test_a_file_that_is_not_there_is_the_callers_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "x.json")
