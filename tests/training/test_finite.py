"""NaN and infinity: such a step leaves no trace in what is trained, is counted, and ends the run when it goes on."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.seeds import noise_seed
from landmark_diffusion.evaluation.sample_writer import SampleWriter
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training.checkpoint import nonfinite_weights
from landmark_diffusion.training.ema import ema_decay_at
from landmark_diffusion.training.finite import SkipBadSteps, describe, gradients_are_finite
from landmark_diffusion.training.samplers import EpochKeyedSampler
from landmark_diffusion.training.stopping import StopRequested
from tests.training.tiny import (
    BATCH,
    SAMPLES,
    SEED,
    StopInBatch,
    TinyData,
    TinyDataset,
    TinyModule,
    Trace,
    differences,
    tiny_trainer,
    trained_state,
)  # fmt: skip

DECAY = 0.9
Place = tuple[int, int]
"""Epoch and batch."""


class Poisoned(TinyModule):
    """A module whose loss or gradients go bad on some batches of one process."""

    def __init__(self, bad: set[Place], kind: str = "loss is nan", rank: int = 0) -> None:
        super().__init__()
        self.bad, self.kind, self.rank = bad, kind, rank

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if isinstance(batch, dict):
            batch = (batch["x"], batch["index"])
        loss = super().training_step(batch, batch_idx)
        if (self.current_epoch, batch_idx) not in self.bad or self.global_rank != self.rank:
            return loss
        if self.kind == "gradient is infinite":
            weight = self.net[0].weight
            return loss + (weight - weight.detach()).square().sum().sqrt()  # 0, of infinite slope
        if self.kind == "gradient is huge":
            return loss + 1e25 * (self.net[0].weight - self.net[0].weight.detach()).sum()
        return loss + {"loss is nan": math.nan, "loss is infinite": math.inf}[self.kind]  # of good gradients


class NamedData(TinyData):
    """Batches that say which images they are of."""

    def train_dataloader(self) -> DataLoader:
        loader = super().train_dataloader()

        def named(items: list[tuple[torch.Tensor, int]]) -> dict[str, Any]:
            x, index = zip(*items, strict=True)
            return {"x": torch.stack(x), "index": torch.tensor(index), "image_id": [f"image_{i}" for i in index]}

        return DataLoader(loader.dataset, BATCH, sampler=loader.sampler, collate_fn=named)


def fit(folder: Path, module: TinyModule, ckpt: Path | None = None, callbacks: tuple = (), **options: Any) -> Any:
    trainer = tiny_trainer(folder, ema_decay=DECAY, **options)
    trainer.callbacks[:0] = callbacks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=NamedData(), ckpt_path=ckpt)
    return trainer


def last(folder: Path) -> dict[str, Any]:
    return read_checkpoint(folder / "checkpoints/last.ckpt")


def counts(folder: Path) -> dict[str, int]:
    return last(folder)["callbacks"]["SkipBadSteps"]


def by_hand(bad: set[Place], epochs: int, accumulate: int) -> dict[str, Any]:
    """Train in plain torch, without the windows that hold a bad batch."""
    module = TinyModule()
    setup = module.configure_optimizers()
    optimizer, schedule = setup["optimizer"], setup["lr_scheduler"]["scheduler"]
    average, updates = None, 0
    for epoch in range(epochs):
        sampler = EpochKeyedSampler(SAMPLES, SEED, BATCH, epoch, 0, 0, 1)
        batches = list(DataLoader(TinyDataset(SAMPLES), BATCH, sampler=sampler))
        for first in range(0, len(batches), accumulate):
            window = range(first, min(first + accumulate, len(batches)))
            if any((epoch, i) in bad for i in window):
                continue
            optimizer.zero_grad()
            for i in window:
                torch.manual_seed(noise_seed(SEED, 0, epoch, i))
                (TinyModule.training_step(module, batches[i], i) / accumulate).backward()
            optimizer.step()
            schedule.step()
            weights = [each.detach() for each in module.net.parameters()]
            if average is None:
                average = [each.clone() for each in weights]
            else:
                torch._foreach_lerp_(average, weights, 1 - ema_decay_at(updates, DECAY))
            updates += 1
    assert average is not None
    names = [name for name, _ in module.named_parameters()]
    return {
        "state_dict": dict(zip(names, average, strict=True)),
        "current_model_state": module.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
        "global_step": updates,
    }


KINDS = ["loss is nan", "loss is infinite", "gradient is infinite", "gradient is huge"]
QUICK = {("loss is nan", 2), ("gradient is huge", 1)}
CASES = [
    pytest.param(kind, gathered, marks=() if (kind, gathered) in QUICK else pytest.mark.slow)
    for kind in KINDS
    for gathered in (1, 2)
]


@pytest.mark.parametrize(("kind", "accumulate"), CASES)
def test_a_bad_step_leaves_no_trace_in_what_is_trained(tmp_path: Path, kind: str, accumulate: int) -> None:
    """The first batch, two in a row, an epoch's last; in a window of two, one bad batch spoils it."""
    bad = {(0, 0), (0, 3), (1, 1), (1, 2), (1, 4)}
    fit(tmp_path, Poisoned(bad, kind), max_epochs=3, accumulate_grad_batches=accumulate)
    expected = by_hand(bad, 3, accumulate)
    found = last(tmp_path)
    assert found["global_step"] == {1: 10, 2: 4}[accumulate]
    assert list(differences(expected, {key: found[key] for key in expected})) == []
    assert counts(tmp_path) == {"skipped": 5, "in_a_row": 0}


