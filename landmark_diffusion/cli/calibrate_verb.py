"""``ldx calibrate --checkpoint FILE.ldx``: make the regions of a model hold what they state."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.arguments import VerbParser, option_values
from landmark_diffusion.cli.model_data import model_data_section, where_from
from landmark_diffusion.cli.progress import progress
from landmark_diffusion.configuration.config_files import find_config
from landmark_diffusion.configuration.options import arguments, config_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted, words

if TYPE_CHECKING:
    from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
    from landmark_diffusion.modelfile.facts import ModelFacts
    from landmark_diffusion.spread.model_calibration import Calibration, SettingCalibration
    from landmark_diffusion.studies.calibrate.material import Changes, Setting

DESCRIPTION = (
    "Fit regions of stated coverage, expected errors and a score for whole images on labelled images that the weights "
    "have never seen, and store them in the model file: by a part of the data that was held out (--part), or, for a "
    "model that was trained on all images, by --folds trainings that each leave a part out."
)
EXAMPLES = """examples:
  ldx calibrate --checkpoint ceph.ldx --data.root ~/isbi2015 --part val
  ldx calibrate --config ceph_diffusion_small.yaml --checkpoint ceph.ldx --data.root ~/isbi2015 --folds 5

With --folds all further options go to `ldx fit`; a stopped calibration goes on where it was. The file is replaced
whole; a calibration that is there already needs --overwrite, and --output FILE.ldx leaves the old file as it is.
"""
DRAWS = 4
"""How often each image is changed."""
STEPS, EPOCHS = "trainer.max_steps", "trainer.max_epochs"
PARTS = ("val", "test", "train")
LISTING = tuple(
    f"--data.{name}"
    for name in (
        *("dataset", "split", "size", "resize", "dataset_options", "labels", "train_images", "evaluate_on_train"),
        "landmark_names",
    )
)
"""Options of ``ldx fit`` that also decide which images are judged, and how they are seen."""


def run_calibrate(arguments: list[str]) -> int:
    """Calibrate a model file and return 0. ``arguments`` are those behind ``ldx calibrate``.

    Raises UserError for options, files and data that cannot be used; the model file is untouched then.
    """
    options, further = _parse(arguments)
    from landmark_diffusion.export.card import write_model_and_card
    from landmark_diffusion.modelfile.model_file import check_target, read_model_file
    from landmark_diffusion.spread.model_calibration import Calibration

    path = Path(options.checkpoint)
    target = Path(options.output) if options.output else path
    content = read_model_file(path)
    if target == path and path.is_dir():
        raise UserError(
            f"{path} is a hub's folder and was left as it is; give --output FILE.ldx, and export that again"
        )
    if target != path:
        check_target(target, options.overwrite)
    elif content.facts.calibration is not None and not options.overwrite:
        raise UserError(f"{path} is calibrated already and was left as it is; give --overwrite, or --output FILE.ldx")
    settings, changes = _settings(options.settings), _changes(options.changed, options.draws)
    section = model_data_section(content.facts, options.config, root=options.root)
    if options.folds is None:
        source, fitted = _held_out(path, content.facts, section, options.part, settings, changes)
    else:
        source, fitted = _out_of_fold(options, further, content.facts, section, settings, changes)
    calibration = Calibration(source, int(fitted[0].figures["images"]), tuple(fitted))
    facts = replace(content.facts, calibration=calibration.to_dict())
    write_model_and_card(target, target.with_suffix(".md"), facts, content.weights, overwrite=True)
    _report(calibration, target)
    return 0


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = VerbParser("calibrate", DESCRIPTION, EXAMPLES)
    parser.add_argument("--checkpoint", required=True, metavar="FILE.ldx", help="model file of `ldx export`")
    parser.add_argument("--config", "-c", action="append", default=[], help="its training's config; needed for --folds")
    parser.add_argument("--data.root", dest="root", metavar="PATH", help="folder of the data set")
    parser.add_argument("--part", choices=PARTS, help="part of the data that is used (default val; not with --folds)")
    parser.add_argument("--folds", type=int, metavar="K", help="train K models, each without one K-th of the images")
    parser.add_argument("--folds-folder", metavar="PATH", help="their run folders; default runs/NAME/folds")
    parser.add_argument(
        "--settings", default="", metavar="STEPSxSAMPLES,...",
        help="network evaluations and samples to calibrate for (1x1,8x1,8x8); default: the model's own, and --fast",
    )  # fmt: skip
    parser.add_argument(
        "--changed", metavar="RECIPE",
        help="judge the images as other devices would have them too, by a recipe of data.recipe such as devices: "
        "points that may be far off are marked then, and regions widen for them",
    )  # fmt: skip
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="K", help=f"of each image by it (default {DRAWS})")
    parser.add_argument("--seed_everything", type=int, help="of the folds (default 0) and trainings (the config's)")
    parser.add_argument("--output", metavar="FILE.ldx", help="write this file instead of replacing the model file")
    parser.add_argument("--overwrite", action="store_true", help="replace a calibration, or the file of --output")
    options, further = parser.parse_known_args(arguments)
    if further and options.folds is None:
        parser.refuse_unknown(further)
    moved = next((each for each in further if each.partition("=")[0] in LISTING), None)
    if moved is not None:
        raise UserError(f"--folds: found {moved}; what decides which images there are belongs into the config")
    if options.folds is not None and not options.config:
        raise UserError("--folds: the trainings need the model's config; name it with --config")
    if options.folds is None:
        for name, option in (("folds_folder", "--folds-folder"), ("seed_everything", "--seed_everything")):
            if getattr(options, name) is not None:
                raise UserError(f"{option}: only with --folds K, whose trainings it is for")
    if options.folds is not None and options.part is not None:
        raise UserError("--part and --folds: give one of the two")
    return options, further


def _settings(text: str) -> list[Setting]:
    """Steps and samples of each setting."""
    found: list[Setting] = []
    for word in words(text):
        steps, times, samples = word.partition("x")
        if not (steps.isdigit() and samples.isdigit() and times):
            raise UserError(f"--settings: found {word!r}, expected STEPSxSAMPLES such as 8x1")
        found.append((int(steps), int(samples)))
    return found


def _changes(recipe: str | None, draws: int) -> Changes | None:
    from landmark_diffusion.data.augmentation import get_recipe
    from landmark_diffusion.studies.calibrate.material import Changes

    if draws < 1:
        raise UserError(f"--draws: found {draws}, expected at least 1")
    if recipe is None:
        return None
    options = {"usual": 0.0} if recipe == "devices" else {}
    return Changes(get_recipe(recipe, **options), draws)


def _looks(images: int, changes: Changes | None) -> int:
    """How many images are judged: each as it is, and as often as it is changed."""
    return images * (1 + (changes.draws if changes else 0))


def _held_out(
    path: Path,
    facts: ModelFacts,
    section: dict[str, Any],
    part: str | None,
    settings: Sequence[Setting],
    changes: Changes | None,
) -> tuple[str, list[SettingCalibration]]:
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.spread.calibration import LEVELS, least_images
    from landmark_diffusion.studies.calibrate.fitting import fit_setting
    from landmark_diffusion.studies.calibrate.material import judge, labelled_images, make_detectors

    part = part or "val"
    images = labelled_images(section, part, landmarks=facts.landmark_names)
    _refuse_seen(path, facts, section, images, part)
    needed = least_images()
    if len(images) < needed:
        raise UserError(
            f"calibration: found {counted(len(images), 'image')} in the {part} part of {where_from(section)}, expected "
            f"at least {needed} for regions of {100 * max(LEVELS):g} %; name a larger --part, or take all training "
            "images by --folds 5 with --config of the training"
        )
    detectors = make_detectors(lambda **chosen: Detector.load(path, **chosen), settings)
    with progress(_looks(len(images), changes), "calibrate") as advance:
        judged = judge(detectors, images, changes, advance)
    source = f"{counted(len(images), 'image')} of the {part} part of {where_from(section)}, held out from training"
    chosen = [each.settings for each in detectors]
    return source, [fit_setting(each, *found, images.size) for each, found in zip(chosen, judged, strict=True)]


def _refuse_seen(
    path: Path, facts: ModelFacts, section: dict[str, Any], images: LandmarkTorchDataset, part: str
) -> None:
    """Refuse images that trained the weights: their errors are smaller than those of new images."""
    from landmark_diffusion.studies.calibrate.material import seen_in_training

    where = where_from(section)
    if not len(images):
        raise UserError(f"the {part} part of {where} is empty; name another --part or --config, or --folds K")
    if part == "train" or seen_in_training(facts, section, images):
        raise UserError(
            f"{path} was trained on images of the {part} part of {where}, so its errors there say nothing about new "
            "ones; name a part that it never saw, or --folds K"
        )


def _out_of_fold(
    options: argparse.Namespace, further: list[str], facts: ModelFacts, section: dict[str, Any],
    settings: Sequence[Setting], changes: Changes | None,
) -> tuple[str, list[SettingCalibration]]:  # fmt: skip
    from landmark_diffusion.cli.checkpoint_choice import default_run_folder
    from landmark_diffusion.studies.calibrate.fitting import fit_setting
    from landmark_diffusion.studies.calibrate.folds import make_folds
    from landmark_diffusion.studies.calibrate.material import judge_out_of_fold, labelled_images

    folder = Path(options.folds_folder or Path(default_run_folder(options.config, "")) / "folds")
    images = labelled_images(section, "train")
    length = _check_length(options.config, further, facts, bool(len(labelled_images(section, "val"))))
    ids = [sample.image_id for sample in images.samples]
    folds = make_folds(ids, options.folds, folder, options.seed_everything or 0, images.source.patients())
    own = {"data.root": options.root, "seed_everything": options.seed_everything}
    given = [argument for config in options.config for argument in ("--config", config)]
    given += [*arguments({name: value for name, value in own.items() if value is not None}), *further]
    for fold in folds:
        asked = f"ldx fit {shlex.join(given)} on {counted(len(fold.kept), 'image')}"
        print(f"{fold.title}: {fold.standing(length) or asked}", flush=True)
        fold.train(given)
    with progress(_looks(len(ids), changes), "calibrate") as advance:
        chosen, judged = judge_out_of_fold(folds, facts, section, settings, changes, advance)
    source = (
        f"{len(ids)} training images of {where_from(section)}, each judged by one of {len(folds)} models that had not "
    )
    fitted = [fit_setting(each, *found, images.size) for each, found in zip(chosen, judged, strict=True)]
    return source + "seen it", fitted


def _check_length(
    configs: Sequence[str], further: Sequence[str], facts: ModelFacts, validates: bool
) -> int | None:  # fmt: skip
    """Refuse trainings of another length than the model's before they are run; raises UserError that names both.

    Gives their updates, where the options say so. A model with fewer updates than its training may have been chosen by
    validation.
    """
    options = config_options([find_config(name) for name in configs])
    asked = dict(option_values(further))
    steps = str(asked.get(f"--{STEPS}", options.get(STEPS)))
    epochs = asked.get(f"--{EPOCHS}", options.get(EPOCHS))
    if not steps.isdigit() or epochs is not None:
        return None
    if int(steps) < facts.updates or (int(steps) > facts.updates and not validates):
        raise UserError(
            f"--folds: the trainings would have {counted(int(steps), 'update')} (trainer.max_steps), the model "
            f"{facts.updates}: its errors would be other ones, and nothing was trained. Name the config and options "
            "that the model was trained with"
        )
    return int(steps)


def _report(calibration: Calibration, target: Path) -> None:
    from landmark_diffusion.spread.image_score import UNLIKE
    from landmark_diffusion.spread.table import calibration_grid

    if not calibration.settings[0].can_tell:
        needed = round(1 / UNLIKE) - 1
        print(f"{calibration.images} images are too few to call one unlike them: that needs {needed}")
    calibration_grid(calibration).show()
    print(f"wrote {target} and its card {target.with_suffix('.md')}")
