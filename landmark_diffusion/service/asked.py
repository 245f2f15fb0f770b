"""What a request asks beside its image: the options of its query, told apart as those of a command line are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.core.untrusted import has_control_characters, repeated
from landmark_diffusion.detection.detector import ORIENTATIONS
from landmark_diffusion.detection.names import short_names
from landmark_diffusion.detection.spacing import Spacing, read_spacing

OPTIONS = ("spacing", "orientation", "to", "name")
USUAL_NAME = "image"
LONGEST_NAME = 255


@dataclass(frozen=True)
class Asked:
    """Options of one request.

    Attributes:
        name: of the image's file, for results and messages; no folders.
        to: form of the answer.
        orientation: "auto" or "as-is".
        spacing: mm per pixel (x, y), None: the file's.
    """

    name: str
    to: str
    orientation: str
    spacing: Spacing | None

    @property
    def short_name(self) -> str:
        """The image's name in results, as ``ldx detect`` names a file."""
        return short_names([Path(self.name)])[0]


def read_query(
    pairs: Sequence[tuple[str, str]], file_name: str | None, forms: Collection[str], orientation: str
) -> Asked:
    """Read the options of a query.

    Args:
        pairs: names and values, decoded.
        file_name: that of a form's file, which ``name`` goes before.
        forms: what ``to`` may be; the first is the usual one.
        orientation: the usual one.

    Raises UserError for an option that is not known, is there twice, or has a value that cannot be used.
    """
    for name, _ in pairs:
        if name not in OPTIONS:
            raise UserError(f"unknown option {_shown(name)}.{did_you_mean(name[:50], OPTIONS)}")
    if (twice := repeated(name for name, _ in pairs)) is not None:
        raise UserError(f"{twice}: found twice, expected one value")
    found = dict(pairs)
    to, facing = found.get("to", next(iter(forms))), found.get("orientation", orientation)
    if to not in forms:
        raise UserError(f"to: found {_shown(to)}, expected one of {', '.join(forms)}")
    if facing not in ORIENTATIONS:
        raise UserError(f"orientation: found {_shown(facing)}, expected one of {', '.join(ORIENTATIONS)}")
    spacing = read_spacing(found["spacing"]) if "spacing" in found else None
    return Asked(_name(found.get("name", file_name or "")), to, facing, spacing)


def _name(text: str) -> str:
    """The last part of a file's name; raises UserError for one that would spoil what it is printed in."""
    name = text.replace("\\", "/").rpartition("/")[2]
    if has_control_characters(name) or len(name) > LONGEST_NAME or name in (".", ".."):
        raise UserError(
            f"name: found {_shown(name)}, expected a file's name of at most {LONGEST_NAME} letters, none of them a "
            "control character"
        )
    return name or USUAL_NAME


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
