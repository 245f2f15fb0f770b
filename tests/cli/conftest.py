"""``ldx`` in this process, on the tiny data and models, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

CONFIG = """# a tiny run
data:
  recipe: none
  landmarks: 4
  size: [8, 8]
model:
  class_path: TinyModel
  init_args:
    channels: 5
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_model_summary: false
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which holds tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LDX_DEBUG", raising=False)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def ldx(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Return ``ldx`` as a function of its command line: it gives the exit status."""
    from lightning.pytorch import Callback

    from landmark_diffusion.cli import entry, lightning_cli
    from tests.cli.fakes import TinyBase, TinyData

    run_cli = lightning_cli.run_cli
    monkeypatch.setattr(lightning_cli, "run_cli", lambda: run_cli(TinyBase, TinyData))
    monkeypatch.setattr(lightning_cli, "ResultsWriter", lambda *_: Callback())  # the tiny models find no landmarks

    def run(line: str) -> int:
        try:
            return entry.main(line.split())
        except SystemExit as stop:
            return int(stop.code or 0)

    return run


def write_config(path: Path, **changes: object) -> None:
    """Write tiny.yaml with changes given as section__key=value."""
    content = yaml.safe_load(CONFIG)
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = content
        for section in sections:
            place = place[section]
        place[key] = value
    path.write_text(yaml.safe_dump(content))
