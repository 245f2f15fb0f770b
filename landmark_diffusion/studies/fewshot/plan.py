"""The plan of a few-shot grid: which starts, targets, numbers of labelled images and draws; and the cells it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.config_checks import GRID, line_of, load_yaml
from landmark_diffusion.configuration.config_files import config_name, find_config
from landmark_diffusion.configuration.options import Options, checked, config_options, over
from landmark_diffusion.configuration.own_split import own_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.modelfile.moved_options import DOTTED, MOVED, moved_to

SECTION = GRID
NO_TARGET = "default"
"""The target's name in results where the plan has no such axis."""
CHECKPOINTS = ("best", "last")
STAGES = ("test", "val")
ORDERS = ("random", "names")
LR_SCHEDULE, EARLY_STOPPING = (
    "model.init_args.optimisation.lr_schedule",
    "model.init_args.optimisation.early_stopping_patience",
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+]*")
_SHARED = ("data.dataset", "data.split", "data.dataset_options")
"""Options that decide which images there are, so that no start or target may have its own."""


@dataclass(frozen=True)
class Cell:
    """One training of the grid.

    Attributes:
        start, target: names in the plan.
        n: labelled training images.
        draw: number of the draw, from 0.
    """

    start: str
    target: str
    n: int
    draw: int

    @property
    def name(self) -> str:
        """Name of the cell and its folder, such as ``ddpm_8k-disc-n10-d2``."""
        target = "" if self.target == NO_TARGET else f"{self.target}-"
        return f"{self.start}-{target}n{self.n}-d{self.draw}"


@dataclass(frozen=True)
class GridStart:
    """What the cells of a start have of their own.

    Attributes:
        options: over those of every cell.
        fit: configs of ``ldx fit`` in place of the plan's: another method in the same grid.
        n: those of the plan's n that it has cells of; others there are passed over.
    """

    options: Options = field(default_factory=dict)
    fit: tuple[Path, ...] | None = None
    n: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """The section ``fewshot`` of a config.

    Attributes:
        fit: configs of ``ldx fit`` that every cell starts from, names or paths.
        n: numbers of labelled training images; smaller ones are contained in larger ones of the same draw.
        draws: how many independent draws.
        starts: by name; "scratch" is what the others are compared with. In a config a start is its options, and beside
            them ``fit`` and ``n`` where it has its own.
        folder: of the grid, shared by all its processes; by default runs/fewshot/NAME of the config.
        options: options of every cell, dotted as on the command line.
        targets: a second axis, {name: options}; without it there is one target, "default".
        by_n: {n: options of the cells with so many labelled images}, over ``options``, below start and target.
        readings: {name: options of the evaluation alone}: each finished training is measured so too, beside as it is.
        order: how a draw takes its images: "random", keyed by seed and draw; or "names": the first n by name, as paper
            B's released code takes them, which is one draw.
        seed: of the draws; a cell is trained with seed + draw.
        checkpoints: which weights are measured: "best" on the labelled validation images, "last" without any.
        stage: part of the data that is measured: "test" or "val".
        keep_checkpoints: keep the cells' checkpoints after they are measured (disk space).
    """

    fit: tuple[Path, ...]
    n: tuple[int, ...]
    draws: int
    starts: dict[str, GridStart]
    folder: Path
    options: Options = field(default_factory=dict)
    targets: dict[str, Options] = field(default_factory=dict)
    by_n: dict[int, Options] = field(default_factory=dict)
    readings: dict[str, Options] = field(default_factory=dict)
    order: str = "random"
    seed: int = 0
    checkpoints: tuple[str, ...] = CHECKPOINTS
    stage: str = "test"
    keep_checkpoints: bool = False

    def cells(self) -> list[Cell]:
        """All cells in the order they are run: draw by draw, so that a partial table comes early."""
        targets = list(self.targets) or [NO_TARGET]
        return [
            Cell(name, target, n, draw)
            for draw in range(self.draws)
            for n in self.n
            for target in targets
            for name, start in self.starts.items()
            if n in (start.n or self.n)
        ]

    def one_cell_each(self) -> list[Cell]:
        """The first cell of each start, target and n with options: the cells that differ in more than their images."""
        first: dict[tuple[str, str, int], Cell] = {}
        for cell in self.cells():
            first.setdefault((cell.start, cell.target, cell.n if cell.n in self.by_n else 0), cell)
        return list(first.values())

    def base(self, start: str | None = None) -> Options:
        """Options that all cells share, those of the configs included but for what they say for another dataset.

        With ``start`` those that all cells of this start share, below its own options.
        """
        return self._base if start is None else self._start_bases.get(start, self._base)

    @cached_property
    def _base(self) -> Options:
        return own_options(self.fit, self.options)[0]

    @cached_property
    def _start_bases(self) -> dict[str, Options]:
        return {
            name: own_options(start.fit, self.options_of(name))[0] for name, start in self.starts.items() if start.fit
        }

    def configs_of(self, start: str) -> tuple[Path, ...]:
        """Configs of ``ldx fit`` that a start's cells have."""
        return self.starts[start].fit or self.fit

    def options_of(self, start: str) -> Options:
        """Options over the configs of a start, whichever these are; images and precision are the whole grid's."""
        if not self.starts[start].fit:
            return self.options
        alike = (*_SHARED, "data.root", "trainer.precision")
        shared = {name: value for name, value in self.base().items() if name.startswith(alike)}
        return over(shared, self.options)

    def own_options(self, cell: Cell) -> Options:
        """Options that tell a cell from the others: those of its n, start and target."""
        return {**self.by_n.get(cell.n, {}), **self.starts[cell.start].options, **self.targets.get(cell.target, {})}

    def all_options(self, cell: Cell) -> Options:
        """All options of a cell, those of its configs and its own."""
        return over(self.base(cell.start), self.own_options(cell))


