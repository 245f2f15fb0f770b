"""The verbs of ``ldx``, and what each is for."""

from __future__ import annotations

RUN_VERBS = {
    "fit": "train a model and keep checkpoints in the run folder",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure a checkpoint on the test images: table, metrics.json, predictions.csv, report/",
    "predict": "find landmarks on the images of the predict part",
}
OTHER_VERBS = {
    "detect": "find landmarks in radiographs with a model file: `ldx detect IMAGES... --model FILE.ldx`",
    "analyse": "cephalometric analysis of detected landmarks: measures, classes, tracings",
    "calibrate": "make a model file's regions hold what they state: `ldx calibrate --config C --checkpoint FILE.ldx`",
    "fewshot": "fine-tune and test on few labelled images: a grid of starts, images and draws, with its table",
    "export": "write a checkpoint as one file to hand over, without pickle: `ldx export CHECKPOINT FILE.ldx`, or .onnx",
    "crossval": "train and test on each fold of a small set of your own images: one table with intervals",
    "compare": "any number of tested runs in one table, with paired intervals: `ldx compare runs/a runs/b`",
    "configs": "list the installed configs; `ldx configs NAME` prints one, `ldx configs --copy NAME` copies it here",
    "plugins": "list the data sets, methods and outputs that are known: built in, and of other installed packages",
    "data": "`ldx data check` reads all annotations and images and lists every fault at once",
    "cache": "`ldx cache clear` removes the resized images that were kept",
}
