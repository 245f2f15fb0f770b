"""From a DICOM file's stored values to grey: modality LUT or rescale, VOI LUT or window, MONOCHROME1 (PS3.4 N.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landmark_diffusion.data.dicom_spacing import numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def grey_table(dataset: Dataset, inverted: bool, notes: list[str]) -> tuple[int, np.ndarray]:
    """Return the lowest value that the stored bits hold, and the grey (uint8) of it and of each value above it."""
    bits = int(dataset.BitsStored)
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    values, depth = _modality(dataset, np.arange(lowest, lowest + 2**bits), notes)
    span = (values.min(), values.max()) if depth is None else (0, 2**depth - 1)
    shown = _values_of_interest(dataset, values, span, notes).clip(0, 1)
    return lowest, np.floor((1 - shown if inverted else shown) * 255 + 0.5).astype(np.uint8)


def _modality(dataset: Dataset, stored: np.ndarray, notes: list[str]) -> tuple[np.ndarray, int | None]:
    """Apply the modality LUT, and tell its depth, or the rescale (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(dataset.ModalityLUTSequence[0], stored)
    slope, intercept = (numbers(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    line = [*(slope or [1.0]), *(intercept or [0.0])]
    if len(line) != 2 or not np.isfinite(line).all() or line[0] == 0:
        notes.append("The rescale in the file is no slope and intercept; it was passed over.")
        line = [1.0, 0.0]
    return stored * line[0] + line[1], None


def _values_of_interest(
    dataset: Dataset, values: np.ndarray, span: tuple[float, float], notes: list[str]
) -> np.ndarray:
    """Map values to 0 (black) to 1 (white) by VOI LUT or window (PS3.3 C.11.2), else by their span."""
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_windowing

    if dataset.get("VOILUTSequence"):
        if len(dataset.VOILUTSequence) > 1 or numbers(dataset, "WindowWidth"):
            notes.append("The file has several VOI LUTs or windows; the first LUT was used.")
        entries, depth = _looked_up(dataset.VOILUTSequence[0], np.rint(values).astype(np.int64))
        return entries / (2**depth - 1)
    window = _window(dataset, notes)
    if window is None:
        return (values - span[0]) / (span[1] - span[0])
    view = Dataset()  # of one bit, so that pydicom maps the window to 0 and 1, whatever the rescale
    view.PhotometricInterpretation, view.BitsStored, view.PixelRepresentation = "MONOCHROME2", 1, 0
    view.WindowCenter, view.WindowWidth, view.VOILUTFunction = window
    return apply_windowing(values, view)


def _window(dataset: Dataset, notes: list[str]) -> tuple[float, float, str] | None:
    """Return center, width and function of the first window that can be used; None without one."""
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if centers is None and widths is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    least = {"LINEAR": 1.0, "LINEAR_EXACT": 1e-9, "SIGMOID": 1e-9}.get(function, np.inf)
    pairs = zip(centers or [], widths or [], strict=False)
    usable = [(c, w) for c, w in pairs if np.isfinite(c) and least <= w < np.inf]
    if not usable:
        notes.append("The window in the file is not valid; the full range of the stored bits was shown instead.")
        return None
    center, width = usable[0]
    if len(centers or []) > 1:
        notes.append(f"The file has {len(centers or [])} windows; center {center:g} and width {width:g} were used.")
    return center, width, function


def _looked_up(item: Dataset, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Look whole numbers up in a LUT item and tell its depth in bits (PS3.3 C.11.1.1); ValueError if it is malformed.

    Not by pydicom 3.0.2, which cuts the index to the 8 bits of an 8-bit LUT before it limits it to the LUT's length.
    """
    count, first, depth = (int(number) for number in item.LUTDescriptor)
    count = count % 65536 or 65536  # 0 stands for 65536, which does not fit
    entries = item.LUTData
    if isinstance(entries, bytes):
        wide = "<u2" if item.original_encoding[1] is not False else ">u2"
        entries = np.frombuffer(entries[: 2 * count], np.uint8 if len(entries) < 2 * count else wide)
    entries = np.atleast_1d(np.asarray(entries))[:count]
    if len(entries) < count or not 8 <= depth <= 16 or entries.max() >= 2**depth:
        raise ValueError("a lookup table does not hold what its LUTDescriptor says")
    return entries[np.clip(values - first, 0, count - 1)], depth
