"""SampleWriter: pictures at the right steps, one row a step however often a run is resumed, and training untouched."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.evaluation import sample_writer
from landmark_diffusion.evaluation.sample_writer import SampleWriter, training_images
from landmark_diffusion.training import RunFolder, default_callbacks

W, H = 12, 16
BATCHES = 6


@pytest.fixture
def sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty files instead of pictures: drawing takes most of the time."""

    def sketch(path: Path, *_: Any, **__: Any) -> Path:
        atomic_write_text(path, "")
        return path

    for name in ("samples_figure", "statistics_figure"):
        monkeypatch.setattr(sample_writer, name, sketch)


class Images:
    """Stands for the training images of a data module: image i is flat, of grey level i."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        assert index < self.count
        return np.full((H, W), index % 256, np.uint8)


class Data(LightningDataModule):
    size = (W, H)

    def stage_dataset(self, stage: str) -> Images:
        assert stage == "train"
        return Images(10)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.linspace(-1, 1, 2 * BATCHES).reshape(-1, 1)), 2, num_workers=0)


class Module(LightningModule):
    """Draws from torch, numpy and random in every step without ever seeding them, and generates with all of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        self.net = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.3), nn.Linear(4, 1))
        self.frozen = nn.Dropout(0.5).eval()
        self.trainer_steps: list[int] = []
        self.calls: list[dict[str, Any]] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        assert self.net[1].training and not self.frozen.training
        x = batch[0] + 0.1 * torch.randn_like(batch[0]) + np.random.normal() * random.random()
        return self.net(x).square().mean()

    def generate(self, count: int, size: tuple[int, int], steps: int, seed: int) -> torch.Tensor:
        assert not torch.is_grad_enabled() and not any(part.training for part in self.modules())
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        weights = [parameter.detach().clone() for parameter in self.parameters()]
        self.calls.append({"count": count, "size": size, "steps": steps, "seed": seed, "weights": weights})
        return torch.rand(count, 1, size[1], size[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


class Recorder(Callback):
    """Everything that training goes on from, after each batch; it is called after the writer."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        weights = [parameter.detach().clone() for parameter in pl_module.parameters()]
        gradients = [parameter.grad.clone() for parameter in pl_module.parameters()]
        random_states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
        modes = [part.training for part in pl_module.modules()]
        self.seen.append((weights, gradients, random_states, modes))


def fit(folder: Path, writer: SampleWriter | None, *, resume: bool = False, ema: float = 0.5, **options: Any) -> Any:
    """Train the tiny module; returns (module, trainer, recorder)."""
    recorder, module = Recorder(), Module()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    callbacks = default_callbacks(RunFolder(folder), ema_decay=ema, checkpoint_every=1)
    callbacks[bool(ema) : bool(ema)] = [*([writer] if writer else []), recorder]
    trainer = Trainer(callbacks=callbacks, **(quiet | {"max_epochs": 1} | options))
    trainer.fit(module, datamodule=Data(), ckpt_path=str(folder / "checkpoints/last.ckpt") if resume else None)
    return module, trainer, recorder


def make_writer(folder: Path, every: int = 2, **options: Any) -> SampleWriter:
    return SampleWriter(folder, every, **({"count": 2, "steps": 3, "statistics_count": 3} | options))


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "samples/statistics.csv").read_text(encoding="utf-8").splitlines()))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize(
    ("ema", "accumulate", "drawn"), [(0.0, 1, False), (0.5, 1, False), (0.0, 2, False), (0.5, 3, True)]
)
def test_training_is_the_same_with_and_without_pictures(
    tmp_path: Path, request: pytest.FixtureRequest, ema: float, accumulate: int, drawn: bool
) -> None:
    """Weights, gradients, random states and modes after every batch, and the average at the end, bit for bit."""
    if not drawn:
        request.getfixturevalue("sketches")
    options: dict[str, Any] = {"ema": ema, "accumulate_grad_batches": accumulate}
    without, _, first = fit(tmp_path / "a", None, **options)
    with_pictures, _, second = fit(tmp_path / "b", make_writer(tmp_path / "b", every=1), **options)
    assert len(list((tmp_path / "b/samples").glob("step_*.png"))) == BATCHES // accumulate
    assert len(first.seen) == BATCHES and same(first.seen, second.seen)
    assert same(list(without.parameters()), list(with_pictures.parameters()))
    files = [torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True) for run in "ab"]
    for key in ("state_dict", "current_model_state"):
        assert same(*(list(file.get(key, {}).values()) for file in files))


def test_files_come_every_n_steps_and_at_the_end(tmp_path: Path) -> None:
    fit(tmp_path, make_writer(tmp_path, every=4))
    steps = ["000004", "000006"]
    wanted = [f"{kind}_{step}.png" for kind in ("statistics", "step") for step in steps]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == sorted([*wanted, "statistics.csv"])
    assert [row["step"] for row in rows(tmp_path)] == ["4", "6"]
    for name in wanted:
        with Image.open(tmp_path / "samples" / name) as picture:
            assert picture.width > 600


def test_micro_batches_of_one_update_make_no_picture_of_their_own(tmp_path: Path, sketches: None) -> None:
    module, _, _ = fit(tmp_path, make_writer(tmp_path, every=1, statistics_count=1), accumulate_grad_batches=3)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2"] and len(module.calls) == 2


def test_statistics_take_more_images_than_are_shown_in_pieces_of_as_many(tmp_path: Path, sketches: None) -> None:
    module, _, _ = fit(tmp_path, make_writer(tmp_path, every=100, count=2, statistics_count=5))
    assert [(call["count"], call["size"], call["steps"]) for call in module.calls] == [(2, (W, H), 3)] * 3
    assert len({call["seed"] for call in module.calls}) == 3


def test_the_averaged_weights_generate(tmp_path: Path, sketches: None) -> None:
    """The first update's average is its weights; later ones lag behind what is trained, as the recursion says."""
    module, _, recorder = fit(tmp_path, make_writer(tmp_path, every=1, statistics_count=1), ema=0.3)
    raw = [weights for weights, *_ in recorder.seen]
    average = raw[0]
    for n, (call, weights) in enumerate(zip(module.calls, raw, strict=True)):
        if n:
            decay = min(0.3, (1 + n) / (10 + n))
            average = [a.lerp(w, 1 - decay) for a, w in zip(average, weights, strict=True)]
        torch.testing.assert_close(call["weights"], average, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(raw[-1][0], average[0], rtol=1e-4)


def test_raw_weights_generate_where_there_is_no_average(tmp_path: Path, sketches: None) -> None:
    module, _, recorder = fit(tmp_path, make_writer(tmp_path, every=2, statistics_count=1), ema=0.0)
    assert same([call["weights"] for call in module.calls], [recorder.seen[i][0] for i in (1, 3, 5)])


def test_the_noise_is_the_same_at_every_step(tmp_path: Path, sketches: None) -> None:
    module, _, _ = fit(tmp_path, make_writer(tmp_path))
    assert [call["seed"] for call in module.calls] == [0, 1] * 3


def test_a_resumed_run_has_one_row_for_each_step(tmp_path: Path, sketches: None) -> None:
    """The first run stopped after step 4 was written but went on from a checkpoint before it."""
    fit(tmp_path, make_writer(tmp_path), max_steps=3)
    assert [row["step"] for row in rows(tmp_path)] == ["2", "3"]
    written = rows(tmp_path)[0]
    fit(tmp_path, make_writer(tmp_path), resume=True)
    assert [row["step"] for row in rows(tmp_path)] == ["2", "3", "4", "6"]
    assert rows(tmp_path)[0] == written
    fit(tmp_path, make_writer(tmp_path))  # from the start again: the same steps once more
    assert [row["step"] for row in rows(tmp_path)] == ["2", "3", "4", "6"]
    assert all(value for row in rows(tmp_path) for value in row.values())


def test_numbers_reach_the_loggers_and_pictures_weights_and_biases(tmp_path: Path, sketches: None) -> None:
    class WandbLogger(DummyLogger):
        """Known by its name, as the real one is: importing that takes seconds."""

        def __init__(self) -> None:
            super().__init__()
            self.numbers: dict[int, dict[str, float]] = {}
            self.pictures: list[tuple[str, str, int]] = []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if any(name.startswith("samples/") for name in metrics):
                self.numbers[step or 0] = metrics

        def log_image(self, key: str, images: list[str], step: int) -> None:
            assert all(Path(image).is_file() for image in images)
            self.pictures.append((key, Path(images[0]).name, step))

    wandb = WandbLogger()
    curves = CSVLogger(tmp_path, name="logs")
    fit(tmp_path, make_writer(tmp_path, every=3), logger=[wandb, curves], log_every_n_steps=1)
    assert list(wandb.numbers) == [3, 6]
    assert wandb.pictures == [
        (f"samples/{name}", f"{file}_{step:06d}.png", step)
        for step in (3, 6)
        for name, file in (("generated", "step"), ("curves", "statistics"))
    ]
    table = list(csv.DictReader(Path(curves.log_dir, "metrics.csv").read_text(encoding="utf-8").splitlines()))
    logged = {int(row["step"]): float(row["samples/nearest_median"]) for row in table if row["samples/nearest_median"]}
    assert logged == {step: pytest.approx(numbers["samples/nearest_median"]) for step, numbers in wandb.numbers.items()}
    assert [float(row["nearest_median"]) for row in rows(tmp_path)] == pytest.approx(list(logged.values()), rel=1e-5)


@pytest.mark.parametrize(("count", "wanted"), [(3, [0, 1, 2]), (9, [0, 2, 4, 6, 8]), (1, [0])])
def test_training_images_are_taken_evenly(count: int, wanted: list[int]) -> None:
    assert training_images(Images(count), limit=5)[:, 0, 0].tolist() == wanted


def test_a_trial_run_writes_nothing(tmp_path: Path) -> None:
    fit(tmp_path, make_writer(tmp_path, every=1), fast_dev_run=True)
    assert not (tmp_path / "samples").exists()


def test_a_table_of_another_kind_is_told_before_training(tmp_path: Path) -> None:
    path = tmp_path / "samples/statistics.csv"
    path.parent.mkdir()
    path.write_text("step,copies\n2,0\nlast,1\n")
    with pytest.raises(DataError, match=r"statistics\.csv:3: found 'last' in the column step"):
        fit(tmp_path, make_writer(tmp_path))


@pytest.mark.parametrize("option", ["every_n_steps", "count", "steps", "statistics_count"])
def test_options_below_one_are_named(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"{option}: found 0, expected at least 1"):
        SampleWriter(tmp_path, **{option: 0})
