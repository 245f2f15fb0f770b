"""Loggers: earlier curves are kept, and Weights & Biases stays away unless asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.training import RunFolder
from landmark_diffusion.training.loggers import make_loggers, stable_id
from tests.training.tiny import TinyData, TinyModule, tiny_trainer


def test_a_resumed_run_keeps_the_earlier_curves(tmp_path: Path) -> None:
    """Lightning's CSVLogger deletes the curves of the folder that it is given."""
    for epochs, ckpt in ((1, None), (2, str(tmp_path / "checkpoints/last.ckpt"))):
        trainer = tiny_trainer(tmp_path, max_epochs=epochs, log_every_n_steps=1, logger=make_loggers(tmp_path))
        trainer.fit(TinyModule(), datamodule=TinyData(), ckpt_path=ckpt)
    first, second = (tmp_path / "logs" / f"version_{i}" / "metrics.csv" for i in (0, 1))
    assert "train/loss" in first.read_text().splitlines()[0]
    steps = [line.split(",") for path in (first, second) for line in path.read_text().splitlines()]
    header = steps[0].index("step")
    assert {row[header] for row in steps} >= {"0", "4", "5", "9"}


def test_disabled_needs_no_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # what imports it fails
    assert len(make_loggers(tmp_path, "disabled")) == 1


@pytest.mark.slow
def test_disabled_imports_no_wandb() -> None:
    code = (
        "import sys; from landmark_diffusion.training.loggers import make_loggers; make_loggers('x', 'disabled'); "
        "sys.exit('wandb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_environment_turns_wandb_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert len(make_loggers(tmp_path, "online")) == 1


def test_the_identity_is_made_once(tmp_path: Path) -> None:
    first = stable_id(RunFolder(tmp_path / "run"))
    assert stable_id(RunFolder(tmp_path / "run")) == first
    assert stable_id(RunFolder(tmp_path / "other")) != first


def test_an_unknown_mode_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wandb: found 'on', expected"):
        make_loggers(tmp_path, "on")  # type: ignore[arg-type]


OFFLINE_RUN = """
import sys
from landmark_diffusion.training.loggers import make_loggers
from tests.training.tiny import TinyData, TinyModule, tiny_trainer
trainer = tiny_trainer(sys.argv[1], max_epochs=1, log_every_n_steps=1, logger=make_loggers(sys.argv[1], "offline"))
trainer.fit(TinyModule(), datamodule=TinyData())
print('id:', trainer.loggers[1].experiment.id)
"""


@pytest.mark.slow
def test_an_offline_run_is_written_into_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE_RUN, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"id: {stable_id(RunFolder(tmp_path))}" in done.stdout
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
