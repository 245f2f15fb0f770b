"""A network by class path: the written interface that any ``nn.Module`` may keep, how one is named and how it is built.

The interface (docs/architecture.md, "A network"):

- ``__init__(in_channels, out_channels, ...)``; with ``time_embedding`` if it can take steps t, with
  ``condition_channels`` if it can take a vector that each image is conditioned on. Its own options have defaults.
- ``forward(x)``, ``forward(x, t)`` or ``forward(x, t, condition)``: x (B, in_channels, H, W) of any height and width,
  t (B,) and condition (B, condition_channels) where it was built with them, to (B, out_channels, H, W). t may be None
  for "no step" (fine-tuning, ``null_time: zero``).
- ``head``, ``stem`` and ``condition_layer``, if weights are to be handed on: the names of the layers whose shapes
  ``out_channels``, ``in_channels`` and ``condition_channels`` decide. ``encoder_parameters()``, if the encoder is to
  have a learning rate of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group, plain_options
from landmark_diffusion.core.registry import Registry, is_ours, resolve
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.core.texts import one_line

NetworkFactory = Callable[[int, int], nn.Module]
"""What a method is given: a class, a ``functools.partial`` of one, or {"class_path": NAME, "init_args": {...}}."""

NETWORKS = Registry(
    what="network",
    option="model.network.class_path",
    group="landmark_diffusion.networks",
    base="torch.nn:Module",
    built_in={
        "UNet": "landmark_diffusion.models.unet:UNet",
        "DenseNetUNet": "landmark_diffusion.models.densenet:DenseNetUNet",
        "ResNetUNet": "landmark_diffusion.models.resnet:ResNetUNet",
        "EfficientNetLiteUNet": "landmark_diffusion.models.efficientnet_lite:EfficientNetLiteUNet",
        "AFPF": "landmark_diffusion.models.afpf:AFPF",
        "GU2Net": "landmark_diffusion.models.gu2net:GU2Net",
    },
)
"""What ``model.network.class_path`` knows by a short name; a class path of one's own does as well."""


def import_networks() -> None:
    """Import every network of this package, so that each is known by its short class name."""
    for place in NETWORKS.built_in.values():
        resolve(place)


GIVEN = ("in_channels", "out_channels", "time_embedding", "condition_channels")
"""Options of a network that the method decides."""


def described(network: Any, default: Any = None, where: str = "model.network") -> Any:
    """Write a network as files keep it: {"class_path", "init_args"}, all of its options with their values.

    What a mapping does not say is as in ``default``, another one, where both name one class. Raises UserError for what
    is no network class, lacks the interface, or does not know an option.
    """
    cls, _, options = _checked(network, default, where)
    return {"class_path": _name_in_files(cls), "init_args": plain_options(options)}


def _checked(
    network: Any, default: Any, where: str
) -> tuple[type[nn.Module], Mapping[str, inspect.Parameter], dict[str, Any]]:
    """The class, what its constructor takes, and all of its own options with their values."""
    cls, options = _class_and_options(network, where)
    if isinstance(network, Mapping) and default is not None:
        usual, below = _class_and_options(default, where)
        options = {**below, **options} if usual is cls else options
    parameters = _parameters(cls, where)
    known = {name: each.default for name, each in parameters.items() if name not in GIVEN}
    for name, value in options.items():
        if name in GIVEN and name in parameters:  # a config that lists all options has the class's own value here
            if value != parameters[name].default:
                raise UserError(f"{where}: {name} is decided by the method; leave it out")
            continue
        if name not in known:
            raise UserError(f"{where}: unknown option {name!r:.60} of {cls.__name__}.{did_you_mean(name, [*known])}")
    values = {name: value for name, value in known.items() if value is not inspect.Parameter.empty}
    values |= {name: value for name, value in options.items() if name in known}
    if missing := known.keys() - values.keys():
        raise UserError(f"{where}: {cls.__name__} needs a value for {', '.join(sorted(missing))}")
    return cls, parameters, values


