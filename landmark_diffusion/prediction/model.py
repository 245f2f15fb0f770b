"""From a model file to the module that predicts, without Lightning's Trainer."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from landmark_diffusion.errors import UserError
from landmark_diffusion.methods.base import LandmarkModule, SpreadKind
from landmark_diffusion.runs.model_facts import ModelFacts
from landmark_diffusion.runs.model_file import SUFFIX, is_model_file, read_model_file


def landmark_methods() -> dict[str, type[LandmarkModule]]:
    """Give the package's methods that find landmarks, by their short class names."""
    import landmark_diffusion.methods as methods

    for module in pkgutil.iter_modules(methods.__path__):
        importlib.import_module(f"{methods.__name__}.{module.name}")
    return {each.__name__: each for each in _subclasses(LandmarkModule)}


def build_module(class_name: str, options: dict[str, Any], where: str | Path) -> LandmarkModule:
    """Build a method from its options, with fresh weights.

    Raises UserError naming ``where`` for a class that finds no landmarks and for options that do not fit it.
    """
    known = landmark_methods()
    if class_name not in known:
        raise UserError(f"{where}: found the class {class_name}, expected one of {', '.join(sorted(known))}")
    try:
        return known[class_name](**options)
    except (TypeError, ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{where}: no {class_name} can be built from its options: {error}") from error


def load_module(path: str | Path) -> tuple[LandmarkModule, ModelFacts]:
    """Read an exported model and return its module, ready to predict, and what the file says of it.

    Raises UserError naming the file where it is none, is damaged or too new, or its weights do not fit.
    """
    path = Path(path)
    if path.suffix in (".ckpt", ".pt", ".pth") and path.is_file():
        raise UserError(
            f"{path}: found a checkpoint, expected a model file ({SUFFIX}); write one: ldx export {path} "
            f"{path.with_suffix(SUFFIX).name}"
        )
    if path.is_file() and not is_model_file(path):
        raise UserError(f"{path}: expected a model file that ends in {SUFFIX}, as `ldx export` writes it")
    content = read_model_file(path)
    module = build_module(content.facts.class_path, content.facts.model, path)
    try:
        module.load_state_dict(content.weights)
    except RuntimeError as error:
        raise UserError(f"{path}: the weights do not fit the options beside them: {error}") from error
    names = content.facts.landmark_names
    if len(names) != module.num_landmarks:
        raise UserError(f"{path}: found {len(names)} landmark names for {module.num_landmarks} landmarks")
    return module.eval().requires_grad_(False), content.facts


def prediction_settings(module: LandmarkModule, spread: SpreadKind = "both") -> dict[str, Any]:
    """Give what decides the points and their spread beside the weights; a calibration holds for just one of these."""
    samples = int(getattr(module, "num_samples", 1))
    return {
        "variant": main_variant(module),
        "steps": int(getattr(module, "sampling_steps", 1)),
        "samples": samples,
        "decoder": module.decoder,
        "spread": "heatmap" if samples == 1 else spread,  # one sample has no spread but its maps'
    }


def main_variant(module: LandmarkModule) -> str:
    """Name the variant whose points are the prediction."""
    names = module.variants()
    return module.main_variant if module.main_variant in names else names[-1]


def _subclasses(parent: type) -> list[type]:
    found: list[type] = []
    for child in parent.__subclasses__():
        found += [child, *_subclasses(child)]
    return found
