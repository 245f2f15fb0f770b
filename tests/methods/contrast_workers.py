"""What each process of the contrast's distributed test does, in a module that spawned processes can import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.nn import functional as F

from landmark_diffusion import ContrastivePretrainModule, DINOPretrainModule, Views
from landmark_diffusion.methods.contrast import info_nce, nt_xent
from landmark_diffusion.training.processes import gather_tensors
from tests.options import nested

IMAGES, CHANNELS, OUT = 6, 5, 4
INDICES = (0, 5, 2, 5, 7, 0)  # two images are on both processes
STARTS = ("moco_v3", "simclr_v2")
TINY: dict[str, Any] = {
    "network.encoder_channels": [8, 16], "network.decoder_channels": [16, 8], "network.blocks_per_level": 1,
    "network.attention_factors": [2],
}  # fmt: skip
HEAD = {"contrast.hidden": 8, "contrast.out": OUT}
PLAIN = Views(crop=(1, 1), mirror=0, brightness=0, contrast=0, blur=0, solarise=0)


def gradient(kind: str, views: torch.Tensor, start: int, gathered: bool) -> torch.Tensor:
    """Gradient of the mean loss of these images with respect to one linear layer."""
    weights = torch.randn(OUT, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    weights.requires_grad_(True)
    first, second = (F.normalize(view @ weights.T, dim=-1) for view in views)
    if kind == "simclr_v2":
        of_all = [gather_tensors(each, True) if gathered else each for each in (first, second)]
        loss = nt_xent(first, second, 0.5, None, *of_all, start=start)
    else:
        keys = second.detach() * 0.5 + first.detach() * 0.5
        keys = gather_tensors(keys) if gathered else keys
        loss = info_nce(first, keys, torch.arange(len(first)) + start, 0.2)
    loss.mean().backward()
    assert weights.grad is not None
    return weights.grad


def data() -> torch.Tensor:
    """Two views of each image, (2, B, C)."""
    return torch.randn(2, IMAGES, CHANNELS, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def gradient_of_whole(kind: str) -> torch.Tensor:
    """Of all images in one process."""
    return gradient(kind, data(), 0, False)


def gradient_of_part(kind: str, rank: int, gathered: bool = False) -> torch.Tensor:
    """Of one process's half."""
    half = IMAGES // 2
    return gradient(kind, data()[:, rank * half : (rank + 1) * half], rank * half if gathered else 0, gathered)


def losses(kind: str, part: slice = slice(None)) -> torch.Tensor:
    """Of each image of the part, beside a bank whose keys are partly of these images."""
    torch.manual_seed(0)
    module = ContrastivePretrainModule(
        views=PLAIN, **nested({**TINY, **HEAD, "contrast.bank": 4, "contrast.kind": kind})
    ).eval()
    image, bank = torch.rand(IMAGES, 1, 16, 20), torch.randn(4, OUT)
    module.bank.copy_(F.normalize(bank, dim=-1))
    module.bank_images.copy_(torch.tensor([7, 0, 3, -1]))
    module.bank_filled.fill_(3)
    with torch.no_grad():
        return module.losses_of_images(image[part], torch.tensor(INDICES)[part])[0]


def told_by_a_teacher(part: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of each image of the part by a balanced teacher, and the centre that a centred one then remembers."""
    torch.manual_seed(0)
    head = {"distillation.hidden": 8, "distillation.bottleneck": 4, "distillation.out": 6}
    options = {**TINY, **head, "distillation.local_views": 0, "distillation.centre_momentum": 0.75}
    balanced, centred = (
        DINOPretrainModule(views=PLAIN, **nested({**options, "distillation.balance": balance})).eval()
        for balance in ("sinkhorn", "centre")
    )
    image = torch.rand(IMAGES, 1, 16, 20)[part]
    with torch.no_grad():
        losses = balanced.losses_of_images(image)[0]
        centred.losses_of_images(image)
        centred.remember()
    return losses, centred.centre


def work(rank: int, world: int, folder: str, kind: str) -> None:
    """Join a gloo group and write the gradient and the losses of this process's half; "dino": losses and centre."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    half = slice(rank * IMAGES // 2, (rank + 1) * IMAGES // 2)
    found = told_by_a_teacher(half) if kind == "dino" else (gradient_of_part(kind, rank, True), losses(kind, half))
    torch.save(found, Path(folder) / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()
