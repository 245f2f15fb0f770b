"""Options that have no effect beside another one: told in one line, or refused where the two contradict each other.

A value counts as given where it differs from the default: a run's own config.yaml holds all options, and what stands
there as the default is no loss.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from landmark_diffusion.cli.parser_errors import find_key
from landmark_diffusion.configuration.config_checks import GROUPS
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import dotted
from landmark_diffusion.core.registry import is_ours
from landmark_diffusion.methods import METHODS
from landmark_diffusion.models.network import described
from landmark_diffusion.models.presets import is_network


class Rule(NamedTuple):
    """Where ``when`` holds, ``why`` says it, and ``options`` are not used."""

    when: Callable[[Mapping[str, Any]], bool]
    why: str
    options: tuple[str, ...]


OF_VERBS = {
    **dict.fromkeys(("overwrite", "snapshots", "snapshot_every", "keep_snapshots", "max_bad_steps"), ("fit",)),
    "protocols": ("validate", "test"),
    "pictures": ("test",),
}
"""The run's own options that only some verbs use."""

_WITHOUT_SIGMA = ("one_hot", "subpixel")
_COMMON = (
    Rule(lambda o: o["optimisation.lr_schedule"] != "plateau", "optimisation.lr_schedule is not plateau",
         ("optimisation.plateau_factor", "optimisation.plateau_patience")),
    Rule(lambda o: o.get("network.init_args.attention_head_channels") is not None,
         "network.attention_head_channels is given", ("network.init_args.attention_heads",)),
)  # fmt: skip
_FOUND = (
    Rule(lambda o: o["decoding.decoder"] != "local_centroid", "decoding.decoder is not local_centroid",
         ("decoding.radius",)),
    Rule(lambda o: o["decoding.decoder"] != "top_k", "decoding.decoder is not top_k", ("decoding.top_k",)),
    Rule(lambda o: o["pretrained"] is None and o.get("window_pretrained") is None, "pretrained is not given",
         ("weights",)),
)  # fmt: skip
_COSINE = Rule(lambda o: o["noise.schedule"] == "cosine", "noise.schedule is cosine",
               ("noise.beta_start", "noise.beta_end"))  # fmt: skip
_OF_THE_CHAIN = (
    "noise.", "parameterisation", "sampling.", "target.x0", "target.x0_sigma", "target.nll_weight",
    "target.mse_weight", "target.channel_dropout",
)  # fmt: skip
MODELS = {
    "DiffusionHeatmapModule": (
        Rule(lambda o: not o["diffusion"], "diffusion is false", _OF_THE_CHAIN),
        Rule(lambda o: o["diffusion"] and o["sampling.sampler"] == "ddpm", "sampling.sampler is ddpm",
             ("sampling.eta",)),
        Rule(lambda o: o["parameterisation"] != "x0", "parameterisation is not x0",
             ("sampling.x0_from", "target.nll_weight", "target.mse_weight")),
        Rule(lambda o: o["target.x0"] in _WITHOUT_SIGMA, "target.x0 is one point", ("target.x0_sigma",)),
        Rule(lambda o: o["target.nll"] in _WITHOUT_SIGMA, "target.nll is one point", ("target.nll_sigma",)),
        Rule(lambda o: not o["sampling.blur_sigma_max"], "sampling.blur_sigma_max is 0",
             ("sampling.blur_sigma_min", "sampling.blur_kernel", "sampling.renormalise")),
        _COSINE, *_FOUND, *_COMMON,
    ),
    "PositionDiffusionModule": (
        Rule(lambda o: not o["sampling.start_noise"] and not o["sampling.eta"],
             "sampling.start_noise and eta are 0, so that all chains are alike", ("sampling.samples",)),
        Rule(lambda o: o["pretrained"] is None and o["window_pretrained"] is None, "pretrained is not given",
             ("ddpm_start.",)),
        *_FOUND, *_COMMON,
    ),
    "HeatmapFinetuneModule": (
        Rule(lambda o: o["pretrained"] is None, "pretrained is not given", ("keep_head",)),
        Rule(lambda o: o["target.kind"] in _WITHOUT_SIGMA, "target.kind is one point", ("target.sigma",)),
        *_FOUND, *_COMMON,
    ),
    "DDPMPretrainModule": (
        Rule(lambda o: o["sampling.every"] <= 0, "sampling.every is 0",
             ("sampling.count", "sampling.statistics_count")),
        Rule(lambda o: not o["condition.sets"], "condition.sets names none", ("condition.dropped",)),
        Rule(lambda o: not o["alignment.weight"], "alignment.weight is 0", ("alignment.",)),
        Rule(lambda o: not o["windows.count"], "windows.count is 0", ("windows.",)),
        _COSINE, *_COMMON,
    ),
    "ContrastivePretrainModule": (
        Rule(lambda o: o["contrast.kind"] == "simclr_v2", "contrast.kind is simclr_v2",
             ("contrast.momentum", "contrast.predictor_layers")),
        *_COMMON,
    ),
    "DINOPretrainModule": (
        Rule(lambda o: not o["distillation.local_views"], "distillation.local_views is 0",
             ("distillation.local_crop", "distillation.local_size")),
        *_COMMON,
    ),
}  # fmt: skip
"""Options of the methods, by the name of the class."""

