"""The Dockerfile: what it copies is there and nothing else is sent, and it starts the service as the verb takes it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from landmark_diffusion.cli import serve_verb

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def trial() -> ModuleType:
    """The script that tries the steps."""
    place = importlib.util.spec_from_file_location("try_dockerfile", ROOT / "tools" / "try_dockerfile.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    sys.modules["try_dockerfile"] = module
    place.loader.exec_module(module)
    return module


def test_the_context_is_what_is_copied_and_no_more(trial: ModuleType, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("asks git what is tracked")
    trial.copy_context(tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {
        "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "landmark_diffusion", "configs", "weights"
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["ceph.ldx"]
    for word, rest in trial.instructions(DOCKERFILE):
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (tmp_path / source).exists(), source


def test_what_is_ignored(trial: ModuleType) -> None:
    patterns = ["*", "!configs", "!weights/ceph.ldx", "**/__pycache__"]
    found = {name: trial.ignored(name, patterns) for name in (
        "a", "configs/x.yaml", "weights/ceph.ldx", "weights/ceph_small.ldx", "configs/__pycache__/x", ".git/HEAD",
    )}  # fmt: skip
    assert [name for name, out in found.items() if not out] == ["configs/x.yaml", "weights/ceph.ldx"]


def test_paths_of_the_image_lie_below_the_folder(trial: ModuleType, tmp_path: Path) -> None:
    placed = trial.Trial(tmp_path, {}).placed
    root = f"{tmp_path}/root"
    assert placed('/opt/ldx/bin/pip "/models/x" /tmp') == f'{root}/opt/ldx/bin/pip "{root}/models/x" {root}/tmp'
    for kept in ("https://x.org/opt/y", "./opt", "/usr/bin/opt", "/optical"):
        assert placed(kept) == kept


def test_the_image_starts_the_service_with_options_that_it_has() -> None:
    entry, command = (json.loads(re.search(rf"^{word} (.*)$", DOCKERFILE, re.M)[1]) for word in ("ENTRYPOINT", "CMD"))  # type: ignore[index]
    assert entry[:2] == ["/opt/ldx/bin/ldx", "serve"]
    options = serve_verb._parse([*entry[2:], *command])
    assert (options.host, options.port, options.model) == ("0.0.0.0", serve_verb.PORT, "/models/ceph.ldx")


def test_it_is_not_root_and_has_a_health_check() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER \d{4,}$", last, re.M) and "HEALTHCHECK" in last and "/v1/health" in last


@pytest.mark.slow
def test_the_health_check_tells_whether_it_answers(tmp_path: Path) -> None:
    from tests.cli.test_serve_verb import serve
    from tests.detection.tiny_model import write_positions
    from tests.web.processes import place, started

    line = json.loads(re.search(r"CMD (\[.*python.*\])$", DOCKERFILE, re.M)[1])  # type: ignore[index]

    def check(port: int) -> int:
        command = [sys.executable, *(each.replace("8710", str(port)) for each in line[1:])]
        return subprocess.run(command, capture_output=True, check=False).returncode

    with started(serve(write_positions(tmp_path / "tiny.ldx")), tmp_path) as (_, address):
        port = place(address)[1]
        assert check(port) == 0
    assert check(port) != 0
