"""Measure memory and time of one training step of paper A's network at full size (640x800, 19 landmarks, batch 1).

    python benchmarks/full_size_step.py [--bf16] [--gradient-checkpointing] [--channels-last] [--size 640 800]

A step is forward, spatial cross-entropy, backward and AdamW (paper A sections 3.1 and 4.2). It runs in a process of its
own, whose peak resident memory is read at its end; on a GPU (--device cuda) the peak of what torch allocated there.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LANDMARKS = 19


def one_step(options: argparse.Namespace) -> dict[str, Any]:
    """Make one step in this process; seconds of its parts (cpu_s: without waiting for others), GB of its peaks."""
    import torch
    from torch.nn import functional as F

    from landmark_diffusion.models.unet import UNet

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    network = UNet(1 + LANDMARKS, LANDMARKS, gradient_checkpointing=options.gradient_checkpointing).to(options.device)
    width, height = options.size
    x = torch.randn(1, 1 + LANDMARKS, height, width, device=options.device)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)
    t = torch.tensor([100], device=options.device)
    target = torch.randint(0, width * height, (LANDMARKS,), device=options.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-4)
    before = peak_gigabytes()

    def now() -> float:
        if options.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    start, cpu = now(), time.process_time()
    with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
        maps = network(x, t)
    forward = now()
    F.cross_entropy(maps.flatten(2)[0], target).backward()
    backward = now()
    optimizer.step()
    end = now()
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "forward_s": forward - start,
        "backward_s": backward - forward,
        "adamw_s": end - backward,
        "step_s": end - start,
        "cpu_s": time.process_time() - cpu,
        "peak_rss_gb": peak_gigabytes(),
        "rss_before_gb": before,
        "peak_gpu_gb": torch.cuda.max_memory_allocated() / 1e9 if options.device == "cuda" else None,
        "torch": torch.__version__,
    }


def peak_gigabytes() -> float:
    """Peak resident memory of this process so far, in GB (ru_maxrss is in KiB on Linux, in bytes on macOS)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 800), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> int:
    """Measure in a process of its own, print a table, write JSON when asked."""
    options = parse()
    if options.inside:
        print(json.dumps(one_step(options)))
        return 0
    from rich.console import Console
    from rich.table import Table

    console = Console()
    with console.status("one step"):
        inside = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--inside"], stdout=subprocess.PIPE)
    if inside.returncode:
        reason = "killed, likely for want of memory" if inside.returncode < 0 else "its message stands above"
        console.print(f"[red]the measured process ended with {inside.returncode}: {reason}")
        return 1
    result = json.loads(inside.stdout.splitlines()[-1])
    switches = [name for name in ("bf16", "gradient_checkpointing", "channels_last") if getattr(options, name)]
    title = f"One training step at {options.size[0]}x{options.size[1]} on {options.device}, {options.threads} thread(s)"
    table = Table("what", "value", title=f"{title}, {', '.join(switches) or 'fp32'}")
    for name, value in result.items():
        if value is not None:
            table.add_row(
                name, f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
            )
    console.print(table)
    if options.json:
        record = {**vars(options), **result, "machine": platform.platform()}
        record.pop("inside")
        options.json.write_text(json.dumps(record, indent=2, default=str) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
