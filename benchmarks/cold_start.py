"""Seconds from the start of a process to its result, beside those of `python -c "import torch"`.

    python benchmarks/cold_start.py [--rounds 7] [--json out.json]

`ldx detect` of one phantom of 1935x2400 px to points.csv, and `ldx analyse` of its points.json to measures.csv without
tracings: each at most 1.3 times the import of torch and one second. `ldx fit` and `ldx test` until their first line: at
most two seconds. All take turns, so that other loads hit all alike; figures are medians, each result beside the import
of the same round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from benchmarks.detect import MODEL, write_phantom  # noqa: E402

TIMES, MORE, FIRST_LINE = 1.3, 1.0, 2.0
LDX = (sys.executable, "-m", "landmark_diffusion")


def to_the_end(*command: str) -> float:
    """Run a process and return its seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    return time.perf_counter() - start


def to_the_first_line(*command: str) -> float:
    """Start a process and return the seconds until it has said something; then it is ended."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=REPOSITORY)
    assert process.stdout is not None
    process.stdout.readline()
    seconds = time.perf_counter() - start
    process.kill()
    process.communicate()
    return seconds


def actions(folder: Path) -> dict[str, Callable[[], float]]:
    """What is timed, by name; torch first."""
    image, found, run = str(write_phantom(folder / "phantom.png")), str(folder / "found"), str(folder / "run")
    detect = (*LDX, "detect", image, "--model", str(MODEL), "--overwrite", "--output", found, "--to")
    to_the_end(*detect, "json")
    analyse = (*LDX, "analyse", str(Path(found) / "points.json"), "--no-tracings", "--overwrite")
    fit = ("--config", "phantom_baseline.yaml", "--run_folder", run)
    return {
        "import torch": lambda: to_the_end(sys.executable, "-c", "import torch"),
        "ldx detect": lambda: to_the_end(*detect, "csv"),
        "ldx analyse": lambda: to_the_end(*analyse, "--output", str(folder / "measures")),
        "ldx fit, first line": lambda: to_the_first_line(*LDX, "fit", *fit),
        "ldx test, first line": lambda: to_the_first_line(*LDX, "test", *fit),
    }


def aim(name: str, torch: float) -> float:
    """Seconds that an action may take."""
    return FIRST_LINE if "first line" in name else TIMES * torch + MORE


def main() -> int:
    """Measure, print a table, write JSON when asked; the exit status tells whether the aims are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        timed = actions(Path(folder))
        rounds = [{name: action() for name, action in timed.items()} for _ in range(options.rounds)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in timed}
    share = {n: statistics.median(each[n] / aim(n, each["import torch"]) for each in rounds) for n in list(timed)[1:]}
    table = Table(title=f"seconds from the start of the process, medians of {options.rounds} rounds")
    for heading in ("", "seconds", "of what it may take (median over the rounds)"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds in medians.items():
        table.add_row(name, f"{seconds:.2f}", f"{share[name]:.2f}" if name in share else "")
    console = Console()
    console.print(table)
    met = all(each <= 1 for each in share.values())
    console.print(f"aims ({TIMES:g} x torch + {MORE:g} s; {FIRST_LINE:g} s): {'met' if met else 'MISSED'}")
    if options.json:
        record = {"machine": platform.platform(), "seconds": medians, "of_aim": share, "rounds": options.rounds}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
