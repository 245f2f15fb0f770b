"""``ldx export``: a checkpoint as one file to hand over, with its card; a model as ONNX, or as a folder for a hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.run_folder_arguments import runs_beside
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import refuse_existing
from landmark_diffusion.core.texts import counted
from landmark_diffusion.modelfile.model_file import SUFFIX, check_target, is_model_file
from landmark_diffusion.training.folder import CONFIG, RunFolder

if TYPE_CHECKING:
    import numpy as np
    from lightning.pytorch import LightningModule

    from landmark_diffusion.finders.finder import Finder
    from landmark_diffusion.modelfile.facts import ModelFacts

ONNX_SUFFIX = ".onnx"
FEW_UPRIGHT = 10
"""Upright images; fewer are told to be few."""

DESCRIPTION = (
    "Write a checkpoint as one file to hand over: the weights that `ldx test` measures (the averaged ones where there "
    "is an average) and all that a prediction needs, without pickle and without places on this machine. "
    "`ldx test FILE.ldx --data.root PATH` measures it. With a target FILE.onnx, of a checkpoint or of a FILE.ldx: a "
    "program for other runtimes that takes an image and gives points, checked against `ldx detect`. With --hub FOLDER: "
    "a folder in the form of model hubs, which `ldx detect --model FOLDER` reads (docs/model_file.md)."
)


def run_export(arguments: list[str]) -> int:
    """Write the model file and its card, an ONNX file or a hub's folder; nothing is written where anything is amiss."""
    options = _parse(arguments)
    _check_options(options)
    options.checkpoint = str(_checkpoint(Path(options.checkpoint)))
    if options.file is None:
        return _export_folder(options)
    if Path(options.file).suffix == ONNX_SUFFIX:
        return _export_onnx(options)
    return _export_model(options)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if options.file is None and options.hub is None:
        raise UserError(f"ldx export: name the file to write, FILE{SUFFIX} or FILE{ONNX_SUFFIX}, or --hub FOLDER")
    onnx = options.file is not None and (options.onnx or Path(options.file).suffix == ONNX_SUFFIX)
    for name, value in (("networks", options.networks), ("check", options.check)):
        if value and not onnx:
            raise UserError(f"--{name}: goes with a target FILE{ONNX_SUFFIX}, or with --onnx")
    if options.networks and options.check:
        raise UserError("--check: the networks alone find no points in images; leave out --networks or --check")
    if options.onnx and options.file is None:
        raise UserError(f"--onnx: goes with a target FILE{SUFFIX}, beside which FILE{ONNX_SUFFIX} is written")
    if options.hub is not None:
        from landmark_diffusion.export.hub import check_folder

        check_folder(Path(options.hub), options.overwrite)


def _checkpoint(path: Path) -> Path:
    """The checkpoint that `ldx test` takes of a run folder; another path, and a hub folder, as it is."""
    if not path.is_dir() or is_model_file(path):
        return path
    run = RunFolder(path)
    found = run.best() or run.last()
    if found is None:
        raise UserError(
            f"ldx export: no whole checkpoint in the folder {path}; name a run's folder or a checkpoint (.ckpt)."
            f"{runs_beside(path)}"
        )
    print(f"export: using the checkpoint {found}")
    return found


def _export_model(options: argparse.Namespace) -> int:
    """Write FILE.ldx, its card and, where asked for, FILE.onnx."""
    checkpoint, target = Path(options.checkpoint), Path(options.file)
    card = Path(options.card) if options.card else target.with_suffix(".md")
    check_target(target, options.overwrite)
    refuse_existing(card, options.overwrite, "--card")
    upright = _upright(options.orientation)
    if is_model_file(checkpoint):
        _refuse_again(options, target)
    from landmark_diffusion.data.sources import takes_root
    from landmark_diffusion.export.card import write_model_and_card

    facts, weights, module = _read(options)
    if options.onnx:  # first, since it is what may be refused
        _write_onnx(target.with_suffix(ONNX_SUFFIX), module, weights, facts, options)
    if upright:
        facts, weights = _oriented(facts, weights, upright)
    write_model_and_card(target, card, facts, weights, options.overwrite)
    buffers = dict(module.named_buffers())
    count = sum(value.numel() for name, value in weights.items() if name not in buffers)
    print(f"wrote {target} ({target.stat().st_size / 2**20:.1f} MiB, {count} parameters) and its card {card}")
    if options.hub is not None:
        _write_folder(Path(options.hub), facts, weights, options.overwrite)
    print(f"measure it: ldx test {target}" + (" --data.root PATH" if takes_root(facts.data["dataset"]) else ""))
    return 0


