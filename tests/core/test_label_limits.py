"""What files with labels from strangers are held to before anything is made of them: JSON and XML within limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from landmark_diffusion.core import safe_xml, untrusted
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.untrusted import parse_json, read_limited

PATH = Path("labels.json")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 100_000, "no JSON that can be read"),
        (b'{"a": ' * 100_000, "no JSON that can be read"),
        (b"[" + b"9" * 5000 + b"]", "no JSON that can be read"),
        (b'{"a": "\xe4"}', r"not UTF-8 text \(byte 7\)"),
        (b'{"a":\n [1, 2,,]}', r"labels\.json:2: the file is no whole JSON \(.*, column 8\)"),
        (b"", "no whole JSON"),
    ],
)
def test_json_that_is_none_or_far_too_deep(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        parse_json(data, PATH)


def test_json_of_more_values_than_the_memory_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted before they are made: 256 MiB of empty lists would be 8 GB."""
    monkeypatch.setattr(untrusted, "MAX_LABEL_VALUES", 1000)
    assert parse_json(b"\xef\xbb\xbf[" + b"1," * 900 + b"1]", PATH) == [1] * 901
    with pytest.raises(DataError, match="more than 1000 values"):
        parse_json(b"[" + b"[]," * 1000 + b"1]", PATH)


def test_files_that_are_too_large_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "MAX_LABEL_BYTES", 100)
    (tmp_path / "a.json").write_bytes(b" " * 101)
    with pytest.raises(DataError, match=r"a\.json: found more than 100 bytes"):
        read_limited(tmp_path / "a.json")
    for name in ("none.json", "no\0name"):
        with pytest.raises(DataError, match=r"does not exist|cannot be read"):
            read_limited(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_limited(tmp_path)


class Names:
    """Keeps the names of elements."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.found.append(name)

    def end(self, name: str) -> None:
        pass

    def data(self, text: str) -> None:
        pass


LAUGHS = b'<!DOCTYPE a [<!ENTITY l "ll"><!ENTITY m "&l;&l;">]><a>&m;</a>'
FILE = b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><a>&f;</a>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LAUGHS, "defines entities"),
        (FILE, "defines entities"),
        (b'<!DOCTYPE a SYSTEM "http://x.example/a.dtd"><a/>', "defines entities"),
        (b"<a>" * 101, "deeper elements"),
        (b"<a " + b"x" * 2**21, "a tag that does not end"),
        (b'<?xml version="1.0" encoding="ttf-8"?><a/>', "encoding that is not known"),
    ],
)
def test_xml_that_no_reader_should_see(data: bytes, said: str) -> None:
    blocks = [data[start : start + safe_xml.BLOCK] for start in range(0, len(data), safe_xml.BLOCK)]
    with pytest.raises(UserError, match=said):
        safe_xml.feed(blocks, Names(), UserError)


def test_an_element_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_xml, "MOST_ELEMENTS", 3)
    names = Names()
    safe_xml.feed([b"<a><b/>", b"<c/></a>"], names, UserError)
    assert names.found == ["a", "b", "c"]
    with pytest.raises(UserError, match="more elements"):
        safe_xml.feed([b"<a><b/><b/><b/></a>"], Names(), UserError)


def test_a_handler_s_own_error_is_not_taken_for_an_encoding() -> None:
    class Faulty(Names):
        def start(self, name: str, attributes: Mapping[str, str]) -> None:
            raise KeyError(name)

    with pytest.raises(KeyError):
        safe_xml.feed([b"<a/>"], Faulty(), UserError)
