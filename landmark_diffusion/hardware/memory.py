"""How much memory is held, and what to do where it does not suffice: known by its many names, answered in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from landmark_diffusion.core.errors import UserError

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "unable to allocate", "alloc_failed")
"""Words of CUDA, torch's CPU allocator on Linux and on Windows, numpy, and cuBLAS."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the GPU's or the machine's memory did not suffice."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


@contextmanager
def explain_out_of_memory(message: Callable[[BaseException], str]) -> Iterator[None]:
    """Raise UserError with the message of an error of the block that says that memory did not suffice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(message(error)) from error


def memory_message(error: BaseException, verb: str, config: Mapping[str, Any]) -> str:
    """Say what to change, first what costs least, with the values of ``config`` (trainer, model, data) as they are."""
    data, trainer = config.get("data") or {}, config.get("trainer") or {}
    model = (config.get("model") or {}).get("init_args") or {}
    if verb == "fit":
        less = [each for each in (_precision(trainer), _size(data)) if each]
        advice = [_smaller_batch(data, trainer), _checkpointing(model), ", or ".join(less)]
    else:
        batch = data.get("eval_batch_size")
        advice = [f"--data.eval_batch_size 1 (now {batch})", _precision(trainer), "--trainer.accelerator cpu, slower"]
        advice = [each for each in advice if each]
    return _message(error, verb, "checkpoints are as they were", advice)


def detection_memory_message(error: BaseException, batch_size: int, device: str) -> str:
    """Say what to change where landmarks are found with a model file; sampled chains run one after another."""
    one = "--batch-size is 1 already" if batch_size == 1 else f"--batch-size 1 (now {batch_size}): the same points"
    cpu = "a machine with more memory" if device == "cpu" else f"--device cpu (now {device}), slower"
    return _message(error, "detect", "what was found before is written", [one, cpu])


def _message(error: BaseException, verb: str, kept: str, advice: Sequence[str]) -> str:
    lines = "".join(f"\n  {number}. {each}" for number, each in enumerate(advice, start=1))
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"ldx {verb}: out of memory ({reason}); {kept}. What helps, in this order:{lines}"


def _smaller_batch(data: Mapping[str, Any], trainer: Mapping[str, Any]) -> str:
    batch, gathered = data.get("batch_size"), trainer.get("accumulate_grad_batches") or 1
    if batch is None or batch < 2:
        return f"data.batch_size is {batch} already"
    half, more = batch // 2, -(-batch * gathered // (batch // 2))
    return (
        f"--data.batch_size {half} --trainer.accumulate_grad_batches {more} (now {batch} and {gathered}): "
        "as many images an update, fewer at a time"
    )


def _checkpointing(model: Mapping[str, Any]) -> str:
    network = (model.get("network") or {}).get("init_args") or {}
    if "gradient_checkpointing" not in network:
        return ""
    if network["gradient_checkpointing"]:
        return "model.network.gradient_checkpointing is true already"
    return "--model.network.gradient_checkpointing true (now false): the same weights, slower by about a third"


def _precision(trainer: Mapping[str, Any]) -> str:
    """Advise bfloat16; "" on a processor that would compute it in software."""
    from landmark_diffusion.hardware.precision import bfloat16_instructions, device_kind

    found = trainer.get("precision") or "32-true"
    if str(found).startswith("bf16"):
        return f"trainer.precision is {found} already"
    if device_kind(trainer.get("accelerator")) == "cpu" and bfloat16_instructions() is False:
        return ""
    return f"--trainer.precision bf16-mixed (now {found})"


def _size(data: Mapping[str, Any]) -> str:
    return f"smaller images with --data.size (now {list(data.get('size') or ())})"


def peak_memory() -> int | None:
    """Return the most memory, in bytes, that this process has held so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024  # elsewhere in KiB
