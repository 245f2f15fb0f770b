"""The verbs of ``ldx``: what each is for, and the function that runs it."""

from __future__ import annotations

from dataclasses import dataclass

RUN_VERBS = {
    "fit": "train a model and keep checkpoints in the run folder",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure a checkpoint on the test images: table, metrics.json, predictions.csv, report/",
    "predict": "find landmarks on the images of the predict part",
}
"""The verbs of LightningCLI."""


@dataclass(frozen=True)
class Verb:
    """A verb of our own.

    Attributes:
        what: one line for the overview.
        run: "module:function" in ``cli``; the function takes the arguments behind the verb and gives the exit status.
        action: a word that has to follow the verb.
    """

    what: str
    run: str
    action: str = ""


OTHER_VERBS = {
    "detect": Verb(
        "find landmarks in radiographs with a model file: `ldx detect IMAGES... --model FILE.ldx`",
        "detect_verb:run_detect",
    ),
    "analyse": Verb(
        "cephalometric analysis of detected landmarks: measures, classes, tracings",
        "analyse_verb:run_analyse",
    ),
    "calibrate": Verb(
        "make a model file's regions hold what they state: `ldx calibrate --config C --checkpoint FILE.ldx`",
        "calibrate_verb:run_calibrate",
    ),
    "fewshot": Verb(
        "fine-tune and test on few labelled images: a grid of starts, images and draws, with its table",
        "fewshot_verb:run_fewshot",
    ),
    "export": Verb(
        "write a checkpoint as one file to hand over, without pickle: `ldx export CHECKPOINT FILE.ldx`, or .onnx",
        "export_verb:run_export",
    ),
    "crossval": Verb(
        "train and test on each fold of a small set of your own images: one table with intervals",
        "crossval_verb:run_crossval",
    ),
    "compare": Verb(
        "any number of tested runs in one table, with paired intervals: `ldx compare runs/a runs/b`",
        "compare_verb:run_compare",
    ),
    "configs": Verb(
        "list the installed configs; `ldx configs NAME` prints one, `ldx configs --copy NAME` copies it here",
        "configs_verb:run_configs",
    ),
    "plugins": Verb(
        "list the data sets, methods and outputs that are known: built in, and of other installed packages",
        "plugins_verb:run_plugins",
    ),
    "data": Verb(
        "`ldx data check` reads all annotations and images and lists every fault at once",
        "data_verbs:run_data_check",
        action="check",
    ),
    "cache": Verb(
        "`ldx cache clear` removes the resized images that were kept",
        "data_verbs:run_cache_clear",
        action="clear",
    ),
}
