"""``ldx data check --model FILE.ldx``: the labels against what a model finds in the images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.core.errors import UserError

if TYPE_CHECKING:
    from landmark_diffusion.data.source import LandmarkDataset
    from landmark_diffusion.detection.detector import Detector

OUTPUT = "label_check"
_CASES, _BATCH = 12, 4
_WITH_MODEL = {"output": None, "overwrite": False, "cases": None, "device": None, "fast": False, "batch_size": None}
"""Options that only mean something beside --model, and their values where they are not given."""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model and what belongs to it."""
    group = parser.add_argument_group("with a model", "judge the labels by what it finds in the images")
    group.add_argument("--model", metavar="FILE.ldx", help="model file of `ldx export`")
    group.add_argument("--output", metavar="FOLDER", help=f"results' folder, by default {OUTPUT}/")
    group.add_argument("--overwrite", action="store_true", help="replace results that are in the folder already")
    group.add_argument("--cases", type=int, metavar="K", help=f"worst cases on the picture (default {_CASES})")
    group.add_argument("--fast", action="store_true", help="the fewest network evaluations that are nearly as good")
    group.add_argument("--device", help="cpu, cuda or cuda:1; by default a GPU where there is one")
    group.add_argument("--batch-size", type=int, metavar="B", help=f"images at once (default {_BATCH})")


def prepare(options: argparse.Namespace) -> Detector | None:
    """Load the model and make the results' folder; None without --model.

    Raises UserError for options without --model or that cannot be used, before anything is judged.
    """
    given = [name for name, unset in _WITH_MODEL.items() if getattr(options, name) != unset]
    if options.model is None:
        if given:
            raise UserError(f"--{given[0].replace('_', '-')}: only with --model FILE.ldx, whose results it is about")
        return None
    for name in ("cases", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')}: found {value}, expected at least 1")
    from landmark_diffusion.core.files import refuse_existing
    from landmark_diffusion.detection.batch import make_folder
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.studies.label_faults.study import FILES

    for name in FILES:
        refuse_existing(_folder(options) / name, options.overwrite, "--output")
    detector = Detector.load(options.model, fast=options.fast, device=options.device, orientation="as-is")
    make_folder(_folder(options))
    return detector


def refuse_other_landmarks(detector: Detector, dataset: LandmarkDataset) -> None:
    """Raise UserError, before the images are read, where model and data have no landmark in common."""
    from landmark_diffusion.studies.label_faults.material import shared_landmarks

    shared_landmarks(detector.facts.landmark_names, dataset.landmark_names)


def check_with_model(detector: Detector, dataset: LandmarkDataset, options: argparse.Namespace) -> None:
    """Judge all labels, print the doubts and write the files. Raises UserError where nothing can be judged."""
    from landmark_diffusion.cli.progress import progress
    from landmark_diffusion.studies.label_faults.material import labelled_samples
    from landmark_diffusion.studies.label_faults.study import study_labels

    batch = options.batch_size or _BATCH
    with progress(len(labelled_samples(dataset)), "labels against the model") as advance:
        study = study_labels(detector, dataset, batch, advance)
    for grid in study.grids():
        print(flush=True)
        grid.show()
    if study.unread:
        print(f"{len(study.unread)} images cannot be read and were not judged: {study.unread[0]}", flush=True)
    facts = {"model": detector.model, "settings": {**detector.settings, "seed": detector.seed}}
    for path in study.write(_folder(options), facts, options.cases or _CASES):
        print(f"wrote {path}", flush=True)


def _folder(options: argparse.Namespace) -> Path:
    return Path(options.output or OUTPUT)
