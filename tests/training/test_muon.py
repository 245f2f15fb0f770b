"""Muon: torch's own on matrices, its steps on convolutions, AdamW on the rest, and exact after reading back."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from landmark_diffusion import HeatmapFinetuneModule, Optimisation
from landmark_diffusion.training.muon import Muon, layer_weights, muon_groups, orthogonalised

RATE, DECAY, BETAS = 0.02, 0.1, (0.9, 0.99)


class Net(nn.Module):
    """One of each kind of weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)  # one channel: nothing to make orthogonal
        self.norm = nn.GroupNorm(2, 6)
        self.inner = nn.Conv2d(6, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.last = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.depthwise(self.inner(self.norm(self.stem(x)))).mean((2, 3)))


def muon_of(net: nn.Module) -> Muon:
    groups = muon_groups([{"params": list(net.parameters())}], layer_weights(net))
    return Muon(groups, lr=RATE, weight_decay=DECAY, betas=BETAS)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        noise = torch.Generator().manual_seed(step)
        net(torch.randn(3, 1, 5, 5, generator=noise)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5)])
def test_singular_values_come_near_one_and_the_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = orthogonalised(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ found @ right.T
    values = turned.diagonal()
    assert values.min() > 0.5 and values.max() < 1.5
    assert (turned - values.diag()).abs().max() < 1e-8
    assert orthogonalised(torch.zeros(shape)).count_nonzero() == 0


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
def test_matrices_move_as_with_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())  # in which torch iterates
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(7, 3, bias=False), nn.Linear(3, 9, bias=False))
    theirs = deepcopy(ours)
    mine = muon_of(ours)
    other = torch.optim.Muon(theirs.parameters(), lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    for net, optimizer in ((ours, mine), (theirs, other)):
        for step in range(5):
            optimizer.zero_grad()
            net(torch.randn(4, 7, generator=torch.Generator().manual_seed(step))).square().mean().backward()
            optimizer.step()
    for weight, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, wanted)


def test_a_convolution_moves_as_the_matrix_that_it_is() -> None:
    torch.manual_seed(0)
    kernel = nn.Conv2d(6, 4, 3, bias=False).to(memory_format=torch.channels_last)
    matrix = nn.Linear(54, 4, bias=False)
    matrix.weight.data = kernel.weight.detach().flatten(1).clone()
    for layer in (kernel, matrix):
        optimizer = muon_of(layer)
        for step in range(3):
            gradient = torch.randn(4, 54, generator=torch.Generator().manual_seed(step))
            layer.weight.grad = gradient.reshape(layer.weight.shape)
            optimizer.step()
    torch.testing.assert_close(kernel.weight.flatten(1), matrix.weight)


def test_all_other_parameters_move_as_with_adamw() -> None:
    torch.manual_seed(0)
    net = Net()
    chosen = layer_weights(net)
    assert {id(weight) for weight in chosen} == {id(net.inner.weight), id(net.last.weight)}
    optimizer = muon_of(net)
    others = [each for each in net.parameters() if all(each is not weight for weight in chosen)]
    copies = [nn.Parameter(each.detach().clone()) for each in others]
    adamw = torch.optim.AdamW(copies, lr=RATE, weight_decay=DECAY, betas=BETAS)
    before = net.inner.weight.detach().clone()
    for step in range(3):
        train(net, optimizer, range(step, step + 1))
        for copy, original in zip(copies, others, strict=True):
            copy.grad = original.grad
        adamw.step()
    for copy, original in zip(copies, others, strict=True):
        assert torch.equal(copy, original)
    assert not torch.equal(before, net.inner.weight)


def test_it_goes_on_exactly_from_what_was_saved() -> None:
    torch.manual_seed(0)
    whole = Net()
    stopped = deepcopy(whole)
    train(whole, muon_of(whole), range(6))
    first = muon_of(stopped)
    train(stopped, first, range(3))
    saved = deepcopy((stopped.state_dict(), first.state_dict()))
    again = Net()
    again.load_state_dict(saved[0])
    second = muon_of(again)
    second.load_state_dict(saved[1])
    train(again, second, range(3, 6))
    for weight, wanted in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(weight, wanted)


def test_a_method_divides_its_groups_and_keeps_their_rates() -> None:
    widths = {"encoder_channels": [8, 16], "decoder_channels": [16, 8], "attention_factors": []}
    network = {"class_path": "UNet", "init_args": widths}
    asked = Optimisation(optimizer="muon", learning_rate=0.01)
    module = HeatmapFinetuneModule(num_landmarks=2, network=network, optimisation=asked, encoder_rate=0.1)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, Muon)
    rates = [(group["muon"], group["lr"]) for group in optimizer.param_groups]
    assert sorted(rates) == [(False, 0.001), (False, 0.01), (True, 0.001), (True, 0.01)]
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(list(module.parameters())) == len(set(map(id, held)))
