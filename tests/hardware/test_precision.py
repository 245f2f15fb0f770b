"""What ``precision: auto`` takes on which device."""

from __future__ import annotations

import pytest
import torch

from landmark_diffusion.hardware import precision
from landmark_diffusion.hardware.precision import choose_precision, device_kind, has_native_bfloat16


@pytest.mark.parametrize(
    ("gain", "wanted"), [(1.5, "bf16-mixed"), (1.21, "bf16-mixed"), (1.1, "32-true"), (0.02, "32-true")]
)
def test_a_cpu_takes_bfloat16_where_it_is_faster(monkeypatch: pytest.MonkeyPatch, gain: float, wanted: str) -> None:
    monkeypatch.setattr(precision, "bfloat16_instructions", lambda: None)
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: gain)
    assert choose_precision("cpu")[0] == wanted


@pytest.mark.parametrize("has", [(), ("amx_tile",), ("avx512_bf16",), ("amx_tile", "avx512_bf16")])
def test_an_x86_processor_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch, has: tuple[str, ...]) -> None:
    """A trial beside other work gave two runs of one config on one machine different precisions, and figures."""
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in has, raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: pytest.fail("tried"))
    found = ("bf16-mixed", "this processor computes bfloat16 itself")
    assert choose_precision("cpu") == (found if has else ("32-true", "this processor has no bfloat16 of its own"))


def test_a_processor_of_which_torch_does_not_tell_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: 2.0)
    assert choose_precision("cpu")[0] == "bf16-mixed"


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_is_asked_for_what_it_computes_itself(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """torch calls emulated bfloat16 supported too."""
    asked = []
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **options: bool(asked.append(options)) or native)
    assert choose_precision("cuda")[0] == ("bf16-mixed" if native else "32-true")
    assert asked == [{"including_emulation": False}]


def test_apples_gpu_computes_in_full() -> None:
    assert choose_precision("mps")[0] == "32-true" and not has_native_bfloat16("mps")


@pytest.mark.parametrize(
    ("asked", "cuda", "wanted"),
    [("auto", True, "cuda"), ("gpu", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), (None, False, "cpu")],
)
def test_the_device_that_lightning_takes(monkeypatch: pytest.MonkeyPatch, asked: str, cuda: bool, wanted: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert device_kind(asked) == wanted


def test_a_real_trial_ends_and_is_a_ratio() -> None:
    before = torch.get_num_threads()
    assert 0 < precision.bfloat16_gain(budget=0.0) < 100
    assert torch.get_num_threads() == before
