"""ResultsWriter: after validate, test and predict, write the table, the records and the pictures."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.json_files import read_json
from landmark_diffusion.core.plain import plain
from landmark_diffusion.core.say import say
from landmark_diffusion.data.source import Stage
from landmark_diffusion.data.splits import FEW_TESTED, few_tested
from landmark_diffusion.evaluation.annotator_view import write_annotators_csv
from landmark_diffusion.evaluation.metrics_file import write_metrics
from landmark_diffusion.evaluation.report import CaseDetails, write_report
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.spread_view import too_few_for_spread, write_spread_csv
from landmark_diffusion.evaluation.tested_spreads import tested_spreads
from landmark_diffusion.metrics.evaluation import evaluate, misfit
from landmark_diffusion.metrics.predictions_file import write_predictions_csv
from landmark_diffusion.metrics.protocols import get_protocol
from landmark_diffusion.metrics.records import LengthUnit, Prediction
from landmark_diffusion.pictures.process_figure import Step, choose_steps
from landmark_diffusion.training.processes import is_running

METRICS = "metrics.json"
FOLDERS: dict[TrainerFn, tuple[str, Stage]] = {
    TrainerFn.VALIDATING: ("validate", "val"),
    TrainerFn.TESTING: ("test", "test"),
    TrainerFn.PREDICTING: ("predict", "predict"),
}


class ResultsWriter(Callback):
    """Write what an evaluation found under ``run_folder/validate``, ``test`` or ``predict``, on the first process.

    ``metrics.json``, ``predictions.csv`` (the main variant; the others as ``predictions_<variant>.csv``),
    ``spread.csv`` where the method says how far its points may be off,
    ``annotators.csv`` where there are two annotators, after a test also ``report/`` with all images in a page,
    overlays, the reverse process and error plots; the table is printed, and goes to Weights & Biases with the pictures
    where that is on. Predict writes the points alone.

    Args:
        run_folder: the run's folder.
        facts: what to note beside the figures, such as the checkpoint.
        other_protocols: names of protocols that are measured beside the default one, in tables of their own.
        pictures: how many images the report shows; 0 writes no report.

    Raises UserError for a protocol that is not known.
    """

    def __init__(
        self,
        run_folder: str | Path,
        facts: Mapping[str, Any] | None = None,
        other_protocols: Sequence[str] = (),
        pictures: int = 6,
    ) -> None:
        self.run_folder, self.facts, self.pictures = Path(run_folder), dict(facts or {}), pictures
        self.other_protocols = tuple(get_protocol(name).name for name in other_protocols)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out, with a word, the protocols that do not fit the images: not at the end, when they are measured."""
        if self.other_protocols and stage in ("validate", "test"):
            found = unmeasured(trainer.datamodule, "val" if stage == "validate" else "test")  # type: ignore[attr-defined]
            faults = {name: misfit(found, name) for name in self.other_protocols}
            verb = TrainerFn(stage).value
            for name, fault in faults.items():
                if fault:
                    say(f"{verb}: the protocol {name} does not fit this data and is left out: {fault}")
            self.other_protocols = tuple(name for name, fault in faults.items() if not fault)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after ``ldx validate``, ``test`` and ``predict``; nothing within fit."""
        self._write(trainer, pl_module)

    on_test_end = on_predict_end = on_validation_end

    def _write(self, trainer: Trainer, module: Any) -> None:
        if trainer.state.fn not in FOLDERS or not trainer.is_global_zero or not getattr(module, "results", None):
            return  # a method that finds no landmarks has its loss logged, and nothing to write
        name, stage = FOLDERS[trainer.state.fn]
        folder, data = self.run_folder / name, trainer.datamodule  # type: ignore[attr-defined]
        console = Console()
        results = self._results(trainer, module, stage)
        evaluation = results.evaluation
        pictures: list[Path] = []
        measured = stage != "predict" and bool(np.isfinite(evaluation.truth).any())
        with draft_of(folder) as draft:
            for variant in evaluation.points:
                suffix = "" if variant == evaluation.main else f"_{variant.replace('-', '_')}"
                write_predictions_csv(draft / f"predictions{suffix}.csv", evaluation, variant)
            if measured:
                self._write_figures(results, module, draft)
                if stage == "test" and self.pictures:
                    with console.status("drawing the report"):
                        pictures = self._report(results, data, module, draft / "report")
            kept = put_aside(folder, self.facts)
        # printed when all is written: a terminal that fails must not cost the results
        if measured:
            for shown in (results.table, *results.other_tables, results.shown_spread):
                if shown is not None:
                    console.print(shown)
            if results.spread is not None and results.shown_spread is None:
                console.print(too_few_for_spread(results.spread.images))
        elif stage != "predict":
            console.print(f"No landmark of the {stage} images is marked: the points are written, nothing measured")
        if pictures:
            console.print(f"Pictures and per-landmark errors: {folder / 'report' / 'README.md'}")
            console.print(f"All images by error, for a browser: {folder / 'report' / 'index.html'}")
        if measured:
            log_to_wandb(trainer, stage, results.table, [folder / path.relative_to(draft) for path in pictures])
        if kept:
            console.print(f"Earlier results there, of another model file or other data, are kept in {kept}")
        console.print(f"[bold]Results in {folder}[/bold]")
        count, whole = len(evaluation.image_ids), not getattr(data.source, "folds", None)
        if stage == "test" and data.source.name == "folder" and whole and count < FEW_TESTED:
            console.print(few_tested(count), highlight=False)

    def _results(self, trainer: Trainer, module: Any, stage: Stage) -> Results:
        """Stack what was found, the main variant last."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        main = module.main_variant if module.main_variant in module.results else next(iter(module.results))
        variants = dict(sorted(module.results.items(), key=lambda item: (item[0] == main, item[0])))
        source = data.source
        evaluation = evaluate(variants, source.landmark_names, source.annotator_names, source.radii, main=main)
        spreads = None
        if stage != "predict":
            frames = data.stage_dataset(stage).frames
            spreads = tested_spreads(self.facts.get("checkpoint"), module, evaluation, frames)
        title = f"{type(module).__name__} on {source.name}, {stage} images"
        return Results(evaluation, title, self.other_protocols, spreads)

    def _write_figures(self, results: Results, module: Any, folder: Path) -> None:
        extra = {
            "command": " ".join(["ldx", *sys.argv[1:]]), "seed": module.seed, "updates": module.trained_updates,
            "parameters": sum(each.numel() for each in module.parameters()),
        }  # fmt: skip
        write_metrics(folder / METRICS, results, {**extra, **self.facts})
        if results.spread is not None:
            write_spread_csv(folder / "spread.csv", results.spread)
        if results.annotators is not None:
            write_annotators_csv(folder / "annotators.csv", results.annotators)

    def _report(self, results: Results, data: Any, module: Any, folder: Path) -> list[Path]:
        examples = data.stage_dataset("test")
        places = {sample.image_id: index for index, sample in enumerate(examples.samples)}
        return write_report(
            folder,
            results,
            lambda image_id: data.source.load_image(examples.samples[places[image_id]]),
            details=lambda image_id: case_details(module, examples, places[image_id]),
            overlays=self.pictures,
        )


