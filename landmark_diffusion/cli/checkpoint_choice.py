"""Which run folder and which checkpoint a verb works on; refusals where no choice would be right."""

from __future__ import annotations

from pathlib import Path

from landmark_diffusion.cli.model_file_arguments import refuse_training
from landmark_diffusion.cli.run_folder_arguments import runs_beside
from landmark_diffusion.configuration.config_files import config_name
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.modelfile.model_file import SUFFIX, file_of, is_model_file
from landmark_diffusion.training.folder import RunFolder
from landmark_diffusion.training.slurm import restarted_job

RUNS = Path("runs")


def default_run_folder(configs: list[str], class_path: str, checkpoint: str | None = None) -> str:
    """Return ``runs/NAME``, with the stem of the first config, or without a config the model's class.

    An exported model as ``checkpoint`` has a folder of its own, ``runs/NAME.ldx``: a run of its name keeps its results.
    """
    if checkpoint is not None and is_model_file(checkpoint):
        return str(RUNS / (Path(checkpoint).name.removesuffix(SUFFIX) + SUFFIX))  # a hub folder's name has none
    name = config_name(configs[0]) if configs else class_path.rsplit(".", 1)[-1]
    return str(RUNS / name)


def choose_checkpoint(verb: str, run: RunFolder, asked: str | None, overwrite: bool = False) -> Path | None:
    """Return the checkpoint that ``verb`` starts from; None is a fresh start, which only ``fit`` may make.

    ``asked`` is the value of ``--ckpt_path``: a path, ``best``, ``last`` or None. ``overwrite`` allows ``fit`` afresh
    in a folder that holds a run, and removes nothing yet. Raises UserError when there is nothing to start from, or
    something to lose.
    """
    if verb == "fit":
        return _choose_for_fit(run, asked, overwrite)
    found = _find(verb, run, asked) if asked else run.best() or run.last()
    if found is None:
        raise UserError(
            f"ldx {verb}: no whole checkpoint in the run folder {run.path}, and untrained weights are not worth "
            "measuring. Train first (`ldx fit` with the same config), or name a run with --run_folder or a file with "
            "--ckpt_path." + runs_beside(run.path)
        )
    say(f"{verb}: using the checkpoint {found}")
    return found


def _choose_for_fit(run: RunFolder, asked: str | None, overwrite: bool) -> Path | None:
    job = restarted_job(run.checkpoints) if asked is None else None
    if job and (found := run.last()) is not None:
        if overwrite:
            raise UserError(
                f"--overwrite: SLURM restarted job {job}, and what it trained would be discarded ({run.describe()}). "
                "Leave --overwrite out of the job's script: a restarted job goes on by itself"
            )
        say(f"fit: SLURM restarted job {job}: continuing from {found}")
        return found
    if asked is None:
        if not overwrite:
            run.refuse_overwrite()
        return None
    if overwrite:
        raise UserError("--ckpt_path continues a run and --overwrite discards it: give one of the two")
    if is_model_file(asked):
        raise refuse_training(asked)
    found = _find("fit", run, asked)
    if run.has_checkpoint() and found.resolve().parent != run.checkpoints.resolve():
        raise UserError(
            f"--ckpt_path {asked} belongs to another run, and the run folder {run.path} already holds checkpoints, "
            "which would be replaced; choose another --run_folder, or --ckpt_path last to continue the one there"
        )
    say(f"fit: continuing from {found}")
    return found


def _find(verb: str, run: RunFolder, asked: str) -> Path:
    if asked in ("last", "best"):
        found = run.last() if asked == "last" else run.best()
        if found is None:
            raise UserError(_nothing_whole(verb, run, asked))
        return found
    path = Path(asked)
    if not file_of(path).is_file():
        folders = [path.parent, run.checkpoints]
        beside = [p for folder in folders if folder.is_dir() for p in folder.iterdir()]
        known = sorted({str(p) for p in beside if p.suffix in (".ckpt", SUFFIX)})
        raise UserError(f"--ckpt_path {asked}: no such file.{did_you_mean(asked, ['last', 'best', *known])}")
    return path


def _nothing_whole(verb: str, run: RunFolder, asked: str) -> str:
    """Say what works where ``last`` or ``best`` names no whole checkpoint."""
    message = f"--ckpt_path {asked}: no whole checkpoint in the run folder {run.path}; "
    if asked == "best" and run.last() is not None:
        return f"--ckpt_path best: no whole best.ckpt in the run folder {run.path}; --ckpt_path last has another one"
    if verb != "fit":
        return f"{message}train first, name a file, or name the run with --run_folder.{runs_beside(run.path)}"
    if run.has_checkpoint():
        message += f"there is {run.describe()}. Give --overwrite true in place of --ckpt_path to discard that and "
    else:
        message += "leave --ckpt_path out to "
    return f"{message}start afresh, or name the run with --run_folder.{runs_beside(run.path)}"
