"""From jsonargparse's messages to short ones: where it was written, what was found, the nearest known names."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import Logger

from landmark_diffusion.configuration.config_checks import line_of
from landmark_diffusion.configuration.config_files import config_paths
from landmark_diffusion.core.classes import subclasses
from landmark_diffusion.core.suggestions import did_you_mean, nearest_option, question
from landmark_diffusion.modelfile.moved_options import moved_to
from landmark_diffusion.models.network import GIVEN, NETWORKS
from landmark_diffusion.models.presets import is_network

_KEY = re.compile(r'Parser key "([^"]+)"')
_NOT_ACCEPTED = re.compile(r"(?:Option|does not accept option|accept option) '([^']+)'")
_GROUP = re.compile(r"Group '([^']+)' does not accept option")
_NESTED_UNKNOWN = re.compile(r"\n *unrecognized arguments: --([\w.]+)")
_OF_CLASS = re.compile(r"class_path='([^']+)'")
_NO_FILE = re.compile(r'Parser key "([^"]+)": Unable to load config "?([^"\n]*)"?')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_LACKING = re.compile(r"Problem with given class_path '([^']+)':\s+the following arguments are required: (.+)")
_IMPORT = re.compile(r"Expected a dot import path string: (\S+)")
_GIVEN_VALUE = re.compile(r"(?:Given value|Got value): (.*?)(?:\. Got value: .*)?$", re.MULTILINE)
_NESTED = re.compile(r"NestedArg\(key='([^']*)', val=(.*)\)")
_IN_WORDS = {
    "str": "text (in quotes)",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "tuple": "a list in brackets, such as [1, 2]",
    "list": "a list in brackets, such as [1, 2]",
    "dict": "a mapping, such as {name: value}",
}
"""What Python calls a type, for people."""
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value|$)", re.MULTILINE)


def explain(message: str, parser: ArgumentParser, base_class: type = LightningModule) -> str:
    """Turn one of jsonargparse's messages into one for the user.

    ``parser`` is the one that failed (the verb's, or the main one), ``base_class`` what ``model`` may be.
    """
    if message.startswith("unrecognized arguments: "):
        return _unrecognized(message.split(": ", 1)[1].split(" "), parser)
    if (nested := _NESTED_UNKNOWN.search(message)) and (inner := _CLASS.search(message)):
        group, _, option = nested[1].rpartition(".")
        return f"unknown option {option} of model.{group}.{did_you_mean(option, _options_of(group, inner[1]))}"
    if lacking := _LACKING.search(message):
        key = found[1] if (found := _KEY.search(message)) else "trainer.callbacks"
        return f"{find_key(key)}{key}: {lacking[1].rsplit('.', 1)[-1]} needs a value for {lacking[2].strip()}"
    if "arguments are required" in message:
        missing = re.sub(r"\b(fit|validate|test|predict)\.", "", message.split(": ", 1)[1])
        return f"{missing}: not given; name a config with --config NAME (`ldx configs` lists them)"
    if refused := _NOT_ACCEPTED.search(message):
        return _not_accepted(refused[1], message, parser)
    if key := _KEY.search(message):
        return _bad_value(key[1], message, base_class)
    return message


def option_names(parser: ArgumentParser) -> list[str]:
    """Return the dotted options of a parser; of the main parser, those of the verb in ``sys.argv``."""
    subcommands = getattr(parser, "_subcommands_action", None)
    if subcommands is not None and len(sys.argv) > 1 and sys.argv[1] in subcommands.choices:
        parser = subcommands.choices[sys.argv[1]]
    return [action.dest for action in parser._actions if action.option_strings and action.dest != "help"]


def class_options(class_path: str) -> list[str]:
    """Return the options of the class at a dotted path, those of its base classes included."""
    module, _, name = class_path.rpartition(".")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(getattr(sys.modules[module], name), "x", fail_untyped=False)
    return [dest.removeprefix("x.") for dest in option_names(parser) if dest.startswith("x.")]


def find_key(key: str) -> str:
    """Return where the user wrote a dotted key: ``file:line: `` or nothing when no config holds it."""
    if _on_command_line(key):
        return ""
    for path in reversed(config_paths(sys.argv[1:])):
        line = line_of(path, key.split("."))
        if line is not None:
            return f"{path}:{line}: "
    return ""


def _on_command_line(key: str) -> bool:
    names = {f"--{key}", f"--{key.replace('.init_args.', '.')}"}
    return any(argument.partition("=")[0].rstrip("+") in names for argument in sys.argv[1:])


def _unrecognized(tokens: list[str], parser: ArgumentParser) -> str:
    options = [token.partition("=")[0] for token in tokens if token.startswith("-")]
    if not options:
        return f"found {' '.join(tokens)!r} where an option such as --config NAME was expected"
    known = option_names(parser)
    hints = [f"unknown option {o}.{question(nearest_option(o.lstrip('-'), known), '--')}" for o in options]
    return "\n".join(hints)


def _not_accepted(option: str, message: str, parser: ArgumentParser) -> str:
    holder, inner = _KEY.search(message), _CLASS.search(message)
    if holder is None or inner is None:
        return f"{find_key(option)}unknown option {option}.{question(nearest_option(option, option_names(parser)))}"
    of_class, owner, key = inner[1], inner[1].rpartition(".")[2], holder[1]
    known = None
    if (parts := _KEY.findall(message)[1:]) and (network := _OF_CLASS.search(message)):
        if option in GIVEN:
            where = find_key(_joined(key, [*parts, option]))
            return f"{where}{option} of a network is decided by the method; leave it out"
        of_class, key = network[1], _joined(key, parts)
        owner = of_class.rpartition(".")[2]
        known = [name for name in class_options(of_class) if name not in GIVEN]
    elif group := _GROUP.search(message):
        key = f"{key}.init_args.{group[1]}"
        known = _options_of(group[1], inner[1])
        owner = group[1]
    elif key == "model" and (moved := moved_to(option, of_class)):
        return f"{find_key(f'{key}.init_args.{option}')}{moved}"
    hint = did_you_mean(option, class_options(of_class) if known is None else known)
    where, shown = find_key(_joined(key, [option])), key.replace(".init_args.", ".")
    return f"{where}unknown option {option} of {owner} ({shown}).{hint}"


def _options_of(group: str, class_path: str) -> list[str]:
    """List the options of a group of the class at a dotted path."""
    return [name.rpartition(".")[2] for name in class_options(class_path) if name.startswith(f"{group}.")]


def _joined(key: str, parts: Sequence[str]) -> str:
    """Join the keys of a message, outermost first, with the ``init_args`` that lie between a class and its option."""
    for part in parts:
        known_class = key.count(".") == 0 or is_network(key.rpartition(".")[2])
        key = f"{key}.init_args.{part}" if known_class else f"{key}.{part}"
    return key


def _bad_value(key: str, message: str, base_class: type) -> str:
    nested = [k for k in _KEY.findall(message) if k != key]
    if missing := _NO_FILE.search(message):
        option = missing[1].rpartition(".")[2]
        why = moved_to(option) or f"{_joined(key, [option])}: found {missing[2]!r}, expected its options below it"
        return f"{find_key(_joined(key, [option]))}{why}"
    if nested:
        key = _joined(key, list(dict.fromkeys(nested)))
        message = message[message.rindex('Parser key "') :]
    if wanted := _IMPORT.search(message):
        return _unknown_class(key, wanted[1], base_class)
    given = _GIVEN_VALUE.search(message)
    found = given[1].strip() if given else ""
    if argument := _NESTED.search(found):
        key, found = f"{key}.init_args.{argument[1]}", argument[2].strip("'")
    where = find_key(key)
    if "Not a valid subclass" in message or "Not a valid import path" in message:
        return f"{where}{key}: expected `class_path: NAME` with `init_args:` below it and no other key, found {found}"
    expected = list(dict.fromkeys(_plain(text) for text in _EXPECTED.findall(message) if "NoneType" not in text))
    choices = [choice for text in _EXPECTED.findall(message) for choice in _choices(text)]
    if choices:
        expected = [text for text in expected if not text.startswith("typing.Literal")] + [", ".join(choices)]
    if not expected:
        return f"{where}{message}"
    hint = did_you_mean(found, choices) if choices else ""
    return f"{where}{key}: found {found}, expected {' or '.join(expected)}.{hint}"


def _unknown_class(key: str, name: str, base_class: type) -> str:
    base = {"model": base_class, "trainer.callbacks": Callback, "trainer.logger": Logger}.get(key.split(".init")[0])
    known = [] if base is None else sorted({cls.__name__ for cls in subclasses(base) if not inspect.isabstract(cls)})
    known = NETWORKS.names() if is_network(key.rpartition(".")[2]) else known
    where = "" if _on_command_line(key) else find_key(f"{key}.class_path") or find_key(key)
    return f"{where}{key}: unknown class {name!r}.{did_you_mean(name, known)}"


def _plain(text: str) -> str:
    text = re.sub(r"<class '([^']+)'>", r"\1", text.strip())
    text = re.sub(r"^tuple with", "a list with", text)
    return _IN_WORDS.get(text, text)


def _choices(text: str) -> list[str]:
    literal = re.search(r"typing\.Literal\[(.*)\]", text)
    return re.findall(r"'([^']+)'", literal[1]) if literal else []