def unmeasured(data: Any, stage: Stage) -> list[Prediction]:
    """Give the images of a part as records whose points are the truth itself, to ask what can be measured on them."""
    unit: LengthUnit = "px256" if data.source.unit == "px256" else "mm"
    return [
        Prediction(
            sample.image_id, index, sample.mean_points, sample.annotations, sample.spacing, None, unit, sample.size
        )
        for index, sample in enumerate(data.stage_dataset(stage).samples)
    ]


def put_aside(folder: Path, facts: Mapping[str, Any]) -> Path | None:
    """Rename the results in ``folder`` that a model file would replace with those of other weights or other data.

    Returns their new folder; None where nothing is there, where ``facts`` are not of a model file, and where the
    results are of the same file and data. What does not say of what it is counts as another's.
    """
    if "model_file" not in facts:
        return None
    try:
        before = read_json(folder / METRICS, lambda content: dict(content["extra"]), "is damaged", "it is kept")
    except FileNotFoundError:
        return None
    except DataError:
        before = {}
    if before.get("model_file") == facts["model_file"] and _data_of(before) == _data_of(facts):
        return None
    free = (folder.with_name(f"{folder.name}_before_{number}") for number in count(1))
    kept = next(path for path in free if not path.exists())
    folder.rename(kept)
    return kept


