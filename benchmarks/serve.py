"""Images a second of ``ldx serve`` at 1, 4 and 16 clients, with and without bad requests, and its memory over time.

    python benchmarks/serve.py [--model weights/ceph.ldx] [--seconds 60] [--minutes 10] [--workers 1] [--json out.json]

The service runs as a process of its own. Each client, a thread here, asks again as soon as it is answered, and after
``Retry-After`` where it was sent away. Good images are phantoms of 1935x2400 px, 8-bit PNG, JPEG and DICOM; every
answer is compared byte for byte with points.json that ``ldx detect`` wrote of the same file before, with as many
threads. Of five requests one is bad in half of the runs: the attacks of docs/security.md, in turn, each with the
status that it has to have. Cells last ``--seconds`` each. With ``--minutes`` there is one cell alone, of 16 clients
with bad requests, for so long. Memory is that of the service and the processes that it has started (Pss, so that what
they share counts once), each second. Slow clients hold their connections beside all that.

Exit status 1 where an answer was another one, a request had another status, the service ended or left something, or,
with ``--minutes`` of 2 and more, the median memory of the last fifth lies over 10 % and 30 MiB above the second's.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for the attacks of the tests

from landmark_diffusion.data.sources.phantom import PhantomDataset  # noqa: E402
from tests.detection.bad_inputs import png_of_size, write_dicom  # noqa: E402
from tests.security.test_images import _deflated  # noqa: E402
from tests.service.served import slow_jpeg  # noqa: E402

SIZE = (1935, 2400)
CLIENTS = (1, 4, 16)
MOST_BYTES = 32 * 2**20
DECODE_SECONDS = 8
KINDS = ("png", "jpg", "dcm")


@dataclass(frozen=True)
class Ask:
    """A request: what it is called, its query, its body, and its status, with the answer of a good one."""

    what: str
    query: str
    body: bytes
    status: int = 200
    answer: bytes = b""


@dataclass
class Found:
    """What one client saw."""

    good: int = 0
    bad: int = 0
    busy: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def write_images(folder: Path, count: int = 2) -> list[Path]:
    """Draw phantoms at the size of the ISBI 2015 radiographs, and save each in every kind."""
    dataset = PhantomDataset(count=(1, 1, count))
    paths = []
    for number, sample in enumerate(dataset.samples("test")):
        grey = Image.fromarray(dataset.load_image(sample)).resize(SIZE, Image.Resampling.BICUBIC)
        for kind in KINDS:
            path = folder / f"phantom_{number}.{kind}"
            if kind == "dcm":
                write_dicom(path, np.asarray(grey), ImagerPixelSpacing=[0.1, 0.1])
            else:
                grey.save(path)
            paths.append(path)
    return paths


def good_asks(paths: Sequence[Path], model: Path, threads: int) -> list[Ask]:
    """The images, each with points.json that ``ldx detect`` writes of it."""
    asks = []
    for path in paths:
        line = ["detect", path.name, "--model", str(model), "--to", "json", "--output", f"{path.name}.found"]
        command = [sys.executable, "-m", "landmark_diffusion", *line]
        subprocess.run(command, cwd=path.parent, env=surroundings(threads), check=True, capture_output=True)
        answer = (path.parent / f"{path.name}.found" / "points.json").read_bytes()
        asks.append(Ask(path.suffix[1:], f"name={path.name}", path.read_bytes(), 200, answer))
    return asks


def bad_asks(folder: Path) -> list[Ask]:
    """The attacks of docs/security.md that fit into a request."""
    good = io.BytesIO()
    Image.fromarray(np.arange(4096, dtype=np.uint32).reshape(64, 64).astype(np.uint8)).save(good, "PNG")
    bomb = _deflated(folder / "bomb.dcm", 300 * 10**6).read_bytes()
    large = write_dicom(folder / "large.dcm", np.zeros((8, 8), np.uint8), Rows=60000, Columns=60000).read_bytes()
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900), dtype=np.uint8)).save(noise, "PNG")
    return [
        Ask("truncated PNG", "", noise.getvalue()[:-1000], 422),
        Ask("PNG of 60,000 x 60,000", "", png_of_size(60_000, 60_000), 422),
        Ask("deflated DICOM bomb", "", bomb, 422),
        Ask("DICOM of 60,000 x 60,000", "", large, 422),
        Ask("spacing NaN", "spacing=nan", good.getvalue(), 400),
        Ask("unknown option", "spacng=1", good.getvalue(), 400),
        Ask("text", "", b"<html>no image</html>" * 99, 422),
        Ask("empty", "", b"", 422),
        Ask("too large a body", "", bytes(MOST_BYTES + 2**20), 413),
        Ask("slow JPEG", "", slow_jpeg(), 422),
    ]


def surroundings(threads: int) -> dict[str, str]:
    """Variables of the service and of ``ldx detect``."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), "NO_ALBUMENTATIONS_UPDATE": "1"}


