"""An Excel workbook as a form of labels: our table (docs/csv.md) in its one filled sheet."""

from __future__ import annotations

import io
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.labels.label_set import LabelSet
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource
from landmark_diffusion.data.sources.folder.labels_csv import CsvFormat, names_points, table_rows

_NUMBERS = ("x", "y", "score", "width", "height", "spacing_x", "spacing_y")
_SHEET = "landmarks"


class XlsxFormat(CsvFormat):
    """The long table with flags, as CSV has it, with numbers as numbers."""

    name, title, suffix = "xlsx", "Excel", ".xlsx"

    def recognises(self, source: LabelSource) -> bool:
        """A workbook whose filled sheet has a header that names an image and points."""
        return not source.is_folder and source.head.startswith(b"PK\x03\x04") and names_points(source.path)

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the workbook; raises UserError without the package that writes it."""
        try:
            import xlsxwriter
        except ImportError:
            raise UserError("--to xlsx: run `pip install landmark_diffusion[excel]`, or write csv") from None
        content = io.BytesIO()
        with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
            sheet = book.add_worksheet(_SHEET)
            header, *rows = table_rows(labels)
            sheet.write_row(0, 0, header, book.add_format({"bold": True}))
            for line, row in enumerate(rows, 1):
                for column, (name, cell) in enumerate(zip(header, row, strict=True)):
                    if cell and name in _NUMBERS:
                        sheet.write_number(line, column, float(cell))
                    elif cell:
                        sheet.write_string(line, column, cell)  # never a formula
            sheet.freeze_panes(1, 0)
        return {"": content.getvalue()}