def test_the_undisturbed_run_is_as_by_hand_too(tmp_path: Path) -> None:
    fit(tmp_path, Poisoned(set()), max_epochs=2)
    expected = by_hand(set(), 2, 1)
    assert list(differences(expected, {key: last(tmp_path)[key] for key in expected})) == []
    assert counts(tmp_path) == {"skipped": 0, "in_a_row": 0}


@pytest.mark.parametrize(
    ("accumulate", "stops"),
    [
        (2, [4]),
        pytest.param(1, [2, 3, 4, 5, 6, 7], marks=pytest.mark.slow),
        pytest.param(2, [2, 3, 4, 5, 6, 7], marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_around_a_skipped_step_ends_bit_for_bit_as_the_undisturbed_one(
    tmp_path: Path, accumulate: int, stops: list[int]
) -> None:
    bad = {(0, 2), (0, 3), (0, 4), (1, 0)}
    options: dict[str, Any] = {"max_epochs": 3, "accumulate_grad_batches": accumulate, "checkpoint_every": 2}
    whole = Trace()
    fit(tmp_path / "whole", Poisoned(bad), callbacks=(whole,), **options)
    for batch in stops:
        folder, first, second = tmp_path / str(batch), Trace(), Trace()
        with pytest.raises(StopRequested):
            fit(folder, Poisoned(bad), callbacks=(first, StopInBatch(batch)), **options)
        fit(folder, Poisoned(bad), folder / "checkpoints/last.ckpt", (second,), **options)
        wanted, found = last(tmp_path / "whole"), last(folder)
        assert list(differences(trained_state(wanted), trained_state(found))) == [], batch
        assert counts(folder) == counts(tmp_path / "whole")
        assert repr(first.batches + second.batches) == repr(whole.batches)  # repr: a nan equals no other
        assert first.validations + second.validations == whole.validations


def test_half_precision_skips_too(tmp_path: Path) -> None:
    fit(tmp_path, Poisoned({(0, 1)}), max_epochs=1, precision="bf16-mixed")
    assert last(tmp_path)["global_step"] == 4
    assert counts(tmp_path)["skipped"] == 1
    assert nonfinite_weights(last(tmp_path)["state_dict"], set(last(tmp_path)["state_dict"])) == []


def test_gradient_clipping_does_not_hide_infinity(tmp_path: Path) -> None:
    """Clipping divides by the norm: an infinite one would make all gradients 0 or NaN."""
    fit(tmp_path, Poisoned({(0, 1)}, "gradient is infinite"), max_epochs=1, gradient_clip_val=1.0)
    assert counts(tmp_path)["skipped"] == 1


def test_a_warning_names_the_images_and_the_count_is_logged(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    order = list(EpochKeyedSampler(SAMPLES, SEED, BATCH, 0, 0, 0, 1))[3:6]
    with pytest.warns(UserWarning, match="step skipped") as told:
        trainer.fit(Poisoned({(0, 1)}), datamodule=NamedData())
    text = next(str(each.message) for each in told if "step skipped" in str(each.message))
    names = ", ".join(f"image_{key[1]}" for key in order)
    assert text == f"step skipped after update 1, epoch 0: loss nan on images {names} (1 in a row, 1 in all)"
    assert float(trainer.callback_metrics["train/skipped_steps"]) == 1
    assert "train/skipped_steps" in trainer.progress_bar_metrics


def test_too_many_in_a_row_stop_with_the_images_and_leave_the_checkpoints(tmp_path: Path) -> None:
    bad = {(epoch, batch) for epoch in range(1, 3) for batch in range(5)}
    with pytest.raises(UserError) as caught:
        fit(tmp_path, Poisoned(bad), max_epochs=9)
    text = str(caught.value)
    assert "after update 5, epoch 2: 10 steps in a row" in text and "loss nan on images image_" in text
    for advice in (
        "max_bad_steps",
        "ldx data check",
        "model.optimisation.learning_rate",
        "gradient_clip_val",
        "--ckpt_path last",
    ):
        assert advice in text
    assert nonfinite_weights(last(tmp_path)["state_dict"], set(last(tmp_path)["state_dict"])) == []
    assert last(tmp_path)["global_step"] == 5


def test_a_skipped_first_step_draws_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the count of updates at 0, which every interval divides."""
    written: list[int] = []
    monkeypatch.setattr(SampleWriter, "_write", lambda self, trainer, module: written.append(trainer.global_step))
    fit(tmp_path, Poisoned({(0, 0)}), callbacks=(SampleWriter(tmp_path, every_n_steps=2),), max_epochs=1)
    assert written == [2, 4, 4]  # the last at the end of training


def test_bad_steps_apart_do_not_stop(tmp_path: Path) -> None:
    fit(tmp_path, Poisoned({(epoch, batch) for epoch in range(6) for batch in (1, 3)}), max_epochs=6)
    assert counts(tmp_path) == {"skipped": 12, "in_a_row": 0}


def test_nonsense_for_the_limit_is_named() -> None:
    with pytest.raises(UserError, match="max_bad_steps: found 0"):
        SkipBadSteps(0)


def test_gradients_whose_square_is_infinite_count_as_infinite() -> None:
    """AdamW would keep an infinite second moment for ever, and the weight would stand still without a word."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight])
    assert gradients_are_finite(optimizer)  # none at all, as of frozen weights
    for value, fine in ((1e10, True), (1e25, False), (math.nan, False), (-math.inf, False)):
        weight.grad = torch.tensor([0.0, value, 1.0])
        assert gradients_are_finite(optimizer) == fine


def test_many_images_are_cut_short() -> None:
    text = describe([([f"i{n}" for n in range(40)], 0.25)])
    assert text.startswith("gradients NaN or infinite, with loss 0.25 on images i0, i1")
    assert text.endswith("and 24 more")


class Rot(Callback):
    """Spoil a weight after an update, as a broken device or an overflow would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            pl_module.net[0].weight.data[0, 0] = math.nan


@pytest.mark.parametrize("options", [{"checkpoint_every": 1}, {"val_check_interval": 1, "checkpoint_every": 0}])
def test_weights_with_nan_replace_no_checkpoint(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"no checkpoint is written at step 4.*net\.0\.weight") as caught:
        fit(tmp_path, Poisoned(set()), callbacks=(Rot(4),), max_epochs=2, **options)
    assert str(tmp_path / "checkpoints") in str(caught.value)
    for path in (tmp_path / "checkpoints").iterdir():
        content = read_checkpoint(path)
        assert content["global_step"] <= 3
        assert nonfinite_weights(content["state_dict"], set(content["state_dict"])) == []
    assert last(tmp_path)["global_step"] == 3


def test_a_mask_may_hold_infinity_but_not_nan() -> None:
    values = {"mask": -math.inf, "weight": math.inf, "mean": math.nan, "count": 1, "fine": 0.5}
    state = {name: torch.tensor(value) for name, value in values.items()}
    assert nonfinite_weights(state, {"weight", "fine"}) == ["weight", "mean"]


TWO_PROCESSES = """
import sys
from tests.training.test_finite import NamedData, Poisoned
from tests.training.tiny import tiny_trainer
bad = {(epoch, batch) for epoch, batches in ((0, sys.argv[2]), (1, "012")) for batch in map(int, batches)}
if __name__ == "__main__":
    trainer = tiny_trainer(sys.argv[1], max_epochs=int(sys.argv[3]), devices=2, strategy="ddp")
    for callback in trainer.callbacks:
        if hasattr(callback, "max_bad_steps"): callback.max_bad_steps = 3
    trainer.fit(Poisoned(bad, "loss is nan", rank=1), datamodule=NamedData())
"""


def on_two(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    (tmp_path / "train.py").write_text(TWO_PROCESSES)
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, str(tmp_path / "train.py"), str(tmp_path / "run"), *arguments],
        capture_output=True, text=True, timeout=200, env=os.environ | {"PYTHONPATH": root}, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_skip_together_what_is_bad_on_one(tmp_path: Path) -> None:
    """Only the second process sees the NaN, in the loss alone: its gradients are good and would be averaged."""
    done = on_two(tmp_path, "1", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step skipped after update 1") == 1, done.stderr
    assert "loss nan on images image_" in done.stderr
    assert last(tmp_path / "run")["global_step"] == 2  # of three batches
    assert counts(tmp_path / "run") == {"skipped": 1, "in_a_row": 0}


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path: Path) -> None:
    done = on_two(tmp_path, "0", "4")
    assert done.returncode == 1
    assert done.stderr.count("UserError: stopped after update 2, epoch 1: 3 steps in a row") == 1, done.stderr
    assert last(tmp_path / "run")["global_step"] == 2
