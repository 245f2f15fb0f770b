"""Try the steps of the Dockerfile where there is no Docker: in an empty folder and environment, as another user.

    python tools/try_dockerfile.py [--folder FOLDER] [--build-arg NAME=VALUE]

What stands for what: the context is what git tracks, as .dockerignore leaves it; the base image's Python is a copy of
this one, of the version that FROM names; paths that the Dockerfile makes (/opt/ldx, /models, ...) lie below the folder;
RUN useradd is passed over and USER is kept to where this runs as root (setpriv, no new privileges). RUN, COPY, ENV,
ARG, WORKDIR, HEALTHCHECK, ENTRYPOINT and CMD are done as they stand. Then the service is started as the image would,
and asked: its health by the HEALTHCHECK itself, an image with and without the token, compared with `ldx detect` of the
same installation. What this does not try: how Docker reads the file, and the libraries of the base image.

Exit status 0 where all of it holds. Installing needs an index of packages; it takes some minutes and 3 GB.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "token-of-the-trial-of-the-dockerfile"
PORT = "8710"
PASSED = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "PIP_FIND_LINKS",
    "PIP_CONSTRAINT",
    "PIP_CONFIG_FILE",
    "HTTPS_PROXY",
    "https_proxy",
)
"""What this machine needs to reach its index, if anything: the only variables that steps inherit."""


@dataclass
class Trial:
    """The state that the instructions change."""

    folder: Path
    arguments: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    work: str = "/"
    user: int | None = None
    health: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=lambda: {"/opt", "/models", "/build", "/tmp"})

    @property
    def root(self) -> Path:
        """What stands for / of the image."""
        return self.folder / "root"

    def placed(self, text: str) -> str:
        """A text with the paths that the image makes below the folder."""
        names = "|".join(sorted(each[1:] for each in self.made))
        return re.sub(rf"(?<![\w./:-])/({names})(?=[/\"'\s:]|$)", lambda found: f"{self.root}/{found[1]}", text)

    def environment(self) -> dict[str, str]:
        """Variables of a step: those of ENV and ARG, the base image's PATH, and what reaches the index."""
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        python = self.folder / "python"
        own = {
            "PATH": f"{python / 'bin'}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(python / "lib"),
        }  # of the copied Python
        set_here = {name: self.placed(value) for name, value in self.variables.items()}
        return {**own, "HOME": str(self.root / "tmp"), **passed, **self.arguments, **set_here}

    def directory(self) -> Path:
        """The place of WORKDIR."""
        return self.root / self.work.lstrip("/")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile: word and rest."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def ignored(name: str, patterns: Sequence[str]) -> bool:
    """Whether .dockerignore leaves a file out: the last pattern that fits decides."""
    out = False
    for pattern in patterns:
        plain = pattern.removeprefix("!").removeprefix("**/")
        parts = name.split("/")
        prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        candidates = parts if pattern.removeprefix("!").startswith("**/") else prefixes
        if any(fnmatch.fnmatchcase(each, plain) for each in candidates):
            out = not pattern.startswith("!")
    return out


def copy_context(target: Path) -> int:
    """Copy what git tracks and .dockerignore leaves; returns how many files."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    names = [name for name in listed.split("\0") if name and not ignored(name, patterns)]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return len(names)


def do(trial: Trial, word: str, rest: str) -> None:
    """Do one instruction; exits where it fails."""
    print(f"{word} {rest}", flush=True)
    if word == "FROM":
        wanted = re.match(r"python:(\d+\.\d+)", rest)
        found = f"{sys.version_info[0]}.{sys.version_info[1]}"
        if wanted is None or wanted[1] != found:
            raise SystemExit(f"FROM {rest}: this Python is {found}")
        trial.variables, trial.work, trial.user = {}, "/", None
    elif word in ("ENV", "ARG"):
        into = trial.variables if word == "ENV" else trial.arguments
        for each in rest.split():
            name, _, value = each.partition("=")
            into.setdefault(name, value) if word == "ARG" else into.update({name: value})
    elif word == "WORKDIR":
        trial.work = rest
        trial.directory().mkdir(parents=True, exist_ok=True)
    elif word == "COPY":
        _copy(trial, rest.split())
    elif word == "RUN":
        if rest.startswith("useradd"):
            print("  (passed over: this machine's users stay as they are)")
            return
        subprocess.run(["sh", "-ec", trial.placed(rest)], cwd=trial.directory(), env=trial.environment(), check=True)
    elif word == "USER":
        trial.user = int(rest)
    elif word == "HEALTHCHECK":
        trial.health = json.loads(rest[rest.index("CMD ") + 4 :])
    elif word in ("ENTRYPOINT", "CMD"):
        setattr(trial, "entry" if word == "ENTRYPOINT" else "command", json.loads(rest))
    elif word not in ("EXPOSE", "STOPSIGNAL"):
        raise SystemExit(f"{word}: this script does not know it")


def _copy(trial: Trial, words: list[str]) -> None:
    *sources, target = [each for each in words if not each.startswith("--")]
    there = trial.root / target.lstrip("/") if target.startswith("/") else trial.directory() / target
    if any(each.startswith("--from=") for each in words):  # both stages lie in one folder
        if not there.exists() or sources != [target]:
            raise SystemExit(f"COPY {' '.join(words)}: is not there, or goes elsewhere")
        return
    for source in sources:
        path = trial.folder / "context" / source
        if path.is_dir():
            shutil.copytree(path, there, dirs_exist_ok=True)
        else:
            into = there / path.name if target.endswith("/") else there
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into)


def as_user(trial: Trial, command: Sequence[str], port: int) -> list[str]:
    """A command of the image as its user would run it, with another port."""
    placed = [trial.placed(each).replace(PORT, str(port)) for each in command]
    if os.getuid() != 0 or trial.user is None:
        return placed
    number = str(trial.user)
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "--no-new-privs", *placed]


def ask(port: int, content: bytes, token: str | None) -> tuple[int, bytes]:
    """Ask the service for the points of an image."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/detect?name=a.png", content, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def check(what: str, holds: bool) -> None:
    """Say what was tried; exits where it does not hold."""
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}", flush=True)
    if not holds:
        raise SystemExit(1)


