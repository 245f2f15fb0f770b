"""Optimiser steps a second of the small configs: float32 and bfloat16, one and two threads, idle and beside other work.

    python benchmarks/fit_speed.py [--root ~/isbi2015] [--configs phantom_baseline ...] [--seconds 6] [--json out.json]

Each setting is an `ldx fit` of its own in a process of its own; the step's time is the median from the third step on
(of one step, where steps take many seconds). ``auto`` is what the configs ask for: `ldx` chooses precision and threads
by itself. The settings take turns. "busy" means that another process keeps one core busy all the while. The last column
is the step of auto beside the best hand-set one; the aim is at most 1.15. Without --root the configs of ISBI 2015 are
left out. To stand for a processor without bfloat16 on one that has it, set ONEDNN_MAX_CPU_ISA=AVX512_CORE (or AVX2).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

AIM = 1.15
PHANTOM = ("phantom_baseline", "phantom_diffusion")
REAL = ("ceph_diffusion_small", "ceph_ddpm_pretrain_small", "ceph_finetune_small")
SETTINGS: tuple[tuple[str, int], ...] = (("32-true", 1), ("32-true", 2), ("bf16-mixed", 1), ("bf16-mixed", 2))
AUTO = ("auto", 0)
Setting = tuple[str, int]
CLOCK = """
import statistics, sys, time
import landmark_diffusion.cli.entry as entry
entry.wait_briefly(entry.os.environ)
from lightning.pytorch import Callback
from landmark_diffusion.cli import lightning_cli

class Clock(Callback):
    def on_train_start(self, trainer, module):
        self.times = [time.perf_counter()]

    def on_train_batch_end(self, trainer, *rest):
        self.times.append(time.perf_counter())
        enough = len(self.times) > 3 and self.times[-1] - self.times[2] > SECONDS
        trainer.should_stop = enough or self.times[-1] - self.times[0] > 4 * SECONDS  # one step, where it is that slow

    def on_train_end(self, trainer, module):
        steps = [b - a for a, b in zip(self.times[2:], self.times[3:])] or [self.times[-1] - self.times[-2]]
        print("STEP", statistics.median(steps), trainer.precision, lightning_cli.torch_threads(), flush=True)

made = lightning_cli.default_callbacks
lightning_cli.default_callbacks = lambda *args, **options: [*made(*args, **options), Clock()]
import torch
lightning_cli.torch_threads = torch.get_num_threads
sys.exit(entry.main(sys.argv[1:]))
"""


def step(config: str, setting: Setting, root: Path | None, seconds: float, folder: Path) -> tuple[float, str]:
    """Train for a while and return the median seconds of a step, and precision and threads that were used."""
    precision, threads = setting
    line = ["fit", "--config", f"{config}.yaml", f"--trainer.precision={precision}", f"--run_folder={folder / 'run'}"]
    line += ["--overwrite", "true", "--trainer.limit_val_batches=0"]
    line += [f"--data.root={root}"] if config in REAL else []
    environment = {**os.environ, "LDX_CACHE": str(folder / "cache")}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-c", CLOCK.replace("SECONDS", str(seconds)), *line]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    words = next((each.split() for each in done.stdout.splitlines() if each.startswith("STEP")), None)
    if words is None:
        raise SystemExit(f"{config} {setting} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return float(words[1]), f"{words[2]}, {words[3]}"


@contextmanager
def other_work(busy: bool) -> Iterator[None]:
    """Keep one core busy with another process."""
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if spin:
            spin.kill()
            spin.wait()


def measure(config: str, busy: bool, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time all settings of a config in turn; a hand-set one that is hopeless in the first round is not tried again."""
    times: dict[Setting, list[float]] = {}
    chosen = ""
    with other_work(busy):
        for round_ in range(options.rounds):
            for setting in (*SETTINGS, AUTO):
                if round_ and setting != AUTO and times[setting][0] > 1.5 * min(min(each) for each in times.values()):
                    continue
                seconds, used = step(config, setting, options.root, options.seconds, folder)
                times.setdefault(setting, []).append(seconds)
                chosen = used if setting == AUTO else chosen
    medians = {setting: statistics.median(each) for setting, each in times.items()}
    best = min(medians[setting] for setting in SETTINGS)
    rates = {f"{precision} x {threads}": 1 / medians[precision, threads] for precision, threads in SETTINGS}
    return {"config": config, "load": "busy" if busy else "idle", **rates, "auto": 1 / medians[AUTO],
            "chosen": chosen, "ratio": medians[AUTO] / best}  # fmt: skip


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows."""
    headings = ["config", "load", *(f"{precision} x {threads}" for precision, threads in SETTINGS), "auto"]
    table = Table(title="optimiser steps a second; precision x threads")
    for heading in (*headings, "auto chose", "auto's step / best hand-set"):
        table.add_column(heading)
    for row in rows:
        rates = [f"{row[heading]:.2f}" for heading in headings[2:]]
        table.add_row(row["config"], row["load"], *rates, row["chosen"], f"{row['ratio']:.2f}")
    console.print(table)


def main() -> int:
    """Measure, print the table, write JSON when asked; the exit status tells whether the aim is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of ISBI 2015")
    parser.add_argument("--configs", nargs="+", choices=(*PHANTOM, *REAL))
    parser.add_argument("--seconds", type=float, default=6, help="of steps that are timed, for each setting")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    configs = options.configs or (*PHANTOM, *(REAL if options.root else ()))
    if options.root is None and set(configs) & set(REAL):
        parser.error(f"--root FOLDER is needed for {', '.join(sorted(set(configs) & set(REAL)))}")
    console, rows = Console(), []
    with tempfile.TemporaryDirectory() as folder:
        for config in configs:
            for busy in (False, True):
                rows.append(measure(config, busy, options, Path(folder)))
                console.print(f"{config}, {rows[-1]['load']}: auto {rows[-1]['chosen']}, ratio {rows[-1]['ratio']:.2f}")
                if options.json:
                    record = {"machine": platform.platform(), "rows": rows}
                    options.json.write_text(json.dumps(record, indent=2) + "\n")
    show(rows, console)
    met = all(row["ratio"] <= AIM for row in rows)
    console.print(f"aim: auto within {AIM:g} of the best hand-set: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
