"""A model of a method as the start of another of the same method: landmarks are matched by their names.

Weights that have a place for each landmark (rows of the last layer, columns of the condition) are taken for those that
both have; a landmark that the start does not know begins as the mean of those it knows, with a little noise to tell
several apart; one that is not wanted is left behind. All other weights are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import dotted, plain_options
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.landmark_names import have_names, spelled
from landmark_diffusion.finders.finder import Finder, Weights
from landmark_diffusion.finders.joint_guess import PRIOR_WEIGHTS
from landmark_diffusion.finders.orientation import FORM_WEIGHTS
from landmark_diffusion.methods import method_name, name_in_files
from landmark_diffusion.methods.pretrained import IN_TRAINING, check_kind
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.model_file import FACTS_KEY

NEW_NOISE = 0.1
"""Deviation of the noise of a new landmark's weights, as a share of the known ones' deviation."""
_SHAPING = ("network.", "window_network.", "windows.", "coarse_factor", "image_range", "diffusion", "parameterisation")
"""Options that decide what the weights mean; all others may differ between a start and what begins from it."""


@dataclass(frozen=True)
class Start:
    """What a model begins with.

    Attributes:
        path: the model file or checkpoint.
        weights: "ema" or "raw".
        updates: optimiser steps behind it.
        places: for each of the N landmarks its place in the start, None for one that it does not know.
        names: the N landmarks' names.
        left: names of the start's landmarks that are not wanted.
        by_position: the landmarks have no names on one side, and were taken by their place.
        knows_forms: what tells orientations was taken too.
    """

    path: Path
    weights: Weights
    updates: int
    places: tuple[int | None, ...]
    names: tuple[str, ...]
    left: tuple[str, ...]
    by_position: bool = False
    knows_forms: bool = False

    @property
    def same_anatomy(self) -> bool:
        """Whether the start knows most of the landmarks: then what it knows of whole images holds here as well."""
        return len(self.new) <= len(self.names) / 4

    @property
    def new(self) -> list[str]:
        """Names of the landmarks that the start does not know."""
        return [name for name, place in zip(self.names, self.places, strict=True) if place is None]

    def describe(self) -> str:
        """Say it in a few lines for people."""
        kind = "averaged (EMA)" if self.weights == "ema" else "raw"
        known = len(self.names) - len(self.new)
        lines = [f"start: {kind} weights of {self.path} after {counted(self.updates, 'update')}"]
        how = "by position, since one side has no names" if self.by_position else "by name"
        lines.append(f"  {known} of {counted(len(self.names), 'landmark')} are known to it ({how})")
        for title, names in (("new", self.new), ("left behind", self.left)):
            if names:
                shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
                lines.append(f"  {title}: {shown}")
        return "\n".join(lines)


def load_start(
    module: Finder,
    path: str | Path,
    names: Sequence[str],
    options: Mapping[str, Any],
    weights: Weights = "ema",
    renamed: Mapping[str, str] | None = None,
) -> Start:
    """Put a model's weights into ``module``, whose landmarks are called ``names``, and say what became of them.

    ``renamed`` gives the start's name for some of these; ``options`` are the module's own, for the comparison. Buffers
    of the module itself stay as they are: they are of its own data. Raises UserError, and changes nothing, for a start
    of another method or network, a landmark in ``renamed`` that one side does not have, and a file without the kind of
    weights asked for.
    """
    path = Path(path)
    content = read_checkpoint(path)
    hparams = dict(content.get("hyper_parameters") or {})
    check_kind(content, path, weights)
    _check_method(module, options, hparams, path)
    averaged = "averaging_state" in content
    source = content["current_model_state" if weights == "raw" and averaged else "state_dict"]
    theirs = tuple((content.get(FACTS_KEY) or {}).get("landmark_names") or ())
    count = int(hparams.get("num_landmarks") or len(theirs))
    places, by_position = match_start(names, theirs or [f"landmark {n + 1}" for n in range(count)], renamed or {}, path)
    values = _values(module, source, places, count, path)
    module.load_state_dict({**module.state_dict(), **values})
    module.take_shape(source.get(f"{PRIOR_WEIGHTS}mean"), source.get(f"{PRIOR_WEIGHTS}covariance"), places)
    knows_forms = module.form_network is not None and any(name.startswith(FORM_WEIGHTS) for name in values)
    left = [name for place, name in enumerate(theirs) if place not in places]
    return Start(
        path, weights, int(content.get("global_step", 0)), places, tuple(names), tuple(left), by_position, knows_forms
    )


def match_start(
    ours: Sequence[str], theirs: Sequence[str], renamed: Mapping[str, str], path: str | Path
) -> tuple[tuple[int | None, ...], bool]:
    """Give the place in a start of each of our landmarks, None where it has none, and whether it is by position alone.

    By position only where one side has no names, the numbers are the same and nothing is ``renamed`` (ours: theirs);
    several may begin as one. Raises UserError for a name in ``renamed`` that its side does not have.
    """
    places = {spelled(name): place for place, name in enumerate(theirs)}
    named = have_names(ours) and have_names(theirs)
    if not named and not renamed and len(ours) == len(theirs):
        return tuple(range(len(ours))), True
    wanted = {spelled(name): spelled(name) for name in ours if named}
    for our, their in renamed.items():
        for name, names, whose in ((our, ours, "the data"), (their, theirs, str(path))):
            if spelled(name) not in map(spelled, names):
                raise UserError(
                    f"landmark map: found {our}={their}, but {whose} has no landmark {name!r}."
                    f"{did_you_mean(name, names)}"
                )
        wanted[spelled(our)] = spelled(their)
    return tuple(places.get(wanted.get(spelled(name), "")) for name in ours), False


def _check_method(module: Finder, options: Mapping[str, Any], hparams: Mapping[str, Any], path: Path) -> None:
    """Refuse a start of another method or network, naming all options that differ."""
    found = method_name(hparams)
    if found != module.class_name():
        raise UserError(
            f"model.pretrained: {path} holds a {found or 'model of no known class'}, expected a {module.class_name()}; "
            "name a model of the same method"
        )
    before, now = (
        {key: name_in_files(value) if key.endswith(".class_path") else value for key, value in dotted(each).items()}
        for each in (hparams, options)
    )
    lines = [
        f"  model.init_args.{key}: {plain_options(value)} in the start, {plain_options(now[key])} in the config"
        for key, value in sorted(before.items())
        if key in now and value != now[key] and key.startswith(_SHAPING) and key.rpartition(".")[2] not in IN_TRAINING
    ]
    if lines:
        raise UserError(
            f"model.pretrained: {path} does not fit the config:\n" + "\n".join(lines)
            + "\nGive these options the start's values, or name another one."
        )  # fmt: skip


def _values(
    module: Finder, source: Mapping[str, torch.Tensor], places: Sequence[int | None], count: int, path: Path
) -> dict[str, torch.Tensor]:
    """The start's values of all weights of networks; raises UserError for one that is missing or of another shape."""
    axes = module.landmark_axes()
    wanted = {name: value for name, value in module.state_dict().items() if "." in name}
    own = [PRIOR_WEIGHTS, *([] if any(name.startswith(FORM_WEIGHTS) for name in source) else [FORM_WEIGHTS])]
    wanted = {name: value for name, value in wanted.items() if not name.startswith(tuple(own))}
    found: dict[str, torch.Tensor] = {}
    for name, fresh in wanted.items():
        value = source.get(name)
        if value is not None and name in axes and value.shape[axes[name][0]] == axes[name][1] + count:
            value = _by_landmark(value, *axes[name], places)
        if value is None or value.shape != fresh.shape:
            there = "absent" if value is None else tuple(value.shape)
            raise UserError(
                f"model.pretrained: {path} holds another network than the config's: {name} is {there} there and "
                f"{tuple(fresh.shape)} here"
            )
        found[name] = value.to(fresh.dtype)
    if not axes and (None in places or list(places) != list(range(count))):
        raise UserError(
            f"model.pretrained: {path} finds other landmarks than the data, and a {module.class_name()} does not say "
            "which of its weights belong to a landmark (landmark_axes, docs/architecture.md)"
        )
    return found


def _by_landmark(value: torch.Tensor, axis: int, first: int, places: Sequence[int | None]) -> torch.Tensor:
    """A weight with the landmarks at ``first`` and on along ``axis``, for the landmarks that begin at ``places``."""
    shared, known = value.narrow(axis, 0, first), value.narrow(axis, first, value.shape[axis] - first)
    used = sorted({place for place in places if place is not None}) or list(range(known.shape[axis]))
    mean, spread = _mean_and_spread(known.index_select(axis, torch.tensor(used)), axis)
    columns = [
        mean + NEW_NOISE * spread * torch.randn_like(mean) if place is None else known.select(axis, place)
        for place in places
    ]
    return torch.cat([shared, torch.stack(columns, axis)], axis)


def _mean_and_spread(known: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    return known.mean(axis), known.std(axis, correction=0)