def _data_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Which images were measured, as far as the options say."""
    data = (facts.get("config") or {}).get("data") or {}
    found: dict[str, Any] = plain({name: data.get(name) for name in ("dataset", "root", "split", "dataset_options")})
    return found


@contextmanager
def draft_of(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` to write results to; move its files there when all are written.

    A kill or a full disk before that leaves the earlier results as they were, and not new points beside old figures.
    Raises UserError where the files cannot be written.
    """
    remove_drafts(folder)
    draft = folder.with_name(f".{folder.name}-{os.getpid()}.partial")
    try:
        draft.mkdir(parents=True)
        yield draft
        for path in sorted(each for each in draft.rglob("*") if each.is_file()):
            target = folder / path.relative_to(draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    except OSError as error:
        raise UserError(
            f"{folder}: the results could not be written ({error.strerror or error}); earlier ones there are as they "
            "were. Free some space, or choose another --run_folder"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts of ``folder`` that killed processes left."""
    for left in folder.parent.glob(f".{folder.name}-*.partial"):
        number = left.stem.rpartition("-")[2]
        if number.isdecimal() and not is_running(int(number)):  # another name is not ours
            shutil.rmtree(left, ignore_errors=True)


@torch.no_grad()
def case_details(module: Any, examples: Any, index: int) -> CaseDetails:
    """Run one image again, once, for maps and reverse process; the noise is keyed by the image, so it is the same."""
    item = examples[index]
    batch = {
        key: value.unsqueeze(0).to(module.device) if isinstance(value, torch.Tensor) else [value]
        for key, value in item.items()
    }
    batch["index"] = torch.tensor(batch["index"])
    with module.trainer.precision_plugin.forward_context():
        maps, trajectory = maps_and_steps(module, batch)
    return CaseDetails(
        image=examples.image(index),
        frame=examples.frames[index],
        heatmaps={name: value[0].float().cpu().numpy() for name, value in maps.items()},
        trajectory=trajectory,
    )


def maps_and_steps(module: Any, batch: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[Step]]:
    """Run the method once: its maps, and the steps of the reverse process that are drawn.

    Only those are kept: all 200 of a large image would fill the memory.
    """
    if not getattr(module, "diffusion", False):
        return module.predict_maps(batch), []
    wanted, number, kept = set(choose_steps(module.evaluations()[0])), count(), []

    def watch(step: Any) -> None:
        if next(number) in wanted:
            kept.append((step.t, step.x_t[0].float().cpu().numpy(), step.x0[0].float().cpu().numpy()))

    return module.predict_maps(batch, watch=watch), kept


def log_to_wandb(trainer: Trainer, stage: str, table: Any, pictures: list[Path]) -> None:
    """Send the table's rows and the pictures to Weights & Biases, where it is on."""
    for logger in trainer.loggers:
        if type(logger).__name__ != "WandbLogger":
            continue
        rows = table.to_dict()["rows"]
        columns = ["label", "mre", "std", "median", "beyond_10mm"]
        sdr = list(rows[0]["sdr"])
        cells = [[*(row[c] for c in columns), *(row["sdr"][radius] for radius in sdr)] for row in rows]
        headings = [*columns, *(f"sdr_{radius}" for radius in sdr)]
        logger.log_table(f"{stage}/table", headings, cells)  # type: ignore[attr-defined]
        for path in pictures:  # one key each: under a common one W&B wants all of the same size
            if path.suffix == ".png":
                logger.log_image(f"{stage}/report/{path.stem}", [str(path)])  # type: ignore[attr-defined]
