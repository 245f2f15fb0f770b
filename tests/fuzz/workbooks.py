"""Rows written as an Excel workbook, in the ways in which programs write one; by hand, independent of the reader."""

from __future__ import annotations

import io
import re
import zipfile
from xml.sax.saxutils import escape

from hypothesis import strategies as st

from tests.data.test_table_workbook import LINK, NAMES
from tests.fuzz.strategies import Rows

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)


def writable(text: str) -> bool:
    """Whether XML 1.0 can hold a text."""
    return all(c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" for c in text)


@st.composite
def workbooks(draw: st.DrawFn, rows: Rows) -> bytes:
    """One filled sheet, with numbers as numbers or texts, shared or inline texts, formulas, gaps and other sheets."""
    shared: list[str] = []
    first, named = draw(st.integers(1, 3)), draw(st.booleans())
    kinds = draw(st.lists(st.sampled_from(("shared", "inline", "str", "runs")), min_size=3, max_size=3))
    lines = []
    for place, row in enumerate(rows):
        names = [_name(column, first + place, named) for column in range(len(row))]
        cells = [_cell(text, kinds[(place + k) % 3], names[k], shared) for k, text in enumerate(row)]
        lines.append(f'<row r="{first + place}">{"".join(cells)}</row>')
    if draw(st.booleans()):
        lines.append(f'<row r="{first + len(rows) + 5}"><c s="3"/></row>')
    sheet = f'<?xml version="1.0"?><worksheet {NAMES}><sheetData>{"".join(lines)}</sheetData></worksheet>'
    empty = f"<worksheet {NAMES}><sheetData/></worksheet>"
    sheets = draw(st.sampled_from(([sheet], [sheet, empty], [empty, sheet])))
    return _archive(sheets, shared, draw(st.booleans()), draw(st.booleans()))


def _name(column: int, row: int, named: bool) -> str:
    return f' r="{chr(65 + column)}{row}"' if named and column < 26 else ""


def _cell(text: str, kind: str, name: str, shared: list[str]) -> str:
    if not text:
        return f"<c{name}/>"
    if _NUMBER.fullmatch(text):
        formula = "<f>1+1</f>" if kind == "runs" else ""
        return f"<c{name}>{formula}<v>{text}</v></c>"
    if kind == "inline":
        return f'<c{name} t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'
    if kind == "str":
        return f'<c{name} t="str"><f>A1</f><v>{escape(text)}</v></c>'
    halves = (text[: len(text) // 2], text[len(text) // 2 :])
    item = "".join(f'<r><t xml:space="preserve">{escape(half)}</t></r>' for half in halves)
    item = f'{item}<rPh sb="0" eb="1"><t>reading</t></rPh>' if kind == "runs" else f"<t>{escape(text)}</t>"
    if item not in shared:
        shared.append(item)
    return f'<c{name} t="s"><v>{shared.index(item)}</v></c>'


def _archive(sheets: list[str], shared: list[str], absolute: bool, packed: bool) -> bytes:
    places = range(1, len(sheets) + 1)
    target = "/xl/worksheets/sheet{}.xml" if absolute else "worksheets/sheet{}.xml"
    listed = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="rId{n}"/>' for n in places)
    links = "".join(f'<Relationship Id="rId{n}" Type="{LINK}/worksheet" Target="{target.format(n)}"/>' for n in places)
    kind = "http://schemas.openxmlformats.org/package/2006/relationships"
    parts = {
        "xl/workbook.xml": f'<workbook {NAMES} xmlns:r="{LINK}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{kind}">{links}</Relationships>',
        "xl/sharedStrings.xml": f"<sst {NAMES}>" + "".join(f"<si>{item}</si>" for item in shared) + "</sst>",
        **{f"xl/worksheets/sheet{n}.xml": sheet for n, sheet in zip(places, sheets, strict=True)},
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()
