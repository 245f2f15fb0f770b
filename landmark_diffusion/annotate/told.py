"""What a model file says of itself that the page tells: which model it is, and whether adapting it helped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.core.texts import counted, one_line
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_facts

HELPED, HARMED, UNCLEAR, INCOMPARABLE = "helped", "harmed", "unclear", "incomparable"
"""How an adaptation came out; the last where there is nothing to compare with, such as landmarks that are all new."""


def model_title(path: Path, facts: ModelFacts) -> str:
    """Name a model by its path and the images that it learned, as far as its file says."""
    training = facts.training
    adapted, images = facts.adapted, training.get("images")
    number = counted(images, "image") if type(images) is int else ""
    words = []
    if adapted:
        words.append(f"{_said(adapted, 'start') or 'a model'} adapted to {number or 'images'}")
        words.append(_said(adapted, "verdict"))
    elif trained := _said(training, "dataset"):
        split = f" ({split})" if (split := _said(training, "split")) else ""
        words.append(f"trained on {trained}{split}")
        words.append(number)
    return ": ".join(filter(None, [str(path.absolute()), "; ".join(filter(None, words))]))


def outcome(facts: ModelFacts) -> dict[str, str] | None:
    """Whether the error fell on the images that a model was adapted to: one of the four words, and a sentence.

    None for a model that is not adapted.
    """
    adapted = facts.adapted
    if not adapted:
        return None
    return {"kind": _kind(adapted.get("rows")), "words": _said(adapted, "verdict")}


def _said(of: dict[str, Any], name: str) -> str:
    """A text of a file that may be anybody's."""
    found = of.get(name)
    return one_line(found) if isinstance(found, str) and found else ""


def _kind(rows: Any) -> str:
    """By the interval of the change of the landmarks that the start knew, as ``ldx adapt`` tells it."""
    rows = rows if isinstance(rows, list) else []
    changes = [row.get("difference") for row in rows if isinstance(row, dict)]
    found = next(filter(None, changes), None)
    if found is None:
        return INCOMPARABLE
    try:
        mean, low, high = map(float, found)
    except (TypeError, ValueError):
        return UNCLEAR
    return {-1: HELPED, 0: UNCLEAR, 1: HARMED}[Interval(mean, low, high, level=0.95, images=0).sign]


def facts_there(path: Path) -> ModelFacts | None:
    """Read what a file says of itself; None where it is not there or no model file."""
    try:
        return read_facts(path)
    except (UserError, OSError):
        return None
