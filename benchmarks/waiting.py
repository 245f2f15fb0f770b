"""How long OpenMP's threads wait for each other: a small network's step, idle and beside other work.

    python benchmarks/waiting.py [--counts 300000 0 1000 10000 30000] [--rounds 40] [--json out.json]

GNU OpenMP alone (torch on Linux). A process for each GOMP_SPINCOUNT, the first of which is the library's own default,
makes steps of a U-Net as the demo's on two threads, in turns of half a second, so that whatever else the machine does
hits all alike. Printed: the median over the turns of the steps a second, and beside the first one's in the same round;
once with the machine to themselves, once with another process that keeps a core busy. One thread stands beside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

if str(Path(__file__).resolve().parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fit_speed import other_work

WORKER = """
import sys, time
import torch
from landmark_diffusion.models.unet import UNet
channels = (16, 32, 64, 96)
network = UNet(1, 19, channels, channels[::-1], blocks_per_level=1, attention_factors=(8,), time_embedding=False)
images = torch.randn(4, 1, 80, 64)
print("ready", flush=True)
for line in sys.stdin:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < 0.5:
        network(images).sum().backward()
        steps += 1
    print(steps / (time.perf_counter() - began), flush=True)
"""


class Worker:
    """A process that makes steps for half a second whenever it is asked."""

    def __init__(self, count: int, threads: int) -> None:
        environment = {**os.environ, "GOMP_SPINCOUNT": str(count), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.rate()  # what is made at first use

    def rate(self) -> float:
        """Steps a second of half a second's work."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def measure(workers: dict[str, Worker], rounds: int) -> dict[str, tuple[float, float]]:
    """Steps a second of each worker, and beside the first one's, as medians over the rounds."""
    table = [{name: worker.rate() for name, worker in workers.items()} for _ in range(rounds)]
    first = next(iter(workers))
    rates = {name: statistics.median(row[name] for row in table) for name in workers}
    return {name: (rates[name], statistics.median(row[name] / row[first] for row in table)) for name in workers}


def main() -> int:
    """Measure, print a table, write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[300_000, 0, 1_000, 10_000, 30_000])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    workers = {f"2 threads, {count} turns": Worker(count, 2) for count in options.counts} | {"1 thread": Worker(0, 1)}
    found = {}
    for load in ("idle", "busy"):
        with other_work(load == "busy"):
            found[load] = measure(workers, options.rounds)
    table = Table(title=f"steps a second, medians of {options.rounds} turns; ratio to the first row in the same round")
    for heading in ("", "idle", "ratio", "busy", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in workers:
        table.add_row(name, *(f"{value:.2f}" for load in ("idle", "busy") for value in found[load][name]))
    Console().print(table)
    for worker in workers.values():
        worker.process.kill()
    if options.json:
        options.json.write_text(json.dumps({"machine": platform.platform(), **found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
