"""The entry is cheap, knows its verbs and never shows a traceback for a user's mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from landmark_diffusion.cli import main
from landmark_diffusion.core import errors
from landmark_diffusion.core.errors import UserError

HEAVY = ("torch", "lightning", "numpy", "cv2", "jsonargparse", "matplotlib", "albumentations", "wandb")


def test_overview_and_early_refusals_import_nothing_heavy() -> None:
    """The quick verbs would be slow for everybody if one import of torch crept in."""
    code = f"""
import sys
import landmark_diffusion
from landmark_diffusion.cli import main
assert [main(a) for a in ([], ["--help"], ["--version"], ["configs"], ["fti"], ["fit", "--config", "nope"])] \\
    == [0, 0, 0, 0, 1, 1]
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Did you mean fit?" in done.stderr


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in ("fit", "validate", "test", "predict", "configs", "data", "cache"):
        assert f"\n  {verb} " in shown


@pytest.mark.parametrize(("typed", "meant"), [("vlaidate", "validate"), ("Test", "test"), ("config", "configs")])
def test_unknown_verb_names_the_nearest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 1
    assert f"Did you mean {meant}" in capsys.readouterr().err


def test_option_before_the_verb_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "x.yaml", "fit"]) == 1
    assert "comes before a verb" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "expected"), [(["data"], "ldx data check"), (["cache", "clean"], "ldx cache clear")])
def test_verb_without_its_action(typed: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed) == 1
    assert expected in capsys.readouterr().err


def test_user_error_is_one_message_without_traceback(ldx: Callable[[str], int], capfd: pytest.CaptureFixture) -> None:
    assert ldx("fit --config tiny.yaml --data.dataset faulty") == 1
    err = capfd.readouterr().err
    assert "error: 001.txt:7: found 18 points, expected 19" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(ldx: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_DEBUG", "0")  # so that what --debug sets is taken back after the test
    with pytest.raises(UserError, match="18 points"):
        ldx("fit --config tiny.yaml --data.dataset faulty --debug")


def test_interrupt_before_training_is_a_line(ldx: Callable[[str], int], capfd: pytest.CaptureFixture) -> None:
    assert ldx("fit --config tiny.yaml --data.dataset interrupt") == 130
    err = capfd.readouterr().err
    assert "interrupted" in err
    assert "Traceback" not in err


def test_fault_in_a_worker_process_shows_its_message_alone() -> None:
    raised = (
        "Caught DataError in DataLoader worker process 1.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nlandmark_diffusion.core.errors.DataError: 007.jpg: truncated; Error: none\n'
    )
    assert errors._without_worker_traceback(raised) == "007.jpg: truncated; Error: none"
    assert errors._without_worker_traceback("plain: message") == "plain: message"


def test_arguments_of_the_process_are_put_back(ldx: Callable[[str], int]) -> None:
    before = list(sys.argv)
    ldx("fit --config tiny.yaml --trainer.max_epoch 3")
    assert sys.argv == before


def test_public_names_are_lazy_and_complete() -> None:
    import landmark_diffusion

    assert {"DiffusionHeatmapModule", "LandmarkDataModule", "UNet"} <= set(dir(landmark_diffusion))
    assert landmark_diffusion.UNet.__module__ == "landmark_diffusion.models.unet"
    assert isinstance(landmark_diffusion.__version__, str)
    with pytest.raises(AttributeError, match="Unet"):
        _ = landmark_diffusion.Unet
