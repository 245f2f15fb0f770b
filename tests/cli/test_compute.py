"""Precision and threads ``auto``: chosen, said, written, kept by a run that goes on; what cannot be exact is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from landmark_diffusion.cli import compute
from landmark_diffusion.cli.compatibility import read_content
from landmark_diffusion.cli.compute import SHARED_CHOICE
from landmark_diffusion.hardware import precision
from landmark_diffusion.modelfile.model_file import FACTS_KEY

Ldx = Callable[[str], int]
RUN = Path("runs/tiny")
LAST = RUN / "checkpoints" / "last.ckpt"
FIT = "fit --config tiny.yaml --trainer.precision auto"


def native(monkeypatch: pytest.MonkeyPatch, is_native: bool) -> None:
    """Let the processor compute bfloat16 itself, or not."""
    for module in (precision, compute):
        monkeypatch.setattr(module, "has_native_bfloat16", lambda kind="cpu": is_native)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment, and a trial in which two threads win."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(compute, "try_threads", lambda bf16: {1: 1.0, 2: 0.6})


def test_the_choice_is_said_and_written(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, two_threads: None, capfd: pytest.CaptureFixture
) -> None:
    native(monkeypatch, False)
    assert ldx(FIT) == 0
    said = capfd.readouterr().out
    assert "fit: precision 32-true (auto: this processor has no bfloat16 of its own), 2 threads (auto: a trial" in said
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert (config["trainer"]["precision"], config["threads"]) == ("32-true", 2)
    facts = torch.load(LAST, weights_only=True)[FACTS_KEY]
    assert (facts["precision"], facts["threads"]) == ("32-true", 2)
    (hparams,) = RUN.glob("logs/*/hparams.yaml")
    logged = yaml.safe_load(hparams.read_text())
    assert (logged["precision"], logged["threads"]) == ("32-true", 2)


def test_training_itself_uses_them(ldx: Ldx, monkeypatch: pytest.MonkeyPatch, two_threads: None) -> None:
    from tests.cli.fakes import TinyModel

    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(
        TinyModel,
        "on_train_start",
        lambda self: seen.append((self.trainer.precision, torch.get_num_threads())),
        raising=False,
    )
    native(monkeypatch, True)
    assert ldx(FIT) == 0
    assert seen == [("bf16-mixed", 2)]
    assert torch.get_num_threads() == before


def test_a_run_keeps_what_it_began_with(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, two_threads: None, capfd: pytest.CaptureFixture
) -> None:
    """On a machine that would have chosen otherwise."""
    native(monkeypatch, False)
    assert ldx(FIT) == 0
    native(monkeypatch, True)
    monkeypatch.setattr(compute, "try_threads", lambda bf16: pytest.fail("another trial"))
    capfd.readouterr()
    assert ldx(f"{FIT} --ckpt_path last --trainer.max_epochs 2") == 0
    said = capfd.readouterr().out
    assert "precision 32-true (auto: the run began with it), 2 threads (the run began with it)" in said
    assert read_content(LAST).precision == "32-true"


def test_what_cannot_be_exact_is_said(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, two_threads: None, capfd: pytest.CaptureFixture
) -> None:
    native(monkeypatch, True)
    assert ldx(FIT) == 0
    native(monkeypatch, False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    capfd.readouterr()
    assert ldx(f"{FIT} --ckpt_path last --trainer.max_epochs 2") == 0
    said = capfd.readouterr().out
    assert "precision bf16-mixed (auto: the run began with it; this processor computes it in software" in said
    assert "the run began with 2: other sums round otherwise" in said
    assert ldx(f"{FIT} --ckpt_path last --trainer.precision 32-true --trainer.max_epochs 3") == 0
    assert "the run began in bf16-mixed: it will not end as if" in capfd.readouterr().out


def test_an_explicit_value_is_obeyed(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, two_threads: None, capfd: pytest.CaptureFixture
) -> None:
    native(monkeypatch, False)
    assert ldx("fit --config tiny.yaml --trainer.precision bf16-mixed --threads 1") == 0
    said = capfd.readouterr().out
    assert "precision bf16-mixed (as asked for; this processor computes bfloat16 in software" in said
    assert "1 thread (as asked for)" in said
    content = read_content(LAST)
    assert (content.precision, content.threads) == ("bf16-mixed", 1)


@pytest.mark.parametrize(
    ("is_native", "wanted"), [(True, "bf16-mixed (auto: as in training)"), (False, "32-true (auto")]
)
def test_measuring_follows_the_checkpoint_where_the_machine_can(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, is_native: bool, wanted: str
) -> None:
    native(monkeypatch, True)
    assert ldx(FIT) == 0
    native(monkeypatch, is_native)
    capfd.readouterr()
    assert ldx("test --config tiny.yaml --trainer.precision auto") == 0
    assert f"test: precision {wanted}" in capfd.readouterr().out


def test_an_older_run_says_it_in_its_config(ldx: Ldx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoints do not."""
    native(monkeypatch, True)
    assert ldx("fit --config tiny.yaml --trainer.precision bf16-mixed") == 0
    content = torch.load(LAST, weights_only=True)
    del content[FACTS_KEY]["precision"], content[FACTS_KEY]["threads"]
    torch.save(content, LAST)
    assert (read_content(LAST).precision, read_content(LAST).threads) == ("bf16-mixed", None)
    (RUN / "config.yaml").write_text("trainer: [")
    assert read_content(LAST).precision is None


def test_processes_that_lightning_starts_take_the_first_ones_choice(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    native(monkeypatch, True)
    monkeypatch.setenv(SHARED_CHOICE, "32-true")  # as inherited
    assert ldx(FIT) == 0
    assert "precision 32-true (chosen by the first process)" in capfd.readouterr().out


def test_the_choice_of_one_command_is_not_that_of_the_next(ldx: Ldx, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_native, wanted in ((False, "32-true"), (True, "bf16-mixed")):
        native(monkeypatch, is_native)
        assert ldx(f"{FIT} --overwrite") == 0
        assert read_content(LAST).precision == wanted


def test_processes_that_chose_differently_are_refused(
    ldx: Ldx, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    from landmark_diffusion.cli import callbacks

    monkeypatch.setattr(callbacks, "gather_objects", lambda value: [value, "bf16-mixed"])
    assert ldx("fit --config tiny.yaml --trainer.precision 32-true") == 1
    assert "the processes' machines chose 32-true and bf16-mixed; give one of them" in capfd.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_number_of_threads_that_is_none(ldx: Ldx, capfd: pytest.CaptureFixture, value: str) -> None:
    assert ldx(f"fit --config tiny.yaml --threads={value}") == 1
    assert "threads" in capfd.readouterr().err


def test_without_a_word_it_is_lightnings_default(ldx: Ldx) -> None:
    assert ldx("fit --config tiny.yaml") == 0
    assert read_content(LAST).precision == "32-true"