def read_plan(
    configs: Sequence[str], changes: Mapping[str, Any] | None = None, cell_options: Options | None = None
) -> Plan:
    """Read the plan from configs, a later one over an earlier one.

    ``changes`` replace fields of the plan, ``cell_options`` go over the options of every cell (both from the command
    line). Raises UserError that names file, key, what was found and the nearest known name.
    """
    if not configs:
        raise UserError("ldx fewshot needs --config NAME (`ldx configs` lists the installed ones)")
    section: dict[str, Any] = {}
    for path in map(find_config, configs):
        section |= _section(path)
    section |= _known(changes or {}, "--set")
    missing = [each.name for each in fields(Plan) if each.default is MISSING and each.default_factory is MISSING]
    for key in (name for name in missing if name != "folder"):
        if section.get(key) is None:
            raise UserError(f"{configs[-1]}: {SECTION}.{key} is missing; an example: {_EXAMPLES[key]}")
    section.setdefault("folder", str(Path("runs", SECTION, config_name(configs[0]))))
    return _checked_plan(section, cell_options or {})


_EXAMPLES = {
    "fit": "fit: [ceph_finetune_small.yaml]",
    "n": "n: [1, 5, 10, 25, 50]",
    "draws": "draws: 3",
    "starts": "starts: {scratch: {}, ddpm: {model.init_args.pretrained: PATH}}",
}


def _section(path: Path) -> dict[str, Any]:
    content = load_yaml(path)
    for key in content:
        if key != SECTION:
            raise UserError(
                f"{path}:{line_of(path, [str(key)])}: found the section {key}, expected `{SECTION}:` alone; options of "
                f"the cells go into {SECTION}.options or into the configs that {SECTION}.fit names"
            )
    section = content.get(SECTION)
    if not isinstance(section, dict):
        raise UserError(f"{path}: found no section `{SECTION}:`, expected one with {', '.join(_EXAMPLES)}")
    return _known(section, str(path), path)


def _known(section: Mapping[str, Any], where: str, path: Path | None = None) -> dict[str, Any]:
    """Refuse a key that is no field of the plan."""
    known = [each.name for each in fields(Plan)]
    for key in section:
        if key not in known:
            line = None if path is None else line_of(path, [SECTION, str(key)])
            place = f"{where}:{line}" if line else where
            raise UserError(f"{place}: unknown key {SECTION}.{key}.{did_you_mean(str(key), known)}")
    return dict(section)


