"""A run stopped at any optimiser step and continued ends bit for bit where the unbroken one ends.

Weights, moving average, optimiser, schedule, best score, the samples seen and every validation result are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule

from landmark_diffusion import (
    ContrastivePretrainModule,
    DDPMPretrainModule,
    DiffusionHeatmapModule,
    DINOPretrainModule,
    HeatmapFinetuneModule,
    LandmarkDataModule,
    PositionDiffusionModule,
)
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training.stopping import StopRequested
from tests.options import nested
from tests.training.tiny import (
    StopAt,
    StopInBatch,
    TinyData,
    TinyModule,
    Trace,
    differences,
    monitored,
    tiny_trainer,
    trained_state,
)

Build = Callable[[int], tuple[LightningModule, LightningDataModule]]


def run(build: Build, folder: Path, stop_at: int | None = None, ckpt: Path | None = None, workers: int = 0, **o: Any):
    """Train in ``folder``; return the trace of the run, its last step, and whether it was stopped."""
    module, data = build(workers)
    trace = Trace()
    trainer = tiny_trainer(folder, monitor=monitored(module), **o)
    trainer.callbacks[:0] = [trace, *([StopAt(stop_at)] if stop_at is not None else [])]
    try:
        trainer.fit(module, datamodule=data, ckpt_path=ckpt)
    except StopRequested:
        return trace, trainer.global_step, True
    return trace, trainer.global_step, False


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def state(folder: Path) -> dict[str, Any]:
    return trained_state(read_checkpoint(last(folder)))


def check_resume(build: Build, tmp_path: Path, stops: list[int] | None = None, workers: int = 0, **o: Any) -> None:
    """Compare the unbroken run with one stopped at each of ``stops`` (all by default) and continued."""
    whole, total, _ = run(build, tmp_path / "whole", workers=workers, **o)
    wanted = state(tmp_path / "whole")
    for step in range(1, total) if stops is None else stops:
        folder = tmp_path / f"stopped_at_{step}"
        first, at, stopped = run(build, folder, stop_at=step, workers=workers, **o)
        assert stopped and at == step
        second, _, _ = run(build, folder, ckpt=last(folder), workers=workers, **o)
        assert list(differences(wanted, state(folder))) == [], f"stopped at step {step}"
        assert first.batches + second.batches == whole.batches, f"stopped at step {step}"
        assert first.validations + second.validations == whole.validations, f"stopped at step {step}"


def tiny(workers: int) -> tuple[TinyModule, TinyData]:
    return TinyModule(), TinyData(workers)


def tiny_without_validation(workers: int) -> tuple[TinyModule, TinyData]:
    return TinyModule(), TinyData(workers, validation=False)


WAYS = {
    "epochs": {"max_epochs": 3},
    "steps": {"max_steps": 13},
    "accumulation": {"max_epochs": 4, "accumulate_grad_batches": 2},
    "validation within an epoch": {"max_epochs": 3, "val_check_interval": 2},
    "both": {"max_epochs": 4, "accumulate_grad_batches": 2, "val_check_interval": 2},
    "validation by steps": {"max_steps": 13, "val_check_interval": 3, "check_val_every_n_epoch": None},
    "validation every second epoch": {"max_epochs": 4, "check_val_every_n_epoch": 2},
    "few checkpoints": {"max_epochs": 3, "checkpoint_every": 0},
}


SOME_STOPS = [3, 5, 10]  # within an epoch and at its end, for five and for three steps an epoch


@pytest.mark.parametrize("way", WAYS)
def test_stopped_at_some_steps(tmp_path: Path, way: str) -> None:
    check_resume(tiny, tmp_path, stops=SOME_STOPS, **WAYS[way])


@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_steps": 13}])
def test_stopped_at_some_steps_without_validation(tmp_path: Path, limit: dict[str, int]) -> None:
    check_resume(tiny_without_validation, tmp_path, stops=SOME_STOPS, **limit)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", WAYS)
def test_stopped_at_every_step(tmp_path: Path, way: str, workers: int) -> None:
    check_resume(tiny, tmp_path, workers=workers, **WAYS[way])


def test_the_number_of_workers_may_change(tmp_path: Path) -> None:
    run(tiny, tmp_path / "whole", max_epochs=3)
    run(tiny, tmp_path / "part", stop_at=7, workers=2, max_epochs=3)
    run(tiny, tmp_path / "part", ckpt=last(tmp_path / "part"), max_epochs=3)
    assert list(differences(state(tmp_path / "whole"), state(tmp_path / "part"))) == []


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_going_on_from_a_checkpoint_of_a_killed_run(tmp_path: Path, name: str) -> None:
    """After kill -9 the newest files lie some steps back; going on from there repeats these steps exactly."""
    options = {"max_epochs": 4, "checkpoint_every": 4}
    run(tiny, tmp_path / "whole", **options)

    class Killed(Exception):
        pass

    class KilledModule(TinyModule):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            super().on_train_batch_start(batch, batch_idx)
            if self.global_step == 14:
                raise Killed

    with pytest.raises(Killed):
        run(lambda workers: (KilledModule(), TinyData(workers)), tmp_path / "part", **options)
    start = tmp_path / "part" / "checkpoints" / name
    assert read_checkpoint(start)["global_step"] in (5, 10, 12)
    run(tiny, tmp_path / "part", ckpt=start, **options)
    assert list(differences(state(tmp_path / "whole"), state(tmp_path / "part"))) == []


def test_a_finished_run_goes_on_for_longer(tmp_path: Path) -> None:
    run(tiny, tmp_path / "whole", max_epochs=4)
    run(tiny, tmp_path / "part", max_epochs=2)
    run(tiny, tmp_path / "part", ckpt=last(tmp_path / "part"), max_epochs=4)
    assert list(differences(state(tmp_path / "whole"), state(tmp_path / "part"))) == []


NETWORK: dict[str, Any] = {
    "network.encoder_channels": (8, 16), "network.decoder_channels": (16, 8), "network.blocks_per_level": 1,
    "network.attention_factors": (2,), "network.attention_heads": 2, "network.dropout": 0.2,
    "optimisation.learning_rate": 1e-3,
}  # fmt: skip
COSINE = {"optimisation.lr_schedule": "cosine", "optimisation.warmup_steps": 3}
FEW_STEPS = {"noise.steps": 20, "sampling.steps": 3}


def phantoms(workers: int, **options: Any) -> LandmarkDataModule:
    """Small phantoms with everything random switched on."""
    return LandmarkDataModule(
        dataset="phantom", dataset_options={"count": (7, 2, 1), "image_size": (96, 120)}, size=(32, 40), recipe="mild",
        batch_size=2, eval_batch_size=2, num_workers=workers, seed=3, **options,
    )  # fmt: skip


def real(workers: int, diffusion: bool = True) -> tuple[DiffusionHeatmapModule, LandmarkDataModule]:
    """Paper A's module."""
    data = phantoms(workers, target_points="random_annotator")
    torch.manual_seed(0)
    options = {**NETWORK, **COSINE, **FEW_STEPS, "sampling.validation_steps": 2, "target.channel_dropout": 0.1}
    return DiffusionHeatmapModule(data.num_landmarks, diffusion=diffusion, **nested(options)), data