def wanted_points(trial: Trial, image: Path) -> bytes:
    """points.json that ``ldx detect`` of the same installation writes."""
    line = ["/opt/ldx/bin/ldx", "detect", "a.png", "--model", "/models/ceph.ldx", "--to", "json", "--output", "found"]
    subprocess.run([trial.placed(each) for each in line], cwd=image.parent, env=trial.environment(), check=True)
    return (image.parent / "found" / "points.json").read_bytes()


def try_service(trial: Trial) -> None:
    """Start the image's command, ask, and stop it."""
    image = trial.folder / "asked" / "a.png"
    image.parent.mkdir()
    made = "from landmark_diffusion import PhantomDataset as P; from PIL import Image; d = P(count=(1, 1, 1)); "
    made += f"Image.fromarray(d.load_image(d.samples('test')[0])).resize((1935, 2400)).save({str(image)!r})"
    python = trial.placed("/opt/ldx/bin/python")
    subprocess.run([python, "-c", made], env=trial.environment(), check=True, cwd=image.parent)
    wanted = wanted_points(trial, image)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**trial.environment(), "LDX_TOKEN": TOKEN, "TMPDIR": str(trial.root / "tmp")}
    for name in PASSED:
        environment.pop(name, None)
    command = as_user(trial, [*trial.entry, *trial.command], port)
    process = subprocess.Popen(command, env=environment, cwd=trial.directory())
    try:
        end = time.monotonic() + 120
        health = as_user(trial, trial.health, port)
        while subprocess.run(health, env=environment, capture_output=True, check=False).returncode:
            check("the service is healthy within two minutes", process.poll() is None and time.monotonic() < end)
            time.sleep(1)
        check("the health check passes", True)
        if os.getuid() == 0 and trial.user is not None:
            check(f"it runs as {trial.user}", os.stat(f"/proc/{process.pid}").st_uid == trial.user)
        content = image.read_bytes()
        check("without the token an image is refused", ask(port, content, None)[0] == 401)
        check("with it, points are those of ldx detect byte for byte", ask(port, content, TOKEN) == (200, wanted))
        check("what is no image is refused", ask(port, b"text", TOKEN)[0] == 422)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
    check("SIGTERM stops it with status 143", status == 143)
    left = [path.name for path in (trial.root / "tmp").glob("ldx-serve-*")]
    check("no image is left", not left)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do all steps, then try the service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="empty; kept. By default a temporary one, which is removed")
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as that of docker build"
    )
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="try-dockerfile-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder}: is not empty")
    trial = Trial(folder, dict(each.partition("=")[::2] for each in options.build_arg))
    try:
        (trial.root / "tmp").mkdir(parents=True)
        (trial.root / "tmp").chmod(0o1777)
        print(f"context: {copy_context(folder / 'context')} files", flush=True)
        without = shutil.ignore_patterns("site-packages", "__pycache__", "test", "idlelib")
        shutil.copytree(sys.base_prefix, folder / "python", symlinks=True, ignore=without)
        subprocess.run([folder / "python/bin/python3", "-c", "import ssl, venv"], check=True)
        for word, rest in instructions((ROOT / "Dockerfile").read_text()):
            do(trial, word, rest)
        try_service(trial)
        print("all steps were done, and the service answers")
        return 0
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
