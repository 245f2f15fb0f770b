"""Lookup tables of DICOM files (PS3.3 C.11.1.1, C.7.6.3.1.5): read by what they hold where the descriptor is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from landmark_diffusion.data.readers.image_io import depth_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COLOURS = ("Red", "Green", "Blue")


class Lookup(NamedTuple):
    """A table of whole numbers from 0 to 2^depth - 1, for the value ``first`` and those that follow."""

    first: int
    entries: np.ndarray
    depth: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Look values up; those beside the table take its first or last entry."""
        places = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        found: np.ndarray = self.entries[places]
        return found


def read_lookup(item: Dataset, values: np.ndarray, name: str, notes: list[str]) -> Lookup:
    """Read an item's LUTDescriptor and LUTData for the ``values`` that can be looked up.

    Not by pydicom 3.0.2, which cuts the index to the 8 bits of an 8-bit LUT before it limits it to the LUT's length.
    Adds to ``notes`` what its descriptor got wrong; raises ValueError where no reading of it fits.
    """
    count, first, depth = _descriptor(item, "LUTDescriptor")
    entries = _entries(item, "LUTData", count, name, notes)
    return Lookup(_first(first, len(entries), values), entries, _depth([entries], depth, name, notes))


def read_palette(dataset: Dataset, values: np.ndarray, notes: list[str]) -> tuple[np.ndarray, int]:
    """Return red, green and blue (H, W, 3) of a palette file's stored values, and their bits.

    Not by pydicom 3.0.2, which takes the palette of a big-endian file for little-endian.
    """
    if "RedPaletteColorLookupTableData" not in dataset:  # segmented
        from pydicom.pixels.processing import apply_color_lut

        colour = apply_color_lut(values, dataset)[..., :3]
        return colour, 8 if colour.dtype == np.uint8 else depth_of(int(colour.max()))
    name = "palette"
    descriptors = [_descriptor(dataset, f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS]
    tables = [
        _entries(dataset, f"{colour}PaletteColorLookupTableData", descriptor[0], name, notes)
        for colour, descriptor in zip(_COLOURS, descriptors, strict=True)
    ]
    depth = _depth(tables, descriptors[0][2], name, notes, coloured=True)
    firsts = [_first(d[1], len(table), values) for d, table in zip(descriptors, tables, strict=True)]
    return np.stack([Lookup(f, t, depth)(values) for f, t in zip(firsts, tables, strict=True)], -1), depth


def _descriptor(item: Dataset, keyword: str) -> tuple[int, int, int]:
    """Count of entries (0 for the 65536 that do not fit), first value and depth."""
    count, first, depth = (int(number) for number in item[keyword].value)
    return count % 65536, first, depth


def _entries(item: Dataset, keyword: str, count: int, name: str, notes: list[str]) -> np.ndarray:
    """Entries of a table as they are stored: words, or two 8-bit entries a word."""
    said = count or 65536
    value = item[keyword].value
    if isinstance(value, bytes):
        little = item.original_encoding[1] is not False or item[keyword].VR == "OB"
        words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2")
    else:
        words = np.atleast_1d(np.asarray(value)).astype(np.int64).astype(np.uint16)
    if 2 * len(words) == said + said % 2:
        return words.astype("<u2").view(np.uint8)[:said]
    words = words.astype(np.uint16)
    if len(words) > said and not words[said:].any():  # padding
        return words[:said]
    if len(words) > said or (count == 0 and 0 < len(words) < said):
        notes.append(f"The {name} in the file has {len(words)} entries and says {said}; all were used.")
    elif len(words) < said:
        raise ValueError(f"a lookup table ({name}) says {said} entries and has {len(words)}")
    return words


def _first(first: int, count: int, values: np.ndarray) -> int:
    """The first value that a table stands for: read with the other sign where it would lie beside all values."""
    low, high = values.min(), values.max()
    guesses = (first, first - 65536, first + 65536)
    return next((guess for guess in guesses if guess <= high and guess + count > low), first)


def _depth(tables: list[np.ndarray], said: int, name: str, notes: list[str], coloured: bool = False) -> int:
    """The depth that is said, or the one that holds the entries where it is too small, far too large or impossible."""
    largest = max(int(table.max()) for table in tables)
    possible = 8 <= said <= 16
    if possible and largest < 2**said and (said == 8 or largest >= 2 ** (said - 2)):
        return said
    if largest >= 2**said and not coloured and not all(_is_monotone(table) for table in tables):
        raise ValueError(f"a lookup table ({name}) says {said} bits and goes up to {largest}, in no order")
    held = depth_of(largest)
    notes.append(f"The {name} in the file says {said} bits and goes up to {largest}; it was read with {held}.")
    return held


def _is_monotone(table: np.ndarray) -> bool:
    steps = np.diff(table.astype(np.int64))
    return bool((steps >= 0).all() or (steps <= 0).all())
