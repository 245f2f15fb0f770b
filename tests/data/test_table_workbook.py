"""An Excel workbook in place of the CSV: one filled sheet is read as its cells say, all else is refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.data.sources.folder.table import read_table

NAMES = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
TEXTS = """<si><t>Image</t></si><si><r><t>nasion</t></r><r><t xml:space="preserve"> x</t></r></si><si><t>nasion y</t>
<rPh sb="0" eb="1"><t>reading</t></rPh></si><si><t>a</t></si><si><t>sella_x</t></si><si><t>sella_y</t></si>"""
ROWS = """
<row r="2"><c r="B2" t="s"><v>0</v></c><c r="C2" t="s"><v>1</v></c><c r="D2" t="s"><v>2</v></c>
<c r="E2" t="s"><v>4</v></c><c r="F2" t="s"><v>5</v></c><c r="H2" s="3"/></row>
<row r="3"><c r="B3" t="s"><v>3</v></c><c r="C3"><v>101.5</v></c><c r="D3"><v>0.10000000000000001</v></c>
<c r="E3"><f>1+2</f><v>3</v></c><c r="F3"><v>4E1</v></c></row>
<row r="4"><c r="B4" t="inlineStr"><is><t>b</t></is></c><c r="C4" t="str"><v> 7 </v></c><c><v>8</v></c>
<c r="E4" t="e"><v>#N/A</v></c></row>
<row r="9"><c r="A9"/></row>"""


def workbook(path: Path, *sheets: str, texts: str = TEXTS, targets: str = "worksheets/sheet{}.xml") -> Path:
    """Write a workbook as Excel does, with the rows of each sheet."""
    places = list(enumerate(sheets, 1))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        listed = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n, _ in places)
        book = f'<workbook {NAMES} xmlns:r="{LINK}"><sheets>{listed}</sheets></workbook>'
        archive.writestr("xl/workbook.xml", book)
        links = "".join(
            f'<Relationship Id="rId{n}" Type="{LINK}/worksheet" Target="{targets.format(n)}"/>' for n, _ in places
        )
        kind = "http://schemas.openxmlformats.org/package/2006/relationships"
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{kind}">{links}</Relationships>')
        archive.writestr("xl/sharedStrings.xml", f"<sst {NAMES}>{texts}</sst>")
        for number, rows in places:
            sheet = f'<?xml version="1.0"?><worksheet {NAMES}><sheetData>{rows}</sheetData></worksheet>'
            archive.writestr(f"xl/worksheets/sheet{number}.xml", sheet)
    return path


@pytest.mark.parametrize("targets", ["worksheets/sheet{}.xml", "/xl/worksheets/sheet{}.xml"])
def test_the_one_filled_sheet_is_the_table(tmp_path: Path, targets: str) -> None:
    table = read_table(workbook(tmp_path / "points.xlsx", "", ROWS, targets=targets), "split")
    assert table.landmark_names == ("nasion", "sella") and table.faults == []
    assert table.rows["a"].marks == {("annotator", "nasion"): (101.5, 0.1, 3), ("annotator", "sella"): (3, 40, 3)}
    assert table.rows["b"].marks == {("annotator", "nasion"): (7, 8, 4)}
    assert table.notes == ["read as missing: '#N/A' in 1 cell"]


def test_a_workbook_is_found_where_there_is_no_csv(tmp_path: Path) -> None:
    workbook(tmp_path / "points.xlsx", ROWS)
    assert FolderDataset(tmp_path).table.path.name == "points.xlsx"


@pytest.mark.parametrize(
    ("sheets", "texts", "said"),
    [
        ((ROWS, ROWS), TEXTS, r"the workbook has 2 filled sheets \('Sheet1', 'Sheet2'\), expected one; save it as CSV"),
        (("", ""), TEXTS, r"the workbook has 0 filled sheets \(none\)"),
        ((ROWS,), "", r"the workbook is damaged: cell B2 has no text"),
        ((ROWS + "<row>",), TEXTS, "no whole Excel workbook"),
        ((ROWS,), '<!DOCTYPE a [<!ENTITY b "c">]>' + TEXTS, "no whole Excel workbook"),  # not at its place
        (('<row r="x"><c><v>1</v></c></row>',), TEXTS, "the workbook is damaged: found row 'x', expected 1 to 1048576"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(tmp_path: Path, sheets: tuple[str, ...], texts: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"points\.xlsx: .*{said}"):
        read_table(workbook(tmp_path / "points.xlsx", *sheets, texts=texts), "split")


def test_another_archive_and_a_cut_one(tmp_path: Path) -> None:
    path = workbook(tmp_path / "points.xlsx", ROWS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="no whole Excel workbook"):
        read_table(path, "split")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.txt", "no workbook")
    with pytest.raises(DataError, match="no whole Excel workbook"):
        read_table(path, "split")


def test_a_part_that_unpacks_to_very_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landmark_diffusion.core import safe_xml
    from landmark_diffusion.data.sources.folder import workbook as folder_workbook

    path = workbook(tmp_path / "points.xlsx", ROWS + " " * 100_000)
    monkeypatch.setattr(safe_xml, "MOST_BYTES", 50_000)
    with pytest.raises(DataError, match=r"part xl/worksheets/sheet1\.xml is larger than a table"):
        read_table(path, "split")
    monkeypatch.setattr(safe_xml, "MOST_BYTES", 2**20)
    monkeypatch.setattr(folder_workbook, "_MOST_CELLS", 10)
    with pytest.raises(DataError, match="the workbook has 3 rows of 6 columns"):
        read_table(path, "split")
