"""How verbs read their command lines."""

from __future__ import annotations

import pytest

from landmark_diffusion.cli.arguments import VerbParser, option_values, positions, yaml_value
from landmark_diffusion.core.errors import UserError


@pytest.fixture
def parser() -> VerbParser:
    parser = VerbParser("show", "Shows.")
    parser.add_argument("--config", required=True)
    return parser


def test_options_of_the_trainings_are_passed_on_in_both_ways(parser: VerbParser) -> None:
    line = "--data.root 001 --config c --model.steps=8 --data.size [8,8] --trainer.x=a=b --model.rate -1"
    found, given = parser.parse_passing_on(line.split())
    assert found.config == "c"
    assert given == [
        ("data.root", "001"), ("model.steps", 8), ("data.size", [8, 8]), ("trainer.x", "a=b"), ("model.rate", -1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--confg c", "ldx show: unknown option '--confg'. Did you mean --config"),
        ("--config c stray", "ldx show: unknown argument 'stray'"),
        ("--config c --data 3", "unknown option '--data'"),
        ("--config c --data.root", "ldx show: --data.root needs a value"),
        ("--config c --data.root --model.steps 3", "ldx show: --data.root needs a value"),
    ],
)
def test_what_cannot_be_passed_on_is_told(parser: VerbParser, typed: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parser.parse_passing_on(typed.split() if typed.startswith("--config") else ["--config", "c", *typed.split()])


def test_an_unknown_option_is_told_before_a_missing_one(parser: VerbParser) -> None:
    with pytest.raises(UserError, match="unknown option '--confg=c'"):
        parser.parse(["--confg=c"])
    with pytest.raises(UserError, match="required: --config; `ldx show --help` lists all options"):
        parser.parse([])


def test_options_and_places() -> None:
    line = ["x.ldx", "--a", "1", "--b=2", "y", "-c", "z"]
    assert list(option_values(line)) == [("--a", "1"), ("--b", "2"), ("-c", "z")]
    assert [line[place] for place in positions(line)] == ["x.ldx", "y"]


@pytest.mark.parametrize(
    ("text", "value"), [("001", "001"), ("1", 1), ("1e3", "1e3"), ("true", True), ("{a: 1}", {"a": 1}), ("[", "[")]
)
def test_values_keep_texts_that_yaml_would_change(text: str, value: object) -> None:
    assert yaml_value(text) == value
