"""What judges whether memory is flat can tell: a leak is one, a warm-up is none, and processes are counted together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.limits import at_each, family, is_flat, last_step, measure, read_number, resident, rise, write_images

NOISE = np.random.default_rng(0).normal(0, 0.5, 20)


def test_a_leak_is_recognised_and_a_warm_up_is_none() -> None:
    assert is_flat(list(400 + NOISE))
    assert is_flat([300.0, 380.0, 398.0, 400.0, *(400 + NOISE)])
    assert not is_flat(list(400 + np.arange(20.0) + NOISE))  # 1 MiB between samples, at each 500th step
    assert not is_flat([*(400 + NOISE[:15]), *(420 + NOISE[:5])])  # one step up, late
    assert is_flat(list(400 - np.arange(20.0)))


def test_the_rise_is_that_between_the_second_and_the_last_quarter() -> None:
    assert rise([0, 9, 1, 2, 5, 5, 7, 8]) == 7.5 - 1.5


def test_samples_are_gathered_by_step() -> None:
    curve = [(0, 1.0), (4, 10.0), (5, 12.0), (6, 20.0), (15, 30.0)]
    assert at_each(curve, 5, 15) == [(5, 11.0), (10, 20.0), (15, 30.0)]


def test_memory_of_a_process_and_of_those_it_started_is_seen() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("memory is read from Linux's /proc")
    code = "import subprocess, sys; x = bytearray(b'1' * 50_000_000); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        assert child.pid in family(os.getpid())
        assert resident(child.pid) > 48
        child.stdin.close()
    assert resident(child.pid) == 0


def test_a_command_is_watched_to_its_end_and_a_failed_one_stops_the_measurement(tmp_path: Path) -> None:
    script, told = tmp_path / "script.py", tmp_path / "told.txt"
    script.write_text(f"import time; open({str(told)!r}, 'w').write('7'); time.sleep(0.3)\n")
    used = measure((script,), tmp_path)
    assert used.seconds > 0.3 and used.peak > 1 and read_number(told) == 7
    script.write_text("raise SystemExit('no folder')\n")
    with pytest.raises(SystemExit, match="status 1:\nno folder"):
        measure((script,), tmp_path)


def test_the_images_are_distinct_and_named_in_the_table(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", 30, folders=3)
    images = [path.read_bytes() for path in root.rglob("*.png")]
    assert len(set(images)) == 30
    lines = (root / "points.csv").read_text().splitlines()
    assert len(lines) == 31 and all((root / line.split(",")[0]).is_file() for line in lines[1:])


def test_the_step_is_read_from_the_curves(tmp_path: Path) -> None:
    assert last_step(tmp_path) == 0
    folder = tmp_path / "logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,loss\n0,49,1.0\n1,99,0.5\n2,14")  # a line that is being written
    assert last_step(tmp_path) == 99
