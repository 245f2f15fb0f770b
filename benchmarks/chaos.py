"""Kill real ``ldx fit`` processes at random moments, continue them, and compare with a run that nothing disturbed.

    python benchmarks/chaos.py [--kills 30] [--methods positions ...] [--workers 2] [--auto] [--json out.json]

For each method a tiny network learns phantoms with everything on that a resume could lose: moving average, dropout,
gradient accumulation, a schedule, validation at the ends of epochs or within them, snapshots, 0 or 2 workers. One
process runs to its end. Then a run is killed (SIGKILL, which no program can catch) again and again, and each time
continued by the user's command: ``--ckpt_path last``, or the first command where no checkpoint is there yet. A fifth of
the kills fall into the start-up, the others at a random time after training began; a third of these wait on until a
checkpoint is being written, or just was. A run that ends before its kills are used up is compared, and another begins.

Compared bit for bit: every checkpoint file of the run (raw weights, moving average, optimiser, schedule, progress, best
score) and the logged curves. The curves of all starts are joined: each step of the undisturbed run has to be there, and
a step that was run twice has to have logged the same twice. The exit status is 1 where anything differs.

With --auto precision and threads are ``auto``, and every continuation runs on a machine that would choose otherwise:
the run begins where float32 and two threads are fastest, and goes on where bfloat16 and one thread would be.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from benchmarks.compare_runs import PARTS, Comparison  # noqa: E402

PHASES = ("start-up", "training", "validation", "checkpoint write", "end")
PHASE_FILE = "CHAOS_PHASE_FILE"
LONGEST_S = 600.0
"""Seconds after which a process counts as hanging."""

NETWORK = (
    *("--data.dataset=phantom", "--data.root=null", "--data.split=null", "--data.recipe=mild"),
    *("--data.dataset_options.count=[22,3,1]", "--data.batch_size=2", "--data.eval_batch_size=2"),
    *("--data.size=[32,40]", "--model.network.encoder_channels=[8,16]", "--model.network.decoder_channels=[16,8]"),
    *("--model.network.blocks_per_level=1", "--model.network.attention_factors=[]", "--model.network.dropout=0.2"),
    *("--model.optimisation.ema_decay=0.95",),
    *("--trainer.precision=32-true", "--trainer.accelerator=cpu", "--trainer.devices=1"),
    *("--trainer.accumulate_grad_batches=2", "--trainer.log_every_n_steps=1"),
    *("--trainer.callbacks+=chaos.PhaseMark", "--allow_classes=chaos"),
)
"""Eleven batches an epoch, so six updates: the last of them has one micro-batch."""

AUTO = ("--trainer.precision=auto",)
MACHINE = """
import os, sys
from landmark_diffusion.hardware import precision, threads
other = os.environ["CHAOS_MACHINE"] == "other"
precision.has_native_bfloat16 = lambda kind="cpu": other
threads.try_threads = lambda bf16=False: {1: 1.0, 2: 9.0 if other else 0.5}
from landmark_diffusion.cli import main
sys.exit(main())
"""
"""``python -m landmark_diffusion`` on one of two machines; what is found out about the processor is all that is set."""

COSINE = ("--model.optimisation.lr_schedule=cosine", "--model.optimisation.warmup_steps=10")
METHODS: dict[str, tuple[str, ...]] = {
    "diffusion": (  # DiffusionHeatmapModule, validated after every second epoch
        *("--config", "phantom_diffusion_paper_a.yaml", *NETWORK, *COSINE, "--data.num_workers=0"),
        *("--trainer.check_val_every_n_epoch=2", "--model.sampling.steps=2"),
    ),
    "positions": (  # PositionDiffusionModule, validated within epochs
        *("--config", "phantom_diffusion.yaml", *NETWORK, *COSINE, "--data.num_workers=2"),
        *("--trainer.check_val_every_n_epoch=1", "--trainer.val_check_interval=4", "--model.coarse_factor=2"),
        *("--model.window_network.encoder_channels=[8]", "--model.window_network.decoder_channels=[8]"),
        *("--model.windows.size=8", "--model.window_network.dropout=0.2"),
        *("--model.sampling.steps=3",),
    ),
    "pretraining": (  # DDPMPretrainModule with snapshots, one of them where a validation follows
        *("--config", "phantom_ddpm_pretrain.yaml", *NETWORK, *COSINE, "--data.num_workers=0"),
        *("--trainer.check_val_every_n_epoch=1", "--snapshots=[20,36,71]", "--model.sampling.every=0"),
    ),
    "finetuning": (  # HeatmapFinetuneModule with a plateau schedule
        *("--config", "ceph_finetune_small.yaml", *NETWORK, "--data.num_workers=2", "--data.samples_per_epoch=22"),
        *(
            "--trainer.check_val_every_n_epoch=1",
            "--model.optimisation.lr_schedule=plateau",
            "--model.optimisation.warmup_steps=0",
        ),
        *("--model.optimisation.plateau_patience=0",),
    ),
}


class PhaseMark(Callback):
    """Keep in a file what the process is doing, for whoever finds it dead; holds no state of its own."""

    def __init__(self) -> None:
        self._file = os.open(os.environ[PHASE_FILE], os.O_WRONLY | os.O_CREAT)

    def _mark(self, phase: str, trainer: Trainer) -> None:
        os.pwrite(self._file, f"{trainer.global_step:9}{phase:20}".encode(), 0)

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        """Training begins."""
        self._mark("training", trainer)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """A batch follows, and whatever was written before it is done."""
        self._mark("training", trainer)

    def on_validation_start(self, trainer: Trainer, *args: Any) -> None:
        """A validation begins."""
        self._mark("validation", trainer)

    def on_save_checkpoint(self, trainer: Trainer, *args: Any) -> None:
        """A checkpoint is gathered and written; the mark stands until the next batch."""
        self._mark("checkpoint write", trainer)

    def on_train_end(self, trainer: Trainer, *args: Any) -> None:
        """Training is over."""
        self._mark("end", trainer)


# ---- processes -------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run in a folder, from its first start to its end."""

    folder: Path
    arguments: Sequence[str]
    code: Path = REPOSITORY
    starts: int = 0
    auto: bool = False

    @property
    def checkpoints(self) -> list[Path]:
        """The run's checkpoint files, whole or not."""
        return sorted((self.folder / "checkpoints").glob("*.ckpt"))

    @property
    def place(self) -> tuple[int | None, str]:
        """Updates done and phase of the process, or of the dead one; None where training has not begun."""
        text = (self.folder / "phase").read_text()
        return (int(text[:9]), text[9:].strip()) if text else (None, PHASES[0])

    def start(self) -> subprocess.Popen:
        """Start or continue the run as its user would."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "phase").write_text("")
        program = ["-c", MACHINE] if self.auto else ["-m", "landmark_diffusion"]
        command = [sys.executable, *program, "fit", *self.arguments, "--run_folder", str(self.folder)]
        machine = {"CHAOS_MACHINE": "first"} if self.auto else {"OMP_NUM_THREADS": "1"}
        if self.checkpoints:
            command += ["--ckpt_path", "last"]
            machine = {"CHAOS_MACHINE": "other"} if self.auto else machine
        self.starts += 1
        paths = {"PYTHONPATH": os.pathsep.join((str(self.code), str(self.code / "benchmarks")))}
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | machine | paths
        environment |= {PHASE_FILE: str(self.folder / "phase"), "WANDB_MODE": "disabled"}
        with (self.folder / f"start_{self.starts}.log").open("w") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=self.folder)

    def finish(self, process: subprocess.Popen) -> None:
        """Wait for the end; raises RuntimeError where the run did not end well by itself."""
        status = process.wait(LONGEST_S)
        if status:
            told = (self.folder / f"start_{self.starts}.log").read_text()[-3000:]
            raise RuntimeError(f"{self.folder}: start {self.starts} ended with status {status}:\n{told}")

    def wait_for_training(self, process: subprocess.Popen) -> None:
        """Return when training has begun or the process has ended."""
        while process.poll() is None and self.place[1] == PHASES[0]:
            time.sleep(0.01)

    def wait_for_writing(self, process: subprocess.Popen, writing: bool = True) -> None:
        """Return as soon as a checkpoint is being written (or is not any more), or the process has ended."""
        while process.poll() is None and self.has_half_written(process.pid) != writing:
            time.sleep(0.0003)

    def has_half_written(self, pid: int) -> bool:
        """Tell whether a checkpoint file of a process is being written, or lies there as it was killed."""
        folder = self.folder / "checkpoints"
        return folder.is_dir() and any(name.endswith(f".{pid}.partial") for name in os.listdir(folder))


@dataclass
class Report:
    """What happened to one method's runs."""

    method: str
    kills: int = 0
    rounds: int = 0
    starts: int = 0
    without_checkpoint: int = 0
    half_written: int = 0
    fell: Counter[str] = field(default_factory=Counter)
    updates: list[int] = field(default_factory=list)
    comparison: Comparison = field(default_factory=Comparison)
    seconds: float = 0.0


