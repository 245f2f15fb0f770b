"""ModelFacts: what an exported model says about itself, as JSON text and back. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.untrusted import MAX_DEPTH, has_control_characters, repeated
from landmark_diffusion.modelfile.moved_options import with_new_names

FORMAT_VERSION = 2
"""Raised when an older reader would misread a file; fields that it may pass over are added without that.

2: the options of ``model`` are in groups. Files of format 1 are read for good.
"""

DATA_OPTIONS = ("dataset", "size", "resize", "split", "eval_batch_size", "evaluate_on_train", "dataset_options")
"""Options of the data that decide a prediction or which images are measured."""

INTENSITY: dict[str, Any] = {
    "stored": "uint8",
    "divide_by": 255,
    "range": [0.0, 1.0],
    "rule": (
        "Grey values v of b bits become round(v * 255 / (2^b - 1)); b is 8, or what the file says (DICOM), or for "
        "16-bit files the smallest of 8, 10, 12, 14 and 16 that holds the largest value. Colour becomes luminance "
        "(0.299 R + 0.587 G + 0.114 B, alpha ignored). The 8-bit grey image is resized (averaged over areas where it "
        "shrinks, linear where it grows) and divided by 255, so that the network sees float32 in [0, 1]. Nothing is "
        "stretched to the values that an image happens to have."
    ),
}
"""From a file's pixels to the network's input, as data.image_io, data.resize and data.dataset do it."""


@dataclass(frozen=True)
class ModelFacts:
    """Everything beside the weights that a prediction needs, and how the model came about; plain values throughout.

    Attributes:
        class_path: the model's class: the short name of one of this package, such as DiffusionHeatmapModule, or the
            whole path of another, which is asked for leave before it is imported.
        model: its options, ``num_landmarks`` among them.
        landmark_names: N names in the order of the outputs; empty where unknown.
        data: those of ``DATA_OPTIONS``; sizes are (width, height) in network pixels.
        updates: optimiser steps behind the weights.
        seed: of the evaluation (a diffusion's noise is keyed by it), None where unknown.
        length_unit: of the errors: mm, px or px256; None where unknown.
        precision: of the trainer, such as bf16-mixed; None where unknown.
        training: augmentation, batch size and so on, for the reader.
        measured: protocol and figures as in metrics.json; None where nothing was measured.
        calibration: how far to trust the points, as calibration.Calibration.to_dict gives it; None before
            ``ldx calibrate``. Files written before there was such a thing are read as without.
        note: terms of use of the weights.
        package_version: of landmark_diffusion that wrote the file.
        intensity: from a file's pixels to the network's input.
        tensors: shape of each weight by name, so that a missing one is found.
        weights_sha256: of the bytes behind the file's header, in hexadecimal, so that a damaged weight is found; empty
            in files that were written before there was such a thing.
    """

    class_path: str
    model: dict[str, Any]
    landmark_names: tuple[str, ...]
    data: dict[str, Any]
    updates: int
    seed: int | None = None
    length_unit: str | None = None
    precision: str | None = None
    training: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    note: str = ""
    package_version: str = ""
    intensity: dict[str, Any] = field(default_factory=lambda: dict(INTENSITY))
    tensors: dict[str, list[int]] = field(default_factory=dict)
    weights_sha256: str = ""

    @property
    def adapted(self) -> dict[str, Any]:
        """What ``ldx adapt`` wrote of itself; empty for a model that it did not write."""
        found = self.training.get("adapted")
        return found if isinstance(found, dict) else {}

    def trained_splits(self, dataset: str) -> list[str | None]:
        """Splits of a data set whose training part the weights have learned; None: the data set's own default.

        Those of the model that it was adapted from are among them.
        """
        pairs = ((self.training, "dataset", "split"), (self.adapted, "start_dataset", "start_split"))
        return [of.get(split) for of, name, split in pairs if of.get(name) == dataset]

    def config(self) -> dict[str, Any]:
        """Give the config that ``ldx test`` runs the model with: all but the place of the data."""
        init_args = {key: value for key, value in self.model.items() if key != "num_landmarks"}  # the data decides it
        found: dict[str, Any] = {} if self.seed is None else {"seed_everything": self.seed}
        if self.precision is not None:
            found["trainer"] = {"precision": self.precision}
        return {**found, "data": dict(self.data), "model": {"class_path": self.class_path, "init_args": init_args}}

    def to_json(self) -> str:
        """Write it as JSON; raises UserError for a value that JSON does not know."""
        try:
            return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError(f"export: an option or figure is no plain value ({error})") from error


def _kinds(hint: Any) -> tuple[type, ...]:
    """What JSON has for a field with this type."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(list if get_origin(kind) is tuple else get_origin(kind) or kind for kind in kinds)


_TYPES: Mapping[str, tuple[type, ...]] = {name: _kinds(hint) for name, hint in get_type_hints(ModelFacts).items()}
_ADDED_LATER = {"calibration": None, "weights_sha256": ""}
"""Fields that older files of this format lack, with what they stand for there."""


def facts_from_json(text: Any, path: str | Path) -> ModelFacts:
    """Read what ``to_json`` wrote; fields that are not known are passed over.

    Raises UserError naming ``path`` for text that is no JSON, a newer format, a field that is missing or not of its
    kind, and values that no export writes: NaN, infinity, a negative count, a name that is there twice. The file may
    come from anybody: its config can name no file; whether a class elsewhere may be imported is asked later.
    """
    content = parse_json(text, path, "its description (metadata landmark_diffusion)")
    _check_version(content, path)
    content = {**_ADDED_LATER, **content}
    for name, kinds in _TYPES.items():
        if name not in content:
            raise UserError(f"{path}: the description has no field {name!r}; export the model again")
        if not isinstance(content[name], kinds) or isinstance(content[name], bool):
            raise UserError(f"{path}: found {content[name]!r:.60} as {name!r}, expected {_words(kinds)}")
    _check_numbers(content, path)
    names = content["landmark_names"]
    _check_names(names, path)
    if not all(part.isidentifier() for part in content["class_path"].split(".")):
        raise UserError(f"{path}: found class_path {content['class_path']!r:.60}, expected the name of a class")
    unknown = sorted(set(content["data"]) - set(DATA_OPTIONS))
    if unknown:
        raise UserError(f"{path}: found data.{unknown[0]}, expected options among {', '.join(DATA_OPTIONS)}")
    found = {name: content[name] for name in _TYPES} | {"landmark_names": tuple(names)}
    return ModelFacts(**found | {"model": with_new_names(content["class_path"], content["model"])})


def parse_json(text: Any, path: str | Path, what: str) -> dict[str, Any]:
    """Parse a JSON object that came with a file; raises UserError naming the file."""
    try:
        content = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: {what} is no JSON ({str(error).splitlines()[0]}); copy the file again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: {what} is a JSON {type(content).__name__}, expected an object with fields")
    return content


def _check_numbers(content: Mapping[str, Any], path: str | Path) -> None:
    """Refuse NaN and infinity anywhere (JSON's 1e999 is one), counts below 0, and values within values without end."""
    if content["updates"] < 0:
        raise UserError(f"{path}: found {content['updates']} as 'updates', expected a whole number from 0")
    waiting: list[tuple[str, Any, int]] = [(name, content[name], 1) for name in _TYPES]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{path}: found {value} as {name!r:.100}, expected a finite number; export the model again")
        if isinstance(value, (dict, list)) and depth > MAX_DEPTH:
            raise UserError(f"{path}: found more than {MAX_DEPTH} levels in {name!r:.60}, expected plain values")
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{name}.{key}", each, depth + 1) for key, each in inner]


def _check_names(names: list[Any], path: str | Path) -> None:
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: found landmark_names that are no texts")
    if (odd := next(filter(has_control_characters, names), None)) is not None:
        raise UserError(f"{path}: found {odd!r:.60} in landmark_names, expected a name without control characters")
    if (twice := repeated(names)) is not None:
        raise UserError(f"{path}: found {twice!r:.60} twice in landmark_names, expected names of their own")


def _check_version(content: Mapping[str, Any], path: str | Path) -> None:
    found = content.get("format_version")
    if type(found) is not int or found < 1:
        raise UserError(f"{path}: found format_version {found!r:.60}, expected a whole number from 1")
    if found > FORMAT_VERSION:
        from landmark_diffusion.core.version import version

        writer = content.get("package_version", "an unknown version")
        raise UserError(
            f"{path}: written by landmark_diffusion {writer!s:.60} in format {found}; this is landmark_diffusion "
            f"{version()}, which reads up to format {FORMAT_VERSION}: upgrade the package"
        )


def _words(kinds: tuple[type, ...]) -> str:
    words = {str: "a text", dict: "an object", list: "a list", int: "a whole number", type(None): "null"}
    return " or ".join(words[kind] for kind in kinds)
