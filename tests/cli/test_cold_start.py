"""What a start costs: a first line before torch, and neither Lightning nor torchmetrics to find points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from landmark_diffusion.cli.first_line import say_first
from tests.detection.tiny_model import picture, write_positions

HEAVY = ["lightning", "pytorch_lightning", "torchmetrics", "wandb", "albumentations", "matplotlib", "scipy"]
HEAVY += ["torch._dynamo", "pydicom"]
PROGRAM = """
import json, sys
from landmark_diffusion.cli.entry import main
status = main(json.loads(sys.argv[1]))
print(json.dumps([status, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""


def loaded(folder: Path, *arguments: str) -> list:
    """Exit status of ``ldx`` in a process of its own, and which of HEAVY it imported."""
    line = [sys.executable, "-c", PROGRAM, json.dumps(arguments), json.dumps(HEAVY)]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_detect_and_analyse_load_no_training(tmp_path: Path) -> None:
    write_positions(tmp_path / "m.ldx")
    cv2.imwrite(str(tmp_path / "x.png"), picture())
    assert loaded(tmp_path, "detect", "x.png", "--model", "m.ldx", "--to", "csv,json", "--output", "d") == [0, []]
    analyse = ("analyse", "d/points.json", "--no-tracings", "--facing", "right", "--output", "a")
    assert loaded(tmp_path, *analyse) == [0, []]


def test_first_line_tells_the_verb_and_its_options(capfd: pytest.CaptureFixture) -> None:
    say_first("fit", ["--config", "phantom.yaml"])
    out, err = capfd.readouterr()
    assert out == "" and err == "ldx fit --config phantom.yaml: loading torch and Lightning ...\n"


@pytest.mark.parametrize("argument", ["-h", "--help", "--print_config", "--print_config=skip_null", "--data.help=X"])
def test_first_line_is_silent_where_the_answer_is_all(argument: str, capfd: pytest.CaptureFixture) -> None:
    say_first("fit", ["--config", "phantom.yaml", argument])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_first_line_comes_from_the_first_process_alone(
    name: str, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    say_first("test", ["m.ldx"])
    say_first("detect", ["x.png"])
    assert capfd.readouterr() == ("", "")


def test_marking_from_scratch_loads_no_torch() -> None:
    """`ldx annotate` without a model answers within a second; torch alone would take several."""
    modules = "app", "opening", "adapting", "images", "landmarks"
    program = "import sys\n" + "".join(f"import landmark_diffusion.annotate.{name}\n" for name in modules)
    program += "from landmark_diffusion.data.checks.samples import root_folder\n"
    program += "from landmark_diffusion.studies.trainings.locks import exclusive\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