def kill_once(run: Run, rng: random.Random, startup_s: float, mean_wait_s: float, report: Report) -> bool:
    """Start the run and kill it at a random moment; False where it ended first."""
    early, aimed = rng.random() < 0.2, rng.random() < 1 / 3
    wait = rng.uniform(0, startup_s) if early else rng.uniform(0, 2 * mean_wait_s)
    process = run.start()
    if not early:
        run.wait_for_training(process)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        if aimed and not early:
            run.wait_for_writing(process)
            if rng.random() < 0.5:  # the file is whole, but what is logged after it is not
                run.wait_for_writing(process, writing=False)
            time.sleep(rng.uniform(0, 0.004))
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        run.finish(process)
        return False
    report.kills += 1
    update, phase = run.place
    report.fell[phase] += 1
    report.updates += [] if update is None else [update]
    report.without_checkpoint += not run.checkpoints
    report.half_written += run.has_half_written(process.pid)
    return True


def freeze_code(folder: Path) -> Path:
    """Copy the package, its configs and this script, so that nobody's editing reaches a run between two starts."""
    for name in ("landmark_diffusion", "configs", "benchmarks"):
        shutil.copytree(REPOSITORY / name, folder / name, dirs_exist_ok=True)
    return folder


def torment(
    method: str, kills: int, steps: int, seed: int, folder: Path, code: Path = REPOSITORY, workers: int | None = None,
    auto: bool = False,
) -> Report:  # fmt: skip
    """Run ``method`` undisturbed, then kill and continue it ``kills`` times, and compare."""
    report, rng, began = Report(method), random.Random(f"{seed} {method}"), time.monotonic()
    loaders = () if workers is None else (f"--data.num_workers={workers}",)
    loaders += AUTO if auto else ()
    arguments = (*METHODS[method], f"--trainer.max_steps={steps}", f"--seed_everything={seed}", *loaders)
    whole = Run(folder / "undisturbed", arguments, code, auto=auto)
    startup_s, training_s = time_undisturbed(whole)
    while report.kills < kills:
        report.rounds += 1
        run = Run(folder / f"killed_{report.rounds}", arguments, code, auto=auto)
        ended = False
        while report.kills < kills and not ended:
            # a kill costs the work since the last checkpoint: hence twice an equal share of the run
            ended = not kill_once(run, rng, startup_s, 2 * training_s / kills, report)
        if not ended:
            run.finish(run.start())
        report.starts += run.starts
        report.comparison.runs(whole.folder, run.folder)
    report.seconds = time.monotonic() - began
    return report