def _refuse_again(options: argparse.Namespace, target: Path) -> None:
    """Refuse a model file as the source of another one, but for the orientation that it is to learn."""
    if not options.orientation:
        raise UserError(
            f"{options.checkpoint} is an exported model already; copy it, name a checkpoint (.ckpt), let it learn "
            f"orientations (--orientation UPRIGHT_XRAYS), or, for ONNX, name a target such as "
            f"{target.with_suffix(ONNX_SUFFIX)}; --hub FOLDER alone writes a folder for a hub"
        )
    for name in ("metrics", "note"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: goes with a checkpoint; {options.checkpoint} says its own")


def _upright(asked: Sequence[str] | None) -> list[Path]:
    """The radiographs to learn the orientation from, so many as are needed; none where it was not asked for."""
    if not asked:
        return []
    from landmark_diffusion.detection.inputs import find_images
    from landmark_diffusion.finders.orientation import enough_images

    found = find_images(asked, tell=print)
    return [found[place] for place in enough_images(len(found))]


def _oriented(facts: ModelFacts, weights: Mapping[str, Any], upright: Sequence[Path]) -> tuple[ModelFacts, Any]:
    """Learn the orientation from radiographs that lie upright; raises DataError for one that cannot be read."""
    from landmark_diffusion.cli.progress import progress
    from landmark_diffusion.data.readers.radiograph import read_radiograph
    from landmark_diffusion.export.orientation import oriented
    from landmark_diffusion.finders.orientation import FORM_WEIGHTS, Orientation

    few = f"; {FEW_UPRIGHT} or more are better" if len(upright) < FEW_UPRIGHT else ""
    again = ", in place of what the model knew" if any(name.startswith(FORM_WEIGHTS) for name in weights) else ""
    print(f"orientation: learning from {counted(len(upright), 'image')}, all taken as upright{again}{few}", flush=True)
    images = (read_radiograph(path).grey for path in upright)
    with progress(Orientation.steps, "orientation") as advance:
        return oriented(facts, weights, images, advance=lambda step, loss: advance())


def _read(options: argparse.Namespace) -> tuple[ModelFacts, Mapping[str, Any], Finder]:
    """Facts, weights and the model built from them, of a checkpoint or of a FILE.ldx."""
    source = Path(options.checkpoint)
    if is_model_file(source):
        from landmark_diffusion.detection.model import build_module
        from landmark_diffusion.modelfile.model_file import read_model_file

        model = read_model_file(source)
        return (
            model.facts,
            model.weights,
            build_module(model.facts.class_path, model.facts.model, source, model.weights),
        )
    from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint

    content = read_checkpoint(source)
    facts, module = _gather(source, content, options.metrics, options.note)
    return facts, content["state_dict"], module


def _export_onnx(options: argparse.Namespace) -> int:
    """Write FILE.onnx of a checkpoint or of a FILE.ldx."""
    for name in ("metrics", "card", "note", "orientation", "hub"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: goes with a target FILE{SUFFIX}; found {options.file}")
    facts, weights, module = _read(options)
    _write_onnx(Path(options.file), module, weights, facts, options)
    return 0


def _export_folder(options: argparse.Namespace) -> int:
    """Write a hub's folder alone, of a checkpoint or of a FILE.ldx."""
    for name in ("card", "orientation"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: goes with a target FILE{SUFFIX}; write that first, and its folder from it")
    if is_model_file(Path(options.checkpoint)):
        for name in ("metrics", "note"):
            if getattr(options, name) is not None:
                raise UserError(f"--{name}: goes with a checkpoint; {options.checkpoint} says its own")
    facts, weights, module = _read(options)
    _load(module, weights, options)
    _write_folder(Path(options.hub), facts, weights, options.overwrite)
    return 0


def _write_folder(folder: Path, facts: ModelFacts, weights: Mapping[str, Any], overwrite: bool) -> None:
    from landmark_diffusion.export.hub import write_hub_folder

    names = write_hub_folder(folder, facts, weights, overwrite)
    print(f"wrote {folder} ({', '.join(names)}); use it: ldx detect IMAGES --model {folder}. Nothing was uploaded")


def _load(module: Finder, weights: Mapping[str, Any], options: argparse.Namespace) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{options.checkpoint}: the weights do not fit the options beside them: {error}") from error


def _write_onnx(
    path: Path, module: Finder, weights: Mapping[str, Any], facts: ModelFacts, options: argparse.Namespace
) -> None:
    _load(module, weights, options)
    if options.networks:
        return _write_networks(path, module, facts, options)
    from landmark_diffusion.cli.progress import progress, still
    from landmark_diffusion.export.onnx_program import IMAGES, TOLERANCE, write_program

    images = _images(options.check)
    what = "phantom" if images is None else "image"
    count = IMAGES if images is None else len(images)
    print("translating and checking, which takes some minutes", flush=True)
    with progress(count, "translating", lines=f"{what}s") as advance, ExitStack() as translating:
        if not sys.stderr.isatty():
            translating.enter_context(still("translating"))

        def tell(done: int) -> None:
            if done:
                advance("checking")
            else:
                translating.close()
                print(f"translated; checking on {counted(count, what)}", flush=True)

        made = write_program(path, module, facts, images, options.overwrite, tell)
    size, (torch_s, onnx_s) = path.stat().st_size / 2**20, made.seconds
    checked = f"{made.images} {'phantoms' if images is None else 'images'}"
    print(
        f"wrote {path} ({size:.1f} MiB, {', '.join(made.inputs)} -> {', '.join(made.outputs)}); on {checked} points "
        f"are up to {made.difference:.1e} px from those of ldx detect (allowed {TOLERANCE:g}), covariances "
        f"{made.spread:.1e} of their size; an image takes {onnx_s:.2f} s in onnxruntime, {torch_s:.2f} s in torch"
    )
    if made.undecided:
        left = counted(made.undecided, "point")
        print(f"left out of this: {left} that torch itself does not give to {TOLERANCE:g} px")
    print("how to run it with onnxruntime and numpy alone: docs/examples/onnx_points.py")


def _images(asked: Sequence[str] | None) -> list[np.ndarray] | None:
    """The images to check with, so many as are needed; None where none were named."""
    if not asked:
        return None
    from landmark_diffusion.data.readers.radiograph import read_radiograph
    from landmark_diffusion.detection.inputs import find_images
    from landmark_diffusion.export.onnx_program import IMAGES

    found = find_images(asked, tell=print)
    if len(found) > IMAGES:
        print(f"--check: {IMAGES} of the {len(found)} images, evenly chosen")
    chosen = [found[place * len(found) // IMAGES] for place in range(IMAGES)] if len(found) > IMAGES else found
    return [read_radiograph(path).grey for path in chosen]


def _write_networks(path: Path, module: Finder, facts: ModelFacts, options: argparse.Namespace) -> None:
    """Write FILE.onnx, and FILE.windows.onnx for a model with two networks."""
    from landmark_diffusion.export.onnx_export import write_onnx

    for each in write_onnx(path, module, facts, options.overwrite):
        size, names = each.path.stat().st_size / 2**20, ", ".join(each.network.inputs)
        print(
            f"wrote {each.path} ({size:.1f} MiB, {names} -> {each.network.output[0]}); largest difference from torch "
            f"{each.difference:.1e} (allowed {each.allowed:.1e}) in outputs of up to {each.scale:.3g}"
        )
    print("these are networks alone: what is left to do with their output stands in the file and in docs/model_file.md")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser("export", DESCRIPTION)
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT",
        help=f"such as runs/NAME/checkpoints/best.ckpt, or runs/NAME; FILE{SUFFIX} for ONNX, --hub and --orientation",
    )  # fmt: skip
    parser.add_argument(
        "file", metavar="FILE", nargs="?",
        help=f"the file to write: FILE{SUFFIX}, or FILE{ONNX_SUFFIX}; may be left out with --hub",
    )  # fmt: skip
    parser.add_argument("--onnx", action="store_true", help=f"write FILE{ONNX_SUFFIX} beside FILE{SUFFIX}")
    parser.add_argument(
        "--networks", action="store_true",
        help="ONNX: the networks alone, without resizing, chain and decoding (two files for a model with windows)",
    )  # fmt: skip
    parser.add_argument(
        "--check", nargs="+", metavar="IMAGE",
        help="ONNX: compare with `ldx detect` on up to 20 of these, files or folders; by default on phantoms",
    )  # fmt: skip
    parser.add_argument(
        "--hub", metavar="FOLDER",
        help="write a folder as model hubs have it: model.safetensors, config.json, README.md, example.py; nothing is "
        "uploaded",
    )  # fmt: skip
    parser.add_argument("--metrics", metavar="METRICS.json", help="the figures; by default those of RUN/test")
    parser.add_argument("--card", metavar="FILE.md", help="the card; by default beside the file")
    parser.add_argument("--note", metavar="TEXT", help="terms of use of the weights; by default from the data set")
    parser.add_argument(
        "--orientation", nargs="+", metavar="IMAGE",
        help="learn to recognise mirrored, turned and negative images from these, files or folders, which count as "
        f"upright: best those of the training; CHECKPOINT may be a FILE{SUFFIX} then",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the files that are there")
    return parser.parse(arguments)


def _gather(
    checkpoint: Path, content: dict[str, Any], asked: str | None, note: str | None
) -> tuple[ModelFacts, Finder]:
    """Gather the facts and build the model from them: what cannot be loaded is not handed over."""
    from landmark_diffusion.export.gather import find_run, gather_facts, read_config

    run = find_run(checkpoint)
    path = None if run is None else run / CONFIG
    config = read_config(path) if path is not None and path.is_file() else None
    metrics = _metrics(checkpoint, content, run, asked)
    facts = gather_facts(checkpoint, content, config, metrics, note)
    if facts.precision is None:
        print("no config.yaml beside the checkpoint: the precision is unknown, and a test takes 32-true")
    return facts, _check_loads(checkpoint, facts, content["state_dict"])


def _metrics(checkpoint: Path, content: dict[str, Any], run: Path | None, asked: str | None) -> dict[str, Any] | None:
    """The figures to hand over: those asked for, which must fit, or those of the run's test if they fit."""
    from landmark_diffusion.export.gather import mismatch, read_metrics

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


def _check_loads(checkpoint: Path, facts: ModelFacts, weights: Mapping[str, Any]) -> Finder:
    """Build the model from its facts; raises UserError where it is none of landmarks or its weights would not fit."""
    from landmark_diffusion.cli.compatibility import check_compatible, read_content
    from landmark_diffusion.detection.model import build_module
    from landmark_diffusion.export.gather import without_places

    model = build_module(facts.class_path, facts.model, checkpoint, weights)
    content = read_content(checkpoint)
    content = replace(content, hparams=without_places(content.hparams))  # they are left out, which is no difference
    check_compatible(content, _trained_module(facts), None, resume=False)
    return model


def _trained_module(facts: ModelFacts) -> LightningModule:
    """Build the LightningModule that trains such a model: it knows its options."""
    from landmark_diffusion.methods import METHODS

    module: LightningModule = METHODS.load(facts.class_path)(**facts.model)
    return module
