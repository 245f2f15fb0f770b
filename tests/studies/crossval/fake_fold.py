"""Stands in for a fold's process: predicts the truth, 1 px to the right, for the images that the split tests."""

from __future__ import annotations

import sys
from pathlib import Path

from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.predictions_file import write_predictions_csv
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.studies.trainings.job import Job
from landmark_diffusion.studies.trainings.results import write_result

job = Job.read(sys.argv[1])
split = next(option.partition("=")[2] for option in job.options if option.startswith("--data.split="))
dataset = FolderDataset("own", split=split)
cases = [
    Prediction(sample.image_id, index, sample.mean_points + 1, sample.annotations)
    for index, sample in enumerate(dataset.samples("test"))
]
evaluation = evaluate({"a": cases}, dataset.landmark_names)
write_predictions_csv(Path(job.folder) / "predictions_chosen.csv", evaluation)
write_result(Path(job.folder), {"checkpoints": {"chosen": {"sdr": {"2": 100.0}}}})
