"""How ldx behaves at its limits: 100,000 images in a folder, 10,000 training steps, 600 images to detect.

    python benchmarks/limits.py folder            # starting on 100,000 distinct small PNGs: seconds, peak memory
    python benchmarks/limits.py steps             # memory over 10,000 optimiser steps, with 0 and with 2 workers
    python benchmarks/limits.py epoch             # memory of the loader over three epochs of 100,000 images
    python benchmarks/limits.py detect            # memory over `ldx detect` of 600 images

Every command is a process of its own, as a user starts it; its memory is read from /proc (Linux), where pages that
several processes share count once. It counts as flat where the last quarter of the samples lies, in the median, less
than 3 MiB or 1 % above the second quarter: the first quarter is the warm-up. Exit status 1 where it does not; `detect`
may grow, and its growth an image is told.
Images and caches lie in a temporary folder ($TMPDIR), which takes 2 GB for 100,000 images.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

IMAGES, EPOCHS, STEPS, DETECTIONS = 100_000, 3, 10_000, 600
"""Three epochs: as the second begins, a search for garbage in the parent parts it from pages that workers share."""
SIZE, LARGE, LANDMARKS, FOLDERS = (32, 40), (880, 1100), 19, 20
FLAT_MIB, FLAT_SHARE = 3.0, 0.01
WHAT = ("folder", "steps", "epoch", "detect")
EPOCH = Path(__file__).with_name("limits_epoch.py")
NETWORK = (
    *("--data.size=[32,40]", "--model.network.encoder_channels=[8,16]", "--model.network.decoder_channels=[16,8]"),
    *("--model.network.attention_factors=[]", "--trainer.precision=32-true", "--trainer.accelerator=cpu"),
)
LABELLED = ("--config", "ceph_diffusion_paper_a_small.yaml", *NETWORK, "--data.dataset=folder", "--data.split=auto")
UNLABELLED = ("--config", "folder_ddpm_pretrain.yaml", *NETWORK, "--model.sampling.every=0", "--data.num_workers=0")


@dataclass
class Usage:
    """One command: seconds by the clock and of processors, memory in MiB, the largest and sampled."""

    seconds: float
    processor: float
    peak: float
    curve: list[tuple[float, float]]
    """(seconds or step, MiB) of the process and those it started."""


def write_images(
    root: Path, count: int, folders: int = FOLDERS, csv: bool = True, size: tuple[int, int] = SIZE
) -> Path:
    """Write distinct PNGs of smooth noise (1.4 kB at 32x40 px) into sub-folders, and points.csv beside them."""
    rng = np.random.default_rng(0)
    rows = ["image," + ",".join(f"x{n},y{n}" for n in range(1, LANDMARKS + 1))]
    for number in range(count):
        place = root / f"part_{number % folders:03d}" if folders else root
        if number < max(1, folders):
            place.mkdir(parents=True, exist_ok=True)
        grey = cv2.resize(rng.integers(0, 256, (SIZE[1], SIZE[0]), dtype=np.uint8), size)
        path = place / f"{number:06d}.png"
        path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())
        points = rng.integers(1, 30, 2 * LANDMARKS)
        rows.append(f"{path.relative_to(root).as_posix()}," + ",".join(map(str, points)))
    if csv:
        (root / "points.csv").write_text("\n".join(rows) + "\n")
    return root


def measure(
    arguments: Sequence[object], folder: Path, until: Callable[[], bool] | None = None,
    step: Callable[[], float] | None = None,
) -> Usage:  # fmt: skip
    """Run ``ldx``, or the script that the first argument names, and watch its memory.

    It runs to its end, or until something is there and is stopped then. ``step`` tells how far it is; without it
    the curve is by seconds.
    """
    ldx = [] if str(arguments[0]).endswith(".py") else ["-m", "landmark_diffusion"]
    command = [sys.executable, *ldx, *map(str, arguments)]
    environment = {**os.environ, "LDX_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    before, start, curve = processor_seconds(), time.perf_counter(), []
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            place = time.perf_counter() - start if step is None else step()
            curve.append((place, sum(map(resident, family(process.pid)))))
            if until is not None and until():
                break
            time.sleep(0.05 if step is None else 1.0)
    seconds = time.perf_counter() - start
    if process.poll() is None:
        process.terminate()  # a script run in the background hands on that SIGINT is ignored
    status = process.wait()
    if status != 0 and until is None:
        said = (folder / "output.txt").read_text()[-2000:]
        raise SystemExit(f"ldx {arguments[0]} ended with status {status}:\n{said}")
    return Usage(seconds, processor_seconds() - before, max(mib for _, mib in curve), curve)


def processor_seconds() -> float:
    """Seconds that the finished children have kept a processor busy: what is left on a machine with other work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def family(pid: int) -> Iterator[int]:
    """A process and those that it started, with theirs."""
    yield pid
    try:
        tasks = [(task / "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return
    for child in chain.from_iterable(tasks):
        yield from family(int(child))


def resident(pid: int) -> float:
    """Memory of a process in MiB, pages that it shares with others divided among them; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def rise(values: Sequence[float]) -> float:
    """MiB by which the last quarter's median lies above that of the second quarter."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter])


def is_flat(values: Sequence[float]) -> bool:
    """Whether memory no longer grows, by the rule of this module."""
    return rise(values) < max(FLAT_MIB, FLAT_SHARE * statistics.median(values))


def starts(root: Path, bare: Path, model: Path, work: Path) -> dict[str, tuple[Sequence[object], Callable | None]]:
    """The commands whose start is timed, in this order; the first one reads the headers, the later ones know them."""
    fit = ("--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--data.batch_size=2", "--overwrite=true")
    found = work / "found"
    detect = ("detect", root, "--recursive", "--fast", "--model", model, "--output", found, "--overwrite")
    check = ("data", "check", "--dataset", "folder", "--root", root, "--no-decode")
    return {
        "data check --no-decode, first": (check, None),
        "data check --no-decode, again": (check, None),
        "fit, one step and its checkpoint": (
            ("fit", *LABELLED, *fit, "--data.root", root, "--run_folder", work / "run"), None),
        "fit without labels, headers not known": (
            ("fit", *UNLABELLED, *fit, "--data.root", bare, "--run_folder", work / "bare"), None),
        "fit without labels, again": (
            ("fit", *UNLABELLED, *fit, "--data.root", bare, "--run_folder", work / "bare"), None),
        "detect, until the first picture": (detect, lambda: any((found / "overlays").glob("*.png"))),
    }  # fmt: skip


def folder_table(count: int, model: Path, work: Path) -> list[dict[str, object]]:
    """Seconds and peak memory of each start on ``count`` images, beside the same on 100 images."""
    rows: dict[str, dict[str, object]] = {}
    for number in (100, count):
        place = work / str(number)
        root, bare = write_images(place / "labelled", number), place / "bare"
        write_images(bare, number, folders=0, csv=False)
        for name, (arguments, until) in starts(root, bare, model, place).items():
            used = measure(arguments, place, until)
            row = rows.setdefault(name, {"what": name})
            row |= {f"s at {number}": round(used.seconds, 1), f"processor s at {number}": round(used.processor, 1)}
            row |= {f"MiB at {number}": round(used.peak)}
            print(f"{number:>7} images: {name}: {used.seconds:.1f} s, {used.processor:.1f} s of a processor, "
                  f"{used.peak:.0f} MiB", flush=True)  # fmt: skip
    return list(rows.values())


def steps_table(steps: int, work: Path, workers_list: Sequence[int]) -> list[dict[str, object]]:
    """Memory of a tiny fit with a moving average and validations, at every 500th step."""
    root = write_images(work / "images", 40)
    rows = []
    for workers in workers_list:
        place = work / f"workers_{workers}"
        place.mkdir()
        arguments = (
            *("fit", *LABELLED, "--data.root", root, "--data.batch_size=2", f"--data.num_workers={workers}"),
            *(
                "--model.optimisation.ema_decay=0.99",
                "--model.sampling.steps=2",
                "--trainer.check_val_every_n_epoch=25",
            ),
            *(f"--trainer.max_steps={steps}", "--run_folder", place / "run"),
        )
        used = measure(arguments, place, step=partial(last_step, place / "run"))
        curve = at_each(used.curve, max(1, steps // 20), steps)
        rows.append(memory_row(f"fit, {steps} steps, {workers} workers", used, curve))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def epoch_table(count: int, work: Path, workers_list: Sequence[int]) -> list[dict[str, object]]:
    """Memory of the loader over the epochs of a folder."""
    root = write_images(work / "images", count)
    return [epoch_row(root, count, work / f"workers_{workers}", workers) for workers in workers_list]


def epoch_row(root: Path, count: int, place: Path, workers: int) -> dict[str, object]:
    """Memory of the loader over the epochs of the images in ``root``."""
    place.mkdir()
    passed = place / "passed.txt"
    arguments = (EPOCH, root, passed, "--workers", workers, "--epochs", EPOCHS)
    used, last = measure(arguments, place, step=partial(read_number, passed)), EPOCHS * count
    name = f"loader, {EPOCHS} epochs of {count} images, {workers} workers"
    row = memory_row(name, used, at_each(used.curve, max(1, last // 20), last))
    print(json.dumps(row), flush=True)
    return row


def read_number(path: Path) -> int:
    """The number that a file holds, 0 where there is none yet."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text else 0


def files_in(folder: Path) -> int:
    """The number of files in a folder, 0 where there is none yet."""
    return len(os.listdir(folder)) if folder.is_dir() else 0


def detect_table(count: int, model: Path, work: Path) -> list[dict[str, object]]:
    """Memory of ``ldx detect``, which keeps the numbers found, and for the page a picture of each image."""
    root = write_images(work / "images", count, folders=0, csv=False, size=LARGE)
    rows = []
    for forms in ("csv,json,overlay", "csv,json,overlay,html"):
        place = work / forms.replace(",", "_")
        place.mkdir()
        found = place / "found" / "overlays"
        arguments = ("detect", root, "--model", model, "--fast", "--to", forms, "--output", place / "found")
        used = measure(arguments, place, step=partial(files_in, found))
        curve = at_each(used.curve, max(1, count // 20), count)
        row = memory_row(f"detect, {count} images, {forms}", used, curve)
        del row["flat"]  # what was found is kept until it is written at the end
        row["KiB an image"] = round(1024 * rise([mib for _, mib in curve]) / (count / 2))
        rows.append(row)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def memory_row(what: str, used: Usage, curve: Sequence[tuple[float, float]]) -> dict[str, object]:
    """One line of the table of memory."""
    values = [mib for _, mib in curve]
    return {
        "what": what, "seconds": round(used.seconds), "peak MiB": round(used.peak),
        "rise MiB": round(rise(values), 1), "flat": is_flat(values),
        "MiB at step": {int(step): round(mib, 1) for step, mib in curve},
    }  # fmt: skip


def at_each(curve: Sequence[tuple[float, float]], every: int, last: int) -> list[tuple[float, float]]:
    """Median memory between each multiple of ``every`` steps and the one before, up to ``last``."""
    marks = range(every, last + 1, every)
    parts = {mark: [mib for step, mib in curve if mark - every < step <= mark] for mark in marks}
    return [(mark, statistics.median(part)) for mark, part in parts.items() if part]


def last_step(run: Path) -> int:
    """The step in the last line of the run's curves."""
    found = sorted(run.glob("logs/version_*/metrics.csv"))
    if not found:
        return 0
    lines = [line.split(",") for line in found[-1].read_text().splitlines()]
    return max((int(cells[lines[0].index("step")]) for cells in lines[1:] if len(cells) == len(lines[0])), default=0)


def main() -> int:
    """Measure, print the tables, write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=WHAT, help="by default all, one after another")
    parser.add_argument("--count", type=int, help="images or steps, in place of the full number")
    parser.add_argument("--workers", type=int, nargs="+", default=(0, 2), help="of the loader, in steps and epoch")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "weights" / "ceph_small.ldx")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    model = options.model.resolve()
    rows = []
    for what in [options.what] if options.what else WHAT:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if what == "folder":
                rows += folder_table(options.count or IMAGES, model, folder)
            elif what == "steps":
                rows += steps_table(options.count or STEPS, folder, options.workers)
            elif what == "epoch":
                rows += epoch_table(options.count or IMAGES, folder, options.workers)
            else:
                rows += detect_table(options.count or DETECTIONS, model, folder)
    print(json.dumps(rows, indent=1))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(row.get("flat", True) for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
