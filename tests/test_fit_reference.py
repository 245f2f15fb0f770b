"""The reference lists the options that ``ldx fit`` adds to Lightning's, with their defaults."""

from __future__ import annotations

import re
from typing import Any

import pytest

from landmark_diffusion.cli.lightning_cli import LdxCLI
from landmark_diffusion.core.registry import ALLOW_OPTION
from tests.test_docs import section

ROWS = {match[1]: match[2] for match in re.finditer(r"^\| `(--\w+).*?` \| (.*?) \|", section("ldx fit"), re.MULTILINE)}
LIGHTNING = {"--config", "--ckpt_path"}


class Options:
    """Stands in for a parser: notes the options and their defaults."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}

    def add_argument(self, name: str, **options: Any) -> None:
        self.defaults[name] = options["default"]


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """The options in the code."""
    parser = Options()
    LdxCLI.add_default_arguments_to_parser(None, parser)  # type: ignore[arg-type]
    return parser.defaults


def test_every_option_is_listed_and_no_other(options: dict[str, Any]) -> None:
    assert ROWS.keys() == options.keys() | LIGHTNING | {ALLOW_OPTION}


def test_the_defaults_are_those_of_the_code(options: dict[str, Any]) -> None:
    told = {name: ROWS[name].strip("`") for name, default in options.items() if type(default) in (int, str)}
    assert told == {name: str(options[name]) for name in told} and len(told) > 5
    assert {name: ROWS[name] for name, default in options.items() if default is False} == {"--overwrite": "off"}
