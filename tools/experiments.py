"""Run the rows of an experiment one after another and write each down as it ends.

    python tools/experiments.py docs/experiments/readings_ceph.yaml [--only NAME] [--jobs-folder runs/experiments]

A plan (YAML) has ``common`` arguments for ``ldx fit``, ``seeds``, and ``rows``: each with a ``name``, ``fit``
arguments and ``evaluate``: a list of {name, args[, verb]} that are measured from the same weights without training
again. Results go to the plan's name with ``.csv``, a row an evaluation, with its command. A row that is there already
is not run again, and two of these processes side by side share the rows: each locks the one it works on.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

FIELDS = (
    "row", "evaluation", "seed", "images", "mre", "std", "median", "sdr_2", "sdr_2.5", "sdr_3", "sdr_4", "beyond_10mm",
    "variant", "updates", "train_minutes", "command",
)  # fmt: skip


def main() -> None:
    """Run what is not yet in the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--only", nargs="*", help="names of rows to run")
    parser.add_argument("--markdown", action="store_true", help="print the plan's table instead of running it")
    parser.add_argument("--jobs-folder", type=Path, default=Path("runs/experiments"))
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text())
    table = options.plan.with_suffix(".csv")
    if options.markdown:
        print(to_markdown(table))
        return
    for seed in plan.get("seeds", [0]):
        for row in plan["rows"]:
            if options.only and row["name"] not in options.only:
                continue
            folder = options.jobs_folder / options.plan.stem / f"{row['name']}_s{seed}"
            run_row(plan, row, seed, folder, table)


def to_markdown(table: Path) -> str:
    """Render the table without its commands, which the plan and the CSV hold."""
    columns = {
        "row": "trained", "evaluation": "evaluated", "variant": "variant", "seed": "seed", "mre": "MRE mm",
        "median": "median", "sdr_2": "< 2 mm", "sdr_2.5": "< 2.5", "sdr_3": "< 3", "sdr_4": "< 4",
        "beyond_10mm": "> 10 mm", "train_minutes": "min",
    }  # fmt: skip
    lines = [f"| {' | '.join(columns.values())} |", "|---" * len(columns) + "|"]
    with table.open() as file:
        lines += [f"| {' | '.join(row[name] for name in columns)} |" for row in csv.DictReader(file)]
    return "\n".join(lines)


def run_row(plan: dict[str, Any], row: dict[str, Any], seed: int, folder: Path, table: Path) -> None:
    """Train one row unless that was done, then make each evaluation that the table lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "claim").open("w") as claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        missing = [e for e in row["evaluate"] if (row["name"], e["name"], str(seed)) not in done(table)]
        if not missing:
            return
        fit = ["fit", *plan["common"], *row.get("fit", []), "--seed_everything", str(seed), "--run_folder", str(folder)]
        timing = folder / "train_minutes"
        if not timing.exists():
            started = time.monotonic()
            ldx([*fit, "--overwrite", "true"], folder / "fit.log")
            timing.write_text(f"{(time.monotonic() - started) / 60:.1f}")
        for evaluation in missing:
            verb = evaluation.get("verb", "validate")
            ldx([verb, *fit[1:], *evaluation.get("args", [])], folder / f"{verb}.log")
            record(table, row["name"], evaluation, seed, folder, timing.read_text(), fit)


def ldx(arguments: list[str], log: Path) -> None:
    """Run the console script; its output goes to ``log``."""
    with log.open("a") as output:
        status = subprocess.run(
            [sys.executable, "-m", "landmark_diffusion", *arguments], stdout=output, stderr=output, check=False
        ).returncode
    if status:
        sys.exit(f"ldx {' '.join(arguments)}\nended with status {status}; see {log}")


def done(table: Path) -> set[tuple[str, str, str]]:
    """Rows that the table has."""
    if not table.exists():
        return set()
    with table.open() as file:
        return {(r["row"], r["evaluation"], r["seed"]) for r in csv.DictReader(file)}


def record(
    table: Path, name: str, evaluation: dict[str, Any], seed: int, folder: Path, minutes: str, fit: list[str]
) -> None:
    """Append one row for each variant that the evaluation measured."""
    verb = evaluation.get("verb", "validate")
    metrics = json.loads((folder / verb / "metrics.json").read_text())
    wanted = evaluation.get("variants")
    updates = metrics.get("extra", {}).get("updates", "")
    with table.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if table.stat().st_size == 0:
            writer.writeheader()
        for variant, values in metrics["variants"].items():
            if wanted and variant not in wanted:
                continue
            sdr = {f"sdr_{float(r):g}": f"{p:.2f}" for r, p in values["sdr"].items()}
            then = ["; ldx", verb, "...", *evaluation["args"]] if evaluation.get("args") else []
            command = " ".join(["ldx", *fit, *then])
            row = {
                "row": name, "evaluation": evaluation["name"], "variant": variant, "seed": seed, "updates": updates,
                "train_minutes": minutes, "images": values["images"], "mre": f"{values['mre']:.3f}",
                "std": f"{values['std']:.3f}", "median": f"{values['median']:.3f}",
                "beyond_10mm": f"{values['beyond_10mm']:.2f}", "command": command, **sdr,
            }  # fmt: skip
            writer.writerow({k: v for k, v in row.items() if k in FIELDS})
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
