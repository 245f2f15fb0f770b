"""Where config files are found: the current folder first, then those installed with the package."""

from __future__ import annotations

import re
from itertools import pairwise, takewhile
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.core.untrusted import check_harmless
from landmark_diffusion.training.folder import CONFIG

SUFFIXES = (".yaml", ".yml")
CONFIG_OPTIONS = ("--config", "-c")


def installed_folder() -> Path:
    """Return the folder of the configs that came with the package.

    In an installed wheel it lies inside the package; in a clone (also an editable install) it is the ``configs``
    folder at the top of the repository, beside the package.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def installed_configs() -> list[Path]:
    """Return the configs that came with the package, sorted by name."""
    folder = installed_folder()
    return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES) if folder.is_dir() else []


def find_config(name: str) -> Path:
    """Find one config by name or path; a missing ``.yaml`` is added.

    Raises UserError naming the places that were searched and the nearest known configs, and what ``check_harmless``
    does.
    """
    found = _search(name)
    if found.stem in (".", ".."):
        raise UserError(f"config {name!r}: rename it, since the run folder takes its name and would be {found.stem!r}")
    check_harmless(found)
    return found


def _search(name: str) -> Path:
    candidates = [name] if Path(name).suffix in SUFFIXES else [name, *(name + suffix for suffix in SUFFIXES)]
    for candidate in candidates:
        if Path(candidate).is_file():
            return Path(candidate)
    if Path(name).name == name:
        for candidate in candidates:
            if (installed_folder() / candidate).is_file():
                return installed_folder() / candidate
    raise UserError(_not_found(name))


def resolve_config_arguments(arguments: list[str]) -> list[str]:
    """Replace the value of each ``--config`` (or ``-c``) by the path of the file that it names."""
    resolved: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        option, equals, value = argument.partition("=")
        if option not in CONFIG_OPTIONS:
            resolved.append(argument)
        elif equals:
            resolved.append(f"{option}={find_config(value)}")
        elif position + 1 < len(arguments):
            position += 1
            resolved += [argument, str(find_config(arguments[position]))]
        else:
            raise UserError(f"{argument} needs a value: the name or path of a config (`ldx configs` lists the names)")
        position += 1
    return resolved


def config_paths(arguments: list[str]) -> list[Path]:
    """Return the files named by each ``--config`` of resolved arguments, in their order."""
    pairs = pairwise([*arguments, ""])
    paths = []
    for argument, following in pairs:
        option, equals, value = argument.partition("=")
        if option in CONFIG_OPTIONS:
            paths.append(Path(value if equals else following))
    return paths


def shown_config(path: Path) -> str:
    """Name a config as it can be typed: an installed one by its name unless a file here has it, others by path."""
    installed = path.resolve().parent == installed_folder().resolve() and not Path(path.name).is_file()
    return path.name if installed else str(path)


def config_name(path: str | Path) -> str:
    """Name what is made with a config: its stem, or its folder's name where it is the ``config.yaml`` of a run."""
    path = Path(path)
    return path.resolve().parent.name if path.name == CONFIG else path.stem


def describe(path: Path) -> str:
    """Return the first sentence of a config's first comment without its ``#`` and full stop; empty where there is none.

    It ends with the comment, or with a full stop before a capital or the end of a line.
    """
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    comment = [line.strip().lstrip("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]
    first = re.split(r"(?<=\.)(?: +(?=[A-Z])|\n)", "\n".join(comment), maxsplit=1)[0]
    return first.replace("\n", " ").removesuffix(".")


def _not_found(name: str) -> str:
    parent = Path(name).parent
    beside = [str(p) for p in sorted(parent.glob("*")) if p.suffix in SUFFIXES] if parent.is_dir() else []
    known = [*beside, *(p.name for p in installed_configs())]
    wanted = name if Path(name).suffix in SUFFIXES else name + SUFFIXES[0]
    if Path(name).name == name:
        where = f"neither in the current folder ({Path.cwd()}) nor among the installed configs ({installed_folder()})"
    else:
        where = f"no file there (current folder: {Path.cwd()})"
    return f"config {name!r}: {where}.{did_you_mean(wanted, known)} `ldx configs` lists the installed ones."
