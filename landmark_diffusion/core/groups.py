"""Options in groups: dataclasses that a class takes whole, given as one, or as the mapping that a file has of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, TypeVar

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean

Group = TypeVar("Group")


def as_group(kind: type[Group], given: Any, where: str, usual: Group | None = None) -> Group:
    """Give options as a ``kind``: one of these as it is, a mapping of some of its fields laid over ``usual``.

    ``usual`` is by default the class's own.

    Raises UserError naming ``where`` ("model.sampling") for anything else and for a field that is not known.
    """
    if isinstance(given, kind):
        return given
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: found {given!r:.60}, expected a {kind.__name__} or its options: {', '.join(known)}")
    for name in given:
        if name not in known:
            raise UserError(f"{where}: unknown option {name!r:.60}.{did_you_mean(str(name), known)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return kind(**values) if usual is None else replace(usual, **values)  # type: ignore[type-var]


def plain_options(given: Any) -> Any:
    """Turn groups within options into mappings, tuples into lists: what JSON and yaml know."""
    if is_dataclass(given) and not isinstance(given, type):
        return plain_options(asdict(given))
    if isinstance(given, Mapping):
        return {name: plain_options(value) for name, value in given.items()}
    return [plain_options(value) for value in given] if isinstance(given, (list, tuple)) else given


def at_least_one(where: str, options: object, *names: str) -> None:
    """Refuse counts below 1; raises UserError naming ``where`` and the option."""
    for name in names:
        if (value := getattr(options, name)) < 1:
            raise UserError(f"{where}.{name}: found {value}, expected at least 1")


def dotted(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give options by their dotted names, those within groups and networks too; values are plain."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        value = plain_options(value)
        found |= dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay options over others, those within groups and networks too."""
    both = [name for name in above if isinstance(below.get(name), Mapping) and isinstance(above[name], Mapping)]
    return {**below, **above, **{name: laid_over(below[name], above[name]) for name in both}}
