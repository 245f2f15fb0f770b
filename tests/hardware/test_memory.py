"""Out of memory ends with what to change, by the names of the options and with their present values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.hardware import precision
from landmark_diffusion.hardware.memory import detection_memory_message, is_out_of_memory, memory_message
from tests.cli.conftest import folder, ldx  # noqa: F401
from tests.cli.fakes import TinyModel
from tests.detection.tiny_model import picture, write_positions
from tests.end_to_end.console import ldx as run_ldx
from tests.end_to_end.console import read_rows

CONFIG = {
    "data": {"batch_size": 6, "eval_batch_size": 8, "size": [384, 480]},
    "trainer": {"precision": "32-true", "accumulate_grad_batches": 1},
    "model": {"init_args": {"network": {"init_args": {"gradient_checkpointing": False}}}},
}
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...")
LINUX = RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried ...")
WINDOWS = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 38654705664 bytes.")
CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


@pytest.mark.parametrize("error", [CUDA, LINUX, WINDOWS, CUBLAS, MemoryError()], ids=lambda error: str(error)[:12])
def test_every_name_of_it_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert "out of memory (" in memory_message(error, "fit", CONFIG)


def test_the_machine_itself_says_it_in_words_we_know() -> None:
    """Not recorded words: this torch's and this numpy's own."""
    for ask in (lambda: torch.empty(2**60, dtype=torch.uint8), lambda: np.empty(2**60, dtype=np.uint8)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            ask()
        assert is_out_of_memory(caught.value)


def test_other_errors_stay_what_they_are() -> None:
    for error in (RuntimeError("shape mismatch"), ValueError("out of memory"), KeyboardInterrupt()):
        assert not is_out_of_memory(error)


@pytest.fixture(autouse=True)
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor compute bfloat16 itself."""
    monkeypatch.setattr(precision, "bfloat16_instructions", lambda: True)


def test_bfloat16_is_no_advice_where_it_is_computed_in_software(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bfloat16_instructions", lambda: False)
    config = {**CONFIG, "trainer": {**CONFIG["trainer"], "accelerator": "cpu"}}
    assert "  3. smaller images with --data.size" in memory_message(CUDA, "fit", config)
    assert "bf16" not in memory_message(CUDA, "test", config)


def test_three_settings_in_order_with_their_values() -> None:
    text = memory_message(CUDA, "fit", CONFIG)
    first, *advice = text.splitlines()
    assert first.startswith("ldx fit: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert advice[0].startswith("  1. --data.batch_size 3 --trainer.accumulate_grad_batches 2 (now 6 and 1)")
    assert advice[1].startswith("  2. --model.network.gradient_checkpointing true (now false)")
    assert advice[2] == (
        "  3. --trainer.precision bf16-mixed (now 32-true), or smaller images with --data.size (now [384, 480])"
    )


@pytest.mark.parametrize(
    ("batch", "gathered", "half", "more"), [(6, 1, 3, 2), (3, 1, 1, 3), (5, 2, 2, 5), (2, 4, 1, 8)]
)
def test_the_smaller_batch_makes_updates_of_no_fewer_images(batch: int, gathered: int, half: int, more: int) -> None:
    config = {"data": {"batch_size": batch}, "trainer": {"accumulate_grad_batches": gathered}}
    found = memory_message(CUDA, "fit", config)
    assert f"--data.batch_size {half} --trainer.accumulate_grad_batches {more} " in found
    assert half * more >= batch * gathered


def test_what_is_set_already_is_said() -> None:
    config = {
        "data": {"batch_size": 1, "size": (64, 80)},
        "trainer": {"precision": "bf16-mixed", "accumulate_grad_batches": 4},
        "model": {"init_args": {"network": {"init_args": {"gradient_checkpointing": True}}}},
    }
    text = memory_message(CUDA, "fit", config)
    for said in ("batch_size is 1 already", "gradient_checkpointing is true already", "bf16-mixed already", "[64, 80]"):
        assert said in text


def test_measuring_has_settings_of_its_own() -> None:
    text = memory_message(CUDA, "test", CONFIG)
    assert "1. --data.eval_batch_size 1 (now 8)" in text and "checkpointing" not in text


@pytest.mark.parametrize("error", [CUDA, LINUX, WINDOWS, MemoryError("no 3 GiB")], ids=lambda e: str(e)[:12])
def test_fit_ends_with_the_message(
    ldx: Callable[[str], int],  # noqa: F811
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(TinyModel, "training_step", fail)
    assert ldx("fit --config tiny.yaml") == 1
    told = capfd.readouterr().err
    assert "error: ldx fit: out of memory" in told and "Traceback" not in told
    assert "[8, 8]" in told


def test_another_runtime_error_is_not_dressed_up(ldx: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def fail(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(TinyModel, "training_step", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        ldx("fit --config tiny.yaml")


def test_detect_names_settings_that_it_has_and_keeps_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_positions(tmp_path / "tiny.ldx")
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    whole = Detector.detect

    def too_large(self: Detector, radiographs: list, paths: list, *more: object) -> object:
        if Path(paths[0]).name == "2.png":
            raise LINUX
        return whole(self, radiographs, paths, *more)

    monkeypatch.setattr(Detector, "detect", too_large)
    images, found = [str(tmp_path / f"{number}.png") for number in range(3)], tmp_path / "found"
    options = ["--model", str(tmp_path / "tiny.ldx"), "--output", str(found), "--to", "csv"]
    outcome = run_ldx("detect", *images, *options, "--batch-size", "2", "--device", "cpu")
    assert outcome.status == 1 and "Traceback" not in outcome.err
    message = outcome.err.partition("error: ldx detect: out of memory (")[2]
    assert "  1. --batch-size 1 (now 2): the same points\n  2. a machine with more memory" in message
    assert {row["image"] for row in read_rows(found / "points.csv")} == set(images[:2])


def test_on_a_gpu_detect_names_the_cpu() -> None:
    text = detection_memory_message(CUDA, 1, "cuda:0")
    assert "1. --batch-size is 1 already" in text and "2. --device cpu (now cuda:0)" in text