RUN = (
    Rule(lambda o: o["trainer.fast_dev_run"] or o["trainer.barebones"], "fast_dev_run and barebones keep nothing",
         ("snapshots", "snapshot_every", "overwrite", "wandb")),
    Rule(lambda o: o["trainer.enable_checkpointing"] is False, "trainer.enable_checkpointing is false",
         ("snapshots", "snapshot_every")),
    Rule(lambda o: o["snapshot_every"] == 0, "snapshot_every is 0", ("keep_snapshots",)),
    Rule(lambda o: o["trainer.gradient_clip_val"] is None, "trainer.gradient_clip_val is not given",
         ("trainer.gradient_clip_algorithm",)),
    Rule(lambda o: bool(o["trainer.overfit_batches"]), "trainer.overfit_batches goes before them",
         ("trainer.limit_train_batches", "trainer.limit_val_batches")),
)  # fmt: skip
"""Options of the run and the trainer."""

_DEFAULTS: dict[str, Any] = {
    "snapshots": [], "snapshot_every": 0, "overwrite": False, "wandb": "disabled", "keep_snapshots": 5,
    "trainer.fast_dev_run": False, "trainer.barebones": False, "trainer.enable_checkpointing": None,
    "trainer.gradient_clip_val": None, "trainer.gradient_clip_algorithm": None, "trainer.overfit_batches": 0.0,
    "trainer.limit_train_batches": None, "trainer.limit_val_batches": None,
}  # fmt: skip


def refuse_contradictions(verb: str, options: Mapping[str, Any]) -> None:
    """Refuse what cannot both be meant; ``options`` are the parsed ones of ``verb``."""
    trainer, data = options["trainer"], options.get("data") or {}
    if options["wandb"] != "disabled" and trainer.get("logger") is not None:
        raise UserError(
            f"{find_key('trainer.logger')}--wandb {options['wandb']} and trainer.logger: give one of the two; --wandb "
            "adds Weights & Biases to the curves, trainer.logger takes the place of both"
        )
    if verb == "fit" and options.get("ckpt_path") and (trainer.get("fast_dev_run") or trainer.get("barebones")):
        raise UserError("--ckpt_path and trainer.fast_dev_run (or barebones), which begins afresh: give one of the two")
    if data.get("split") is not None:
        _check_split(data)
    model = options.get("model") or {}
    given = model.get("init_args") or {}
    for name in GROUPS if is_ours(str(model.get("class_path"))) else ():
        if name in given and not hasattr(given[name], "items"):
            raise UserError(f"model.{name}: found {given[name]!r:.60}, expected its options: --model.{name}.NAME VALUE")


