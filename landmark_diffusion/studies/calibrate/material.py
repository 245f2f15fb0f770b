"""The material of a calibration: labelled images that the weights have not seen, and who judges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say
from landmark_diffusion.data.augmentation import Recipe
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.model import build_module
from landmark_diffusion.finders.finder import SPREADS
from landmark_diffusion.finders.orientation import FORM_WEIGHTS
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.studies.calibrate.collect import Collected, collect
from landmark_diffusion.studies.calibrate.folds import Fold
from landmark_diffusion.studies.calibrate.learned_images import count_learned
from landmark_diffusion.training.datamodule import LandmarkDataModule
from landmark_diffusion.training.folder import BEST

Setting = tuple[int | None, int | None]
"""Network evaluations and samples; None is the model's own number."""


def make_detectors(make: Callable[..., Detector], settings: Sequence[Setting]) -> list[Detector]:
    """Make a detector for each setting and way to read the spread, each once; ``make`` gives one with such options.

    Without settings they are the model's own and ``fast``.
    """
    asked: list[dict[str, Any]] = [{"steps": steps, "samples": samples} for steps, samples in settings]
    found: list[Detector] = []
    for options in asked or [{}, {"fast": True}]:
        first = make(**options)
        several = first.settings["samples"] > 1
        for detector in [first, *(make(**options, spread=spread) for spread in SPREADS if several)]:
            if all(detector.settings != other.settings for other in found):
                found.append(detector)
    return found


def labelled_images(
    section: dict[str, Any], part: str, wanted: Sequence[str] | None = None, landmarks: Sequence[str] = ()
) -> LandmarkTorchDataset:
    """Give the images of a part (train, val, test) without augmentation; ``wanted`` names some of the training images.

    ``section`` are options of the data module; ``landmarks`` the names of a model's outputs, in whose order the points
    are put. Raises UserError where the data's landmarks are other ones.
    """
    names = None if wanted is None else list(wanted)
    data = LandmarkDataModule(**section, evaluate_on_train=part == "train", train_images=names)
    if note := data.arrange(landmarks, "the model"):
        say(note)
    return data.stage_dataset("test" if part == "test" else "val")


def seen_in_training(facts: ModelFacts, section: dict[str, Any], images: LandmarkTorchDataset) -> bool:
    """Tell whether any of the images trained the weights, or those they were adapted from, as far as the facts tell."""
    if count_learned(facts, images):
        return True
    ids = {sample.image_id for sample in images.samples}
    for split in facts.trained_splits(section["dataset"]):
        options = {key: value for key, value in {**section, "split": split}.items() if value is not None}
        if any(sample.image_id in ids for sample in labelled_images(options, "train").samples):
            return True
    return False


@dataclass(frozen=True)
class Changes:
    """How images are changed to be as other devices would have them: a recipe of augmentation, drawn several times."""

    recipe: Recipe
    draws: int


def changed(images: LandmarkTorchDataset, changes: Changes) -> LandmarkTorchDataset:
    """The same images with the recipe in front."""
    other = copy(images)
    other.recipe = changes.recipe
    return other


Judged = tuple[Collected, Collected | None]
"""What was collected on images as they are, and on the same ones changed."""


def judge(
    detectors: Sequence[Detector],
    images: LandmarkTorchDataset,
    changes: Changes | None,
    advance: Callable[[], object],
) -> list[Judged]:
    """Ask each detector about the images, and about the same ones changed."""
    plain = collect(detectors, images, advance)
    if changes is None:
        return [(each, None) for each in plain]
    other = collect(detectors, changed(images, changes), advance, changes.draws)
    return list(zip(plain, other, strict=True))


def judge_out_of_fold(
    folds: Sequence[Fold],
    facts: ModelFacts,
    section: dict[str, Any],
    settings: Sequence[Setting],
    changes: Changes | None,
    advance: Callable[[], object],
) -> tuple[list[dict[str, Any]], list[Judged]]:
    """Let each fold's model judge the images that it has not seen; returns settings and what was collected for each."""
    parts: list[list[Judged]] = []
    for fold in folds:
        detectors = make_detectors(fold_detector(fold, facts), settings)
        images = labelled_images(section, "train", fold.held_out, facts.landmark_names)
        parts.append(judge(detectors, images, changes, advance))
    joined = [_join([part[place] for part in parts]) for place in range(len(parts[0]))]
    return [detector.settings for detector in detectors], joined


def _join(parts: Sequence[Judged]) -> Judged:
    plain, other = zip(*parts, strict=True)
    known = [each for each in other if each is not None]
    return Collected.join(plain), Collected.join(known) if known else None


def fold_detector(fold: Fold, facts: ModelFacts) -> Callable[..., Detector]:
    """Return what makes detectors of a fold's weights, as ``Detector.load`` does of a file's.

    Raises UserError for weights of another model or length of training than that of ``facts``.
    """
    path = fold.checkpoint(facts.updates)
    content = read_checkpoint(path)
    chosen = path.name == BEST  # by validation, as the model was: each has its own number of updates
    if not chosen and int(content["global_step"]) != facts.updates:
        raise UserError(
            f"{path} has {content['global_step']} updates, the model {facts.updates}: its errors would be other ones. "
            "Name the config and the options that the model was trained with, and another --folds-folder"
        )

    options = dict(facts.model)
    if not any(name.startswith(FORM_WEIGHTS) for name in content["state_dict"]):
        options.pop("orientation", None)  # may have been added to the model's file later; folds judge upright images

    def make(**chosen: Any) -> Detector:
        module = build_module(facts.class_path, options, path)
        try:
            module.load_state_dict(content["state_dict"])
        except RuntimeError as error:
            raise UserError(f"{path}: its weights are not of the model's network: {error}") from error
        return Detector(module.eval().requires_grad_(False), replace(facts, calibration=None), fold.name, **chosen)

    return make
