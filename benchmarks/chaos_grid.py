"""Kill a real ``ldx fewshot`` grid at random moments, start it again, and compare with a grid that nothing disturbed.

    python benchmarks/chaos_grid.py [--kills 30] [--seed 0] [--folder DIR]

Six cells on phantoms (n = 2 and 4, three draws) with moving average, dropout and accumulation. A third of the kills
(SIGKILL) take ``ldx fewshot`` alone, whose cell then ends by itself, a third the process of the cell alone, a third
both. Compared: every predictions file byte for byte, each cell's figures, cells.csv without its minutes, and the curves
of each cell joined over its starts. The exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from benchmarks.compare_runs import differing_points, joined_curves  # noqa: E402

LONGEST_S = 3600.0
VICTIMS = ("grid", "cell", "both")
CELL = """
trainer: {max_steps: 60, check_val_every_n_epoch: 5, precision: 32-true, accelerator: cpu, accumulate_grad_batches: 2}
data: {dataset: phantom, dataset_options: {count: [8, 2, 3]}, size: [32, 40], batch_size: 2, samples_per_epoch: 6}
model:
  class_path: HeatmapFinetuneModule
  init_args:
    network:
      class_path: UNet
      init_args: {encoder_channels: [8, 16], decoder_channels: [16, 8], attention_factors: [], blocks_per_level: 1,
        dropout: 0.2}
    target: {kind: one_hot, loss: spatial_ce}
    optimisation: {warmup_steps: 2, ema_decay: 0.9}
"""
PLAN = """
fewshot:
  {folder: grid, fit: [cell.yaml], n: [2, 4], draws: 3, seed: 0, starts: {scratch: {}}, checkpoints: [best, last],
   stage: test, options: {pictures: 0, trainer.log_every_n_steps: 1}}
"""


def start(place: Path) -> subprocess.Popen:
    """Start or continue the grid in ``place`` as its user would."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "cell.yaml").write_text(CELL)
    (place / "plan.yaml").write_text(PLAN)
    command = [sys.executable, "-m", "landmark_diffusion", "fewshot", "--config", "plan.yaml"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "disabled"}
    with (place / "output.txt").open("a") as output:
        return subprocess.Popen(command, cwd=place, stdout=output, stderr=output, env=environment)


def cell_processes(grid: int) -> list[int]:
    """The processes that ``ldx fewshot`` has started and that still run."""
    try:
        return [int(pid) for pid in Path(f"/proc/{grid}/task/{grid}/children").read_text().split()]
    except OSError:
        return []


def kill(process: subprocess.Popen, victim: str) -> bool:
    """Kill ``ldx fewshot``, its cell, or both; False where that does not run just now."""
    cells = cell_processes(process.pid)
    if process.poll() is not None or (victim != "grid" and not cells):
        return False
    if victim != "cell":
        process.kill()
    for pid in cells if victim != "grid" else []:
        with suppress(ProcessLookupError):  # the grid's death ended it first
            os.kill(pid, signal.SIGKILL)
    if victim != "cell":
        process.wait()
    return True


def torment(place: Path, kills: int, longest_wait: float, rng: random.Random) -> Counter[str]:
    """Kill and continue a grid after at most ``longest_wait`` seconds each, and let it end; counts the victims.

    A grid whose cell was killed goes on with the next cells, tells the failure at its end, and is started again.
    """
    done: Counter[str] = Counter()
    process = start(place)
    while True:
        try:
            if process.wait(rng.uniform(0, longest_wait) if done.total() < kills else LONGEST_S) == 0:
                return done
        except subprocess.TimeoutExpired:
            if done.total() == kills:
                raise
            victim = rng.choice(VICTIMS)
            done[victim] += kill(process, victim)
        if process.poll() is not None:
            if process.returncode > 0 and not told_of_a_killed_cell(place):
                raise RuntimeError(f"{place}: status {process.returncode}\n{output(place)[-3000:]}")
            process = start(place)


def output(place: Path) -> str:
    """What all starts of the grid in ``place`` have said."""
    return (place / "output.txt").read_text()


def told_of_a_killed_cell(place: Path) -> bool:
    """Whether the grid's last words name a cell that was killed, and nothing else."""
    return "exit status -9" in output(place)[-3000:]


def differences(whole: Path, other: Path) -> Iterator[str]:
    """Yield what differs between two finished grids."""
    tables = [table(folder / "cells.csv") for folder in (whole, other)]
    if tables[0] != tables[1]:
        yield "cells.csv"
    names = [sorted(path.name for path in (folder / "cells").iterdir()) for folder in (whole, other)]
    if names[0] != names[1]:
        yield f"cells {names}"
    for name in names[0]:
        ours, theirs = (folder / "cells" / name for folder in (whole, other))
        for file in sorted(path.name for path in ours.glob("predictions*.csv")):
            if (ours / file).read_bytes() != (theirs / file).read_bytes():
                yield f"{name}/{file}"
        results = [json.loads((folder / "result.json").read_text())["checkpoints"] for folder in (ours, theirs)]
        if results[0] != results[1]:
            yield f"{name}/result.json"
        curves = [joined_curves(folder / "logs") for folder in (ours, theirs)]
        yield from (f"{name}: {where}" for where, _ in differing_points(*curves))


def table(path: Path) -> list[dict[str, str]]:
    """Read a table without its column of minutes."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "train_minutes"} for row in csv.DictReader(file)]


def main() -> int:
    """Torment grids until the kills are used up; print a table; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the kills' moments")
    parser.add_argument("--folder", type=Path, help="keep the grids here; by default they go")
    options = parser.parse_args()
    rng, total, found, rounds = random.Random(options.seed), Counter[str](), [], 0
    with tempfile.TemporaryDirectory(prefix="chaos_grid_") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        began = time.monotonic()
        if start(folder / "undisturbed").wait(LONGEST_S):
            raise RuntimeError(output(folder / "undisturbed"))
        longest_wait = 4 * (time.monotonic() - began) / options.kills
        while total.total() < options.kills:
            rounds += 1
            place = folder / f"killed_{rounds}"
            total += torment(place, options.kills - total.total(), longest_wait, rng)
            found += list(differences(folder / "undisturbed" / "grid", place / "grid"))
            print(f"{dict(total)} in {rounds} grids, {len(found)} differences {found[:20]}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
