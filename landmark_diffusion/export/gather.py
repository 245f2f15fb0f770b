"""From a checkpoint, its run's config and its metrics.json to the ModelFacts of an export."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import laid_over
from landmark_diffusion.core.untrusted import check_harmless
from landmark_diffusion.data.sources import said_of
from landmark_diffusion.methods import name_in_files
from landmark_diffusion.modelfile.facts import DATA_OPTIONS, ModelFacts, parse_json
from landmark_diffusion.modelfile.model_file import FACTS_KEY
from landmark_diffusion.modelfile.moved_options import config_with_new_names, with_new_names

Options = Mapping[str, Any]

_FIGURES = (
    "protocol", "unit", "radii", "annotator_names", "main", "variants", "intervals", "table", "other_protocols",
)  # fmt: skip
_NEEDED = {"protocol": str, "variants": dict, "table": list, "extra": dict}
_TRAINING = ("dataset", "split", "recipe", "recipe_options", "target_points", "batch_size")
_LOCAL = ("pretrained", "landmark_map")
"""Options of a model that name a file of the training machine, or go with it, and act in training alone."""

_ABSOLUTE = re.compile(r"/|~|\\|[A-Za-z]:[\\/]|.*(^|[\\/])\.\.([\\/]|$)")


def gather_facts(
    checkpoint: Path, content: Options, config: Options | None, metrics: Options | None, note: str | None = None
) -> ModelFacts:
    """Gather what an export says beside the weights.

    The options are those that ``metrics`` was measured with, else those of ``config`` (the run's config.yaml), else the
    checkpoint's own. Places on the machine stay behind. ``content`` is what ``read_checkpoint`` gave. Raises UserError
    for a checkpoint that does not say its class and data, that finds no landmarks, or that is not of ``config``.
    """
    hparams = dict(content.get("hyper_parameters") or {})
    facts = content.get(FACTS_KEY) or {}
    class_path = _class_path(checkpoint, hparams)
    source = ((metrics or {}).get("extra") or {}).get("config") or config or {}
    data = {**(facts.get("data") or {}), **(source.get("data") or {})}
    if "dataset" not in data or "size" not in data:
        raise UserError(f"{checkpoint}: neither it nor a config.yaml of its run says data.dataset and data.size")
    model = laid_over(hparams, _init_args(checkpoint, class_path, source))
    if "orientation" not in hparams:  # a config lists it also where it is not learned, which versions without it read
        model.pop("orientation", None)
    trainer = source.get("trainer") if isinstance(source.get("trainer"), dict) else None
    training = _training(facts.get("data") or data, config)
    return ModelFacts(
        class_path=class_path,
        model=without_places({key: _short(value) for key, value in model.items() if not key.startswith("_")}),
        landmark_names=tuple(str(each) for each in facts.get("landmark_names", ())),
        data=without_places({key: data[key] for key in DATA_OPTIONS if data.get(key) is not None}),
        updates=int(content.get("global_step", 0)),
        seed=source.get("seed_everything"),
        length_unit=(metrics or {}).get("unit") or _unit(str(data["dataset"])),
        precision=None if trainer is None else str(trainer.get("precision") or "32-true"),  # Lightning's default
        training=training,
        measured=None if metrics is None else _measured(metrics),
        note=said_of(str(training.get("dataset", ""))).terms if note is None else note,
    )


def find_run(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint lies in, as RUN/checkpoints/x.ckpt; None elsewhere."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == "checkpoints" else None


def read_config(path: Path) -> dict[str, Any]:
    """Read a run's config.yaml; raises UserError naming it where it is none, or beyond the limits of a config.

    It may hold a URL, such as the address of a logger's service: nothing is fetched here.
    """
    try:
        check_harmless(path, urls=True)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as yaml ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found no sections such as `data:` and `model:`")
    return dict(config_with_new_names(content))


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a metrics.json of ``ldx test`` or ``validate``; raises UserError naming it where it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--metrics {path}: cannot be read ({error}); expected a metrics.json of `ldx test`") from error
    content = parse_json(text, path, "the file")
    for key, kind in _NEEDED.items():
        if not isinstance(content.get(key), kind):
            raise UserError(f"{path}: found no {key!r}, expected a metrics.json of `ldx test`")
    return content


def mismatch(metrics: Options, checkpoint: Path, content: Options) -> str:
    """Say why figures are not those of a checkpoint; empty where they are.

    They are when the updates and landmarks agree and the file that was measured is this one; where that is not to be
    found (a run that was moved, another current folder), its name has to be the same.
    """
    extra = metrics["extra"]
    updates, measured = int(content.get("global_step", 0)), Path(str(extra.get("checkpoint")))
    if extra.get("updates") != updates:
        return f"they are of {extra.get('updates')} updates, the checkpoint of {updates}"
    same = measured.samefile(checkpoint) if measured.is_file() else measured.name == checkpoint.name
    if not same:
        return f"they are of {measured}"
    names = (content.get(FACTS_KEY) or {}).get("landmark_names") or []
    return "they are of other landmarks" if names and list(metrics.get("landmark_names", names)) != names else ""


def without_places(value: Any) -> Any:
    """Replace by None what names a place on this machine: an absolute path, one with ``..``, a start of training."""
    if isinstance(value, Mapping):
        return {key: None if key in _LOCAL else without_places(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(each) for each in value]
    return None if isinstance(value, str) and _ABSOLUTE.match(value) else value


def _class_path(checkpoint: Path, hparams: Options) -> str:
    path = str(hparams.get("_class_path", ""))
    if not path:
        raise UserError(
            f"{checkpoint}: does not say its model's class, so it is no checkpoint of `ldx fit`, or of a method that "
            "does not keep its options (self.keep_options(currentframe()) in its __init__)"
        )
    if "num_landmarks" not in hparams:
        raise UserError(f"{checkpoint}: a {_last(path)} finds no landmarks; an export is for models that do")
    return name_in_files(path)


def _short(option: Any) -> Any:
    """An option as files have it: a network of this package by its short name."""
    if isinstance(option, Mapping) and "class_path" in option:
        return {**option, "class_path": name_in_files(str(option["class_path"]))}
    return option


def _last(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _init_args(checkpoint: Path, class_path: str, source: Options) -> dict[str, Any]:
    """The model's options in a config or in metrics.json, which must be of the checkpoint's class."""
    section = source.get("model") or {}
    class_name, found = _last(class_path), _last(str(section.get("class_path", class_path)))
    if found != class_name:
        raise UserError(
            f"{checkpoint} holds a {class_name}, but the config of its run (config.yaml or test/metrics.json) is of a "
            f"{found}: copy the checkpoint elsewhere to export it by itself"
        )
    options = with_new_names(class_name, section.get("init_args") or {})
    options.pop("num_landmarks", None)  # null in a config: the data decided it
    return options


def _training(data: Options, config: Options | None) -> dict[str, Any]:
    """What a reader wants to know of the training; names of images stay behind."""
    found = {key: data[key] for key in _TRAINING if data.get(key) is not None}
    if data.get("train_images") is not None:
        found["images"] = len(data["train_images"])
    seed = (config or {}).get("seed_everything")
    facts: dict[str, Any] = without_places(found if seed is None else {**found, "seed": seed})
    return facts


def _measured(metrics: Options) -> dict[str, Any]:
    """The figures and how they came about; not the command, which names places."""
    words = str(metrics["extra"].get("command", "")).split()
    found = {key: metrics[key] for key in _FIGURES if key in metrics}
    spread = metrics.get("spread")
    if spread is not None:
        found["spread"] = {key: spread[key] for key in ("level", "unit", "images", "overall", "spearman")}
    return {"verb": words[1] if len(words) > 1 else None, "updates": metrics["extra"].get("updates"), **found}


def _unit(dataset: str) -> str | None:
    unit = getattr(said_of(dataset), "unit", None)
    return unit if isinstance(unit, str) else None  # a folder's unit is known once it is read
