"""What is said in several places, and strangers' texts made fit to be said."""

from __future__ import annotations

RESEARCH_ONLY = "Research use only: not a medical device."
LIMITS = (
    "Not a medical device: for research, not for diagnosis or treatment.",
    "Images unlike those it was trained on (another view, device, age group or anatomy) may give points that look "
    "plausible and are wrong.",
)
"""What every card says of its model."""


def counted(number: int, word: str) -> str:
    """Return a number with its word: 1 image, 2 images, 0 processes."""
    return f"{number} {word}" if number == 1 else f"{number} {word}{'es' if word.endswith('s') else 's'}"


def one_line(what: object) -> str:
    """Return what a file or another library's exception says, on one line and not longer than a person reads."""
    text = str(getattr(what, "strerror", None) or what) or type(what).__name__
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:1000]).split())[:300]


def words(text: str) -> list[str]:
    """Split a list with commas; empty words are left out."""
    return [word.strip() for word in text.split(",") if word.strip()]