def positions(workers: int) -> tuple[PositionDiffusionModule, LandmarkDataModule]:
    """Diffusion of positions by Muon: noise for the windows, dropout in both networks, a noised start in validation."""
    data = phantoms(workers, target_points="random_annotator")
    torch.manual_seed(0)
    options = {
        **NETWORK, **COSINE, "window_network.encoder_channels": (8,), "window_network.decoder_channels": (8,),
        "window_network.dropout": 0.2, "windows.size": 8, "sampling.start_noise": 1.0, "sampling.eta": 1.0,
        "sampling.steps": 3, "sampling.validation_steps": 3, "optimisation.optimizer": "muon",
    }  # fmt: skip
    return PositionDiffusionModule(data.num_landmarks, coarse_factor=2, **nested(options)), data


def pretraining(workers: int) -> tuple[DDPMPretrainModule, LandmarkDataModule]:
    """Paper B's first stage, without labels."""
    torch.manual_seed(0)
    options = {**NETWORK, **COSINE, **FEW_STEPS, "optimisation.lr_schedule": "constant"}
    return DDPMPretrainModule(self_conditioning=True, **nested(options)), phantoms(workers, labels=False)


def pooled(workers: int) -> tuple[DDPMPretrainModule, LandmarkDataModule]:
    """Windows of two sets, mixed by set; which one is not always told, and aligned in the second half."""
    sets = [
        {
            "dataset": "phantom",
            "name": name,
            "dataset_options": {"count": (n, 1, 1), "image_size": (96, 120), "seed": n},
        }
        for name, n in (("few", 2), ("more", 5))
    ]
    data = LandmarkDataModule(
        "pooled", dataset_options={"sets": sets}, size=(32, 40), recipe="mild", batch_size=2, eval_batch_size=2,
        num_workers=workers, seed=3, labels=False, mixing={"balance": "set"},
    )  # fmt: skip
    torch.manual_seed(0)
    options = {
        **NETWORK, **FEW_STEPS, "condition.sets": ("more", "few"), "condition.dropped": 0.3, "alignment.weight": 0.5,
        "alignment.begins": 0.5, "windows.count": 2, "windows.size": 8,
    }  # fmt: skip
    return DDPMPretrainModule(**nested(options)), data


