"""The same answer on 1, 2 and 3 processes: fit, validate, test and predict of every method, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/processes.py [--methods position ddpm] [--json out.json]

Real ``ldx`` processes (gloo on the CPU) on phantom radiographs, tiny networks, about 60 runs of 10 s each. One image a
batch is evaluated, since convolutions of float32 round otherwise in batches of another size. Exit status 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.end_to_end.traced import read_trace  # noqa: E402

SMALL = ("--model.network.encoder_channels=[8,16]", "--model.network.decoder_channels=[16,8]",
         "--model.network.attention_factors=[]", "--model.network.blocks_per_level=1",
         "--trainer.precision=auto", "--data.size=[32,40]",
         "--data.batch_size=1", "--data.eval_batch_size=1", "--model.optimisation.warmup_steps=0")  # fmt: skip
PHANTOM = ("--data.dataset=phantom", "--data.split=null", "--data.root=null")
POSITION = ("--data.size=[64,80]", "--model.coarse_factor=2", "--model.windows.size=16",
            "--model.window_network.encoder_channels=[8]", "--model.window_network.decoder_channels=[8]",
            "--model.sampling.steps=3")  # fmt: skip
SAMPLES = (
    "--model.sampling.every=3",
    "--model.sampling.count=2",
    "--model.sampling.statistics_count=2",
    "--model.sampling.steps=3",
)
METHODS: dict[str, tuple[str, ...]] = {
    "position": ("--config", "phantom_diffusion.yaml", *SMALL, *POSITION),
    "heatmap": ("--config", "phantom_diffusion_paper_a.yaml", *SMALL),
    "finetune": ("--config", "ceph_finetune_small.yaml", *SMALL, *PHANTOM, "--data.samples_per_epoch=null"),
    "ddpm": ("--config", "phantom_ddpm_pretrain.yaml", *SMALL, *SAMPLES, "--snapshots=[]"),
}
CLASSES = {"position": "PositionDiffusionModule", "heatmap": "DiffusionHeatmapModule",
           "finetune": "HeatmapFinetuneModule", "ddpm": "DDPMPretrainModule"}  # fmt: skip
COUNT = (7, 5, 7)
"""Images to train, validate and test: none divides by 2 or by 3."""
STAGES = {"validate": "validate", "test": "test", "predict": "predict"}


@dataclass
class Run:
    """What one ``ldx`` command left: exit status, outputs, folder, and the records of each process."""

    status: int
    out: str
    err: str
    folder: Path
    trace: list[list[dict[str, Any]]]

    def ids(self, stage: str, epoch: int | None = None) -> Counter[str]:
        """How often each image was drawn for a stage, by all processes together."""
        records = (each for rank in self.trace for each in rank if each["what"] == stage)
        return Counter(i for each in records if epoch in (None, each["epoch"]) for i in each["ids"])

    def values(self, what: str) -> list[list[Any]]:
        """The records of a kind that each process made."""
        return [[each for each in rank if each["what"] == what] for rank in self.trace]

    @property
    def warnings(self) -> list[str]:
        """Lines that speak of samples counted twice or of values not joined."""
        return [line for line in (self.out + self.err).splitlines() if DOUBTS.search(line)]


DOUBTS = re.compile(r"counted twice|more than once|DistributedSampler|sync_dist|replicat|duplicat|Traceback")


def ldx(verb: str, options: Sequence[str], processes: int, folder: Path, **variables: str) -> Run:
    """Run ``ldx`` on some processes to its end, recording what each draws."""
    number = len(list(folder.parent.glob(f"{folder.name}.trace*")))
    trace = folder.parent / f"{folder.name}.trace{number}"
    ddp = ("--config", "ddp.yaml", "--trainer.accelerator=cpu", f"--trainer.devices={processes}")
    command = [verb, *options, *(ddp if processes > 1 else ddp[2:]), "--run_folder", str(folder)]
    dropped = ("WANDB_MODE", "PL_GLOBAL_SEED")
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "LDX_TRACE": str(trace), **variables}
    script = REPOSITORY / "tests" / "end_to_end" / "traced.py"
    done = subprocess.run(
        [sys.executable, str(script), *command], cwd=folder.parent, env=environment, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr, folder, read_trace(trace))


def counted(train: int = COUNT[0], val: int = COUNT[1], test: int = COUNT[2]) -> str:
    """The option that sets the numbers of phantoms."""
    return f"--data.dataset_options.count=[{train},{val},{test}]"


@dataclass
class Row:
    """A line of the table: what was run, and where it differs from one process ("" where nowhere)."""

    method: str
    verb: str
    processes: int
    images: int
    counted: int
    difference: float | None
    identical_csv: bool | None
    faults: list[str]


def fit_row(method: str, run: Run, again: Run | None = None) -> Row:
    """Check a fit: each image of an epoch once (and the first ones again to fill up), all processes alike."""
    faults = common_faults(run)
    processes = len(run.trace)
    for epoch in sorted({each["epoch"] for rank in run.values("train") for each in rank}):
        drawn = run.ids("train", epoch)
        repeats = sum(drawn.values()) - len(drawn)
        if len(drawn) != COUNT[0] or repeats != -COUNT[0] % processes:
            faults.append(f"epoch {epoch}: {len(drawn)} images, {repeats} repeats")
    if len({each["weights"] for rank in run.values("trained") for each in rank}) != 1:
        faults.append("weights differ between processes")
    figures = run.values("validated")
    if not figures[0] or any(rank != figures[0] for rank in figures):
        faults.append("validation figures differ between processes")
    if again is not None and (again.values("trained"), again.values("validated")) != (run.values("trained"), figures):
        faults.append("a second fit differs")
    if len(list((run.folder / "logs").iterdir())) != 1:
        faults.append("more than one log")
    samples = run.folder / "samples" / "statistics.csv"
    if samples.is_file():
        steps = [line.split(",")[0] for line in samples.read_text().splitlines()[1:]]
        if len(set(steps)) != len(steps) or len(list(samples.parent.glob("step_*.png"))) != len(steps):
            faults.append(f"samples written for steps {steps}")
    return Row(method, "fit", processes, COUNT[0], len(run.ids("train", 0)), None, None, faults)


def evaluation_row(method: str, verb: str, run: Run, one: Run, images: int) -> Row:
    """Compare an evaluation with that of one process."""
    faults = common_faults(run)
    if run.out.count("Results in") > 1:
        faults.append("results written more than once")
    drawn = run.ids(STAGES[verb])
    folders = [each.folder / verb for each in (one, run)]
    tables = sorted(path.name for path in folders[0].glob("predictions*.csv"))
    same = all((folders[1] / name).is_file() and (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
               for name in tables) if tables else None  # fmt: skip
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in folders]
    if names[0] != names[1]:
        faults.append(f"other files: {sorted(set(names[0]) ^ set(names[1]))}")
    if same is False:
        faults.append("predictions.csv differs")
    number = len(drawn)
    if tables:
        lines = (folders[1] / "predictions.csv").read_text().splitlines()[1:]
        order = list(dict.fromkeys(line.split(",")[0] for line in lines))
        number = len(order) if len(lines) % max(1, len(order)) == 0 else -1
        if order != sorted(order):
            faults.append("not in dataset order")
    difference = largest_difference(figures_of(one, verb), figures_of(run, verb))
    if number != images or difference > 1e-9:
        faults.append(f"{number} images, difference {difference:.1e}")
    return Row(method, verb, len(run.trace), images, number, difference, same, faults)


def common_faults(run: Run) -> list[str]:
    """Give what must never be seen: a bad exit status, a doubtful line."""
    faults = [] if run.status == 0 else [f"exit status {run.status}: {run.err.strip().splitlines()[-1:]}"]
    return faults + run.warnings


def figures_of(run: Run, verb: str) -> dict[str, float]:
    """Every number of metrics.json (images, errors, rates, intervals, spread), and the mean losses of each process."""
    path = run.folder / verb / "metrics.json"
    content = json.loads(path.read_text()) if path.is_file() else {}
    content.pop("extra", None)
    found = dict(numbers(content))
    losses = [rank[-1:] for rank in run.values("loss")]
    return found | {f"loss {place}": each["value"] for rank in losses[:1] for place, each in enumerate(rank)
                    if each["value"] is not None}  # fmt: skip


def numbers(content: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number of nested JSON with its place."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(value, f"{where}/{key}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from numbers(value, f"{where}/{place}")
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield where, float(content)


def largest_difference(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """The largest absolute difference; infinite where one has a number that the other has not."""
    if ours.keys() != theirs.keys():
        return float("inf")
    return max((abs(ours[name] - theirs[name]) for name in ours), default=0.0)


def measure(method: str, folder: Path, most: int = 3) -> Iterator[Row]:
    """Fit, validate, test and predict one method on 1 to ``most`` processes."""
    options = (*METHODS[method], counted(), "--trainer.check_val_every_n_epoch=1")
    short = ("--trainer.max_epochs=2", "--trainer.max_steps=-1", "--trainer.log_every_n_steps=1")
    for processes in range(1, most + 1):
        marks = "ab" if processes == 2 else "a"  # a second time for one number, to see that it gives the same
        fits = [ldx("fit", (*options, *short), processes, folder / f"fit{processes}{mark}") for mark in marks]
        yield fit_row(method, *fits)
    checkpoint = folder / "fit1a" / "checkpoints" / "best.ckpt"
    for verb in STAGES if method != "ddpm" else ("validate", "test"):
        runs: list[Run] = []
        for processes in range(1, most + 1):
            chosen = (*options, f"--ckpt_path={checkpoint}")
            runs.append(ldx(verb, chosen, processes, folder / f"{verb}{processes}"))
            yield evaluation_row(method, verb, runs[-1], runs[0], COUNT[1] if verb == "validate" else COUNT[2])
    if method == "position":
        for images, processes in ((1, 3), (5, 2)):
            chosen = (*options, f"--ckpt_path={checkpoint}", counted(test=images))
            one, several = (ldx("test", chosen, n, folder / f"few{images}_{n}") for n in (1, processes))
            yield evaluation_row(method, "test", several, one, images)


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    heads = ("method", "verb", "processes", "images", "counted", "largest difference", "predictions.csv", "faults")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        difference = "-" if row.difference is None else f"{row.difference:.1e}" if row.difference else "0"
        csv = {None: "-", True: "identical", False: "differs"}[row.identical_csv]
        cells = (CLASSES[row.method], row.verb, row.processes, row.images, row.counted, difference, csv,
                 "; ".join(row.faults) or "none")  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table, and return 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--json", type=Path, help="write the rows there too")
    chosen = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LDX_CACHE"] = str(Path(folder) / "cache")
        for method in chosen.methods:
            (Path(folder) / method).mkdir()
            for row in measure(method, Path(folder) / method):
                rows.append(row)
                print(markdown([row]).splitlines()[-1], file=sys.stderr, flush=True)
    print(markdown(rows))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(any(row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
