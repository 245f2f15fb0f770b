"""The plan of a cross-validation: its folds, what each trains, and the manifest that keeps them to one another."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.options import PER_MACHINE, Options, arguments, data_section
from landmark_diffusion.configuration.own_split import own_options
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.version import version
from landmark_diffusion.studies.fewshot.cell import CHOSEN, Job
from landmark_diffusion.studies.fewshot.locks import exclusive
from landmark_diffusion.studies.fewshot.plan import PRETRAINED
from landmark_diffusion.studies.fewshot.results import cell_folder

MANIFEST = "manifest.json"
SPLIT = "data.split"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class FoldCell:
    """One fold: the ``number``-th of ``count``, from 1, is tested."""

    number: int
    count: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"fold_{self.number}_of_{self.count}"

    @property
    def split(self) -> str:
        """The split of the data."""
        return f"folds:{self.count}/{self.number}"


@dataclass(frozen=True)
class CrossvalPlan:
    """What `ldx crossval` was asked for.

    Attributes:
        configs: of ``ldx fit``.
        options: dotted options over them.
        folds: how many.
        folder: of the whole, shared by all its processes.
        seed: of each training; None takes the config's.
        keep_checkpoints: keep the folds' checkpoints after their test.
    """

    configs: tuple[Path, ...]
    options: Options
    folds: int
    folder: Path
    seed: int | None = None
    keep_checkpoints: bool = False

    def cells(self) -> list[FoldCell]:
        """The folds in their order."""
        return [FoldCell(number, self.folds) for number in range(1, self.folds + 1)]

    def base(self) -> Options:
        """Options of every fold, those of the configs included."""
        return own_options(self.configs, self.options)[0]

    def job(self, cell: FoldCell) -> Job:
        """Say what a fold's process has to do."""
        folder, base = cell_folder(self.folder, cell.name), self.base()
        seed = self.seed if self.seed is not None else int(base.get("seed_everything") or 0)
        given = [argument for path in self.configs for argument in ("--config", str(path))]
        given += arguments({"pictures": 0, **self.options, SPLIT: cell.split})
        return Job(
            name=cell.name,
            folder=str(folder),
            cell={"fold": cell.number, "folds": cell.count},
            seed=seed,
            train_images=[],
            pretrained=base.get(PRETRAINED),
            options=[*given, f"--seed_everything={seed}", f"--run_folder={folder}"],
            checkpoints=[CHOSEN],
            stage="test",
            keep_checkpoints=self.keep_checkpoints,
        )


def propose(plan: CrossvalPlan) -> Manifest:
    """Look at the data of every fold and make the manifest; raises UserError for another dataset, or faults in it."""
    from landmark_diffusion.data.sources import DATASETS, build_dataset

    section = data_section(plan.base())
    if not DATASETS.load(section["name"]).knows_folds:
        raise UserError(
            f"ldx crossval: found data.dataset {section['name']}, expected folder: one's own images and a table "
            "(folder_diffusion_small.yaml), or a class of yours that knows folds (docs/architecture.md)"
        )
    parts: dict[str, dict[str, Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each fold says them again
        for cell in plan.cells():
            dataset = build_dataset(section["name"], section["root"], **{**section["options"], "split": cell.split})
            tested = [sample.image_id for sample in dataset.samples("test")]
            parts[cell.name] = {stage: len(dataset.samples(stage)) for stage in ("train", "val")} | {"test": tested}  # type: ignore[arg-type]
    options = {key: value for key, value in plan.base().items() if key not in (*PER_MACHINE, SPLIT)}
    return {
        "package_version": version(),
        "folds": plan.folds,
        "seed": plan.job(plan.cells()[0]).seed,
        "options": dict(sorted(options.items())),
        "parts": parts,
    }


def agree(folder: Path, proposed: Manifest) -> bool:
    """Write the manifest at the first start; returns whether it was the first.

    Raises UserError, naming each difference, where the folder holds another cross-validation.
    """
    with exclusive(folder / ".manifest.lock", f"the manifest of {folder}"):
        existing = read_manifest(folder)
        if existing is None:
            atomic_write_text(folder / MANIFEST, json.dumps(proposed, indent=1, ensure_ascii=False) + "\n")
            return True
    differences = [
        f"{key}: {_short(existing.get(key))} there, {_short(proposed[key])} now"
        for key in ("folds", "seed", "parts")
        if existing.get(key) != proposed[key]
    ]
    before, now = existing.get("options") or {}, proposed["options"]
    differences += [
        f"{key}: {_short(before.get(key))} there, {_short(now.get(key))} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if differences:
        raise UserError(
            f"{folder}: the cross-validation in this folder is another one than asked for:\n  "
            + "\n  ".join(differences)
            + "\nChoose another --folder, or put the values back"
        )
    return False


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest; None where there is none yet. Raises DataError for a damaged one."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"no whole manifest of `ldx crossval` ({error}); choose another folder", path) from error
    if not isinstance(content, dict) or "parts" not in content:
        raise DataError("no manifest of `ldx crossval`; choose another folder", path)
    return content


def _short(value: Any) -> str:
    text = "other images" if isinstance(value, dict) else str(value)
    return text if len(text) < 60 else text[:57] + "..."
