"""From a DICOM file's stored values to grey: modality LUT or rescale, VOI LUT or window, MONOCHROME1 (PS3.4 N.2).

A LUT or window that leaves hardly anything to be seen is left aside, with a note: it is of another image, or of values
of another depth, and what is black or white all over looks to the network like nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from landmark_diffusion.data.readers.dicom_luts import read_lookup
from landmark_diffusion.data.readers.dicom_spacing import numbers
from landmark_diffusion.data.readers.image_io import DEPTHS, GreyLevels, depth_of, grey_range

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LEAST_CONTRAST = 16
"""Grey levels between the darkest and lightest of 99 % of the pixels, up to which a view shows hardly anything."""


class Stored(NamedTuple):
    """The values that the stored bits can hold, in order, how many pixels have each, and the number of bits.

    ``unsaid``: the bits are all those that a pixel takes, which most programs write whatever the detector has.
    """

    levels: np.ndarray
    counts: np.ndarray
    bits: int
    unsaid: bool


class View(NamedTuple):
    """One way to show the levels: black 0 to white 1 for each, what it is called, and what to say where it is used."""

    shown: np.ndarray
    name: str
    note: str = ""


def to_levels(dataset: Dataset, values: np.ndarray, bits: int, inverted: bool, notes: list[str]) -> GreyLevels:
    """Return the values (H, W) stored in ``bits`` bits, counted from the lowest, and the grey of each."""
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    index = values.astype(np.int32) - lowest
    counts = np.bincount(index.ravel(), minlength=2**bits)
    stored = Stored(np.arange(lowest, lowest + 2**bits), counts, bits, bits == 16)
    shown, found = _shown(dataset, stored, notes)
    table = np.floor((1 - shown if inverted else shown) * 255 + 0.5).astype(np.uint8)
    return GreyLevels(index.astype(np.uint16), table, found)


def _shown(dataset: Dataset, stored: Stored, notes: list[str]) -> tuple[np.ndarray, int]:
    """Black 0 to white 1 for each level by the first view that shows something, and the number of bits."""
    values, depth = _modality(dataset, stored, notes)
    whole, bits = _whole(stored, values, depth)
    seen = _contrast(whole, stored)
    aside: list[str] = []
    for view in _views(dataset, stored, values, notes):
        if _contrast(view.shown, stored) > min(_LEAST_CONTRAST, seen / 2):
            notes += [*aside, *filter(None, [view.note])]
            return view.shown, stored.bits
        aside.append(_left_aside(view, stored, values))
    notes += aside if seen else []
    if bits != stored.bits and depth is None:
        largest = stored.levels[np.flatnonzero(stored.counts)[-1]]
        notes.append(f"The file says {stored.bits} bits, and its values go up to {largest}; read as {bits} bits.")
    return whole, bits


def _left_aside(view: View, stored: Stored, values: np.ndarray) -> str:
    there = values[stored.counts > 0]
    run = f"its values run from {there.min():g} to {there.max():g}"
    return f"The {view.name} in the file leaves hardly any contrast: {run}; it was left aside."


def _contrast(shown: np.ndarray, stored: Stored) -> int:
    """Grey levels between the darkest and the lightest of the middle 99 % of the pixels."""
    low, high = grey_range(np.bincount(np.floor(shown * 255 + 0.5).astype(np.int64), stored.counts, 256))
    return high - low


def _modality(dataset: Dataset, stored: Stored, notes: list[str]) -> tuple[np.ndarray, int | None]:
    """Apply the modality LUT, and tell its depth, or the rescale (PS3.3 C.11.1), to the levels."""
    if dataset.get("ModalityLUTSequence"):
        lookup = read_lookup(dataset.ModalityLUTSequence[0], stored.levels, "modality LUT", notes)
        values = lookup(stored.levels)
        there = stored.counts > 0
        if np.ptp(values[there]) > 0 or there.sum() < 2:
            return values, lookup.depth
        notes.append("The modality LUT in the file gives all pixels one value; it was left aside.")
    slope, intercept = (numbers(dataset, keyword, notes) for keyword in ("RescaleSlope", "RescaleIntercept"))
    line = [*(slope or [1.0]), *(intercept or [0.0])]
    if len(line) != 2 or not np.isfinite(line).all() or line[0] == 0:
        notes.append("The rescale in the file is no slope and intercept; it was passed over.")
        line = [1.0, 0.0]
    return stored.levels * line[0] + line[1], None


def _whole(stored: Stored, values: np.ndarray, depth: int | None) -> tuple[np.ndarray, int]:
    """Show all that the bits can hold: those of the modality LUT, of the file, or of the rule of ``image_io``."""
    if depth is not None:
        low, high, bits = 0.0, float(2**depth - 1), stored.bits
    else:
        ends, bits = _grid(stored)
        low, high = np.sort(values[np.array(ends) - stored.levels[0]])
    return ((values - low) / (high - low)).clip(0, 1), bits


def _grid(stored: Stored) -> tuple[tuple[int, int], int]:
    """The lowest and the highest value of the stored bits, or of as many as the values need where they are unsaid."""
    lowest, highest = int(stored.levels[0]), int(stored.levels[-1])
    if not stored.unsaid:
        return (lowest, highest), stored.bits
    there = stored.levels[np.flatnonzero(stored.counts)[[0, -1]]]
    if there[0] < 0:
        bits = next(bits for bits in DEPTHS if -(2 ** (bits - 1)) <= there[0] and there[1] < 2 ** (bits - 1))
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), bits
    bits = min(depth_of(int(there[1])), highest.bit_length())  # 15 where they are signed
    return (0, 2**bits - 1), bits


def _views(dataset: Dataset, stored: Stored, values: np.ndarray, notes: list[str]) -> Iterator[View]:
    """The VOI LUTs, then the windows (PS3.3 C.11.2), in the order of the file; ``notes`` hear what cannot be used."""
    tables = list(dataset.get("VOILUTSequence") or [])
    several = len(tables) > 1 or (tables and numbers(dataset, "WindowWidth", []))
    for place, item in enumerate(tables, 1):
        lookup = read_lookup(item, values, "VOI LUT", notes)
        which = "first LUT" if place == 1 else f"LUT {place}"
        note = f"The file has several VOI LUTs or windows; the {which} was used." if several else ""
        yield View(lookup(values) / (2**lookup.depth - 1), "VOI LUT", note)
    windows, count = _windows(dataset, notes)
    for center, width, function in windows:
        ends = np.array([center - width / 2, center + width / 2])
        beyond = 0.01 * (values.max() - values.min())
        if stored.unsaid and ends[0] <= values.min() + beyond and ends[1] >= values.max() - beyond:
            continue  # it says no more than BitsStored does
        note = f"The file has {count} windows; center {center:g} and width {width:g} were used." if count > 1 else ""
        yield View(_windowed(values, center, width, function), f"window {center:g} ± {width / 2:g}", note)


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_windowing

    view = Dataset()  # of one bit, so that pydicom maps the window to 0 and 1, whatever the rescale
    view.PhotometricInterpretation, view.BitsStored, view.PixelRepresentation = "MONOCHROME2", 1, 0
    view.WindowCenter, view.WindowWidth, view.VOILUTFunction = center, width, function
    return apply_windowing(values, view).clip(0, 1)


def _windows(dataset: Dataset, notes: list[str]) -> tuple[list[tuple[float, float, str]], int]:
    """Return center, width and function of the windows that can be used, and how many the file has."""
    centers, widths = (numbers(dataset, keyword, notes) for keyword in ("WindowCenter", "WindowWidth"))
    if centers is None and widths is None:
        return [], 0
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    least = {"LINEAR": 1.0, "LINEAR_EXACT": 1e-9, "SIGMOID": 1e-9}.get(function, np.inf)
    pairs = zip(centers or [], widths or [], strict=False)
    usable = [(c, w, function) for c, w in pairs if np.isfinite(c) and least <= w < np.inf]
    if not usable:
        notes.append("The window in the file is not valid; the full range of the stored bits was shown instead.")
    return usable, len(centers or [])
