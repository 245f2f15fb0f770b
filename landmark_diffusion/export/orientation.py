"""A model file that tells mirrored, turned and negative images, made from one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.finders.orientation import FORM_WEIGHTS, Orientation, learn_forms
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import check_target, read_model_file, write_model_file


def with_orientation(
    model: str | Path,
    images: Iterable[np.ndarray],
    output: str | Path,
    steps: int = Orientation.steps,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write ``model`` again as ``output``, with what tells the orientation of images like these; returns the path.

    ``images`` (H, W) uint8 count as upright, and should be those that the model was trained on or others like them.
    Landmarks, calibration and figures stay as they are; what the file could tell of orientations before is replaced.
    Raises UserError without an image, and as ``read_model_file`` and ``write_model_file``.
    """
    output = Path(output)
    check_target(output, overwrite)
    content = read_model_file(model)
    facts, weights = oriented(content.facts, content.weights, images, steps, seed)
    return write_model_file(output, facts, weights, overwrite)


def oriented(
    facts: ModelFacts,
    weights: Mapping[str, Any],
    images: Iterable[np.ndarray],
    steps: int = Orientation.steps,
    seed: int = 0,
    advance: Callable[[int, float], object] | None = None,
) -> tuple[ModelFacts, dict[str, Any]]:
    """Give a model's facts and weights with what tells the orientation, as ``with_orientation`` writes them.

    ``advance`` hears the steps done and the loss.
    """
    network = learn_forms(images, steps, seed, advance)
    others = {name: value for name, value in weights.items() if not name.startswith(FORM_WEIGHTS)}
    learned = {FORM_WEIGHTS + name: value for name, value in network.state_dict().items()}
    options = asdict(Orientation(learn=True, steps=steps))
    return replace(facts, model={**facts.model, "orientation": options}), {**others, **learned}
