"""A page of radiographs in one HTML file that needs no network: a list of images, a viewer and a table."""

from __future__ import annotations

import base64
import html
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from string import Template
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from landmark_diffusion.core.files import atomic_path, writing
from landmark_diffusion.core.texts import RESEARCH_ONLY

if TYPE_CHECKING:
    from PIL.Image import Image

SHARP = 60_000_000
"""Characters of the pictures up to which they keep the file's resolution: about 100 cephalograms."""
FULL, FULL_QUALITY = 8192, 85
"""Longest side in pixels that a picture of the file's resolution may have, and its JPEG quality."""
REDUCED, REDUCED_QUALITY = 1200, 80
THUMBNAIL, THUMBNAIL_QUALITY = 220, 70

Kind = Literal["detections", "report"]
LISTS: dict[Kind, str] = {"detections": "cards", "report": "list"}
"""The page's list of images: files of HTML and JavaScript."""
_MARKS = ("<!-- records -->", "<!-- thumbnails -->", "<!-- pictures -->")


class Page:
    """One page, fed image by image: what belongs to an image waits in an unnamed file beside the page, not in memory.

    Pictures keep the file's resolution while all together have at most ``sharp`` characters; later ones are reduced to
    ``REDUCED`` pixels, and left out once all have ``most``. So the first images added are the sharp ones.

    Args:
        path: of the page; its folder is made with the first image.
        kind: which list of images it has.
        thumbnails: whether the list shows small pictures.
    """

    def __init__(
        self, path: Path, kind: Kind, thumbnails: bool = True, sharp: int = SHARP, most: float = math.inf
    ) -> None:
        self.path, self.kind, self.thumbnails, self.sharp, self.most = path, kind, thumbnails, min(sharp, most), most
        self._spool: IO[bytes] | None = None
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._characters = 0

    def __len__(self) -> int:
        return len(self._places["records"])

    def add(self, record: Mapping[str, Any], pixels: np.ndarray | None) -> None:
        """Take an image's record, as page.js reads it, and its pixels (H, W) uint8, None without a picture.

        Raises WriteError where they cannot be kept.
        """
        state, picture, thumbnail = self._encoded(pixels)
        self._characters += len(picture)
        with writing(self.path):
            self._keep("records", script_json({**record, "picture": state}))
            self._keep("thumbnails", thumbnail)
            self._keep("pictures", picture)

    def write(self, title: str, head: Mapping[str, Any]) -> Path:
        """Write the page with what is said of all images, ``head``; raises WriteError where it cannot be written."""
        with writing(self.path), atomic_path(self.path) as temporary, temporary.open("wb") as file:
            file.writelines(piece.encode("utf-8") for piece in self._pieces(title, head))
        if self._spool is not None:
            self._spool.close()
        return self.path

    def _encoded(self, pixels: np.ndarray | None) -> tuple[str, str, str]:
        """Encode pixels as picture and thumbnail, JPEGs in base64, and say what the picture is."""
        from PIL.Image import fromarray

        if pixels is None:
            return "none", "", ""
        image = fromarray(pixels)
        thumbnail = _jpeg(shrunk(image, THUMBNAIL), THUMBNAIL_QUALITY) if self.thumbnails else ""
        if self._characters < self.sharp and max(image.size) <= FULL:
            picture = _jpeg(image, FULL_QUALITY)
            if self._characters + len(picture) <= self.sharp:
                return "full", picture, thumbnail
        small = shrunk(image, REDUCED)
        picture = _jpeg(small, REDUCED_QUALITY)
        if self._characters + len(picture) > self.most:
            return "none", "", thumbnail
        return ("full" if small is image else "reduced"), picture, thumbnail

    def _keep(self, kind: str, text: str) -> None:
        if self._spool is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._spool = TemporaryFile(dir=self.path.parent)  # noqa: SIM115 - kept open from image to image
        self._places[kind].append((self._spool.tell(), len(text)))
        self._spool.write(text.encode("ascii"))

    def _kept(self, kind: str) -> Iterator[str]:
        for place, length in self._places[kind]:
            assert self._spool is not None
            self._spool.seek(place)
            yield self._spool.read(length).decode("ascii")

    def _pieces(self, title: str, head: Mapping[str, Any]) -> Iterator[str]:
        """The page in pieces; the pictures come last, so that the list stands before they are read."""
        name = LISTS[self.kind]
        scripts = (f"{part}.js" for part in ("page", "table", name, "labels", "light", "viewer", "actions"))
        given = {
            "title": html.escape(title), "kind": self.kind, "style": _part("page.css"), "list": _part(f"{name}.html"),
            "script": "".join(map(_part, scripts)), "research_only": RESEARCH_ONLY,
            "head": script_json(head).removesuffix("}"),
        }  # fmt: skip
        rest = _part("page.html")
        for mark, pieces in zip(_MARKS, (self._records(), *map(self._scripts, ("thumbnail", "picture"))), strict=True):
            before, rest = rest.split(mark)
            yield Template(before).substitute(given)
            yield from pieces
        yield Template(rest).substitute(given)

    def _records(self) -> Iterator[str]:
        for number, record in enumerate(self._kept("records")):
            yield "," * bool(number) + record

    def _scripts(self, kind: str) -> Iterator[str]:
        for index, content in enumerate(self._kept(f"{kind}s")):
            if content:
                yield f'<script type="text/plain" id="{kind}-{index}">{content}</script>\n'


def script_json(value: Any) -> str:
    """Write JSON that is safe within a script element: ASCII, and no character that could end the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def number(value: float, digits: int = 3) -> float | None:
    """A number with as many digits as matter, by default 0.001 px; null for what is not a finite number."""
    return round(float(value), digits) if math.isfinite(value) else None


def shrunk(image: Image, longest: int) -> Image:
    """Shrink an image to at most ``longest`` pixels a side; a smaller one is given back as it is."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, reducing_gap=2.0)  # bicubic; the gap saves time where much is to be shrunk


def _part(name: str) -> str:
    return files("landmark_diffusion.pictures").joinpath("page", name).read_text("utf-8")


def _jpeg(image: Image, quality: int) -> str:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
