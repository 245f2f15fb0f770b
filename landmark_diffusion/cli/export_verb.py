"""``ldx export CHECKPOINT FILE.ldx``: one file to hand over, and its card."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.errors import UserError
from landmark_diffusion.runs.model_file import SUFFIX, check_target, is_model_file

if TYPE_CHECKING:
    from landmark_diffusion.runs.model_facts import ModelFacts

DESCRIPTION = (
    "Write a checkpoint as one file to hand over: the weights that `ldx test` measures (the averaged ones where there "
    "is an average) and all that a prediction needs, without pickle and without places on this machine. "
    "`ldx test FILE.ldx --data.root PATH` measures it."
)


def run_export(arguments: list[str]) -> int:
    """Write the model file and its card; nothing is written where anything is amiss."""
    options = _parse(arguments)
    checkpoint, target = Path(options.checkpoint), Path(options.file)
    card = Path(options.card) if options.card else target.with_suffix(".md")
    check_target(target, options.overwrite)
    if card.is_dir() or (card.exists() and not options.overwrite):
        raise UserError(f"{card} exists already and was left as it is; give another --card, or --overwrite")
    if is_model_file(checkpoint):
        raise UserError(f"{checkpoint} is an exported model already; copy it, or name a checkpoint (.ckpt)")
    from landmark_diffusion.files import atomic_write_text
    from landmark_diffusion.prediction.card import model_card
    from landmark_diffusion.runs.checkpoint import read_checkpoint
    from landmark_diffusion.runs.model_file import read_facts, write_model_file

    content = read_checkpoint(checkpoint)
    facts = _gather(checkpoint, content, options.metrics, options.note)
    write_model_file(target, facts, content["state_dict"], options.overwrite)
    try:
        atomic_write_text(card, model_card(read_facts(target), target.name))
    except OSError as error:
        raise UserError(f"{card}: the card could not be written ({error.strerror or error}); {target} is") from error
    count = sum(value.numel() for value in content["state_dict"].values())
    print(f"wrote {target} ({target.stat().st_size / 2**20:.1f} MiB, {count} parameters) and its card {card}")
    print(f"measure it: ldx test {target}" + _root_hint(facts.data["dataset"]))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ldx export", description=DESCRIPTION)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="such as runs/NAME/checkpoints/best.ckpt")
    parser.add_argument("file", metavar=f"FILE{SUFFIX}", help="the file to write")
    parser.add_argument("--metrics", metavar="METRICS.json", help="the figures; by default those of RUN/test")
    parser.add_argument("--card", metavar="FILE.md", help="the card; by default beside the file")
    parser.add_argument("--note", metavar="TEXT", help="terms of use of the weights; by default from the data set")
    parser.add_argument("--overwrite", action="store_true", help="replace the file and the card")
    return parser.parse_args(arguments)


def _gather(checkpoint: Path, content: dict[str, Any], asked: str | None, note: str | None) -> ModelFacts:
    """Gather the facts and build the model from them once: what cannot be loaded is not handed over."""
    from landmark_diffusion.prediction.gather import find_run, gather_facts, read_config

    run = find_run(checkpoint)
    path = None if run is None else run / "config.yaml"
    config = read_config(path) if path is not None and path.is_file() else None
    metrics = _metrics(checkpoint, content, run, asked)
    facts = gather_facts(checkpoint, content, config, metrics, note)
    if facts.precision is None:
        print("no config.yaml beside the checkpoint: the precision is unknown, and a test takes 32-true")
    _check_loads(checkpoint, facts)
    return facts


def _metrics(checkpoint: Path, content: dict[str, Any], run: Path | None, asked: str | None) -> dict[str, Any] | None:
    """The figures to hand over: those asked for, which must fit, or those of the run's test if they fit."""
    from landmark_diffusion.prediction.gather import mismatch, read_metrics

    if asked is not None:
        metrics = read_metrics(Path(asked))
        if why := mismatch(metrics, checkpoint, content):
            raise UserError(f"--metrics {asked} does not belong to {checkpoint}: {why}. Measure it with `ldx test`")
        return metrics
    path = None if run is None else run / "test" / "metrics.json"
    if path is None or not path.is_file():
        print("no figures: no test/metrics.json in this checkpoint's run; `ldx test` writes it, --metrics names one")
        return None
    metrics = read_metrics(path)
    if why := mismatch(metrics, checkpoint, content):
        print(f"no figures: those of {path} do not belong to {checkpoint}: {why}")
        return None
    print(f"figures: {path}")
    return metrics


def _check_loads(checkpoint: Path, facts: ModelFacts) -> None:
    """Build the model from its facts; raises UserError where it is none of landmarks or its weights would not fit."""
    from landmark_diffusion.cli.compatibility import check_compatible, read_content
    from landmark_diffusion.cli.lightning_cli import import_methods
    from landmark_diffusion.cli.parser_errors import subclasses
    from landmark_diffusion.methods.base import LandmarkModule
    from landmark_diffusion.prediction.gather import without_places

    import_methods()
    known = {each.__name__: each for each in subclasses(LandmarkModule)}
    if facts.class_path not in known:
        raise UserError(f"{checkpoint}: found the class {facts.class_path}, expected one of {', '.join(sorted(known))}")
    content = read_content(checkpoint)
    content = replace(content, hparams=without_places(content.hparams))  # they are left out, which is no difference
    try:
        model = known[facts.class_path](**facts.model)
    except (TypeError, ValueError) as error:
        raise UserError(f"{checkpoint}: no {facts.class_path} can be built from its options: {error}") from error
    check_compatible(content, model, None, resume=False)


def _root_hint(dataset: str) -> str:
    return "" if dataset == "phantom" else " --data.root PATH"