def time_undisturbed(run: Run) -> tuple[float, float]:
    """Run to the end; return the seconds until training began, and those of training."""
    began = time.monotonic()
    process = run.start()
    run.wait_for_training(process)
    trained = time.monotonic()
    run.finish(process)
    return trained - began, time.monotonic() - trained


# ---- tables ----------------------------------------------------------------------------------------------------------


def table_rows(reports: Sequence[Report]) -> list[list[str]]:
    """Lay the reports out, the heading first; a part's cell is its number of differences, and the largest."""
    heading = ["method", "kills", "before a checkpoint", "restarts", "runs", "half-written file left", "at updates"]
    rows = [[*heading, *PHASES, *PARTS, "values compared", "seconds"]]
    for report in reports:
        row = [report.method, report.kills, report.without_checkpoint, report.starts - report.rounds, report.rounds]
        updates = sorted(report.updates)
        row += [report.half_written, f"{updates[0]} to {updates[-1]}" if updates else "-"]
        row += [report.fell[phase] for phase in PHASES]
        for part in PARTS:
            sizes = [found.size for found in report.comparison.differences if found.part == part]
            row.append(f"{len(sizes)} ({max(sizes):.2g})" if sizes else 0)
        rows.append([*map(str, row), f"{sum(report.comparison.compared.values()):,}", f"{report.seconds:.0f}"])
    return rows


def show(console: Console, reports: Sequence[Report]) -> None:
    """Print the table for eyes, a column a method, and as Markdown."""
    columns = list(zip(*table_rows(reports), strict=True))
    table = Table(title="Killed and continued against undisturbed: differences, and the largest of them")
    for i, name in enumerate(columns[0]):
        table.add_column(name, justify="right" if i else "left")
    for cells in columns[1:]:
        table.add_row(*cells)
    console.print(table)
    for i, cells in enumerate(columns):
        print("| " + " | ".join(cells) + " |" + ("\n|" + "---|" * len(cells) if i == 0 else ""), flush=True)


def as_record(report: Report) -> dict[str, Any]:
    """Give a report as JSON can hold it, which knows no infinity."""
    compared, found = report.comparison.compared, report.comparison.differences
    record = {name: value for name, value in vars(report).items() if name != "comparison"}
    return record | {"compared": compared, "differences": [vars(each) | {"size": f"{each.size:.3g}"} for each in found]}


def main() -> int:
    """Torment the methods one after another and print a table after each; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="a method")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workers", type=int, help="processes that load images, in place of each method's 0 or 2")
    parser.add_argument("--auto", action="store_true", help="precision and threads auto, going on on another machine")
    parser.add_argument("--steps", type=int, default=150, help="updates of a run")
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the kills' moments")
    parser.add_argument("--json", type=Path, help="also write the reports to this file")
    parser.add_argument("--folder", type=Path, help="keep the runs here; by default they go when all is well")
    options = parser.parse_args()
    console, reports = Console(), []
    with tempfile.TemporaryDirectory(prefix="chaos_") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        code = freeze_code(folder / "code")
        for method in options.methods:
            report = torment(
                method, options.kills, options.steps, options.seed, folder / method, code, options.workers, options.auto
            )
            reports.append(report)
            show(console, reports)
            for found in reports[-1].comparison.differences[:20]:
                print(f"{method}: {found.part}: {found.where}: {found.size:.3g}", flush=True)
            if options.json:
                options.json.write_text(json.dumps([as_record(report) for report in reports], indent=2) + "\n")
    return int(any(report.comparison.differences for report in reports))


if __name__ == "__main__":
    raise SystemExit(main())
