"""What an adaptation works with: the start, the images, the rule; and the manifest by which a stopped one goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.version import version
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.studies.adapt.places import start_digest
from landmark_diffusion.studies.adapt.rule import OPTIMIZER, AdaptRule
from landmark_diffusion.studies.calibrate.folds import Fold, make_folds
from landmark_diffusion.studies.trainings.manifest import Manifest, ManifestFile, differences, refuse

ALL = "all"
"""Name of the training on all images."""


@dataclass(frozen=True)
class AdaptPlan:
    """An adaptation.

    Attributes:
        start: the model file.
        facts: what it says of itself.
        section: options of the data module: data set, size and what decides which images there are.
        images: the labelled images, without augmentation.
        rule: how the trainings are made.
        folder: of the trainings, removed when the model file is written.
        command: what goes on after a stop.
        seed: of folds, order, augmentation and noise.
        landmark_map: {a landmark of the images: the start's name for it}.
        precision: of the trainings.
        wandb: as ``ldx fit --wandb``.
    """

    start: Path
    facts: ModelFacts
    section: dict[str, Any]
    images: LandmarkTorchDataset
    rule: AdaptRule
    folder: Path
    command: str
    seed: int = 0
    landmark_map: dict[str, str] = field(default_factory=dict)
    precision: str = "32-true"
    wandb: str = "disabled"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the landmarks."""
        return tuple(self.images.source.landmark_names)

    @property
    def ids(self) -> list[str]:
        """Names of the images."""
        return [sample.image_id for sample in self.images.samples]

    @property
    def options(self) -> dict[str, Any]:
        """The method's options."""
        rule, before = self.rule, dict(self.facts.model.get("optimisation") or {})
        optimisation = {
            **before, "optimizer": OPTIMIZER, "learning_rate": rule.learning_rate, "lr_schedule": "cosine",
            "warmup_steps": rule.warmup, "ema_decay": rule.ema_decay,
        }  # fmt: skip
        return {**self.facts.model, "num_landmarks": len(self.names), "optimisation": optimisation}

    def folds(self) -> list[Fold]:
        """The trainings that each leave a part of the images out."""
        return make_folds(self.ids, self.rule.folds, self.folder, self.seed, self.images.source.patients())

    def whole(self) -> Fold:
        """The training on all images."""
        return Fold(ALL, self.folder / ALL, tuple(self.ids), ())

    def manifest(self) -> Manifest:
        """What a stopped adaptation has to have in common with the one that goes on."""
        return {
            "package_version": version(),
            "start": start_digest(self.start),
            "images": self.ids,
            "labels": self._labels_digest(),
            "landmarks": list(self.names),
            "landmark_map": self.landmark_map,
            "size": list(self.facts.data["size"]),
            "rule": asdict(self.rule),
            "seed": self.seed,
            "precision": self.precision,
        }

    def _labels_digest(self) -> str:
        digest = hashlib.sha256()
        for sample in self.images.samples:
            digest.update(sample.annotations.tobytes())
        return digest.hexdigest()

    def set_aside_outdated(self) -> bool:
        """Put trainings on other images or labels aside, so that it begins anew, and tell whether there were any.

        They stay in the folder until the model is written. What differs in anything else is left to the manifest.
        """
        before, now = MANIFEST_FILE.read(self.folder), self.manifest()
        if before is None or all(before[key] == now[key] for key in _OF_DATA):
            return False
        if any(before[key] != now[key] for key in _FIELDS[1:-1] if key not in (*_OF_DATA, "landmarks", "rule")):
            return False
        aside = self.folder / OUTDATED
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for each in self.folder.iterdir():
            if each != aside and not each.name.startswith("."):  # locks stay
                each.rename(aside / each.name)
        return True


OUTDATED = "outdated"
"""Where trainings on images or labels lie that have changed since."""
_OF_DATA = ("images", "labels")
_FIELDS = (
    "package_version",
    "start",
    "images",
    "labels",
    "landmarks",
    "landmark_map",
    "size",
    "rule",
    "seed",
    "precision",
)


def _merge(existing: Manifest, proposed: Manifest, folder: Path) -> Manifest:
    """Keep what is there; raises UserError where it is another adaptation."""
    found = [line for key in _FIELDS[1:-1] for line in differences(key, existing[key], proposed[key])]
    cure = "Name another --folder, or remove that one"
    refuse(found, folder, "adaptation that was stopped in this folder is another one than asked for", cure)
    return existing


MANIFEST_FILE = ManifestFile("adapt", _FIELDS, _merge, later={"labels": ""})


def check_images(images: LandmarkTorchDataset, names: Sequence[str]) -> None:
    """Refuse (UserError) images without any landmark, and landmarks that no image has."""
    if not names:
        raise UserError("ldx adapt: the data has no landmarks; label the images first")
    marked = [~_missing(sample.mean_points) for sample in images.samples]
    for name, place in zip(names, range(len(names)), strict=True):
        if not any(each[place] for each in marked):
            raise UserError(f"ldx adapt: no image has the landmark {name!r}; mark it, or remove it from the table")


def _missing(points: Any) -> Any:
    import numpy as np

    return np.isnan(points).any(-1)
