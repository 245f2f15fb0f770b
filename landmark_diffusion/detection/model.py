"""From a model file to the module that predicts, without Lightning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.readers.image_io import one_line
from landmark_diffusion.finders import import_finders
from landmark_diffusion.finders.finder import Finder, SpreadKind
from landmark_diffusion.methods import subclasses
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import SUFFIX, is_model_file, read_model_file
from landmark_diffusion.modelfile.network_size import check_network_size, stored_values

if TYPE_CHECKING:
    import torch


def landmark_methods() -> dict[str, type[Finder]]:
    """Give the methods that find landmarks by the names that model files have for them, without their training."""
    import_finders()
    finders: Iterable[type[Finder]] = subclasses(Finder)
    finished = [each for each in finders if not getattr(each.variants, "__isabstractmethod__", False)]
    # a finder goes before the LightningModule of its name, which is there where something has imported it
    return {each.class_name(): each for each in reversed(finished)}


def build_module(
    class_name: str, options: dict[str, Any], where: str | Path, weights: Mapping[str, torch.Tensor] | None = None
) -> Finder:
    """Build a method from its options, with fresh weights.

    ``weights`` are those that it will get: options that ask for a network much larger than these are refused before
    they take memory. Raises UserError naming ``where``, also for a class that finds no landmarks and for options that
    do not fit it.
    """
    known = landmark_methods()
    if class_name not in known:
        raise UserError(f"{where}: found the class {class_name}, expected one of {', '.join(sorted(known))}")
    if weights is not None:
        check_network_size(known[class_name], options, stored_values(weights), where)
    try:
        return known[class_name](**options)
    except (TypeError, ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{where}: no {class_name} can be built from its options: {one_line(error)}") from error


def load_module(path: str | Path) -> tuple[Finder, ModelFacts]:
    """Read an exported model and return its module, ready to predict, and what the file says of it.

    Raises UserError naming the file where it is none, is damaged or too new, or its weights do not fit.
    """
    path = Path(path)
    there = os.path.isfile(path)  # not Path.is_file, which raises for some names
    if path.suffix in (".ckpt", ".pt", ".pth") and there:
        raise UserError(
            f"{path}: found a checkpoint, expected a model file ({SUFFIX}); write one: ldx export {path} "
            f"{path.with_suffix(SUFFIX).name}"
        )
    if there and not is_model_file(path):
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


def prediction_settings(module: Finder, spread: SpreadKind = "both") -> dict[str, Any]:
    """Give what decides the points and their spread beside the weights; a calibration holds for just one of these."""
    chains = getattr(module, "diffusion", False)  # without, options of sampling may be there and do nothing
    samples = int(getattr(module, "num_samples", 1)) if chains else 1
    return {
        "variant": main_variant(module),
        "steps": int(getattr(module, "sampling_steps", 1)) if chains else 1,
        "samples": samples,
        "decoder": module.decoder,
        "spread": "heatmap" if samples == 1 else spread,  # one sample has no spread but its maps'
    }


def main_variant(module: Finder) -> str:
    """Name the variant whose points are the prediction."""
    names = module.variants()
    return module.main_variant if module.main_variant in names else names[-1]