def unused_options(verb: str, options: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """Return one line for each reason why options of a verb are not used; ``arguments`` are the command line's."""
    lines = _of_other_verbs(verb, arguments)
    if verb != "fit":
        return lines
    trainer = {f"trainer.{name}": value for name, value in dict(options["trainer"]).items()}
    given = {name: trainer.get(name, options.get(name, default)) for name, default in _DEFAULTS.items()}
    lines += _told(RUN, given, _DEFAULTS)
    if options["wandb"] != "disabled" and os.environ.get("WANDB_MODE") == "disabled":
        lines.append("wandb: not used, since the environment's WANDB_MODE is disabled")
    steps = options["trainer"].get("max_steps", -1)
    if late := [step for step in options.get("snapshots") or [] if 0 < steps < step]:
        lines.append(f"snapshots {late} come after the run's end (trainer.max_steps {steps}) and are not kept")
    return [*lines, *_of_data(options.get("data") or {}), *_of_model(options.get("model") or {})]


def _of_model(model: Mapping[str, Any]) -> list[str]:
    class_path = str(model.get("class_path"))
    name = class_path.rpartition(".")[2]
    if name not in MODELS or not is_ours(class_path):
        return []
    given = dotted({**(model.get("init_args") or {}), **(model.get("dict_kwargs") or {})})
    usual = _defaults(METHODS.load(name))
    defaults = dotted({key: described(value) if is_network(key) else value for key, value in usual.items()})
    return _told(MODELS[name], defaults | given, defaults, "model.")


def _of_data(data: Mapping[str, Any]) -> list[str]:
    from landmark_diffusion.data.sources import DATASETS, takes_root

    lines, name = [], str(data.get("dataset", "phantom"))
    if data.get("root") is not None and not takes_root(name):
        lines.append(f"data.root is not used: the {name} makes its images itself; for others give data.dataset")
    if data.get("split") is not None and "split" in (data.get("dataset_options") or {}):
        lines.append("data.dataset_options.split is not used: data.split goes before it")
    mixing = dict(data.get("mixing") or {})
    if (
        name in DATASETS.built_in
        and name != "pooled"
        and not data.get("auxiliary")
        and not dict(data.get("pseudo_labels") or {}).get("rounds")
        and any(value not in ("image", "mixed") for value in mixing.values())
    ):
        lines.append(f"data.mixing is not used: {name} is one data set; dataset: pooled has several")
    if data.get("labels") is False and data.get("target_points", "mean") != "mean":
        lines.append("data.target_points is not used: data.labels is false")
    return lines


def _of_other_verbs(verb: str, arguments: Sequence[str]) -> list[str]:
    """The command line alone: a config serves all verbs."""
    named = [argument.partition("=")[0].removeprefix("--") for argument in arguments if argument.startswith("--")]
    return [
        f"--{name} is not used: it concerns {' and '.join(OF_VERBS[name])}, not {verb}"
        for name in dict.fromkeys(named)
        if verb not in OF_VERBS.get(name, (verb,))
    ]


def _told(rules: Sequence[Rule], given: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for rule in rules:
        if not rule.when(given):
            continue
        meant = [name for name in given if name in rule.options or name.startswith(_groups(rule.options))]
        if idle := [name for name in meant if name in defaults and given[name] != defaults[name]]:
            shown = ", ".join(prefix + name.replace(".init_args.", ".") for name in idle)
            lines.append(f"{shown}: not used, since {prefix}{rule.why}")
    return lines


def _groups(options: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in options if name.endswith("."))


def _defaults(cls: type) -> dict[str, Any]:
    """Defaults of a class's options, those of its base classes included."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and is_ours(base.__module__):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    return found


def _check_split(data: Mapping[str, Any]) -> None:
    from landmark_diffusion.data.sources import dataset_options

    name = data.get("dataset", "phantom")
    known = dataset_options(name)
    if known and "split" not in known:
        raise UserError(
            f"{find_key('data.split')}data.split: found {data['split']!r}, but the dataset {name} has no splits to "
            "choose from; leave it out"
        )
