"""SIGTERM and Ctrl-C leave a whole checkpoint and say how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training import RunFolder
from landmark_diffusion.training.stopping import StopRequested, resume_command
from tests.training.tiny import TinyData, TinyModule, default_sigint, tiny_trainer


def stop(folder: Path, kill_at: int, kill_with: int, **options: Any) -> StopRequested:
    trainer = tiny_trainer(folder, **({"max_epochs": 3, "checkpoint_every": 0} | options))
    with default_sigint(), pytest.raises(StopRequested) as caught:
        trainer.fit(TinyModule(kill_at, kill_with), datamodule=TinyData())
    return caught.value


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_saves_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/ldx", "fit", "--config", "my config.yaml", "--overwrite", "true"])
    stopped = stop(tmp_path, kill_at=2, kill_with=number)
    assert stopped.code == code
    expected = "stopped at step 3 of 15 (epoch 0); go on with: ldx fit --config 'my config.yaml' --ckpt_path last"
    assert str(stopped) == expected
    assert expected in capsys.readouterr().err
    last = RunFolder(tmp_path).last()
    assert last is not None and read_checkpoint(last)["global_step"] == 3


def test_handlers_are_given_back(tmp_path: Path) -> None:
    """Else Ctrl-C after training would do nothing."""
    with default_sigint():
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        tiny_trainer(tmp_path, max_epochs=1).fit(TinyModule(), datamodule=TinyData())
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        stop(tmp_path, kill_at=1, kill_with=signal.SIGTERM)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_nohup_holds(tmp_path: Path) -> None:
    """A run under nohup goes on when the terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        tiny_trainer(tmp_path, max_epochs=1).fit(TinyModule(2, signal.SIGHUP), datamodule=TinyData())
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    last = RunFolder(tmp_path).last()
    assert last is not None and read_checkpoint(last)["global_step"] == 5


def test_an_accumulation_is_finished_first(tmp_path: Path) -> None:
    """Lightning alone would stop between two micro-batches, where no checkpoint can be taken."""

    class InTheMiddle(TinyModule):
        def on_before_zero_grad(self, optimizer: Any) -> None:
            self.kill_at = self.global_step  # the next micro-batch is the first of a step

    trainer = tiny_trainer(tmp_path, max_epochs=3, checkpoint_every=0, accumulate_grad_batches=2)
    with pytest.raises(StopRequested):
        trainer.fit(InTheMiddle(), datamodule=TinyData())
    content = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    progress = content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
    assert progress % 2 == 0 or progress == 5


def test_a_signal_in_validation_waits_for_its_end(tmp_path: Path) -> None:
    """Else the continued run would leave that validation out, and perhaps the best checkpoint with it."""

    class KilledInValidation(TinyModule):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            if batch_idx == 0 and self.current_epoch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    module, trainer = KilledInValidation(), tiny_trainer(tmp_path, max_epochs=3, checkpoint_every=0)
    with pytest.raises(StopRequested, match=r"step 10 of 15"):
        trainer.fit(module, datamodule=TinyData())
    assert sorted(module.history) == [5, 10]
    assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] == 10


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    class Impatient(TinyModule):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if self.global_step == 2:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            return super().training_step(batch, batch_idx)

    trainer = tiny_trainer(tmp_path, max_epochs=3, checkpoint_every=0)
    with default_sigint(), pytest.raises(StopRequested, match="at once") as caught:
        trainer.fit(Impatient(), datamodule=TinyData())
    assert caught.value.code == 130
    assert not (tmp_path / "checkpoints").exists()


def test_a_signal_at_the_last_step_lets_the_run_end(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4)
    trainer.fit(TinyModule(kill_at=3), datamodule=TinyData())
    assert trainer.global_step == 4
    assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] == 4


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("fit --config a.yaml", "ldx fit --config a.yaml --ckpt_path last"),
        ("fit --ckpt_path last --config a.yaml", "ldx fit --config a.yaml --ckpt_path last"),
        ("fit --ckpt_path=x.ckpt --overwrite=true --config a.yaml", "ldx fit --config a.yaml --ckpt_path last"),
        ("fit --overwrite --config a.yaml", "ldx fit --config a.yaml --ckpt_path last"),
        ("fit --config a.yaml --overwrite", "ldx fit --config a.yaml --ckpt_path last"),
        ("fit --config a.yaml --run_folder b", "ldx fit --config a.yaml --run_folder b --ckpt_path last"),
    ],
)
def test_the_command_that_continues(given: str, expected: str) -> None:
    assert resume_command(["/some/bin/ldx", *given.split()]) == expected


REAL_RUN = """
import sys, time
from tests.training.tiny import TinyData, TinyModule, tiny_trainer
class Slow(TinyModule):
    def training_step(self, batch, batch_idx):
        if self.global_step == 1: print("training", flush=True)
        time.sleep(0.02)
        return super().training_step(batch, batch_idx)
trainer = tiny_trainer(sys.argv[1], max_epochs=200, checkpoint_every=0)
trainer.fit(Slow(), datamodule=TinyData(workers=int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_real_process_leaves_a_whole_checkpoint(tmp_path: Path, number: int, code: int, workers: int) -> None:
    """Ctrl-C reaches the whole process group, so that the data workers get it too."""
    command = [sys.executable, "-c", REAL_RUN, str(tmp_path), str(workers)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **pipes)  # type: ignore[call-overload]
    while process.stdout.readline() not in ("training\n", ""):
        pass
    time.sleep(0.5)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert "go on with: ldx" in error and "Traceback" not in error
    last = RunFolder(tmp_path).last()
    assert last is not None
    assert f"stopped at step {read_checkpoint(last)['global_step']} of 1000" in error


TWO_PROCESSES = """
import os, signal, sys
from tests.training.tiny import TinyData, TinyModule, tiny_trainer
class OneGetsIt(TinyModule):
    def training_step(self, batch, batch_idx):
        if self.global_rank == 1 and self.global_step == 2: os.kill(os.getpid(), signal.SIGTERM)
        return super().training_step(batch, batch_idx)
trainer = tiny_trainer(sys.argv[1], max_epochs=20, checkpoint_every=0, devices=2, strategy="ddp")
trainer.fit(OneGetsIt(), datamodule=TinyData())
"""


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path: Path) -> None:
    """The signal reaches only the second process; both have to stop at the same step, or one waits for ever."""
    script = tmp_path / "train.py"
    script.write_text(TWO_PROCESSES)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run")],
        capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": root}, check=False,
    )  # fmt: skip
    assert done.returncode == 143, done.stderr
    assert "stopped at step 3" in done.stderr
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 3
