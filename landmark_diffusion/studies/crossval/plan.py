"""The plan of a cross-validation: its folds, what each trains, and the manifest that keeps them to one another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.options import PER_MACHINE, Options, data_section
from landmark_diffusion.configuration.own_split import own_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.version import version
from landmark_diffusion.studies.trainings.job import CHOSEN, PRETRAINED, Job, fit_arguments
from landmark_diffusion.studies.trainings.manifest import Manifest, ManifestFile, differences, refuse
from landmark_diffusion.studies.trainings.results import cell_folder

SPLIT = "data.split"


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
        own = {"pictures": 0, **self.options, SPLIT: cell.split}
        return Job(
            name=cell.name,
            folder=str(folder),
            cell={"fold": cell.number, "folds": cell.count},
            seed=seed,
            train_images=[],
            pretrained=base.get(PRETRAINED),
            options=fit_arguments(self.configs, own, seed, folder),
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
            parts[cell.name] = {stage: len(dataset.samples(stage)) for stage in ("train", "val")} | {"test": tested}
    options = {key: value for key, value in plan.base().items() if key not in (*PER_MACHINE, SPLIT)}
    return {
        "package_version": version(),
        "folds": plan.folds,
        "seed": plan.job(plan.cells()[0]).seed,
        "options": dict(sorted(options.items())),
        "parts": parts,
    }


def _merge(existing: Manifest, proposed: Manifest, folder: Path) -> Manifest:
    """Keep what is there; raises UserError where it is another cross-validation."""
    found = [line for key in ("folds", "seed", "options") for line in differences(key, existing[key], proposed[key])]
    if existing["parts"] != proposed["parts"]:
        found.append("parts: other images there")
    what = "cross-validation in this folder is another one than asked for"
    refuse(found, folder, what, "Choose another --folder, or put the values back")
    return existing


agree = ManifestFile("crossval", ("package_version", "folds", "seed", "options", "parts"), _merge).agree