def _checked_plan(section: dict[str, Any], cell_options: Options) -> Plan:
    plan = Plan(
        fit=tuple(find_config(name) for name in _texts(section, "fit")),
        n=tuple(sorted(_whole_numbers(section, "n"))),
        draws=_whole_number(section, "draws", 1),
        starts=_starts(section),
        folder=Path(str(section["folder"])),
        options=over(checked(section.get("options"), f"{SECTION}.options"), checked(cell_options, "the command line")),
        targets=_axis(section, "targets") if section.get("targets") else {},
        by_n=_by_n(section),
        readings=_readings(section),
        order=_choices({"order": [section.get("order", "random")]}, "order", ORDERS)[0],
        seed=_whole_number(section, "seed", 0),
        checkpoints=_choices(section, "checkpoints", CHECKPOINTS),
        stage=_choices({"stage": [section.get("stage", "test")]}, "stage", STAGES)[0],
        keep_checkpoints=_flag(section, "keep_checkpoints"),
    )
    if plan.order == "names" and plan.draws > 1:
        raise UserError(f"{SECTION}.draws: found {plan.draws}, but the first n by name (order: names) are one draw")
    _refuse_moved(plan)
    _refuse_conflicts(plan, cell_options)
    _refuse_hidden_labels(plan)
    return plan


def _refuse_moved(plan: Plan) -> None:
    """Refuse an option of the method under an earlier name: every cell would stop at it."""
    paths = {path for start in plan.starts for path in plan.configs_of(start)}
    files = {path: config_options([path]) for path in paths}
    axes = [(f"{SECTION}.targets.{name}", options) for name, options in plan.targets.items()]
    axes += [(f"{SECTION}.by_n.{n}", options) for n, options in plan.by_n.items()]
    axes += [(f"{SECTION}.readings.{name}", options) for name, options in plan.readings.items()]
    for name, start in plan.starts.items():
        method = str({**plan.base(name), **start.options}.get("model.class_path", ""))
        said = [(str(path), files[path]) for path in plan.configs_of(name)]
        said += [(f"{SECTION}.options", plan.options), (f"{SECTION}.starts.{name}", start.options), *axes]
        for where, options in said if method in MOVED else ():
            for option in options:
                if option.startswith(DOTTED) and (why := moved_to(option.removeprefix(DOTTED), method)):
                    line = line_of(Path(where), option.split(".")) if Path(where).is_file() else None
                    raise UserError(f"{where}:{f'{line}:' if line else ''} {why}")


def _refuse_conflicts(plan: Plan, cell_options: Options) -> None:
    """Refuse an option that two sides set: one of them would be passed over without a word."""
    given = checked(cell_options, "the command line")
    starts = {name: start.options for name, start in plan.starts.items()}
    axes: tuple[tuple[str, Mapping[Any, Options]], ...] = (
        ("starts", starts), ("targets", plan.targets), ("by_n", plan.by_n), ("readings", plan.readings),
    )  # fmt: skip
    for axis, choices in axes:
        for name, options in choices.items():
            for option in options:
                if option in given:
                    raise UserError(f"--{option}: {SECTION}.{axis}.{name} sets it too; change it there, or remove one")
                if option.startswith(_SHARED):
                    raise UserError(
                        f"{SECTION}.{axis}.{name}: {option} must be the same for a whole grid, whose cells draw from "
                        f"one set of images; move it to {SECTION}.options, or make two grids"
                    )
    for start, ours in starts.items():
        for target, theirs in plan.targets.items():
            for option in ours.keys() & theirs.keys():
                raise UserError(f"{SECTION}: the start {start} and the target {target} both set {option}; keep one")


def _refuse_hidden_labels(plan: Plan) -> None:
    """Refuse "last", which promises that no validation label was used, where training itself follows these labels."""
    if "last" not in plan.checkpoints:
        return
    for cell in plan.one_cell_each():
        options = plan.all_options(cell)
        if options.get(LR_SCHEDULE) == "plateau" or (options.get(EARLY_STOPPING) or 0) > 0:
            raise UserError(
                f"{SECTION}.checkpoints: last stands for training without validation labels, but {cell.name} lowers "
                f"its learning rate or ends by them; give its options {LR_SCHEDULE}: cosine (or constant) and "
                f"{EARLY_STOPPING}: 0, or set {SECTION}.checkpoints: [best]"
            )


