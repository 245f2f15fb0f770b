"""Which run folder and which checkpoint a verb works on; refusals where no choice would be right."""

from __future__ import annotations

from pathlib import Path

from landmark_diffusion.cli.model_file_arguments import refuse_training
from landmark_diffusion.cli.suggestions import did_you_mean
from landmark_diffusion.errors import UserError
from landmark_diffusion.runs.folder import RunFolder
from landmark_diffusion.runs.model_file import SUFFIX, is_model_file
from landmark_diffusion.runs.say import say

RUNS = Path("runs")


def default_run_folder(configs: list[str], class_path: str) -> str:
    """Return ``runs/NAME``, with the stem of the first config, or without a config the model's class."""
    name = Path(configs[0]).stem if configs else class_path.rsplit(".", 1)[-1]
    return str(RUNS / name)


def choose_checkpoint(verb: str, run: RunFolder, asked: str | None, overwrite: bool = False) -> Path | None:
    """Return the checkpoint that ``verb`` starts from; None is a fresh start, which only ``fit`` may make.

    ``asked`` is the value of ``--ckpt_path``: a path, ``best``, ``last`` or None. ``overwrite`` allows ``fit`` afresh
    in a folder that holds a run, and removes nothing yet. Raises UserError when there is nothing to start from, or
    something to lose.
    """
    if verb == "fit":
        return _choose_for_fit(run, asked, overwrite)
    found = _find(run, asked) if asked else run.best() or run.last()
    if found is None:
        raise UserError(
            f"ldx {verb}: no whole checkpoint in the run folder {run.path}, and untrained weights are not worth "
            "measuring. Train first (`ldx fit` with the same config), or name a run with --run_folder or a file with "
            "--ckpt_path." + _other_runs(run)
        )
    say(f"{verb}: using the checkpoint {found}")
    return found


def _choose_for_fit(run: RunFolder, asked: str | None, overwrite: bool) -> Path | None:
    if asked is None:
        if not overwrite:
            run.refuse_overwrite()
        return None
    if overwrite:
        raise UserError("--ckpt_path continues a run and --overwrite discards it: give one of the two")
    if is_model_file(asked):
        raise refuse_training(asked)
    found = _find(run, asked)
    if run.has_checkpoint() and found.resolve().parent != run.checkpoints.resolve():
        raise UserError(
            f"--ckpt_path {asked} belongs to another run, and the run folder {run.path} already holds checkpoints, "
            "which would be replaced; choose another --run_folder, or --ckpt_path last to continue the one there"
        )
    say(f"fit: continuing from {found}")
    return found


def _find(run: RunFolder, asked: str) -> Path:
    if asked in ("last", "best"):
        found = run.last() if asked == "last" else run.best()
        if found is None:
            raise UserError(
                f"--ckpt_path {asked}: no whole checkpoint in the run folder {run.path}; "
                "leave --ckpt_path out to start afresh, or name the run with --run_folder." + _other_runs(run)
            )
        return found
    path = Path(asked)
    if not path.is_file():
        folders = [path.parent, run.checkpoints]
        beside = [p for folder in folders if folder.is_dir() for p in folder.iterdir()]
        known = sorted({str(p) for p in beside if p.suffix in (".ckpt", SUFFIX)})
        raise UserError(f"--ckpt_path {asked}: no such file.{did_you_mean(asked, ['last', 'best', *known])}")
    return path


def _other_runs(run: RunFolder) -> str:
    parent = run.path.parent
    others = sorted(parent.iterdir()) if parent.is_dir() else []
    runs = [str(path) for path in others if path != run.path and RunFolder(path).has_checkpoint()]
    return f" Runs with checkpoints: {', '.join(runs[:8])}." if runs else ""
