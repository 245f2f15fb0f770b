"""``ldx test runs/my_xrays``: a run folder as an argument stands for the config that it holds and for itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from landmark_diffusion.cli.arguments import option_values, positions
from landmark_diffusion.configuration.config_files import CONFIG_OPTIONS
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.model_file import is_model_file
from landmark_diffusion.training.folder import CONFIG, RunFolder

OPTION = "--run_folder"


def expanded_run_folder(verb: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a run folder replaced by ``--config`` with its config and ``--run_folder``.

    ``--run_folder PATH`` without ``--config`` stands for the same; the config comes first, so that further configs and
    options override it. ``fit`` does so only where it goes on with a run (``--ckpt_path``). Raises UserError for a
    first argument that is neither a run folder nor a model, and for a folder that holds no config.
    """
    place = next((place for place in positions(arguments) if _exists(Path(arguments[place]), folder=True)), None)
    given = _value(arguments, (OPTION,))
    if place is None:
        _refuse_unknown(verb, arguments)
        if given is None or not _stands_for_its_config(verb, given, arguments):
            return list(arguments)
        return ["--config", str(_config(verb, Path(given))), *arguments]
    folder = arguments[place]
    if given is not None:
        raise UserError(f"ldx {verb}: found the run folder {folder} beside {OPTION}, expected one of them")
    if not _takes_own(verb, arguments):
        raise UserError(
            f"ldx fit: found the run folder {folder}; go on with its run by --ckpt_path last, or begin a new one by "
            "--config NAME"
        )
    rest = [argument for other, argument in enumerate(arguments) if other != place]
    return ["--config", str(_config(verb, Path(folder))), OPTION, folder, *rest]


def _stands_for_its_config(verb: str, folder: str, arguments: Sequence[str]) -> bool:
    """Whether a folder given as an option brings its config: not where a config or a whole model is given too."""
    if _value(arguments, CONFIG_OPTIONS) is not None or not _takes_own(verb, arguments):
        return False
    return _exists(Path(folder) / CONFIG) or _value(arguments, ("--model", "--model.class_path")) is None


def _config(verb: str, folder: Path) -> Path:
    if _exists(folder / CONFIG):
        return folder / CONFIG
    raise UserError(
        f"ldx {verb}: {folder} holds no {CONFIG}, so it is no folder of a run; name the config with --config, or "
        f"another folder.{runs_beside(folder)}"
    )


def runs_beside(folder: Path) -> str:
    """Name runs with checkpoints in the folder's parent and in it; empty where there are none."""
    places = [each for each in (folder, folder.parent) if _exists(each, folder=True)]
    paths = [path for place in places for path in sorted(place.iterdir()) if path != folder]
    found = [str(path) for path in paths if RunFolder(path).has_checkpoint()]
    return f" Runs with checkpoints: {', '.join(dict.fromkeys(found[:8]))}." if found else ""


def _takes_own(verb: str, arguments: Sequence[str]) -> bool:
    return verb != "fit" or _value(arguments, ("--ckpt_path",)) is not None


def _value(arguments: Sequence[str], options: Sequence[str]) -> str | None:
    return next((value for option, value in option_values(arguments) if option in options), None)


def _exists(path: Path, folder: bool = False) -> bool:
    """Tell whether a file or folder is there; not where its name is one that the system refuses (too long)."""
    try:
        return path.is_dir() if folder else path.is_file()
    except OSError:
        return False


def _refuse_unknown(verb: str, arguments: Sequence[str]) -> None:
    if not arguments or arguments[0].startswith("-") or is_model_file(arguments[0]):
        return
    raise UserError(
        f"ldx {verb}: found {arguments[0]!r}, expected an option, a model file or the folder of a run; it is none of "
        f"them.{runs_beside(Path(arguments[0]))}"
    )