def _starts(section: Mapping[str, Any]) -> dict[str, GridStart]:
    """Divide each start into its options, and the keys of the plan that it may have for itself."""
    found, given = section.get("starts"), {}
    if isinstance(found, Mapping):
        given = {name: each for name, each in found.items() if isinstance(each, Mapping)}
        found = {**found, **{name: _without(each, _OWN) for name, each in given.items()}}
    axis = _axis({"starts": found}, "starts")
    return {name: _start(name, options, given.get(name, {})) for name, options in axis.items()}


def _without(mapping: Mapping[Any, Any], keys: Sequence[str]) -> dict[Any, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _start(name: str, options: Options, given: Mapping[str, Any]) -> GridStart:
    fit = tuple(map(find_config, _texts(given, "fit", f"starts.{name}.fit"))) if "fit" in given else None
    n = tuple(_whole_numbers(given, "n", f"starts.{name}.n")) if "n" in given else None
    return GridStart(options, fit, n)


_OWN = ("fit", "n")


def _axis(section: Mapping[str, Any], key: str) -> dict[str, Options]:
    found = section.get(key)
    if not isinstance(found, Mapping) or not found:
        raise UserError(f"{SECTION}.{key}: found {found!r}, expected names with options, such as {_EXAMPLES['starts']}")
    for name in found:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == NO_TARGET:
            raise UserError(
                f"{SECTION}.{key}: found the name {name!r}, expected letters, digits and _ . + (it names folders), and "
                f"not {NO_TARGET!r}"
            )
    return {name: checked(options, f"{SECTION}.{key}.{name}") for name, options in found.items()}


def _readings(section: Mapping[str, Any]) -> dict[str, Options]:
    found = _axis(section, "readings") if section.get("readings") else {}
    for name, options in found.items():
        wrong = [option for option in options if not option.startswith(DOTTED)]
        if wrong or not options:
            raise UserError(
                f"{SECTION}.readings.{name}: found {', '.join(wrong) or 'no option'}, expected options of the model "
                "that act in the evaluation, such as {model.joint.enabled: false}"
            )
    return found


def _by_n(section: Mapping[str, Any]) -> dict[int, Options]:
    found, known = section.get("by_n") or {}, _whole_numbers(section, "n")
    if not isinstance(found, Mapping):
        raise UserError(f"{SECTION}.by_n: found {found!r}, expected options by n, such as {_BY_N}")
    for n in found:
        if n not in known:
            raise UserError(f"{SECTION}.by_n: found {n!r}, expected one of {SECTION}.n ({known}), such as {_BY_N}")
    return {n: checked(options, f"{SECTION}.by_n.{n}") for n, options in found.items()}


_BY_N = "by_n: {1: {trainer.max_steps: 400}}"


def _texts(section: Mapping[str, Any], key: str, place: str = "") -> list[str]:
    found = section[key]
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{SECTION}.{place or key}: found {found!r}, expected a list of names, such as {_EXAMPLES[key]}"
        )
    return names


def _whole_numbers(section: Mapping[str, Any], key: str, place: str = "") -> list[int]:
    found = section[key] if isinstance(section[key], list) else [section[key]]
    if not found or any(type(n) is not int or n < 1 for n in found) or len(set(found)) < len(found):
        raise UserError(
            f"{SECTION}.{place or key}: found {section[key]!r}, expected whole numbers of at least 1, each once"
        )
    return found


def _whole_number(section: Mapping[str, Any], key: str, least: int) -> int:
    found = section.get(key, 0)
    if type(found) is not int or found < least:
        raise UserError(f"{SECTION}.{key}: found {found!r}, expected a whole number of at least {least}")
    return found


def _choices(section: Mapping[str, Any], key: str, known: Sequence[str]) -> tuple[str, ...]:
    found = section.get(key, list(known))
    names = found if isinstance(found, list) else [found]
    for name in names:
        if name not in known:
            raise UserError(f"{SECTION}.{key}: found {name!r}.{did_you_mean(str(name), known)}")
    if not names:
        raise UserError(f"{SECTION}.{key}: found nothing, expected some of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _flag(section: Mapping[str, Any], key: str) -> bool:
    found = section.get(key, False)
    if not isinstance(found, bool):
        raise UserError(f"{SECTION}.{key}: found {found!r}, expected true or false")
    return found