@contextmanager
def service(model: Path, threads: int, workers: int, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the service; its private folder is below ``folder``."""
    options = ["--max_bytes", MOST_BYTES, "--decode_timeout", DECODE_SECONDS, "--workers", workers, "--timeout", 120]
    line = [sys.executable, "-m", "landmark_diffusion", "serve", "--model", model, "--port", 0, *options]
    environment = {**surroundings(threads * workers), "TMPDIR": str(folder)}
    process = subprocess.Popen(
        list(map(str, line)), env=environment, stdout=subprocess.PIPE, text=True, cwd=folder, bufsize=1
    )
    assert process.stdout is not None
    for told in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", told):
            break
    else:
        raise SystemExit("the service does not start")
    try:
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


class Client(threading.Thread):
    """Asks until a time, over one connection as long as it is kept."""

    def __init__(self, port: int, good: Sequence[Ask], bad: Sequence[Ask], number: int, until: float) -> None:
        super().__init__()
        self.port, self.good, self.bad, self.turn, self.until = port, good, bad, number, until
        self.found = Found()
        self.connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Ask, and judge each answer."""
        while time.monotonic() < self.until:
            is_bad = bool(self.bad) and self.turn % 5 == 4
            ask = self.bad[self.turn // 5 % len(self.bad)] if is_bad else self.good[self.turn % len(self.good)]
            self.turn += 1
            begun = time.monotonic()
            try:
                status, content, retry = self.ask(ask)
            except (OSError, http.client.HTTPException) as error:
                self.found.wrong[f"{ask.what}: {type(error).__name__}"] += 1
                continue
            if status == 503:
                self.found.busy += 1
                time.sleep(min(float(retry or 1), max(0.0, self.until - time.monotonic())))
            else:
                self.judge(ask, status, content, time.monotonic() - begun)

    def judge(self, ask: Ask, status: int, content: bytes, seconds: float) -> None:
        """Count an answer."""
        if status != ask.status:
            self.found.wrong[f"{ask.what}: status {status}, {content[:150]!r}"] += 1
        elif status != 200:
            self.found.bad += 1
        elif content != ask.answer:
            self.found.wrong[f"{ask.what}: another answer than that of ldx detect"] += 1
        else:
            self.found.good += 1
            self.found.seconds.append(seconds)

    def ask(self, ask: Ask) -> tuple[int, bytes, str | None]:
        """Send one request; gives status, content and ``Retry-After``. A kept connection may have been closed."""
        try:
            return self.send(ask)
        except (OSError, http.client.HTTPException):
            if self.connection is None:
                raise
            self.connection = None
            return self.send(ask)

    def send(self, ask: Ask) -> tuple[int, bytes, str | None]:
        """The same, once."""
        connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=180)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # the answer to a body that is too large may come before its end
            connection.request("POST", f"/v1/detect?{ask.query}", ask.body)
        answer = connection.getresponse()
        content = answer.read()
        self.connection = None if answer.will_close else connection
        return answer.status, content, answer.headers.get("Retry-After")


def loris(port: int, stop: threading.Event) -> None:
    """Keep eight connections that send a head, or a body, byte by byte, and open each again once it is closed."""
    kept: list[socket.socket] = []
    while not stop.wait(0.5):
        while len(kept) < 8:
            kept.append(socket.create_connection(("127.0.0.1", port), 10))
            head = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\n"
            kept[-1].sendall(head if len(kept) % 2 else head + b"Content-Length: 100000\r\n\r\n")
        for each in list(kept):
            try:
                each.sendall(b"a")
            except OSError:
                kept.remove(each)
                each.close()
    for each in kept:
        each.close()


def family(pid: int) -> list[int]:
    """A process and those that it has started, by /proc."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def memory(pid: int) -> float:
    """MiB of a process and of those that it has started."""
    total = 0
    for each in family(pid):
        try:
            total += int(Path(f"/proc/{each}/smaps_rollup").read_text().split("Pss:")[1].split()[0])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return total / 1024


def watch(pid: int, stop: threading.Event, into: list[tuple[float, float]]) -> None:
    """Write down the memory, and the time, each second."""
    while not stop.wait(1.0):
        into.append((time.monotonic(), memory(pid)))


def cell(
    process: Any, port: int, good: Sequence[Ask], bad: Sequence[Ask], clients: int, seconds: float
) -> dict[str, Any]:
    """One number of clients, for some seconds."""
    stop, used = threading.Event(), []
    beside = [threading.Thread(target=watch, args=(process.pid, stop, used))]
    if bad:
        beside.append(threading.Thread(target=loris, args=(port, stop)))
    begun = time.monotonic()
    until = begun + seconds
    asking = [Client(port, good, bad, 7 * number, until) for number in range(clients)]
    for each in (*beside, *asking):
        each.start()
    for client in asking:
        client.join()
    took = time.monotonic() - begun  # the last answers come after `until`, and count
    stop.set()
    for each in beside:
        each.join()
    found = [client.found for client in asking]
    times = np.array([second for each in found for second in each.seconds] or [np.nan])
    wrong: Counter[str] = sum((each.wrong for each in found), Counter())
    return {
        "clients": clients, "bad_requests": bool(bad), "seconds": took,
        "good": sum(each.good for each in found), "bad": sum(each.bad for each in found),
        "busy": sum(each.busy for each in found), "wrong": dict(wrong),
        "images_a_second": sum(each.good for each in found) / took,
        "median_seconds": float(np.median(times)), "p95_seconds": float(np.quantile(times, 0.95)),
        "memory_mib": [round(mib) for _, mib in used],
    }  # fmt: skip


def shown(cells: Sequence[dict[str, Any]]) -> Table:
    """The cells as a table."""
    table = Table(title="ldx serve")
    for heading in (
        "clients",
        "bad",
        "images/s",
        "against 1",
        "median s",
        "95 % s",
        "good",
        "refused",
        "sent away",
        "wrong",
        "MiB first, last, most",
    ):
        table.add_column(heading, justify="right")
    first = cells[0]["images_a_second"] or float("nan")
    for each in cells:
        used = each["memory_mib"] or [0]
        fifth = max(1, len(used) // 5)
        table.add_row(
            str(each["clients"]), "1 in 5" if each["bad_requests"] else "none", f"{each['images_a_second']:.2f}",
            f"{each['images_a_second'] / first:.2f}", f"{each['median_seconds']:.2f}", f"{each['p95_seconds']:.2f}",
            str(each["good"]), str(each["bad"]), str(each["busy"]), str(sum(each["wrong"].values())),
            f"{np.median(used[:fifth]):.0f}, {np.median(used[-fifth:]):.0f}, {max(used)}",
        )  # fmt: skip
    return table


def growth(used: Sequence[int]) -> str | None:
    """Say that memory has grown, by the medians of the second fifth of the time and of the last."""
    fifth = len(used) // 5
    before, after = float(np.median(used[fifth : 2 * fifth])), float(np.median(used[-fifth:]))
    return f"memory has grown from {before:.0f} to {after:.0f} MiB" if after > 1.1 * before + 30 else None


def plan(options: argparse.Namespace) -> list[tuple[int, bool, float]]:
    """Clients, whether some requests are bad, and seconds, of each cell."""
    if options.minutes:
        return [(16, True, 60 * options.minutes)]
    return [(count, bad, options.seconds) for count in options.clients for bad in (False, True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and whatever went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "weights" / "ceph.ldx")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each cell")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="one cell alone: 16 clients, bad requests, for so long"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch in each worker")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = good_asks(write_images(folder), options.model.resolve(), options.threads)
        bad = bad_asks(folder)
        private = folder / "private"
        private.mkdir()
        cells, faults = [], []
        with service(options.model.resolve(), options.threads, options.workers, private) as (process, port):
            for clients, with_bad, seconds in plan(options):
                cells.append(cell(process, port, good, bad if with_bad else (), clients, seconds))
                console.print(
                    f"{clients} clients, {'1 in 5 bad' if with_bad else 'none bad'}: {cells[-1]['good']} good"
                )
                if process.poll() is not None:
                    faults.append(f"the service ended with status {process.returncode}")
                    break
        faults += [f"left behind: {path.name}" for path in private.iterdir()]
    console.print(shown(cells))
    for each in cells:
        faults += [f"{count} times {what}" for what, count in each["wrong"].items()]
        if options.minutes >= 2 and (grown := growth(each["memory_mib"])):
            faults.append(grown)
    if options.json:
        options.json.write_text(json.dumps(cells, indent=1) + "\n")
    for fault in faults:
        console.print(f"[bold red]{fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
