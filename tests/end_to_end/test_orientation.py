"""From fit to detect: a model learns to tell orientations, is resumed, measured, exported and used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from landmark_diffusion.data.forms import BY_NAME
from landmark_diffusion.finders.orientation import recognise
from landmark_diffusion.modelfile.model_file import read_model_file
from tests.detection.tiny_model import picture
from tests.end_to_end.console import PHANTOM, ldx, ldx_in

LEARN = ("--model.orientation.learn=true", "--model.orientation.steps=2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("orientation")
    ldx_in(
        home,
        ("fit", *PHANTOM, *LEARN, "--trainer.max_steps=2", "--run_folder=runs/a"),
        ("fit", *PHANTOM, *LEARN, "--trainer.max_steps=4", "--run_folder=runs/a", "--ckpt_path=last"),
        ("fit", *PHANTOM, "--trainer.max_steps=4", "--run_folder=runs/plain"),
        ("test", "runs/a", "--pictures=0"),
        ("export", "runs/a", "a.ldx"),
        ("test", "a.ldx", "--pictures=0"),
    )
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_the_landmarks_are_learned_as_without_it(home: Path) -> None:
    """To the bit, also where the run was continued."""
    weights = {
        name: torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("a", "plain")
    }
    assert all(torch.equal(weights["a"][name], value) for name, value in weights["plain"].items())
    assert {name.partition(".")[0] for name in weights["a"].keys() - weights["plain"].keys()} == {"form_network"}


def test_the_model_file_measures_as_the_run(home: Path) -> None:
    ours, theirs = (Path(f"runs/{run}/test/predictions.csv").read_bytes() for run in ("a", "a.ldx"))
    assert ours == theirs
    assert read_model_file("a.ldx").facts.model["orientation"] == {"learn": True, "steps": 2}


@pytest.mark.parametrize("wanted", ["auto", "as-is"])
def test_detect_says_what_it_recognised(home: Path, wanted: str) -> None:
    """Which of the forms an untrained network takes a picture for means nothing, but it is told, or nobody looked."""
    from landmark_diffusion.detection.detector import Detector

    Path("xrays").mkdir(exist_ok=True)
    Image.fromarray(picture(1)).save("xrays/a.png")
    outcome = ldx(
        "detect", "xrays", "--model=a.ldx", "--to=json,csv,html", f"--output=found_{wanted}", f"--orientation={wanted}"
    )
    assert outcome.status == 0, outcome.err
    (image,) = json.loads(Path(f"found_{wanted}/points.json").read_text())["images"]
    if wanted == "as-is":
        assert (image["orientation"], image["orientation_probability"]) == (None, None)
        return
    network = Detector.load("a.ldx").form_network
    assert network is not None
    (found,) = recognise(network, [picture(1)])
    assert image["orientation"] == (found.form.name if found.certain else "unknown")
    assert image["orientation_probability"] == pytest.approx(found.probability)
    assert image["orientation"] in (*BY_NAME, "unknown") and np.isfinite(image["landmarks"][0]["point_px"]).all()


def test_a_checkpoint_without_it_is_refused_by_name(home: Path) -> None:
    outcome = ldx("fit", *PHANTOM, *LEARN, "--trainer.max_steps=6", "--run_folder=runs/plain", "--ckpt_path=last")
    assert outcome.status != 0 and "orientation.learn: False in the checkpoint, True in" in outcome.err


def test_files_of_a_model_without_it_do_not_name_it(home: Path) -> None:
    """Versions without it can read them."""
    checkpoint = torch.load("runs/plain/checkpoints/last.ckpt", weights_only=True)
    assert "orientation" not in checkpoint["hyper_parameters"]
    assert ldx("export", "runs/plain", "plain.ldx").status == 0
    assert "orientation" not in read_model_file("plain.ldx").facts.model