def build_network(
    network: Any,
    in_channels: int,
    out_channels: int,
    time_embedding: bool = False,
    condition_channels: int = 0,
    where: str = "model.network",
) -> nn.Module:
    """Build a network of the interface above. Raises UserError for one that cannot take what the method has to give."""
    cls, parameters, options = _checked(network, None, where)
    asked = {"time_embedding": time_embedding, "condition_channels": condition_channels}
    for name, value in asked.items():
        if value and name not in parameters:
            what = "steps t" if name == "time_embedding" else "a condition"
            raise UserError(
                f"{where}: {cls.__name__} cannot be used by this method, which gives its network {what}: the "
                f"constructor takes no {name} (docs/architecture.md says what a network has to keep)"
            )
    taken = {name: value for name, value in asked.items() if name in parameters}
    values = {name: _value(parameters[name].default, value, f"{where}.{name}") for name, value in options.items()}
    try:
        built: nn.Module = cls(in_channels=in_channels, out_channels=out_channels, **taken, **values)
    except (UserError, RuntimeError):
        raise
    except Exception as error:
        if is_ours(cls.__module__):
            raise
        raise UserError(
            f"{where}: {cls.__name__} cannot be built: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not is_ours(cls.__module__):
        built.register_forward_hook(partial(_check_output, where, out_channels))
    return built


def _value(usual: Any, value: Any, where: str) -> Any:
    """An option as the constructor takes it: a tuple, and a dataclass where its default is one."""
    if is_dataclass(usual) and not isinstance(usual, type):
        return as_group(type(usual), value, where, usual)
    return tuple(value) if isinstance(value, list) else value


def _check_output(where: str, channels: int, network: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    """Refuse what is no map of each landmark in the input's size, by name: it would be misread further on."""
    expected = (len(inputs[0]), channels, *inputs[0].shape[-2:])
    given = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    if given != expected and not torch.compiler.is_compiling():
        raise UserError(
            f"{where}: {type(network).__name__} gave {given}, expected a tensor {expected}: batch, maps, height, width"
        )


def _class_and_options(network: Any, where: str) -> tuple[type[nn.Module], dict[str, Any]]:
    if isinstance(network, Mapping):
        unknown = network.keys() - {"class_path", "init_args"}
        name, options = network.get("class_path"), network.get("init_args") or {}
        if unknown or not isinstance(name, str) or not isinstance(options, Mapping):
            raise UserError(f"{where}: found {dict(network)!r:.80}, expected class_path: NAME with init_args: below it")
        return NETWORKS.load(name), dict(options)
    if isinstance(network, type) and issubclass(network, nn.Module):
        return network, {}
    by_position = isinstance(network, partial) and isinstance(network.func, type) and network.args
    if isinstance(network, partial) and not by_position:  # jsonargparse's has the class as an argument of its function
        classes = [each for each in (network.func, *network.args) if isinstance(each, type)]
        if len(classes) == 1 and issubclass(classes[0], nn.Module):
            return classes[0], dict(network.keywords)
    raise UserError(
        f"{where}: found {one_line(repr(network)):.80}, expected a class, a functools.partial of one, or "
        "class_path and init_args: a checkpoint has to name it"
    )


def _parameters(cls: type[nn.Module], where: str) -> Mapping[str, inspect.Parameter]:
    """Options of the constructor by name; asked before the class is called, which a stranger's file may have named."""
    found = inspect.signature(cls).parameters
    if missing := [name for name in ("in_channels", "out_channels") if name not in found]:
        raise UserError(
            f"{where}: {cls.__name__} is no network for landmarks: its constructor takes no {' and no '.join(missing)} "
            "(docs/architecture.md says what a network has to keep)"
        )
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: each for name, each in found.items() if each.kind in kinds}


def _name_in_files(cls: type[nn.Module]) -> str:
    path = f"{cls.__module__}.{cls.__qualname__}"
    return cls.__name__ if is_ours(cls.__module__) and cls.__name__ in NETWORKS.built_in else path
