"""From a model file to the module that predicts, without Lightning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.core.classes import subclasses
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import is_ours
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.finders import import_finders
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.methods import METHODS
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import SUFFIX, is_model_file, model_in_folder, read_model_file
from landmark_diffusion.modelfile.network_size import check_network_size, stored_values

if TYPE_CHECKING:
    import torch


def landmark_methods() -> dict[str, type[Finder]]:
    """Give this package's methods that find landmarks by their names in model files, without their training."""
    import_finders()
    finders: Iterable[type[Finder]] = subclasses(Finder)
    own = (each for each in finders if is_ours(each.__module__))
    finished = [each for each in own if not getattr(each.variants, "__isabstractmethod__", False)]
    # a finder goes before the LightningModule of its name, which is there where something has imported it
    return {each.class_name(): each for each in reversed(finished)}


def find_method(name: str, where: str | Path) -> type[Finder]:
    """Give the class that a model file names: a method of this package, or one elsewhere that may be imported.

    Elsewhere is a class path, whose module is imported already, is named by an installed entry point, or is allowed by
    ``--allow_classes``. Raises UserError naming ``where`` for any other, before it is imported, and for a class that
    finds no landmarks.
    """
    known = landmark_methods()
    if name in known:
        return known[name]
    if name in METHODS.built_in or (name not in METHODS.found() and "." not in name):
        raise UserError(f"{where}: found the class {name}, expected one of {', '.join(sorted(known))}")
    try:
        found = METHODS.load(name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if not issubclass(found, Finder):
        raise UserError(f"{where}: {name} finds no landmarks: it is no Finder ({Finder.__module__}.Finder)")
    return found


def build_module(
    class_name: str, options: dict[str, Any], where: str | Path, weights: Mapping[str, torch.Tensor] | None = None
) -> Finder:
    """Build a method from its options, with fresh weights.

    ``weights`` are those that it will get: options that ask for a network much larger than these are refused before
    they take memory. Raises UserError naming ``where``, also for a class that ``find_method`` refuses and for options
    that do not fit it.
    """
    method = find_method(class_name, where)
    if weights is not None:
        check_network_size(method, options, stored_values(weights), where)
    try:
        return method(**options)
    except (TypeError, ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{where}: no {class_name} can be built from its options: {one_line(error)}") from error


def load_module(path: str | Path) -> tuple[Finder, ModelFacts]:
    """Read an exported model and return its module, ready to predict, and what the file says of it.

    ``path`` is a FILE.ldx, or a folder of ``ldx export --hub``.
    Raises UserError naming the file where it is none, is damaged or too new, or its weights do not fit.
    """
    hubbed = os.path.isdir(path)
    path = model_in_folder(path) if hubbed else Path(path)
    there = os.path.isfile(path)  # not Path.is_file, which raises for some names
    if path.suffix in (".ckpt", ".pt", ".pth") and there:
        raise UserError(
            f"{path}: found a checkpoint, expected a model file ({SUFFIX}); write one: ldx export {path} "
            f"{path.with_suffix(SUFFIX).name}"
        )
    if there and not is_model_file(path) and not hubbed:
        raise UserError(f"{path}: expected a model file that ends in {SUFFIX}, as `ldx export` writes it")
    try:
        content = read_model_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    _check_size(content.facts.data.get("size"), path)
    module = build_module(content.facts.class_path, content.facts.model, path, content.weights)
    try:
        module.load_state_dict(content.weights)
    except RuntimeError as error:
        raise UserError(f"{path}: the weights do not fit the options beside them: {one_line(error)}") from error
    names = content.facts.landmark_names
    if len(names) != module.num_landmarks:
        raise UserError(f"{path}: found {len(names)} landmark names for {module.num_landmarks} landmarks")
    return module.eval().requires_grad_(False), content.facts


def _check_size(size: Any, path: Path) -> None:
    whole = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if not whole:
        raise UserError(f"{path}: found {size!r:.60} as data.size, expected the network's width and height in pixels")
