"""Which image belongs to which stage: official splits by number, and seeded splits of one's own data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted

ISBI2015_SPLITS: Mapping[str, Mapping[str, range]] = {
    "official": {"train": range(1, 151), "val": range(0), "test": range(151, 301)},
    "development": {"train": range(1, 131), "val": range(131, 151), "test": range(151, 301)},
    "test2": {"train": range(1, 151), "val": range(0), "test": range(301, 401)},
    "paper_b": {"train": range(1, 131), "val": range(131, 151), "test": range(151, 401)},
}
"""Image numbers of each stage. ``official``: the challenge's training images and Test 1; ``test2``: its Test 2;
``development``: choices are made on 131-150 (docs/conventions.md); ``paper_b``: Di Via et al., section 4."""

CHEST_EXCLUDED = frozenset(f"CHNCXR_{number:04d}_0" for number in (59, 178, 228, 267, 276, 285, 295, 303, 310))
"""Labelled chest images that the released code of paper B leaves out."""


FEW_TESTED = 10
"""Below so many test images the figures say more of these than of the model."""


def few_tested(count: int) -> str:
    """Say that so few test images tell little, and what does."""
    return f"only {counted(count, 'test image')}: the figures will say little; `ldx crossval` tests every image once"


def split_by_name(names: Sequence[str], counts: tuple[int, int, int]) -> dict[str, list[str]]:
    """Divide names in sorted order: the first ``counts[0]`` are train, the next ``counts[1]`` val, all others test."""
    order, (train, val, _) = sorted(names), counts
    return {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}


def seeded_split(
    ids: Sequence[str],
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Divide ids into train, val and test at random: the same ids, fractions and seed give the same parts.

    ``fractions`` of train, val and test add up to 1; val and test are rounded, but not to 0 while their fraction is
    above 0 and an image is left. All images of a patient go to one part, so that parts come out a little larger or
    smaller than asked for; ``patients`` gives the patient of an image, one that it lacks is a patient of its own.
    Raises UserError on fractions that are no division.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"fractions: found {tuple(fractions)}, expected train, val, test of at least 0 with sum 1")
    if fractions[0] == 0 or len(ids) == 0:
        raise UserError("fractions: the train part would be empty, expected a fraction above 0 and at least one image")
    order = [str(image) for image in np.random.default_rng(seed).permutation(sorted(ids))]
    groups = by_patient(order, patients or {})
    keep = 2 if patients and fractions[1] > 0 and len(groups) > 2 else 1  # a patient each for val and train
    parts = {}
    for stage, fraction, rest in (("test", fractions[2], keep), ("val", fractions[1], 1)):
        parts[stage], groups = _take(groups, _share(len(order), fraction), rest)
    parts["train"] = [image for group in groups for image in group]
    return {stage: sorted(part) for stage, part in parts.items()}


def by_patient(order: Sequence[str], patients: Mapping[str, str]) -> list[list[str]]:
    """Gather each patient's images, in the order in which they and the patients come up in ``order``."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for image in order:
        groups.setdefault((image in patients, patients.get(image, image)), []).append(image)
    return list(groups.values())


def _take(groups: list[list[str]], wanted: int, keep: int) -> tuple[list[str], list[list[str]]]:
    """Take whole groups, in order, as near to ``wanted`` images as they come, one at least; ``keep`` are left over."""
    taken: list[str] = []
    left: list[list[str]] = []
    for place, group in enumerate(groups):
        nearer = abs(len(taken) + len(group) - wanted) < abs(len(taken) - wanted)
        if nearer and len(left) + len(groups) - place - 1 >= keep:
            taken += group
        else:
            left.append(group)
    if wanted > 0 and not taken and len(left) > keep:
        taken = min(left, key=len)
        left.remove(taken)
    return taken, left


def _share(count: int, fraction: float) -> int:
    return max(1, round(count * fraction)) if fraction > 0 else 0


_FOLDS = re.compile(r"folds:(\d{1,6})/(\d{1,6})", re.ASCII)


def parse_folds(split: str) -> tuple[int, int] | None:
    """Read ``folds:5/2``, five folds of which the second is tested, as (5, 2); None for another split.

    Raises UserError where the numbers are no folds.
    """
    if not split.startswith("folds"):
        return None
    match = _FOLDS.fullmatch(split)
    count, number = (int(match[1]), int(match[2])) if match else (0, 0)
    if count < 2 or not 1 <= number <= count:
        raise UserError(
            f"split: found {split!r}, expected folds:K/N such as folds:5/2: K folds, 2 or more, of which the N-th, "
            "from 1 to K, is the test part"
        )
    return count, number


def fold_split(
    ids: Sequence[str],
    count: int,
    number: int,
    val_fraction: float = 0.15,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Divide ids into ``count`` folds at random, keyed by ``seed``: the ``number``-th, from 1, is test, others train.

    ``val_fraction`` of the others validates, in whole groups, one at least while a group is left to train. The ids of
    a group (``groups``: id -> group, such as a patient) stay in one part; an id without one is a group of its own. Each
    id is in the test part of exactly one number. Raises UserError where there are fewer groups than folds.
    """
    members = _members(ids, groups or {})
    if not 2 <= count <= len(members):
        what = "images" if len(members) == len(set(ids)) else "groups (patients) of images"
        raise UserError(f"split: found {count} folds, expected 2 to {len(members)}, the number of {what}")
    known = sorted(members)
    order = [known[place] for place in np.random.default_rng(seed).permutation(len(known))]
    folds: list[list[str]] = [[] for _ in range(count)]
    for group in sorted(order, key=lambda group: -len(members[group])):  # large ones first; alike ones stay as drawn
        min(folds, key=len).extend(members[group])
    test = set(folds[number - 1])
    rest = [group for group in order if not test & set(members[group])]
    wanted = _share(sum(len(members[group]) for group in rest), val_fraction)
    val: list[str] = []
    while len(val) < wanted and len(rest) > 1:
        val += members[rest.pop()]
    parts = {"train": [each for group in rest for each in members[group]], "val": val, "test": list(test)}
    return {stage: sorted(part) for stage, part in parts.items()}


def _members(ids: Sequence[str], groups: Mapping[str, str]) -> dict[tuple[bool, str], list[str]]:
    """Ids of each group; the key tells a group from an id without one that has its name."""
    found: dict[tuple[bool, str], list[str]] = {}
    for each in sorted(set(ids)):
        group = groups.get(each) or ""
        found.setdefault((True, group) if group else (False, each), []).append(each)
    return found


def few_shot_order(
    ids: Sequence[str], draw: int, seed: int = 0, patients: Mapping[str, str] | None = None
) -> list[str]:
    """Order images at random, keyed by (seed, draw): the first n are the draw's n labelled images.

    So the images of a smaller n are among those of a larger one. The ids are sorted first: the order in which a folder
    lists them does not matter. A patient's images (``patients`` gives the patient of an image) follow each other, so
    that of the first n images the last patient alone can be there in part. Raises UserError without ids.
    """
    if not ids:
        raise UserError("few-shot draws: found no training image to draw from")
    order = np.random.default_rng(np.random.SeedSequence([seed, draw])).permutation(len(ids))
    known = sorted(ids)
    drawn = [str(known[place]) for place in order]
    return [image for group in by_patient(drawn, patients or {}) for image in group]
