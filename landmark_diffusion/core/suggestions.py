"""Nearest known names for a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` known names that resemble ``name``, best first, upper and lower case alike."""
    by_lower = {option.lower(): option for option in reversed(list(known))}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]


def nearest_option(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known dotted options (``data.recipe``) nearest to ``name``, best first.

    An option given in the wrong section comes first (``recipe`` for ``data.recipe``), then one whose section alone is
    misspelt, even where nobody here knows what lies below it (``mdoel.channels`` for ``model.channels``).
    """
    known = list(dict.fromkeys(known))
    last = _last(name)
    misplaced = [option for option in known if _last(option) == last]
    by_last = {_last(option): option for option in reversed(known)}
    close = nearest(name, known, count) + [by_last[tail] for tail in nearest(last, by_last, count)]
    return list(dict.fromkeys(misplaced + ([] if misplaced else _with_section_mended(name, known)) + close))[:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean A or B?`` with its leading space; the known names where they are few; else nothing."""
    known = list(dict.fromkeys(known))
    return question(nearest(name, known)) or (f" Known: {', '.join(known)}." if 0 < len(known) <= 12 else "")


def question(names: list[str], prefix: str = "") -> str:
    """Return `` Did you mean A or B?`` for names found, each with ``prefix``; nothing for none."""
    return f" Did you mean {' or '.join(prefix + name for name in names)}?" if names else ""


def _last(option: str) -> str:
    return option.rsplit(".", 1)[-1].lower()


def _with_section_mended(name: str, known: list[str]) -> list[str]:
    section, _, rest = name.partition(".")
    sections = list(dict.fromkeys(option.split(".", 1)[0] for option in known if "." in option))
    if not rest or section in sections:
        return []
    return [f"{match}.{rest}" for match in nearest(section, sections, 1)]
