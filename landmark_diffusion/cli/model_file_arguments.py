"""``ldx test x.ldx``: an exported model as an argument stands for its config and its weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from landmark_diffusion.cli.arguments import positions
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.hub_folder import is_hub_folder
from landmark_diffusion.modelfile.model_file import file_of, is_model_file, read_facts

_FOLDER = "ldx_model_"


@contextmanager
def expanded_model_file(verb: str, arguments: list[str]) -> Iterator[list[str]]:
    """Yield the arguments of test, validate or predict with ``x.ldx`` replaced by its config and ``--ckpt_path x.ldx``.

    The config comes first, so that further configs and options override it. It is a file while the block runs, so that
    options and processes of several devices find it as any other config. Without such an argument they are yielded as
    they are. Raises UserError for a file that is no whole model or asks for a network much larger than its weights, for
    two of them, and for fit.
    """
    named = [place for place in positions(arguments) if is_model_file(arguments[place])]
    places = [place for place in named if not Path(arguments[place]).is_dir() or is_hub_folder(arguments[place])]
    if not places:
        yield arguments
        return
    path = arguments[places[0]]
    if verb == "fit":
        raise refuse_training(path)
    rest = [argument for place, argument in enumerate(arguments) if place != places[0]]
    if len(places) > 1 or any(argument.partition("=")[0] == "--ckpt_path" for argument in rest):
        raise UserError(f"ldx {verb}: found {path} beside another model or --ckpt_path, expected one of them")
    facts = read_facts(path)
    _check_network(facts, path)
    with tempfile.TemporaryDirectory(prefix=_FOLDER) as folder:
        config = Path(folder) / f"{Path(path).stem}.yaml"
        config.write_text(yaml.safe_dump(_config(facts), sort_keys=False), encoding="utf-8")
        try:
            yield ["--config", str(config), "--ckpt_path", path, *rest]
        except UserError as error:
            if str(config) not in str(error):
                raise
            raise UserError(str(error).replace(str(config), f"{path} (the config in it)")) from error


def _config(facts: ModelFacts) -> dict[str, Any]:
    """Give the file's config, where the machine may choose another precision if it computes the file's in software."""
    found = facts.config()
    if facts.precision is not None:
        found["trainer"]["precision"] = "auto"
    return found


def as_typed(arguments: list[str]) -> list[str]:
    """Undo ``expanded_model_file`` in the process's arguments, for a command that the reader can repeat."""
    verb, inserted, rest = arguments[:1], arguments[1:5], arguments[5:]
    if len(inserted) == 4 and inserted[0] == "--config" and Path(inserted[1]).parent.name.startswith(_FOLDER):
        return [*verb, inserted[3], *rest]
    return arguments


def refuse_training(path: str | Path) -> UserError:
    """Give the refusal to train from an exported model."""
    return UserError(
        f"ldx fit: {path} is an exported model: it holds the weights of a prediction and no state of the optimiser, so "
        "no training can go on from it. Continue from its run's checkpoint (`--ckpt_path last`), or begin a new run"
    )


def _check_network(facts: ModelFacts, path: str) -> None:
    """Refuse a class that may not be imported, and a network much larger than the file, before either is built."""
    from landmark_diffusion.detection.model import find_method
    from landmark_diffusion.modelfile.network_size import check_network_size

    method = find_method(facts.class_path, path)
    check_network_size(method, facts.model, file_of(path).stat().st_size // 2, path)  # a weight has 2 bytes or more
