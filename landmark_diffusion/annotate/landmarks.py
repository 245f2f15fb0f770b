"""Which landmarks are marked, in which order, and where each usually lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import words
from landmark_diffusion.core.untrusted import has_control_characters
from landmark_diffusion.data.labels.label_set import Mark
from landmark_diffusion.data.landmark_names import have_names, spelled

MOST = 1000
"""Landmarks of an image, at most."""


def landmark_list(asked: str, model: Sequence[str], table: Sequence[str]) -> tuple[str, ...]:
    """Names of the landmarks: those ``asked`` for, else the model's and after them others of the table.

    A landmark of the table goes by its name there. ``asked`` are names with commas, or a file with one a line. Raises
    UserError where there are none, or one is there twice.
    """
    ours = {spelled(name): name for name in table}
    wanted = [ours.get(spelled(name), name) for name in _asked(asked) or model]
    if asked or not table:
        return _checked(wanted)
    if len(model) == len(table) and not (have_names(table) and have_names(model)):
        return _checked(table)  # by their numbers, as a data set's landmarks are matched with a model's
    return _checked([*wanted, *(name for name in table if name not in wanted)])


def _asked(text: str) -> list[str]:
    if not text:
        return []
    path = Path(text).expanduser()
    if "," not in text and path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--landmarks {text}: cannot be read as text with a name a line ({error})") from error
        return [line.strip() for line in lines if line.strip()]
    return words(text)


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for name in names]
    if not names:
        raise UserError(
            "no landmark is known: name them by --landmarks 'nasion,sella,...' or --landmarks FILE (a name a line), or "
            "give a model file by --model"
        )
    if len(names) > MOST:
        raise UserError(f"--landmarks: found {len(names)} names, expected at most {MOST}")
    seen: dict[str, str] = {}
    for name in names:
        if has_control_characters(name):
            raise UserError(f"--landmarks: found {name!r:.60}, expected names without control characters")
        if spelled(name) in seen and seen[spelled(name)] == name:
            raise UserError(f"--landmarks: {name!r} is there twice")
        seen[spelled(name)] = name
    return tuple(names)


def places_of(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """The place among a model's ``known`` landmarks of each of ``names``; None for one that it does not know.

    Where one side has no names and both are as many, they go by their numbers.
    """
    if len(names) == len(known) and not (have_names(names) and have_names(known)):
        return list(range(len(names)))
    places = {spelled(name): place for place, name in enumerate(known)}
    return [places.get(spelled(name)) for name in names]


Shares = list[tuple[float, float] | None]
"""Where each landmark lies, in shares of the image's width and height; None where that is not known."""


def shares_of_labels(
    names: Sequence[str], images: Iterable[tuple[Iterable[Mapping[str, Mark]], tuple[int, int]]]
) -> Shares:
    """Mean place of each landmark over images, each with its annotators' marks and its size (width, height)."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for annotators, size in images:
        for marks in annotators:
            for name, mark in marks.items():
                if name in found and mark.placed:
                    found[name].append((np.array([mark.x, mark.y]) + 0.5) / size)
    means = [np.mean(points, axis=0) if points else None for points in found.values()]
    return [None if mean is None else (float(mean[0]), float(mean[1])) for mean in means]
