"""Landmarks are told apart by their names: one list of names matched with another, and data put in its order.

Spelling is forgiven (case, blanks, underscores, hyphens, dots, accents in either form of Unicode); nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Finding, LandmarkDataset, Stage

_MADE_UP = re.compile(r"(landmark|keypoint|point|lm|kp|pt|x)?\d+")
Given = Sequence[str] | Mapping[str, str]
"""What a user says of names: all of them in the data's order, or the data's name -> the new name for some."""


class NameMatch(NamedTuple):
    """How data's landmarks become a model's: the place in the data of each of the model's N, and what to tell of it."""

    order: tuple[int, ...]
    note: str = ""


def spelled(name: str) -> str:
    """Give a name without what spellings differ in."""
    return re.sub(r"[\s_.\-]+", "", unicodedata.normalize("NFKC", name)).casefold()


def have_names(names: Sequence[str]) -> bool:
    """Tell whether any landmark has a name: "landmark 7", "x7" of a table without names or "7" are numbers alone."""
    return any(not _MADE_UP.fullmatch(spelled(name)) for name in names)


def respelled(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Give ``names`` as ``known`` spells them; a name that is not among them stays as it is."""
    ours = dict(zip(map(spelled, known), known, strict=True))
    return [ours.get(spelled(name), name) for name in names]


def match_landmarks(wanted: Sequence[str], found: Sequence[str], whose: str) -> NameMatch:
    """Find each of the ``wanted`` landmarks of a model (``whose``) among those ``found`` in the data, by name.

    By position, with a note, only where one side has no names. Raises UserError for other numbers of landmarks, and
    for names that are not the same set.
    """
    same_place = tuple(range(len(wanted)))
    if len(wanted) != len(found):
        raise UserError(f"{whose} has {len(wanted)} landmarks, the data {len(found)}{_hint()}")
    named = have_names(wanted), have_names(found)
    places = _places(found)
    keys = _keys(wanted)
    if set(keys) == set(places):
        order = tuple(places[key] for key in keys)
        if order == same_place:
            return NameMatch(
                order, "" if named[0] else f"the landmarks of {whose} have no names: taken by their numbers"
            )
        return NameMatch(order, f"the data's landmarks were put in the order of {whose}, by name")
    if not all(named):
        sides = f"the landmarks of {whose}" if not named[0] else "the data's landmarks"
        return NameMatch(same_place, f"{sides} have no names: they were taken by position, number 1 as {wanted[0]!r}")
    lacking = [name for name, key in zip(wanted, keys, strict=True) if key not in places]
    unknown = [found[place] for key, place in places.items() if key not in set(keys)]
    raise UserError(
        f"the data's landmarks are not those of {whose}: it has {_shown(lacking)}, the data {_shown(unknown)} "
        f"instead{_hint()}"
    )


def given_names(found: Sequence[str], given: Given) -> tuple[str, ...]:
    """Give the data's landmarks the names that the user said; raises UserError where they do not fit."""
    if isinstance(given, Mapping):
        places, names = _places(found), list(found)
        for old, new in given.items():
            if (key := _key_of(old, places)) is None:
                raise UserError(f"data.landmark_names: the data has no landmark {old!r}; it has {_shown(found)}")
            names[places[key]] = str(new)
    else:
        names = [str(name) for name in given]
        if len(names) != len(found):
            raise UserError(f"data.landmark_names: found {len(names)} names, expected {len(found)} ({_shown(found)})")
        if have_names(found) and set(map(spelled, names)) != set(map(spelled, found)):
            raise UserError(
                f"data.landmark_names: the data names its landmarks already ({_shown(found)}); rename them one by one, "
                "{old: new}"
            )
    if len(set(map(spelled, names))) < len(names):
        raise UserError(f"data.landmark_names: found {_shown(names)}, expected {len(names)} different names")
    return tuple(names)


class ArrangedDataset(LandmarkDataset):
    """A dataset whose landmarks stand under other names or in another order; all else is its own.

    Args:
        inner: the dataset.
        order: the place in it of each landmark.
        names: N names, in that order.
    """

    def __init__(self, inner: LandmarkDataset, order: Sequence[int], names: Sequence[str]) -> None:
        self.inner, self.order, self.landmark_names = inner, list(order), tuple(names)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.inner, name)

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        """Give the dataset's samples with their points in this order."""
        samples = self.inner.samples(stage)
        return [replace(each, annotations=each.annotations[:, self.order]) for each in samples]

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        """Decode as the dataset does."""
        return self.inner.load_image(sample)

    def check(self, decode: bool = True) -> list[Finding]:
        """Give the dataset's own findings, which speak of its landmarks by these names."""
        shown = dict(zip(self.order, self.landmark_names, strict=True))
        self.inner.shown_names = tuple(shown[place] for place in range(len(shown)))
        return self.inner.check(decode)

    def notes(self) -> list[str]:
        """Give the dataset's own notes."""
        return self.inner.notes()

    def patients(self) -> dict[str, str]:
        """Give the dataset's own patients."""
        return self.inner.patients()

    def set_names(self) -> tuple[str, ...]:
        """As the inner one."""
        return self.inner.set_names()

    def set_of(self, sample: LandmarkSample) -> int:
        """As the inner one."""
        return self.inner.set_of(sample)

    def cache_key(self, sample: LandmarkSample) -> str:
        """Take the dataset's key: the pixels are the same."""
        return self.inner.cache_key(sample)


def arranged(source: LandmarkDataset, wanted: Sequence[str], whose: str) -> tuple[LandmarkDataset, str]:
    """Put a dataset's landmarks in a model's order and under its names, with what to tell; as ``match_landmarks``."""
    if not wanted or not source.landmark_names:
        return source, ""
    match = match_landmarks(wanted, source.landmark_names, whose)
    if tuple(wanted) == tuple(source.landmark_names):
        return source, match.note
    return ArrangedDataset(source, match.order, wanted if have_names(wanted) else _in(source, match)), match.note


def renamed(source: LandmarkDataset, given: Given | None) -> LandmarkDataset:
    """Give a dataset's landmarks the names that the user said; raises as ``given_names``."""
    if given is None or not source.landmark_names:
        return source
    names = given_names(source.landmark_names, given)
    if not isinstance(given, Mapping) and have_names(source.landmark_names):
        places = _places(source.landmark_names)
        return ArrangedDataset(source, [places[key] for key in _keys(names)], names)
    return ArrangedDataset(source, range(len(names)), names)


def _in(source: LandmarkDataset, match: NameMatch) -> list[str]:
    return [source.landmark_names[place] for place in match.order]


def _keys(names: Sequence[str]) -> list[str]:
    """What names are compared by: without spelling, unless two of them differ in nothing else."""
    keys = [spelled(name) for name in names]
    return keys if len(set(keys)) == len(keys) else list(names)


def _places(names: Sequence[str]) -> dict[str, int]:
    return {key: place for place, key in enumerate(_keys(names))}


def _key_of(name: str, places: Mapping[str, int]) -> str | None:
    return next((key for key in (name, spelled(name)) if key in places), None)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _hint() -> str:
    return ". Give the data the model's names in its table, or with --data.landmark_names '{theirs: ours}'"
