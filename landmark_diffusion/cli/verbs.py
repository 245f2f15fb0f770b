"""The verbs of ``ldx``: what each is for, and the function that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

RUN_VERBS = {
    "fit": "train a model and keep checkpoints in the run folder",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure a checkpoint on the test images: table, metrics.json, predictions.csv, report/",
    "predict": "find landmarks on the images of the predict part",
}
"""The verbs of LightningCLI."""


class RunOption(NamedTuple):
    """An option that these verbs take beside trainer, model and data.

    Attributes:
        name: without its dashes.
        default: its value where nobody gives one.
        help: begins with the verbs that it concerns, and a colon, where those are not all.
    """

    name: str
    default: Any
    help: str


RUN_OPTIONS = (
    RunOption("seed_everything", 0, "The run's one seed."),
    RunOption(
        "run_folder", None, "Folder of checkpoints, results and the config; by default runs/NAME of the first config."
    ),
    RunOption("overwrite", False, "fit: discard a run that already lies in the run folder."),
    RunOption(
        "threads",
        "auto",
        "fit, on a CPU: threads of torch. auto: what a short trial shows to be fastest now; an environment variable "
        "OMP_NUM_THREADS comes first, and a run that is continued keeps its number.",
    ),
    RunOption("wandb", "disabled", "Weights & Biases: offline needs no account."),
    RunOption("protocols", [], "validate, test: protocols measured beside the default one, such as [paper_b]."),
    RunOption("pictures", 6, "test: images that the report shows; 0: no report."),
    RunOption("snapshots", [], "fit: optimiser steps whose checkpoint is kept as checkpoints/step_N.ckpt."),
    RunOption("snapshot_every", 0, "fit: optimiser steps between two more checkpoints/step_N.ckpt; 0: none."),
    RunOption(
        "keep_snapshots",
        5,
        "fit: how many of snapshot_every are kept, the newest; 0: all. best, last and snapshots always stay.",
    ),
    RunOption("max_bad_steps", 10, "fit: steps in a row with NaN or infinity, each skipped, that end the run."),
)


@dataclass(frozen=True)
class Verb:
    """A verb of our own.

    Attributes:
        what: one line for the overview.
        run: "module:function" in ``cli``; the function takes the arguments behind the verb and gives the exit status.
            "" is ``run_VERB`` of the module ``VERB_verb``.
        actions: words of which one has to follow the verb, each with its own ``run``; none where the verb stands alone.
    """

    what: str
    run: str = ""
    actions: Mapping[str, str] = field(default_factory=dict)


OTHER_VERBS = {
    "detect": Verb("find landmarks in radiographs with a model file: `ldx detect IMAGES... --model FILE.ldx`"),
    "analyse": Verb("cephalometric analysis of detected landmarks: measures, classes, tracings"),
    "serve": Verb("find landmarks for other programs, by HTTP: `ldx serve --model FILE.ldx`"),
    "calibrate": Verb(
        "make a model file's regions hold what they state: `ldx calibrate --config C --checkpoint FILE.ldx`"
    ),
    "shifts": Verb("what is left of a model on images as other devices would have made them: `ldx shifts FILE.ldx`"),
    "suggest": Verb("which images to label next, with a reason for each: `ldx suggest --data.root FOLDER --count 10`"),
    "annotate": Verb(
        "mark landmarks, or correct a model's, in a page of the browser: `ldx annotate FOLDER --model FILE.ldx`"
    ),
    "adapt": Verb(
        "fit a model file to a few labelled images of your own: `ldx adapt FILE.ldx --data.root X --output Y.ldx`"
    ),
    "fewshot": Verb("fine-tune and test on few labelled images: a grid of starts, images and draws, with its table"),
    "export": Verb(
        "write a checkpoint as one file to hand over, without pickle: `ldx export CHECKPOINT FILE.ldx`, or .onnx"
    ),
    "crossval": Verb("train and test on each fold of a small set of your own images: one table with intervals"),
    "compare": Verb("any number of tested runs in one table, with paired intervals: `ldx compare runs/a runs/b`"),
    "configs": Verb(
        "list the installed configs; `ldx configs NAME` prints one, `ldx configs --copy NAME` copies it here"
    ),
    "plugins": Verb(
        "list the data sets, methods and outputs that are known: built in, and of other installed packages"
    ),
    "data": Verb(
        "`ldx data check` reads all annotations and images and lists every fault at once; `ldx data convert` brings "
        "labels from one tool's form to another's",
        actions={"check": "data_verbs:run_data_check", "convert": "convert_verb:run_data_convert"},
    ),
    "cache": Verb(
        "`ldx cache clear` removes the resized images that were kept",
        actions={"clear": "data_verbs:run_cache_clear"},
    ),
}
