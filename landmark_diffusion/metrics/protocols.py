"""Protocols: how a number was measured. A table says which one it is of (docs/conventions.md)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics.functional import check_radii
from landmark_diffusion.metrics.grid256 import SCALES, Scale
from landmark_diffusion.metrics.records import Unit, unit_words

Truth = Literal["mean", "senior", "junior", "each"]
TRUTHS: dict[str, str] = {
    "mean": "mean of the annotators",
    "senior": "senior (first) annotator",
    "junior": "junior (second) annotator",
    "each": "each annotator in turn",
}
ANNOTATOR: dict[str, int] = {"senior": 0, "junior": 1}


@dataclass(frozen=True)
class Protocol:
    """How errors are measured.

    Args:
        name: what configs and tables call it.
        truth: "mean" of the annotators, the first ("senior") or second ("junior") of them, or "each" in turn, pooled.
        frame: where points are compared: "original" pixels of the image on disk, or "grid256", the image stretched to
            256x256 pixels (``metrics.grid256``).
        rounding: "none", or "grid": prediction and truth are rounded to the pixels of "grid256".
        scale: how differences become lengths: by each axis's "spacing", or on "grid256" one of ``grid256.SCALES``.
        strict: SDR counts error < radius; otherwise <=.
        radii: SDR radii in ``unit``; None takes the dataset's.
        unit: "mm", "px" of the original, "px256", or None: the spacing's unit where that is known.
        source: where these rules are written.
        caution: what to print above a table that is measured so, beside an honest one.
    """

    name: str
    truth: Truth = "mean"
    frame: Literal["original", "grid256"] = "original"
    rounding: Literal["none", "grid"] = "none"
    scale: Scale = "spacing"
    strict: bool = True
    radii: tuple[float, ...] | None = None
    unit: Unit | None = None
    source: str = ""
    caution: str = ""

    def __post_init__(self) -> None:
        if self.truth not in TRUTHS:
            raise UserError(f"protocol {self.name}: truth is {self.truth!r}, expected one of {', '.join(TRUTHS)}")
        if (self.frame, self.rounding) not in (("original", "none"), ("grid256", "grid")):
            raise UserError(
                f"protocol {self.name}: frame is {self.frame!r} and rounding {self.rounding!r}; expected "
                "'original' and 'none', or 'grid256' and 'grid', the only ones that are implemented"
            )
        if self.scale not in (SCALES if self.frame == "grid256" else ("spacing",)):
            raise UserError(
                f"protocol {self.name}: scale is {self.scale!r} in the frame {self.frame!r}; expected 'spacing', or on "
                f"'grid256' one of {', '.join(SCALES)}"
            )
        if self.radii is not None:
            check_radii(self.radii)

    def describe(self, radii: Sequence[float] | None = None, unit: Unit | None = None) -> str:
        """Say the rules in one line, with the radii and unit that a table used where the protocol leaves them open."""
        used, unit = radii or self.radii, unit or self.unit
        where = "original frame, unrounded"
        if self.frame == "grid256":
            where = "256x256 grid, truth and prediction rounded"
            where += f", {SCALES[self.scale]}" if unit != "px256" else ""
        sign = "<" if self.strict else "<="
        radius = "the dataset's radii" if used is None else " / ".join(f"{radius:g}" for radius in used)
        rules = f"truth: {TRUTHS[self.truth]}; {where}; hit: error {sign} {radius} {unit_words(unit or '')}".rstrip()
        return f"protocol {self.name}: {rules}" + (f" ({self.source})" if self.source else "")


# Cephalograms (mm) and chest radiographs (px256), each at its dataset's radii; hands take paper_b_hand.
_AS_PAPER_B = Protocol(
    "paper_b", frame="grid256", rounding="grid", scale="swapped", strict=False, source="released code of Di Via et al.",
    caution="As the released code of paper B measures (rounded to the 256 grid, <=): not to be believed to better than "
    "half a pixel of that grid, 0.3 mm on cephalograms",
)  # fmt: skip
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("default", source="the rules of paper_a at the dataset's radii"),
        Protocol("paper_a", radii=(2.0, 2.5, 4.0), unit="mm", source="Wyatt and Voiculescu, sections 4 and 5, table 1"),
        # Their code compares in the padded network grid times mm per network pixel. One factor serves both axes, so
        # the distances are those of the original frame.
        Protocol(
            "contour_hugging", radii=(2.0, 2.5, 3.0, 4.0), unit="mm", source="released code of McCouat and Voiculescu"
        ),
        _AS_PAPER_B,
        replace(_AS_PAPER_B, name="paper_b_hand", scale="wrist", unit="mm"),
    )
}


def get_protocol(name: str) -> Protocol:
    """Find a protocol by name; raises UserError that names the nearest known ones."""
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name.lower(), PROTOCOLS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PROTOCOLS)}"
        raise UserError(f"protocol: found {name!r}; {hint}")
    return PROTOCOLS[name]
