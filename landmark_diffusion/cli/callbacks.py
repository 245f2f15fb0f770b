"""Callbacks that the command line adds: the config beside the run, facts inside the checkpoint, progress."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from landmark_diffusion.cli.compute import Compute
from landmark_diffusion.cli.progress_bar import RunBar
from landmark_diffusion.cli.progress_lines import ProgressLines
from landmark_diffusion.cli.terminal import protect_streams
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.say import warn
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.source import Stage
from landmark_diffusion.hardware.precision import FULL
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import FACTS_KEY
from landmark_diffusion.training.datamodule import LandmarkDataModule
from landmark_diffusion.training.processes import gather_objects


class RunConfigCallback(SaveConfigCallback):
    """Write ``config.yaml`` into the run folder: what was run, in a form that every verb takes with ``--config``."""

    def __init__(self, parser: LightningArgumentParser, config: Any, **kwargs: Any) -> None:
        super().__init__(parser, config, save_to_log_dir=False, overwrite=True, **kwargs)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the config without what belongs to this one call: where it continued, what it discarded."""
        config = self.config.clone()
        config.ckpt_path, config.overwrite = None, False
        config.pop("config", None)
        target = Path(config.run_folder) / self.config_filename
        atomic_write_text(target, self.parser.dump(config, skip_unset=False))


class NetworkTable(ModelSummary):
    """Lightning's table of the model without what it does not count here, such as FLOPs of 0."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        *_: Any,
        **__: Any,
    ) -> None:
        """Print name, type and parameters of each part, and their sum."""
        from rich import get_console
        from rich.table import Table

        columns = dict(summary_data)
        table = Table("Name", "Type", "Params")
        for row in zip(*(columns[name] for name in ("Name", "Type", "Params")), strict=True):
            table.add_row(*row)
        console = get_console()
        console.print(table)
        console.print(f"{total_parameters:,} parameters, {trainable_parameters:,} of them trained", highlight=False)


class CheckpointFacts(Callback):
    """Keep the landmarks' names, the data section, precision and threads in each checkpoint, as plain types.

    They let a later ``ldx test`` name what differs and show which names the outputs have, and a continued run compute
    as it began. Loggers get precision and threads as hyper-parameters.
    """

    def __init__(self, data: dict[str, Any], compute: Compute) -> None:
        self.data, self.precision = data, compute.precision or FULL
        self.threads = torch.get_num_threads() if compute.threads is None else compute.threads

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what is computed with; raises UserError where processes have chosen different precisions."""
        chosen = sorted(set(gather_objects(self.precision)))
        if len(chosen) > 1:
            raise UserError(
                f"trainer.precision: the processes' machines chose {' and '.join(chosen)}; give one of them to all, "
                f"such as --trainer.precision {FULL}"
            )
        for logger in trainer.loggers:
            logger.log_hyperparams({"precision": self.precision, "threads": self.threads})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the facts to the checkpoint."""
        names = getattr(getattr(trainer, "datamodule", None), "landmark_names", ())
        checkpoint[FACTS_KEY] = {
            "landmark_names": [str(name) for name in names],
            "data": self.data,
            "precision": self.precision,
            "threads": self.threads,
        }


class TellLearnedImages(Callback):
    """Warn where images are measured that a model file was adapted to: its errors on new ones are larger."""

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    @rank_zero_only
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count them, once the data are there."""
        from landmark_diffusion.studies.calibrate.learned_images import count_learned

        part: dict[str, Stage] = {"test": "test", "validate": "val"}
        data = getattr(trainer, "datamodule", None)
        if stage in part and isinstance(data, LandmarkDataModule):
            images = data.stage_dataset(part[stage])
            if count := count_learned(self.facts, images):
                warn(
                    f"the model was adapted to {count} of these {counted(len(images), 'image')}: on new ones its "
                    "errors are larger, and its regions hold less"
                )


class KeepPrinting(Callback):
    """Make the streams safe in processes that Lightning starts by itself (``ddp_spawn``), which know no ``main``."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Do it once a process."""
        protect_streams()


def progress_bar() -> ProgressBar:
    """Return rich's bar on a terminal, plain lines into a file or pipe (rich would print nothing till the end)."""
    return RunBar() if sys.stdout.isatty() else ProgressLines()
