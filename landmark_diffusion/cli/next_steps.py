"""What ``ldx fit`` says at its end: where the model is, how good, and the commands that come next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.configuration.options import Options, arguments, config_options
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.splits import FEW_TESTED, few_tested
from landmark_diffusion.methods import name_in_files
from landmark_diffusion.modelfile.model_file import SUFFIX
from landmark_diffusion.models.network import GIVEN
from landmark_diffusion.training.folder import BEST, LAST, RunFolder

_PRETRAINING = re.compile(r"(ddpm|mocov3|simclrv2|dino)_pretrain(?=_|\.)")
_OF_DIFFUSION = re.compile(r"ddpm_pretrain_(coarse|windows)(?=_|\.)")
"""Pre-trainings of the default method's two networks."""
NETWORK, WEIGHTS, RANGE = (f"model.init_args.{name}" for name in ("network.", "weights", "image_range"))
KIND = f"{NETWORK}class_path"
CUT = tuple(f"model.init_args.windows.{name}" for name in ("size", "patch", "reach", "wide"))
"""How windows are cut: fine-tuning cuts them as they were learned."""
OF_DATASET = "data.dataset_options."
SHARED = (
    *(f"data.{name}" for name in ("dataset", "root", "split", "size", "resize", "cache_folder", "landmark_names")),
    OF_DATASET, NETWORK,
)  # fmt: skip
"""Options that pre-training and fine-tuning have in common, or what these begin with: which images, and the network."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: optimiser steps.
        monitor, score, score_step: the metric that chose the best checkpoint, its value, and when; None without one.
        unit: of an error that the metric is; empty where it is none.
        validated, tested: images of these parts.
        landmarks: whether the method finds any.
        own_images: whether they are a folder of the user's, which cross-validation takes.
        averaged: whether a moving average of the weights was kept.
    """

    steps: int
    monitor: str
    score: float | None
    score_step: int | None
    unit: str
    validated: int
    tested: int
    landmarks: bool
    own_images: bool = False
    averaged: bool = True


def next_steps(
    run: RunFolder, trained: Trained, configs: Iterable[Path] = (), given: Sequence[Options] = ()
) -> list[str]:
    """Give the lines for people.

    ``configs`` are those of the training; ``given`` the options in each of them and, last, of the command line.
    """
    lines = [f"fit: {_where(run, trained)}"]
    if trained.landmarks and 0 < trained.tested < FEW_TESTED and trained.own_images:
        lines.append(f"fit: {few_tested(trained.tested)}")
    commands = (
        _commands(run, trained) if trained.landmarks else [_fine_tuning(run, trained.averaged, list(configs), given)]
    )
    width = max(len(command) for command, _ in commands)
    return [*lines, "next:", *(f"  {command:<{width}}  # {why}" for command, why in commands)]


def _where(run: RunFolder, trained: Trained) -> str:
    best, last = run.checkpoints / BEST, run.checkpoints / LAST
    if trained.score is not None and best.is_file():
        figure = f"{trained.monitor} {trained.score:.4g} {trained.unit}".rstrip()
        return f"the best weights are {best} ({figure} at step {trained.score_step} of {trained.steps})"
    why = "no validation came before the end" if trained.validated else "the split has no validation images"
    return f"the weights of step {trained.steps} are {last} ({why}, so none were chosen as the best)"


def _commands(run: RunFolder, trained: Trained) -> list[tuple[str, str]]:
    folder = shlex.quote(str(run.path))
    checkpoint = run.checkpoints / (BEST if (run.checkpoints / BEST).is_file() else LAST)
    model = shlex.quote(f"{run.path.resolve().name}{SUFFIX}")
    pictures = f"table and pictures of {counted(trained.tested, 'test image')}"
    test = [(f"ldx test {folder}", pictures)] if trained.tested else []
    export = (f"ldx export {shlex.quote(str(checkpoint))} {model}", "one file to use and hand over")
    return [*test, export, (f"ldx detect IMAGES --model {model}", "landmarks of new images")]


def _fine_tuning(run: RunFolder, averaged: bool, configs: Sequence[Path], given: Sequence[Options]) -> tuple[str, str]:
    known = {path.name: path for path in installed_configs()}
    fitting = [
        _PRETRAINING.sub("finetune", _OF_DIFFUSION.sub("diffusion", path.name))
        for path in configs
        if _PRETRAINING.search(path.name)
    ]
    config = next((name for name in fitting if name in known), "FINETUNE.yaml")
    there = config_options([known[config]]) if config in known else {}
    start = shlex.quote(str(run.checkpoints / LAST))
    trained = _merged(given)
    same = {key: value for key, value in _users(configs, given).items() if there.get(key) != value}
    if trained.get("data.dataset") == "pooled":  # one of its sets is what is labelled
        same = {key: value for key, value in same.items() if not key.startswith("data.")}
    if network := _other_network(trained, there):
        same = {key: value for key, value in same.items() if not key.startswith(NETWORK)} | network
    if RANGE in trained and trained[RANGE] != there.get(RANGE):
        same[RANGE] = trained[RANGE]
    if not averaged and there.get(WEIGHTS, "ema") == "ema":
        same[WEIGHTS] = "raw"
    option = "--model.pretrained"
    of_diffusion = there.get("model.class_path") == "PositionDiffusionModule"
    windows = bool(trained.get("model.init_args.windows.count"))
    if of_diffusion and not windows:  # the first network sees another size than the method's
        same.pop("data.size", None)
    if windows:
        config = config if of_diffusion else "DIFFUSION.yaml"
        option = "--model.window_pretrained"
        same = {key.replace(".network.", ".window_network."): value for key, value in same.items()}
        same |= {key: trained[key] for key in CUT if key in trained and trained[key] != there.get(key)}
    command = f"ldx fit --config {config} {option} {start} {shlex.join(arguments(same))}"
    return command.rstrip(), "fine-tune on labelled images"


def _merged(given: Sequence[Options]) -> Options:
    """Options of all layers, the last ones winning; another class of network leaves the earlier one's behind."""
    merged: Options = {}
    for options in given:
        kind = options.get(KIND, options.get(NETWORK.removesuffix(".")))
        if isinstance(kind, str):
            before = merged.get(KIND)
            merged = {key: value for key, value in merged.items() if not key.startswith(NETWORK) or _same(kind, before)}
            merged[KIND] = kind
        merged |= {key: value for key, value in options.items() if key != NETWORK.removesuffix(".")}
    return merged


def _same(one: object, other: object) -> bool:
    return name_in_files(str(one)) == name_in_files(str(other))


def _other_network(trained: Options, there: Options) -> Options:
    """Options that put the network that was trained in place of the fine-tuning's, if it is another; class first."""
    kind, other = (each.get(KIND, "UNet") for each in (trained, there))
    if _same(kind, other) or KIND not in there:
        return {}
    found = {key: value for key, value in trained.items() if key.startswith(NETWORK)}
    found = {key: value for key, value in found.items() if key.rpartition(".")[2] not in GIVEN}
    of_time = {} if _same(kind, "UNet") else {"model.init_args.null_time": "removed"}
    return {KIND: kind, **found, **of_time}


def _users(configs: Sequence[Path], given: Sequence[Options]) -> Options:
    """Options that the user gave, in own configs or on the command line, and that fine-tuning shares."""
    shipped = {path.resolve() for path in installed_configs()}
    own: Options = {}
    for path, options in zip_longest(configs, given):
        if path is None or path.resolve() not in shipped:
            own |= options or {}
    return {key: value for key, value in own.items() if key.startswith(SHARED) and key.rpartition(".")[2] not in GIVEN}