def several_sets(workers: int) -> tuple[HeatmapFinetuneModule, LandmarkDataModule]:
    """One network for two labelled sets, whose batches alternate."""
    more = {"dataset": "phantom", "dataset_options": {"count": (3, 1, 1), "image_size": (96, 120), "seed": 5}}
    data = phantoms(
        workers, samples_per_epoch=10, auxiliary=[{**more, "name": "more"}],
        mixing={"balance": "set", "batches": "one_set"},
    )  # fmt: skip
    torch.manual_seed(0)
    network = {"class_path": "GU2Net", "init_args": {"channels": [4, 8, 8], "auxiliary": [data.num_landmarks]}}
    options = nested({**COSINE, "optimisation.learning_rate": 1e-3, "target.loss": "bce"})
    return HeatmapFinetuneModule(data.num_landmarks, null_time="removed", network=network, **options), data


SELF_SUPERVISED: dict[str, Any] = {**NETWORK, **COSINE, "chunk": 3}


def contrast(workers: int) -> tuple[ContrastivePretrainModule, LandmarkDataModule]:
    """MoCo v3 with a bank that overflows."""
    torch.manual_seed(0)
    options = {**SELF_SUPERVISED, "contrast.bank": 10, "contrast.hidden": 8, "contrast.out": 4}
    return ContrastivePretrainModule(**nested(options)), phantoms(workers, labels=False)


def distillation(workers: int) -> tuple[DINOPretrainModule, LandmarkDataModule]:
    """DINO with two small views."""
    torch.manual_seed(0)
    head = {"distillation.hidden": 8, "distillation.bottleneck": 4, "distillation.out": 6}
    options = {**SELF_SUPERVISED, **head, "distillation.local_views": 2}
    return DINOPretrainModule(**nested(options)), phantoms(workers, labels=False)


def finetuning(workers: int) -> tuple[HeatmapFinetuneModule, LandmarkDataModule]:
    """Paper B's second stage on three images; the rate is halved at every validation that is no better by far."""
    data = phantoms(workers, samples_per_epoch=8, train_images=[f"phantom_train_{i:06d}" for i in (1, 4, 6)])
    torch.manual_seed(0)
    plateau = {"optimisation.lr_schedule": "plateau", "optimisation.plateau_patience": 0}
    options = nested({**NETWORK, **plateau, "target.loss": "bce"})
    return HeatmapFinetuneModule(data.num_landmarks, encoder_rate=0.1, **options), data


def test_the_diffusion_model_stopped_and_continued(tmp_path: Path) -> None:
    check_resume(real, tmp_path, stops=[4, 9], max_epochs=3)


def test_diffusion_of_positions_stopped_and_continued(tmp_path: Path) -> None:
    check_resume(positions, tmp_path, stops=[3, 6], max_epochs=2)


def test_pretraining_with_accumulation_stopped_and_continued(tmp_path: Path) -> None:
    check_resume(pretraining, tmp_path, stops=[1, 2, 5], max_epochs=3, accumulate_grad_batches=2)


def test_pooled_pretraining_stopped_and_continued(tmp_path: Path) -> None:
    check_resume(pooled, tmp_path, stops=[2, 4, 7], max_epochs=2)


def test_several_labelled_sets_stopped_and_continued(tmp_path: Path) -> None:
    check_resume(several_sets, tmp_path, stops=[2, 7], max_epochs=2)


@pytest.mark.parametrize("build", [contrast, distillation])
def test_self_supervision_stopped_and_continued(tmp_path: Path, build: Build) -> None:
    """Slow copies, the bank and the centre go on where they stood."""
    check_resume(build, tmp_path, stops=[1, 3], max_epochs=2, accumulate_grad_batches=2)


