"""What is said goes to the logger of the package: silent in a program that does not listen, printed by ``ldx``."""

from __future__ import annotations

import logging

import pytest

from landmark_diffusion.core.say import LOGGER, say, spoken_aloud


def test_a_program_that_does_not_listen_hears_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    say("a word")
    assert capfd.readouterr() == ("", "")


def test_a_program_that_listens_hears_it_as_information(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="landmark_diffusion"):
        say("a word")
    assert [(each.name, each.levelno, each.message) for each in caplog.records] == [
        ("landmark_diffusion", logging.INFO, "a word")
    ]


def test_the_command_line_prints_it_bare_whatever_else_is_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with spoken_aloud():
            say("50 % of {this} is a word")
    finally:
        logging.getLogger().setLevel(logging.WARNING)
    assert capsys.readouterr().out == "50 % of {this} is a word\n"
    level = LOGGER.level
    say("more")
    assert capsys.readouterr().out == "" and level == logging.NOTSET


def test_another_process_of_the_run_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with spoken_aloud():
        say("a word")
    assert capsys.readouterr().out == ""
