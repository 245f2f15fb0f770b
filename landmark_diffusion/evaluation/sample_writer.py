"""SampleWriter: while a network learns to generate radiographs, show what it generates and how near it is."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.evaluation.generated import sample_statistics
from landmark_diffusion.evaluation.generated_figures import samples_figure, statistics_figure
from landmark_diffusion.training.ema import averaged_weights, evaluating
from landmark_diffusion.training.lightning_internals import at_optimizer_step

TRAINING_IMAGES = 500
"""At most this many training images, evenly taken, are compared with."""


class SampleWriter(Callback):
    """Write generated radiographs under ``run_folder/samples`` during training and at its end, on the first process.

    ``step_004000.png`` (each beside its nearest training image), ``statistics_004000.png``, and a row of
    ``statistics.csv``, one for each step (see SampleStatistics), also sent to the loggers. The module has
    ``generate(count, size=(W, H), steps=..., seed=...)``, which gives (count,1,H,W) in [0,1]. Where it has
    ``generated_sets()`` and these are not empty, each of them has a folder of its own, ``generate`` is asked for images
    ``of_set``, and they are compared with the training images of that set; where it has ``comparable(images)``, with
    what this makes of the training images. The averaged weights are used where the run has them. The noise is the same
    at every step, so that the pictures show the progress. Weights, gradients and all random states are left as they
    were: a run with and without pictures trains alike, bit for bit.

    It has to stand behind the averaging callback in the trainer's list, else the last update is not yet in the average.

    Args:
        run_folder: the run's folder.
        every_n_steps: optimiser steps between two writings.
        count: images in the picture, generated at a time.
        steps: network evaluations for an image.
        statistics_count: images that the statistics are made of, if more than ``count``.

    Raises UserError for a number below 1 and for a ``statistics.csv`` that is not its own.
    """

    def __init__(
        self,
        run_folder: str | Path,
        every_n_steps: int = 2000,
        count: int = 8,
        steps: int = 50,
        statistics_count: int = 32,
    ) -> None:
        options = {"every_n_steps": every_n_steps, "count": count, "steps": steps, "statistics_count": statistics_count}
        for name, value in options.items():
            if value < 1:
                raise UserError(f"samples: {name}: found {value}, expected at least 1")
        self.folder = Path(run_folder) / "samples"
        self.every_n_steps, self.count, self.steps = every_n_steps, count, steps
        self.statistics_count = statistics_count
        self._training: dict[str | None, np.ndarray] = {}
        self._written_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out now, and not after hours, whether the table can be gone on with."""
        if trainer.is_global_zero:
            for of_set in generated_sets(trainer, pl_module):
                read_rows(self._place(of_set) / "statistics.csv")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is due after this optimiser step."""
        # A skipped step leaves the count as it was: at 0 after a skipped first one.
        if at_optimizer_step(trainer) and trainer.global_step > 0 and trainer.global_step % self.every_n_steps == 0:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the trained network generates."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: Any) -> None:
        step = trainer.global_step
        if not trainer.is_global_zero or trainer.fast_dev_run or step == self._written_step:  # type: ignore[attr-defined]
            return
        with isolate_rng():
            for of_set in generated_sets(trainer, module):
                if of_set not in self._training:
                    self._training[of_set] = self._compared(trainer, module, of_set)
                images = self._generate(trainer, module, of_set)
                self._write_files(trainer, images, of_set, step)
        self._written_step = step

    def _place(self, of_set: str | None) -> Path:
        return self.folder if of_set is None else self.folder / of_set

    def _compared(self, trainer: Trainer, module: Any, of_set: str | None) -> np.ndarray:
        """What the generated images are compared with, (M,H,W) uint8."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        number = None if of_set is None else data.source.set_names().index(of_set)
        images = training_images(data.stage_dataset("train"), of_set=number)
        found: np.ndarray = module.comparable(images) if hasattr(module, "comparable") else images
        return found

    def _generate(self, trainer: Trainer, module: Any, of_set: str | None) -> np.ndarray:
        """Generate images (G,H,W) in [0,1], ``count`` at a time."""
        made: list[np.ndarray] = []
        asked = {} if of_set is None else {"of_set": of_set}
        size = trainer.datamodule.size  # type: ignore[attr-defined]
        with averaged_weights(trainer, module), evaluating(module), trainer.precision_plugin.forward_context():
            for seed in range(-(-max(self.count, self.statistics_count) // self.count)):
                images = module.generate(self.count, size=size, steps=self.steps, seed=seed, **asked)
                made.append(images[:, 0].float().cpu().numpy())
        return np.concatenate(made)

    def _write_files(self, trainer: Trainer, images: np.ndarray, of_set: str | None, step: int) -> None:
        used, training, folder = (
            images[: max(self.count, self.statistics_count)], self._training[of_set], self._place(of_set)
        )  # fmt: skip
        statistics = sample_statistics(used, training)
        picture = samples_figure(folder / f"step_{step:06d}.png", images[: self.count], training, updates=step)
        curves = statistics_figure(
            folder / f"statistics_{step:06d}.png", used, training, updates=step, statistics=statistics
        )
        numbers = statistics.as_dict()
        add_row(folder / "statistics.csv", step, numbers)
        prefix = "samples" if of_set is None else f"samples/{of_set}"
        for logger in trainer.loggers:
            logger.log_metrics({f"{prefix}/{name}": value for name, value in numbers.items()}, step=step)
            if type(logger).__name__ == "WandbLogger":
                for name, path in ((f"{prefix}/generated", picture), (f"{prefix}/curves", curves)):
                    logger.log_image(name, [str(path)], step=step)  # type: ignore[attr-defined]


def generated_sets(trainer: Trainer, module: Any) -> tuple[str | None, ...]:
    """Give the sets of which ``module`` is asked for images: those of the data that it can be told; (None,) for all."""
    known = module.generated_sets() if hasattr(module, "generated_sets") else ()
    if not known:
        return (None,)
    data = trainer.datamodule  # type: ignore[attr-defined]
    names = data.source.set_names()
    there = {names[number] for number in np.unique(data.stage_dataset("train").sets)}
    return tuple(name for name in known if name in there)


def training_images(dataset: Any, limit: int = TRAINING_IMAGES, of_set: int | None = None) -> np.ndarray:
    """Load training images (M,H,W) uint8 at network size without augmentation, at most ``limit``, evenly taken.

    ``of_set`` is the number of a pooled data set's set, whose images alone are taken.
    """
    known = np.arange(len(dataset)) if of_set is None else np.flatnonzero(dataset.sets == of_set)
    places = np.linspace(0, len(known) - 1, min(len(known), limit)).round().astype(int)
    return np.stack([dataset.image(int(place)) for place in known[places]])


def read_rows(path: Path) -> dict[int, dict[str, str]]:
    """Read the rows of ``statistics.csv`` by step; none where there is no file. Raises DataError for another file."""
    if not path.is_file():
        return {}
    found: dict[int, dict[str, str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            step = str(row.get("step"))
            if not step.isdecimal():
                message = f"found {step!r} in the column step, expected a number of optimiser steps; move the file away"
                raise DataError(message, path, len(found) + 2)
            found[int(step)] = row
    return found


def add_row(path: Path, step: int, numbers: dict[str, float]) -> None:
    """Put one step's row into ``statistics.csv``, in place of one that a run before it was resumed may have written."""
    fields = ["step", *numbers]
    row = {"step": str(step)} | {name: f"{value:.6g}" for name, value in numbers.items()}
    rows = read_rows(path) | {step: row}
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[each] for each in sorted(rows))
    atomic_write_text(path, text.getvalue())
