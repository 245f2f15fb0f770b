"""An exported model: one safetensors file with the weights and, as one metadata entry, ModelFacts. No pickle.

The layout (https://github.com/huggingface/safetensors): 8 bytes with the header's length, little endian; the header in
JSON with dtype, shape and place of each tensor and the metadata; the tensors' bytes. Importing this needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_bytes, refuse_existing
from landmark_diffusion.modelfile.facts import ModelFacts, facts_from_json, parse_json
from landmark_diffusion.modelfile.hub_folder import WEIGHTS, check_config, is_hub_folder

if TYPE_CHECKING:
    import torch

SUFFIX = ".ldx"
FACTS_KEY = "landmark_diffusion"
"""The metadata entry; also what checkpoints keep their facts under."""

MAX_HEADER = 100_000_000
"""Bytes of a header; safetensors itself reads no longer one."""


@dataclass(frozen=True)
class ModelFile:
    """What a file holds: ``facts``, and ``weights`` by their names in the module's ``state_dict``, on the CPU."""

    facts: ModelFacts
    weights: dict[str, torch.Tensor]


def is_model_file(path: str | Path) -> bool:
    """Tell whether a path is named as an exported model, or is a hub folder with one."""
    return Path(path).suffix == SUFFIX or is_hub_folder(path)


def file_of(path: str | Path) -> Path:
    """Return a model file itself, or that of a hub folder (UserError as ``model_in_folder``)."""
    return model_in_folder(path) if is_hub_folder(path) else Path(path)


def model_in_folder(folder: str | Path) -> Path:
    """Return the model file of a hub folder; raises UserError for one without, and where config.json says otherwise."""
    folder = Path(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(
            f"{folder}: found a folder without {WEIGHTS}, expected a model file ({SUFFIX}) or a folder of "
            "`ldx export MODEL --hub FOLDER`"
        )
    check_config(folder, read_facts(path))
    return path


def write_model_file(
    path: str | Path, facts: ModelFacts, weights: Mapping[str, torch.Tensor], overwrite: bool = False
) -> Path:
    """Write weights and facts as one file, whole or not at all; the same input gives the same bytes.

    Each tensor is stored by itself in row-major order and its own dtype: the memory format (channels_last) is an option
    of the model, which lays the values out again as it loads them. ``tensors``, ``weights_sha256`` and
    ``package_version`` are filled in.
    Raises UserError for another suffix, a file that is there (unless ``overwrite``), weights that are not finite, and a
    place that cannot be written to.
    """
    path = Path(path)
    check_target(path, overwrite)
    atomic_write_bytes(path, model_content(facts, weights)[1])
    return path


def model_content(facts: ModelFacts, weights: Mapping[str, torch.Tensor]) -> tuple[ModelFacts, bytes]:
    """Give the facts as a file will hold them, and the file's bytes; raises UserError as ``write_model_file``."""
    from safetensors.torch import save

    from landmark_diffusion.core.version import version

    stored = {name: _to_store(name, value) for name, value in weights.items()}
    shapes = {name: list(value.shape) for name, value in stored.items()}
    digest = hashlib.sha256(_behind_header(save(stored))).hexdigest()  # the metadata do not move what is behind it
    facts = replace(facts, tensors=shapes, weights_sha256=digest, package_version=version())
    return facts, save(stored, metadata={FACTS_KEY: facts.to_json()})


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse (UserError) a place for an exported model with another suffix, or where something lies already."""
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: expected a file name that ends in {SUFFIX}")
    refuse_existing(path, overwrite)


def read_facts(path: str | Path) -> ModelFacts:
    """Read the facts alone, without torch and without the weights.

    Raises UserError naming the file where it is missing, cut short, no safetensors file or not one of this package, and
    what ``facts_from_json`` raises; also where the list of weights is not that of the export. A hub folder is read too.
    """
    path = file_of(path)
    header = _read_header(path)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or FACTS_KEY not in metadata:
        raise UserError(
            f"{path}: found a safetensors file without the metadata {FACTS_KEY}: it is no model of `ldx export`"
        )
    facts = facts_from_json(metadata[FACTS_KEY], path)
    found = {name: entry.get("shape") if isinstance(entry, dict) else None for name, entry in header.items()}
    for name in sorted(facts.tensors.keys() | found.keys()):
        wanted, there = facts.tensors.get(name, "absent"), found.get(name, "absent")
        if wanted != there:
            raise UserError(f"{path}: the weight {name} is {there}, expected {wanted}; copy or export the file again")
    return facts


def read_model_file(path: str | Path) -> ModelFile:
    """Read an exported model onto the CPU; nothing in it is run.

    Raises UserError as ``read_facts``, also for weights that are cut short, not finite or not those that were written.
    """
    path = file_of(path)
    facts = read_facts(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
        digest = _digest(path) if facts.weights_sha256 else ""
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: the weights are cut short or damaged ({error}); copy or export it again") from error
    if digest != facts.weights_sha256:
        raise UserError(f"{path}: the weights are not those that were written (weights_sha256); copy the file again")
    for name, value in weights.items():
        if not _is_finite(value):
            raise UserError(f"{path}: the weight {name} holds NaN or infinity; export the model again")
    return ModelFile(facts, weights)


def _behind_header(content: bytes) -> memoryview:
    return memoryview(content)[8 + int.from_bytes(content[:8], "little") :]


def _digest(path: Path) -> str:
    """SHA-256 of the bytes behind the header, read in parts."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def _is_finite(value: torch.Tensor) -> bool:
    import torch

    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _to_store(name: str, value: Any) -> torch.Tensor:
    import torch

    if not isinstance(value, torch.Tensor):
        raise UserError(f"export: found {type(value).__name__} under {name}, expected a tensor")
    if not _is_finite(value):
        raise UserError(f"export: {name} holds values that are not finite: the training went astray; take another one")
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)  # tied weights share no memory then


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise UserError(f"{path}: found {what}, expected a model file ({SUFFIX}) of `ldx export`")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size - 8, MAX_HEADER):
                raise UserError(f"{path}: {_not_safetensors(start, length, size)}")
            return parse_json(file.read(length), path, "the header")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _not_safetensors(start: bytes, length: int, size: int) -> str:
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            "found a pickle or checkpoint under this name and read nothing of it, expected a safetensors file of "
            "`ldx export`"
        )
    if len(start) < 8:
        return f"found {size} bytes, so the file is cut short or no model file; copy or export it again"
    return (
        f"found a file of {size} bytes that claims a header of {length} bytes: it is cut short or no safetensors file; "
        "copy or export it again"
    )
