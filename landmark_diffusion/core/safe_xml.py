"""XML of strangers as a stream of elements, within limits and without definitions of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from xml.parsers import expat

from landmark_diffusion.core.errors import UserError

MOST_BYTES = 256 * 2**20
"""Of one document: a table of a million rows is less, and an archive that unpacks to more is none."""
MOST_ELEMENTS = 25_000_000
"""So many cells with values fill ``MOST_BYTES``. Empty elements are shorter and cost time alone."""
DEEPEST = 100
"""Elements within each other: those of a cell are ten, and expat keeps 100 bytes for each that is open."""
BLOCK, LONGEST_TAG = 2**16, 2**20
"""Bytes that are parsed at once, and those of one tag or comment: expat before 2.6 reads an open one anew each time."""


class Handler(Protocol):
    """Takes the elements one by one; with namespaces, names begin with their namespace and a blank."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """It ends."""

    def data(self, text: str) -> None:
        """Text within it."""


def feed(
    blocks: Iterable[bytes], handler: Handler, refuse: Callable[[str], UserError], separator: str | None = " "
) -> None:
    """Parse a document that comes in ``blocks``; no entity, document type or file is ever followed.

    ``refuse`` makes the error of what the document does ("defines entities"). Raises that, and expat.ExpatError for
    what is no XML. ``separator`` stands between namespace and name; None leaves names as they are written.
    """
    parser = expat.ParserCreate(namespace_separator=separator)
    parser.buffer_text = True
    elements = depth = 0

    def start(element: str, attributes: Mapping[str, str]) -> None:
        nonlocal elements, depth
        elements, depth = elements + 1, depth + 1
        if elements > MOST_ELEMENTS or depth > DEEPEST:
            raise refuse(f"has {'more' if depth <= DEEPEST else 'deeper'} elements than a table")
        handler.start(element, attributes)

    def end(element: str) -> None:
        nonlocal depth
        depth -= 1
        handler.end(element)

    def definitions(*_: object) -> None:
        raise refuse("defines entities, which no table does")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = handler.data, definitions
    size = 0
    try:
        for block in blocks:
            size += len(block)
            if size > MOST_BYTES:
                raise refuse("is larger than a table")
            parser.Parse(block, False)
            if size - parser.CurrentByteIndex > LONGEST_TAG:
                raise refuse("has a tag that does not end")
        parser.Parse(b"", True)
    except LookupError as error:
        if type(error) is not LookupError:  # a handler's own
            raise
        raise refuse("is in an encoding that is not known") from None