SPARSE, ACCUMULATED = {"check_val_every_n_epoch": 2}, {"accumulate_grad_batches": 2}


@pytest.mark.parametrize(
    ("more", "stops", "epochs"),
    [
        ({}, [4, 7], 3), (SPARSE, [8], 4), (ACCUMULATED, [4], 3),
        *(pytest.param(more, [2, 4, 7, 8], 5, marks=pytest.mark.slow) for more in ({}, SPARSE, ACCUMULATED)),
    ],
)  # fmt: skip
def test_finetuning_with_a_plateau_schedule_stopped_and_continued(
    tmp_path: Path, more: dict[str, int], stops: list[int], epochs: int
) -> None:
    """Stops at the ends of epochs among them: the schedule's step after the validation must not be lost."""
    check_resume(finetuning, tmp_path, stops=stops, max_epochs=epochs, **more)


def test_the_plateau_schedule_lowers_the_rate_and_remembers_it(tmp_path: Path) -> None:
    module, data = finetuning(0)
    trainer = tiny_trainer(tmp_path, max_epochs=6)
    # nothing is learned, so that every validation after the first is no better
    module.optimisation = replace(module.optimisation, learning_rate=1e-12)
    trainer.fit(module, datamodule=data)
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    assert rates == pytest.approx([1e-12 * 0.5**5, 1e-13 * 0.5**5])
    assert read_checkpoint(last(tmp_path))["reduce_lr_on_plateau"]["num_bad_epochs"] == 0


METHODS = {
    "diffusion": real, "positions": positions, "pretraining": pretraining, "finetuning": finetuning, "pooled": pooled,
    "contrast": contrast, "distillation": distillation,
}  # fmt: skip


def noises(build: Build, folder: Path, *callbacks: Callback, ckpt: Path | None = None, workers: int = 0) -> list[bytes]:
    """Train two epochs of four micro-batches, two an update; return the random state that each one drew from."""
    module, data = build(workers)
    step, found = module.training_step, []

    def noted(*batch: Any) -> Any:
        found.append(torch.get_rng_state().numpy().tobytes())
        return step(*batch)

    module.training_step = noted  # type: ignore[method-assign]
    trainer = tiny_trainer(folder, monitor=monitored(module), max_epochs=2, accumulate_grad_batches=2)
    trainer.callbacks[:0] = callbacks
    with suppress(StopRequested):
        trainer.fit(module, datamodule=data, ckpt_path=ckpt)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_a_signal_in_a_window_finishes_it_and_no_two_micro_batches_share_their_noise(
    tmp_path: Path, method: str
) -> None:
    """The third micro-batch opens the second window: the run stops behind the fourth."""
    check_windows(tmp_path, method, [3])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_signal_in_any_micro_batch_finishes_its_window(tmp_path: Path, method: str, workers: int) -> None:
    check_windows(tmp_path, method, [1, 2, 3, 4, 5, 6], workers)


def check_windows(folder: Path, method: str, stops: list[int], workers: int = 0) -> None:
    """Stop a run in each of these micro-batches, go on, and compare with the unbroken run."""
    whole = noises(METHODS[method], folder / "whole", workers=workers)
    assert len(whole) == len(set(whole)) == 8
    for number in stops:
        run = folder / f"run_{number}"
        first = noises(METHODS[method], run, StopInBatch(number), workers=workers)
        assert len(first) == number + number % 2
        assert first + noises(METHODS[method], run, ckpt=last(run), workers=workers) == whole
        assert list(differences(state(folder / "whole"), state(run))) == [], number


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", ["epochs", "steps", "accumulation", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_stopped_at_ten_random_steps(tmp_path: Path, method: str, workers: int, way: str) -> None:
    options: dict[str, Any] = {
        "epochs": {"max_epochs": 6},
        "steps": {"max_steps": 23},
        "accumulation": {"max_epochs": 12, "accumulate_grad_batches": 2},
        "bf16": {"max_epochs": 6, "precision": "bf16-mixed"},
    }[way]
    stops = np.random.default_rng([workers, len(way)]).choice(np.arange(1, 23), 10, replace=False)
    check_resume(METHODS[method], tmp_path, stops=sorted(stops.tolist()), workers=workers, **options)
