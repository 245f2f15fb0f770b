"""Checks of the user's own words, on argv and the yaml files, which the parsed config no longer shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from landmark_diffusion.configuration.config_files import SUFFIXES, config_paths
from landmark_diffusion.configuration.repeated import check_repeated_keys
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.modelfile.moved_options import config_with_new_names, moved_to
from landmark_diffusion.models.presets import is_network

GRID = "fewshot"
"""The section of a config of `ldx fewshot`."""
GROUPS = (
    *("windows", "noise", "sampling", "target", "decoding", "orientation", "optimisation"),
    *("condition", "alignment", "ddpm_start"),
)
"""Options of a method that are groups of options."""
OF_A_RUN = "# lightning.pytorch=="
"""What the config.yaml of a run folder begins with, which an earlier version may have written."""


def check_linked_options(links: dict[str, str]) -> None:
    """Refuse an explicit value for an option that another one decides: jsonargparse would drop it without a word.

    ``links`` maps the decided option to the deciding one, dotted.
    """
    arguments = sys.argv[1:]
    for target, source in links.items():
        short = target.replace(".init_args.", ".")
        for argument in arguments:
            if argument.partition("=")[0] in (f"--{target}", f"--{short}"):
                raise UserError(_refusal(argument.partition("=")[0], source, "the command line"))
        for path in config_paths(arguments):
            if _has(load_yaml(path), target.split(".")):
                raise UserError(_refusal(target, source, str(path)))


def check_configs(paths: list[Path], options: list[str]) -> None:
    """Refuse a file that is empty or no yaml, and an unknown section, which jsonargparse passes over without options.

    Also a section that is a text: jsonargparse would take it for the place of another file, which nobody has seen; and
    ``overwrite``, since whoever tries a config from somebody else has not agreed to lose a run.

    ``options`` are the verb's dotted options.
    """
    sections = sorted({option.split(".", 1)[0] for option in options} - {"config", "print_config"})
    for path in paths:
        config = load_yaml(path)
        if not config and yaml.safe_load(path.read_text(encoding="utf-8")) is None:
            raise UserError(f"{path}: found an empty config, expected sections such as `data:` and `model:`")
        for section, content in config.items():
            if isinstance(content, str) and _is_file(str(section), content):
                line = line_of(path, [str(section)])
                raise UserError(f"{path}:{line}: found {content!r:.60} as {section}, expected its options below it")
            if section == "model" and isinstance(content, dict):
                _check_groups(path, content.get("init_args"))
            if section == "overwrite" and content not in (False, None):
                line = line_of(path, [section])
                raise UserError(
                    f"{path}:{line}: found overwrite: {content!r:.60}, but a config cannot discard a run; remove the "
                    "line, and give --overwrite on the command line where you mean it"
                )
            if str(section) not in sections:
                line = line_of(path, [str(section)])
                hint = did_you_mean(str(section), sections) if section != GRID else " It is for `ldx fewshot --config`."
                raise UserError(f"{path}:{line}: unknown section {section}.{hint}")


def line_of(path: Path, keys: list[str]) -> int | None:
    """Return the line of a key, given as its parts, in a yaml file; None where the file does not hold it."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return None
    line = None
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        found = next(((k, v) for k, v in node.value if k.value == key), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one config; raises UserError with file and line where it is no yaml mapping, or holds a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"{error.problem_mark.line + 1}: "
        raise UserError(f"{path}:{line}not valid yaml: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid yaml: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, expected sections such as `data:` and `model:`")
    check_repeated_keys(path, node)
    return dict(config_with_new_names(content)) if text.startswith(OF_A_RUN) else content


def _check_groups(path: Path, options: Any) -> None:
    """Refuse what is no group of options where one is expected: of a text jsonargparse would make a file's place."""
    for name, value in options.items() if isinstance(options, dict) else ():
        is_group = name in GROUPS and not isinstance(value, dict)
        if is_group or (isinstance(value, str) and is_network(str(name)) and _is_file("model", value)):
            line = line_of(path, ["model", "init_args", str(name)])
            why = moved_to(str(name)) if isinstance(value, str) else None
            why = why or f"found {value!r:.60} as model.{name}, expected its options below it"
            raise UserError(f"{path}:{line}: {why}")


def _is_file(section: str, text: str) -> bool:
    """Whether jsonargparse would look for a file; `model: NAME` is the short way to name a class."""
    return section in ("data", "trainer") or (section == "model" and ("/" in text or Path(text).suffix in SUFFIXES))


def _has(content: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def _refusal(option: str, source: str, where: str) -> str:
    return f"{where}: {option} is decided by {source} (the data) and cannot be set; remove it"
