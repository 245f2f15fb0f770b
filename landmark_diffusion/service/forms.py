"""The forms of an answer: what ``ldx detect --to`` writes as a single file, made for one image and sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.forms import WRITERS
from landmark_diffusion.detection.writer import Writer

MEDIA_TYPES = {
    ".json": "application/json", ".csv": "text/csv; charset=utf-8", ".png": "image/png", ".dcm": "application/dicom",
    ".html": "text/html; charset=utf-8", ".xml": "application/xml", ".zip": "application/zip",
}  # fmt: skip
"""By suffix; others are plain bytes."""
USUAL = "json"


@dataclass(frozen=True)
class Answer:
    """A file: its content, its type of HTTP, and the name that ``ldx detect`` gives it."""

    content: bytes
    media_type: str
    file_name: str

    @property
    def ascii_name(self) -> str:
        """The name as a header can hold it; names of results hold no quotation marks."""
        return self.file_name.encode("ascii", "replace").decode().replace("?", "_")


def load_forms(asked: Iterable[str] | None) -> dict[str, type[Writer]]:
    """Load forms by their names in ``--to``; None: all of this package that make a single file, the usual one first.

    Raises UserError for a form that does not exist, whose extra is not installed, or that makes several files.
    """
    if asked is not None:
        return {name: _single(name) for name in asked}
    found: dict[str, type[Writer]] = {}
    for name in sorted(WRITERS.built_in, key=lambda each: each != USUAL):
        try:
            found[name] = _single(name)
        except UserError:  # several files, or an extra that is not installed
            continue
    return found


def _single(name: str) -> type[Writer]:
    writer: type[Writer] = WRITERS.load(name)
    targets = writer(Path("x")).targets(["image"])
    if len(targets) != 1:
        raise UserError(f"--to: {name} makes {len(targets)} files of an image, expected a form of a single file")
    return writer


def make_answer(writer: type[Writer], detection: Detection, content: bytes | bytearray, folder: Path) -> Answer:
    """Write one detection and read the file; nothing is left in ``folder``.

    ``content`` is the image's file, for a form that looks at it again. Raises UserError where the form cannot be made
    of this image.
    """
    with tempfile.TemporaryDirectory(dir=folder) as private:
        image, results = Path(private) / "image", Path(private) / "results"
        if writer.reads_image:
            image.write_bytes(content)
        try:
            at_work = writer(results)
            at_work.add(replace(detection, path=str(image)) if writer.reads_image else detection)
            at_work.close()
        except UserError as error:
            raise UserError(str(error).replace(str(image), detection.path)) from error
        found = [path for path in sorted(results.rglob("*")) if path.is_file()]
        if not found:
            why = f" ({writer.why_none})" if writer.why_none else ""
            raise DataError(f"{writer.name} makes no file of this image{why}: ask for another form", detection.path)
        return Answer(found[0].read_bytes(), _media_type(found[0]), found[0].name)


def _media_type(path: Path) -> str:
    return MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
