"""What each process of the contrast's distributed test does, in a module that spawned processes can import."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed
from torch.nn import functional as F

from landmark_diffusion.methods.contrast import info_nce, nt_xent
from landmark_diffusion.training.processes import gather_tensors

IMAGES, CHANNELS, OUT = 6, 5, 4
STARTS = ("moco_v3", "simclr_v2")


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


def work(rank: int, world: int, folder: str, kind: str) -> None:
    """Join a gloo group and write the gradient of this process's half."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    torch.save(gradient_of_part(kind, rank, True), Path(folder) / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()
