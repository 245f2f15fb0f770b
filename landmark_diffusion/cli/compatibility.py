"""Does a checkpoint fit the config's network, landmarks and data? Differences are refused by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import dotted, plain_options
from landmark_diffusion.core.say import say
from landmark_diffusion.hardware.precision import AUTO, FULL
from landmark_diffusion.methods import name_in_files
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.model_file import FACTS_KEY
from landmark_diffusion.training.folder import CONFIG

VERSION_KEY = "pytorch-lightning_version"
INTERNAL = ("_instantiator", "_class_path")
DATA_THAT_MATTERS = ("size", "resize")
"""Options of the data that a network was trained for; another value measures something else."""

FREE = ("decoding.", "sampling.", "joint.", "voting.voters", "voting.spread",
        "network.init_args.gradient_checkpointing", "network.init_args.channels_last")  # fmt: skip
"""Options of sampling, decoding, the joint first guess and memory: the weights do not depend on them, so the config
wins."""

LOSS = (
    *("target.", "noise.draws", "network.init_args.dropout", "network.init_args.prior"),
    *("pretrained", "weights", "keep_head", "landmark_map", "window_weight", "orientation.steps"),
    *("window_pretrained", "ddpm_start.", "alignment.", "condition.dropped"),
    *("views.", "chunk", "contrast.temperature", "contrast.momentum", "distillation.momentum", "voting.disc_weight"),
    *(f"distillation.local_{each}" for each in ("views", "crop", "size")),
    *(f"distillation.{each}" for each in ("student_temperature", "teacher_temperature", "balance", "centre_momentum")),
)
"""Options that shaped the weights but act in training alone: told when measuring, followed when resuming."""

OPTIMISER = ("optimisation.", "encoder_rate")
"""Options whose state lies in the checkpoint: a resumed run would silently keep the old value, so it is refused."""

WITHOUT_SAYING: dict[str, Any] = {"orientation.learn": False}
"""What holds where a checkpoint does not say it."""

DECIDES = ("target.loss",)
"""Options of these groups that also decide what the network's output means."""


@dataclass(frozen=True)
class CheckpointContent:
    """What a checkpoint says about itself, without its weights.

    Attributes:
        path: the file.
        hparams: the model's options as they were trained.
        class_path: the model's class, dotted; empty where unknown.
        landmark_names: N names; empty where unknown.
        data: the config's data section.
        shapes: each weight's shape by name.
        precision: that it was trained in, or is to be measured in; None where unknown.
        threads: that it was trained with; None where unknown.
    """

    path: Path
    hparams: dict[str, Any] = field(default_factory=dict)
    class_path: str = ""
    landmark_names: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    precision: str | None = None
    threads: int | None = None


def read_content(path: Path, for_trainer: bool = False) -> CheckpointContent:
    """Read what a checkpoint says about itself; raises UserError for a file that is no whole checkpoint.

    With ``for_trainer`` also for one without the mark that Lightning's Trainer asks for when it loads it.
    """
    content = read_checkpoint(path)
    if for_trainer and VERSION_KEY not in content:
        raise UserError(f"{path}: found no version of Lightning in it, expected a checkpoint of `ldx fit`")
    hparams = dict(content.get("hyper_parameters") or {})
    facts = content.get(FACTS_KEY) or {}
    return CheckpointContent(
        path=path,
        hparams={key: value for key, value in hparams.items() if key not in INTERNAL},
        class_path=str(hparams.get("_class_path", "")),
        landmark_names=tuple(facts.get("landmark_names", ())),
        data=dict(facts.get("data", {})),
        shapes={name: tuple(value.shape) for name, value in content["state_dict"].items()},
        precision=facts.get("precision") or _precision_of_run(path),
        threads=facts.get("threads"),
    )


def _precision_of_run(path: Path) -> str | None:
    """Return the precision in a run's config.yaml: checkpoints did not always say it themselves."""
    from landmark_diffusion.export.gather import find_run, read_config

    run = find_run(path)
    if run is None or not (run / CONFIG).is_file():
        return None
    try:
        trainer = read_config(run / CONFIG).get("trainer")
    except UserError:  # whoever needs the file itself says what is wrong with it
        return None
    found = str((trainer or {}).get("precision") or FULL) if isinstance(trainer, dict) else None
    return None if found == AUTO else found


