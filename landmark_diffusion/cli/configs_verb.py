"""``ldx configs``: list, print or copy the configs that came with the package."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.configuration.config_files import describe, find_config, installed_configs, installed_folder
from landmark_diffusion.core.errors import UserError


def run_configs(arguments: list[str]) -> int:
    """List the installed configs with a line each; print one by name, or copy it with ``--copy``."""
    parser = VerbParser("configs", "List, print or copy the installed configs.")
    parser.add_argument("name", nargs="?", help="print this config")
    parser.add_argument("--copy", action="store_true", help="copy it to the current folder, never over a file")
    options = parser.parse(arguments)
    if options.name is None:
        if options.copy:
            raise UserError("ldx configs --copy needs the name of a config; `ldx configs` lists them")
        return _list_configs()
    path = find_config(options.name)
    if options.copy:
        return _copy(path)
    sys.stdout.write(path.read_text(encoding="utf-8"))
    return 0


def _list_configs() -> int:
    paths = installed_configs()
    if not paths:
        raise UserError(f"no configs found in {installed_folder()}: the installation is incomplete, install again")
    width = max(len(path.name) for path in paths)
    for path in paths:
        print(_listed(path, width))
    print(
        "\npaper A: Salt & Pepper Heatmaps (Wyatt and Voiculescu); paper B: Self-supervised pre-training with diffusion"
    )
    print("model for few-shot landmark detection (Di Via, Odone and Pastore)")
    name = paths[0].name
    print(f"\nin {installed_folder()}\nuse one: ldx fit --config {name}\nread it: ldx configs {name}")
    print(f"copy it to the current folder: ldx configs --copy {name}")
    return 0


def _listed(path: Path, width: int) -> str:
    """Name and first sentence, which goes on below itself where the terminal is narrower."""
    line = f"{path.name:<{width}}  {describe(path)}"
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(line)
    return textwrap.fill(line, max(columns, width + 30), subsequent_indent=" " * (width + 2), break_on_hyphens=False)


def _copy(path: Path) -> int:
    target = Path.cwd() / path.name
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(path.read_text(encoding="utf-8"))
    except FileExistsError:
        raise UserError(f"{target} exists already and was left as it is; move it away first") from None
    print(f"copied to {target}")
    return 0
