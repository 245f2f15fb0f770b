"""Choices are timed in turn, on a step that leaves torch's generator and its settings alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from landmark_diffusion.hardware.probe import HOPELESS, Probe, in_turns


def scripted(*seconds: float) -> tuple[Callable[[], float], list[int]]:
    """Return an action that takes these seconds in turn, then the last one for good; and how often it was called."""
    calls = [0]

    def action() -> float:
        calls[0] += 1
        return seconds[min(calls[0], len(seconds)) - 1]

    return action, calls


def test_the_first_call_is_not_counted() -> None:
    """What is made at first use takes long and says nothing."""
    slow_at_first, _ = scripted(100.0, 1.0)
    steady, _ = scripted(2.0)
    assert in_turns({"a": slow_at_first, "b": steady}, 0.0) == {"a": 1.0, "b": 2.0}


def test_an_interruption_does_not_decide() -> None:
    """The median of three: one step that another process held up."""
    interrupted, _ = scripted(1.0, 1.0, 50.0, 1.0)
    steady, _ = scripted(1.2)
    found = in_turns({"a": interrupted, "b": steady}, 0.0)
    assert found["a"] < found["b"]


def test_a_hopeless_choice_is_not_timed_again() -> None:
    fast, often = scripted(1.0)
    hopeless, seldom = scripted(HOPELESS + 0.1)
    in_turns({"fast": fast, "hopeless": hopeless}, 0.0, least=5)
    assert (often[0], seldom[0]) == (1 + 5, 1 + 1)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_draws_nothing_and_computes_gradients(bf16: bool) -> None:
    """A trial before training must not move the weights that are drawn after it."""
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    probe = Probe(8, (8, 10), 1)
    with torch.no_grad():  # whatever surrounds it
        assert probe.seconds(bf16) > 0
    assert torch.equal(torch.rand(4), wanted)
    assert all(parameter.grad is not None for parameter in probe.network.parameters())
