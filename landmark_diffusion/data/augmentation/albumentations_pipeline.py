"""Pipelines of albumentations: read from a file, a list, a class path or an object, as names of its classes alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import Registry
from landmark_diffusion.core.untrusted import check_harmless

OPTION = "data.recipe_options.pipeline"
EXTRA = "landmark_diffusion[albumentations]"
FILES = (".yaml", ".yml", ".json")
_FULL_NAME = "__class_fullname__"
_OURS = ("keypoint_params", "bbox_params", "additional_targets", "is_check_shapes", "seed")
"""What ``albumentations.save`` writes of a Compose and this package sets itself."""


@lru_cache(maxsize=1)
def load_albumentations() -> ModuleType:
    """Import albumentations, which would ask the network for a newer version; raises UserError where it is absent."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    try:
        import albumentations
    except ImportError as error:
        raise UserError(
            f"recipe albumentations needs albumentations, which cannot be imported ({error}): pip install '{EXTRA}'"
        ) from error
    module: ModuleType = albumentations
    return module


def read_pipeline(pipeline: Any) -> list[Any]:
    """Build the transforms that ``pipeline`` stands for.

    It is the path of a .yaml or .json file; a list of transforms, each a name, ``{name: its options}`` or what
    ``albumentations.save`` writes; the class path of a transform or Compose; or such an object. A name is a class of
    albumentations, or a class path that ``--allow_classes`` allows. Raises UserError for anything else.
    """
    if isinstance(pipeline, str) and Path(pipeline).suffix.lower() in FILES:
        return _build_all(_read_file(Path(pipeline).expanduser()), f"{pipeline}: ")
    return _build_all(pipeline, f"{OPTION}: ")


def leaves(transforms: list[Any]) -> Iterator[Any]:
    """Yield the transforms themselves: what is within Compose, OneOf and the like in place of these."""
    for transform in transforms:
        within = getattr(transform, "transforms", None)
        if within is None:
            yield transform
        else:
            yield from leaves(list(within))


def _read_file(path: Path) -> Any:
    import yaml

    if not path.is_file():
        raise UserError(f"{OPTION}: {path}: no file there (current folder: {Path.cwd()})")
    check_harmless(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is yaml too
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no yaml: {' '.join(str(error).split())}") from error


def _build_all(spec: Any, where: str) -> list[Any]:
    if isinstance(spec, dict) and "transform" in spec:  # as albumentations.save writes it, beside the version
        spec = spec["transform"]
    specs = list(spec) if isinstance(spec, (list, tuple)) else [spec]
    built = [_build(each, where) for each in specs]
    if not built:
        raise UserError(f"{where}found no transform, expected at least one, such as `- Rotate: {{limit: 5}}`")
    for leaf in leaves(built):
        if unknown := getattr(leaf, "invalid_args", None):
            raise UserError(f"{where}{type(leaf).__name__} has no option {', '.join(map(str, unknown))}")
    return built


def _build(spec: Any, where: str) -> Any:
    """Build one transform, and those within it."""
    if isinstance(spec, _kinds()):
        return spec
    name, options = _name_and_options(spec, where)
    if "transforms" in options:
        options["transforms"] = _build_all(options["transforms"], where)
    cls = _registry(where.removesuffix(": ")).load(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of options that are not known: an error of ours
            return cls(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}{name}: {_in_short(error)}") from error


def _in_short(error: Exception) -> str:
    """The library checks options with pydantic, whose errors are pages; else the error's own words."""
    errors = getattr(error.__cause__, "errors", None)
    if errors is None:
        return " ".join(str(error).split())
    return "; ".join(f"{each['loc'][0] if each['loc'] else 'options'}: {each['msg']}" for each in errors())


def _name_and_options(spec: Any, where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, dict) and isinstance(spec.get(_FULL_NAME), str):
        return spec[_FULL_NAME], {key: value for key, value in spec.items() if key not in (_FULL_NAME, *_OURS)}
    if isinstance(spec, dict) and len(spec) == 1:
        ((name, options),) = spec.items()
        if isinstance(name, str) and (options is None or isinstance(options, dict)):
            return name, dict(options or {})
    raise UserError(
        f"{where}found {spec!r:.80}, expected a transform: its name, or its name with options, such as "
        "`Rotate: {limit: 5, p: 0.5}`"
    )


def _kinds() -> tuple[type[Any], ...]:
    library = load_albumentations()
    return library.BasicTransform, library.BaseCompose


def _registry(where: str) -> Registry:
    """The transforms of the library by name; other packages may bring more."""
    return Registry(
        what="transform",
        option=where,
        group="landmark_diffusion.transforms",
        base="albumentations.core.serialization:Serializable",
        built_in={name: f"albumentations:{name}" for name in _names()},
    )


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    known = vars(load_albumentations()).items()
    return tuple(name for name, value in known if isinstance(value, type) and issubclass(value, _kinds()))