def check_compatible(
    content: CheckpointContent, model: LightningModule, data: LightningDataModule | None, resume: bool
) -> None:
    """Refuse a checkpoint that is not of this network, method or set of landmarks, naming every difference.

    ``resume`` also refuses other options of the optimiser. Options of sampling and decoding are the config's to choose.
    Differences that change nothing but may surprise are told as one warning.
    """
    _arrange_landmarks(content, data)
    differences = _differences(content, model)
    refused = {k: v for k, v in differences.items() if not _among(k, (*FREE, *LOSS, *OPTIMISER))}
    if resume:
        refused |= {k: v for k, v in differences.items() if _among(k, OPTIMISER)}
    if refused:
        raise UserError(_refusal(content, refused, resume))
    _check_shapes(content, model)
    told = {k: v for k, v in differences.items() if _among(k, (*LOSS, *OPTIMISER))}
    told |= {f"data.{k}": v for k, v in _data_differences(content, data).items()}
    if told:
        rank_zero_warn(f"{content.path} was trained with other options than the config's:\n{_listed(told)}")


def _arrange_landmarks(content: CheckpointContent, data: LightningDataModule | None) -> None:
    """Put the data's landmarks in the checkpoint's order by name, or refuse them."""
    count, names = getattr(data, "num_landmarks", None), tuple(getattr(data, "landmark_names", ()))
    trained = content.hparams.get("num_landmarks", len(content.landmark_names) or None)
    if trained is not None and count is not None and trained != count:
        raise UserError(
            f"{content.path} finds {trained} landmarks{_named(content.landmark_names)}; "
            f"the data has {count}{_named(names)}. Take the checkpoint of this data, or the data of that checkpoint."
        )
    arrange = getattr(data, "arrange", None)
    if arrange is not None and (note := arrange(content.landmark_names, str(content.path))):
        say(note)


def _among(option: str, kinds: Sequence[str]) -> bool:
    """Whether an option is one of ``kinds``, which name single options, or groups by a dot at their end."""
    name = re.sub(r"^\w+_network\.", "network.", option)  # a method's further networks are like its first
    return name not in DECIDES and any(name == kind or (kind[-1] == "." and name.startswith(kind)) for kind in kinds)


def _differences(content: CheckpointContent, model: LightningModule) -> dict[str, tuple[Any, Any]]:
    """Options whose values differ, as option -> (checkpoint's, config's); an option that one of them lacks is left."""
    before, now = (
        WITHOUT_SAYING
        | {key: name_in_files(value) if key.endswith(".class_path") else value for key, value in dotted(each).items()}
        for each in (content.hparams, {key: value for key, value in model.hparams.items() if key not in INTERNAL})
    )
    differences = {key: (before[key], now[key]) for key in before if key in now and before[key] != now[key]}
    name, trained = type(model).__name__, content.class_path.rsplit(".", 1)[-1]
    return {"class_path": (trained, name), **differences} if trained and trained != name else differences


def _data_differences(content: CheckpointContent, data: LightningDataModule | None) -> dict[str, tuple[Any, Any]]:
    return {
        key: (content.data[key], getattr(data, key))
        for key in DATA_THAT_MATTERS
        if key in content.data
        and hasattr(data, key)
        and plain_options(content.data[key]) != plain_options(getattr(data, key))
    }


def _check_shapes(content: CheckpointContent, model: LightningModule) -> None:
    from landmark_diffusion.finders.joint_guess import PRIOR_WEIGHTS

    now = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(content.shapes.keys() | now.keys()):
        trained, built = content.shapes.get(name, "absent"), now.get(name, "absent")
        if trained != built and not (trained == "absent" and name.startswith(PRIOR_WEIGHTS)):
            raise UserError(
                f"{content.path} holds another network than the config's (their options agree, so perhaps another "
                f"version of the package trained it): {name} is {trained} there and {built} here"
            )


def _refusal(content: CheckpointContent, refused: dict[str, tuple[Any, Any]], resume: bool) -> str:
    way = "continue" if resume else "measure"
    also = " (--overwrite true or --run_folder begins a new run)" if resume else ""
    return (
        f"{content.path} does not fit the config:\n{_listed(refused)}\n"
        f"To {way} it, give these options the checkpoint's values{also}."
    )


def _listed(differences: dict[str, tuple[Any, Any]]) -> str:
    lines = []
    for key, (trained, now) in sorted(differences.items()):
        option = key if key.startswith("data.") else f"model.{'' if key == 'class_path' else 'init_args.'}{key}"
        lines.append(f"  {option}: {plain_options(trained)} in the checkpoint, {plain_options(now)} in the config")
    return "\n".join(lines)


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f" ({shown})" if names else ""
