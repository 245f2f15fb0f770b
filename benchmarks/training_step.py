"""Time a training step, ours against diffusers' UNet2DModel, in one run: interleaved pairs, one thread, median ratio.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py [--repeats 9] [--sizes 128x160 ...] [--bf16] [--json out.json]

Both networks have the widths of paper A's encoder and a decoder that mirrors it (diffusers can do no other), strided
convolutions, the same inputs and loss, and as many parameters to within 2 %: theirs has 2 blocks a level on the way
down, 3 on the way up and a middle, ours 4 and 4. The levels at factors 4 and 8 attend: theirs after each block (10
times, once more in the middle), ours after the last 3 blocks (12 times). A step is forward, backward and AdamW.

The aim is a median ratio ours/theirs of at most 1.05. Other loads on the machine hit both alike: the ratio is the
median over pairs that run one after the other, every second pair in reverse order.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.models.unet import UNet

AIM = 1.05
CHANNELS = (32, 64, 128, 256, 256, 512)
ATTENTION_FACTORS = (4, 8)
LANDMARKS = 19


class Diffusers(nn.Module):
    """diffusers' UNet2DModel behind our call."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        attends = [2**level in ATTENTION_FACTORS for level in range(len(CHANNELS))]
        self.network = UNet2DModel(
            in_channels=1 + LANDMARKS,
            out_channels=LANDMARKS,
            block_out_channels=CHANNELS,
            layers_per_block=2,
            down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
            up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
            attention_head_dim=32,  # 4 heads at factor 4, as ours, and 8 at factor 8
            norm_num_groups=8,
        )

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Map (B,C,H,W) at steps (B,) to (B,N,H,W)."""
        return self.network(x, t).sample


def ours() -> UNet:
    """Our UNet with the same widths, mirrored, and as many parameters."""
    return UNet(
        1 + LANDMARKS,
        LANDMARKS,
        CHANNELS,
        CHANNELS[::-1],
        blocks_per_level=4,
        attention_factors=ATTENTION_FACTORS,
        attention_blocks=3,
    )


def parameters(network: nn.Module) -> int:
    """Count the parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def step_timer(network: nn.Module, size: tuple[int, int], batch: int, bf16: bool) -> Callable[[], float]:
    """Return a function that makes one training step at ``size`` (width, height) and gives its seconds."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 1 + LANDMARKS, *size[::-1], generator=generator)
    t = torch.randint(0, 200, (batch,), generator=generator)
    target = torch.randint(0, size[0] * size[1], (batch * LANDMARKS,), generator=generator)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            maps = network(x, t)
        loss = F.cross_entropy(maps.float().flatten(0, 1).flatten(1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


def compare(
    networks: tuple[nn.Module, nn.Module], size: tuple[int, int], batch: int, bf16: bool, repeats: int
) -> dict[str, Any]:
    """Time both in turn; seconds are medians, ratio = ours / theirs as the median over the pairs."""
    mine, theirs = (step_timer(network, size, batch, bf16) for network in networks)
    mine(), theirs()  # first step: the optimiser's state and oneDNN's kernels
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            second, first = theirs(), mine()
        else:
            first, second = mine(), theirs()
        pairs.append((first, second))
    ratios = np.divide(*np.array(pairs).T)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    seconds = np.median(pairs, axis=0)
    return {
        "size": f"{size[0]}x{size[1]}",
        "ours_s": float(seconds[0]),
        "theirs_s": float(seconds[1]),
        "ratio": float(middle),
        "ratio_quartiles": [float(low), float(high)],
    }


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT; diffusers needs multiples of 32 at six levels."""
    try:
        width, height = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected WIDTHxHEIGHT such as 128x160") from None
    if min(width, height) < 32 or width % 32 or height % 32:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected multiples of 32 (diffusers cannot take others)")
    return width, height


def main() -> int:
    """Run the comparison, print a table, write JSON when asked; the exit status tells whether the aim is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=[(64, 96), (128, 160)], metavar="WxH")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    try:
        import diffusers
    except ImportError:
        console.print("[red]diffusers is needed for the comparison: pip install 'landmark_diffusion\\[dev]'")
        return 1
    networks = ours(), Diffusers()
    counts = [parameters(network) for network in networks]
    if abs(counts[0] / counts[1] - 1) > 0.02:
        console.print(f"[red]parameters differ by more than 2 %: {counts[0]:,} and {counts[1]:,}")
        return 1
    with console.status("timing"):
        rows = [compare(networks, size, options.batch, options.bf16, options.repeats) for size in options.sizes]
    table = Table(
        title=f"Training step, batch {options.batch}, {'bf16 autocast' if options.bf16 else 'fp32'}, one thread, "
        f"{options.repeats} pairs\nparameters: ours {counts[0]:,}, diffusers {counts[1]:,}"
    )
    for heading in ("size", "ours s", "diffusers s", "ratio (median)", "quartiles"):
        table.add_column(heading, justify="left" if heading == "size" else "right")
    for row in rows:
        quartiles = " - ".join(f"{value:.3f}" for value in row["ratio_quartiles"])
        table.add_row(row["size"], f"{row['ours_s']:.3f}", f"{row['theirs_s']:.3f}", f"{row['ratio']:.3f}", quartiles)
    console.print(table)
    met = all(row["ratio"] <= AIM for row in rows)
    console.print(f"aim: median ratio at most {AIM:g} at each size: {'met' if met else 'MISSED'}")
    if options.json:
        record = {"batch": options.batch, "bf16": options.bf16, "repeats": options.repeats, "parameters": counts}
        record |= {"rows": rows, "machine": platform.platform(), "torch": torch.__version__}
        options.json.write_text(json.dumps({**record, "diffusers": diffusers.__version__}, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
