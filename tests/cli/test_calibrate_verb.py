"""``ldx calibrate`` on a tiny model: what it stores is used, and nothing is lost where it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landmark_diffusion.cli import main
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.export.orientation import with_orientation
from landmark_diffusion.finders.orientation import FORM_WEIGHTS
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_facts, read_model_file, write_model_file
from landmark_diffusion.spread.statistics import covered
from landmark_diffusion.studies.calibrate import folds
from landmark_diffusion.studies.calibrate.folds import make_folds
from tests.detection.tiny_model import picture, tiny_options
from tests.methods.tiny_positions import module

SIZE = (64, 80)
DATA: dict[str, Any] = {
    "dataset": "phantom", "size": list(SIZE), "dataset_options": {"count": [24, 22, 2], "image_size": [97, 120]}
}  # fmt: skip
NAMES = PhantomDataset(count=(1, 1, 1), image_size=(97, 120)).landmark_names
MODEL = Path("tiny.ldx")


@pytest.fixture(autouse=True)
def _model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model_file(MODEL, facts(), module(n=len(NAMES)).state_dict())


def facts(**changes: Any) -> ModelFacts:
    options = tiny_options({"num_landmarks": len(NAMES)})
    values: dict[str, Any] = {
        "class_path": "PositionDiffusionModule", "model": options, "landmark_names": NAMES, "data": DATA, "updates": 7,
        "seed": 0, "training": {"dataset": "phantom"}, **changes,
    }  # fmt: skip
    return ModelFacts(**values)


def calibrate(*arguments: str) -> int:
    return main(["calibrate", "--checkpoint", str(MODEL), *arguments])


def test_regions_of_a_calibrated_model_hold_the_calibration_images(capsys: pytest.CaptureFixture[str]) -> None:
    before = read_model_file(MODEL)
    assert calibrate("--part", "val", "--settings", "1x1,5x1,3x2") == 0
    after = read_model_file(MODEL)
    assert all(torch.equal(after.weights[name], value) for name, value in before.weights.items())
    assert after.facts.calibration is not None and after.facts.calibration["images"] == 22
    told = [tuple(each["settings"][key] for key in ("steps", "samples", "spread")) for each in
            after.facts.calibration["settings"]]  # fmt: skip
    assert told == [
        (1, 1, "heatmap"), (5, 1, "heatmap"), (3, 2, "both"), (3, 2, "heatmap"), (3, 2, "samples")
    ]  # fmt: skip
    assert "held out from training" in capsys.readouterr().out and "Calibration" in MODEL.with_suffix(".md").read_text()
    source, detector = PhantomDataset(**DATA["dataset_options"]), Detector.load(MODEL, steps=5)
    assert detector.calibration is not None
    inside = []
    for sample in source.samples("val"):
        found = detector(source.load_image(sample))
        assert found.regions is not None and found.level == 0.9
        inside.append(covered((sample.mean_points - found.points)[None], found.regions[None])[0])
    # 22 images: the quantile is the 21st of 22 lengths, and that point itself lies on the edge, in single precision
    assert set(np.sum(inside, 0)) <= {20, 21}


def test_what_is_calibrated_stays_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate("--settings", "1x1") == 0
    first = MODEL.read_bytes()
    assert calibrate("--settings", "1x1") == 1 and MODEL.read_bytes() == first
    assert "tiny.ldx is calibrated already and was left as it is" in capsys.readouterr().err
    assert calibrate("--settings", "5x1", "--output", "other.ldx") == 0 and MODEL.read_bytes() == first
    assert [each["settings"]["steps"] for each in read_facts("other.ldx").calibration["settings"]] == [5]  # type: ignore[index]
    assert calibrate("--settings", "5x1", "--overwrite") == 0 and MODEL.read_bytes() != first


def test_a_hub_folder_is_calibrated_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(MODEL), "--hub", "hub"]) == 0
    before = {path.name: path.read_bytes() for path in Path("hub").iterdir()}
    options = ["calibrate", "--checkpoint", "hub", "--part", "val", "--settings", "1x1"]
    assert main(options) == 1
    assert "hub is a hub's folder and was left as it is; give --output FILE.ldx" in capsys.readouterr().err
    assert main([*options, "--output", "other.ldx"]) == 0
    assert read_facts("other.ldx").calibration is not None
    assert {path.name: path.read_bytes() for path in Path("hub").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "train"], "was trained on images of the train part of phantom"),
        (["--part", "test"], "found 2 images in the test part of phantom, expected at least 19 for regions of 95 %"),
        (["--part", "test"], "take all training images by --folds 5 with --config"),
        (["--settings", "8"], "found '8', expected STEPSxSAMPLES such as 8x1"),
        (["--folds", "3"], "the trainings need the model's config"),
        (["--folds", "3", "--config", "x.yaml", "--part", "val"], "give one of the two"),
        (["--sttings", "1x1"], "unknown option '--sttings'"),
        (["--output", "other.txt"], "expected a file name that ends in .ldx"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_file_stays(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = MODEL.read_bytes()
    assert calibrate(*arguments) == 1
    error = capsys.readouterr().err
    assert message in " ".join(error.split()) and "Traceback" not in error and MODEL.read_bytes() == before


def test_folds_judge_each_training_image_once_by_who_has_not_seen_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(folds, "_run", lambda command: _pretend_to_train(command, commands))
    Path("c.yaml").write_text("data:\n  dataset: phantom\n")
    assert calibrate("--config", "c.yaml", "--folds", "3", "--settings", "1x1", "--trainer.max_steps", "7") == 0
    kept = [json.loads(next(a for a in c if a.startswith("--data.train_images=")).partition("=")[2]) for c in commands]
    ids = {sample.image_id for sample in PhantomDataset(**DATA["dataset_options"]).samples("train")}
    held_out = [ids - set(each) for each in kept]
    assert [len(each) for each in held_out] == [8, 8, 8] and set.union(*held_out) == ids
    assert all(command[command.index("--trainer.max_steps") + 1] == "7" for command in commands)
    calibration = read_facts(MODEL).calibration
    assert calibration is not None and calibration["images"] == 24 and "one of 3 models" in calibration["source"]
    assert calibrate("--config", "c.yaml", "--folds", "3", "--settings", "1x1", "--overwrite") == 0
    assert len(commands) == 3  # finished folds are not trained again
    assert "trained already" in capsys.readouterr().out


def test_a_model_that_learned_orientations_later_is_judged_by_the_folds_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folds, "_run", lambda command: _pretend_to_train(command, []))
    Path("c.yaml").write_text("data:\n  dataset: phantom\n")
    with_orientation(MODEL, [picture()], MODEL, steps=1, overwrite=True)
    assert calibrate("--config", "c.yaml", "--folds", "3", "--settings", "1x1", "--trainer.max_steps", "7") == 0
    content = read_model_file(MODEL)
    assert content.facts.calibration is not None and content.facts.model["orientation"]["learn"]
    assert any(name.startswith(FORM_WEIGHTS) for name in content.weights)


def test_a_stopped_fold_goes_on_and_another_run_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = make_folds([f"{n:02d}" for n in range(6)], 3, Path("folds"))[0]
    commands: list[list[str]] = []
    monkeypatch.setattr(folds, "_run", lambda command: commands.append(command) or 1)
    with pytest.raises(UserError, match="ended with exit status 1"):
        fold.train(["--config", "c.yaml"])
    assert not fold.finished and "--ckpt_path=last" not in commands[0]
    _checkpoint(fold.folder)
    with pytest.raises(UserError, match="ended with exit status 1"):
        fold.train(["--config", "c.yaml"])
    assert "--ckpt_path=last" in commands[1]
    assert fold.title == "fold 1 of 3" and fold.standing(None) == "goes on at update 7"
    assert fold.standing(150) == "goes on at update 7 of 150" and fold.standing(7) == "trained already"
    other = make_folds([f"{n:02d}" for n in range(6)], 3, Path("folds"), seed=1)[0]
    with pytest.raises(UserError, match="a fold that held out other images"):
        other.train([])
    (fold.folder / "fold.json").unlink()
    with pytest.raises(UserError, match="a run that is no fold"):
        fold.train([])


def test_weights_of_another_length_of_training_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folds, "_run", lambda command: _pretend_to_train(command, [], updates=5))
    Path("c.yaml").write_text("data:\n  dataset: phantom\n")
    assert calibrate("--config", "c.yaml", "--folds", "3") == 1
    assert "has 5 updates, the model 7" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("steps", "validates", "refused"), [(3, True, True), (3, False, True), (30, False, True), (30, True, False)]
)
def test_trainings_of_another_length_are_refused_before_they_are_run(
    steps: int, validates: bool, refused: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More updates are right where validation chose the weights: the folds choose theirs likewise."""
    commands: list[list[str]] = []
    monkeypatch.setattr(folds, "_run", lambda command: _pretend_to_train(command, commands, steps, "best.ckpt"))
    images = {} if validates else {"dataset_options": {"count": [24, 0, 2], "image_size": [97, 120]}}
    Path("c.yaml").write_text(json.dumps({"data": {"dataset": "phantom", **images}, "trainer": {"max_steps": steps}}))
    status = calibrate("--config", "c.yaml", "--folds", "3", "--settings", "1x1")
    said = " ".join(capsys.readouterr().err.split())
    assert (status, bool(commands)) == ((1, False) if refused else (0, True))
    assert (f"the trainings would have {steps} updates (trainer.max_steps), the model 7" in said) == refused
    asked = calibrate("--config", "c.yaml", "--folds", "3", "--settings", "1x1", "--overwrite", "--trainer.max_steps=7")
    assert asked == 0  # the command line goes before the config


def test_folds_of_a_runs_config_lie_in_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """runs/config/folds was that of every run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(folds, "_run", lambda command: _pretend_to_train(command, commands))
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/config.yaml").write_text("data:\n  dataset: phantom\n")
    assert calibrate("--config", "runs/mine/config.yaml", "--folds", "3", "--settings", "1x1") == 0
    assert commands[0][-1] == "--run_folder=runs/mine/folds/1_of_3"


def _pretend_to_train(command: list[str], commands: list[list[str]], updates: int = 7, name: str = "last.ckpt") -> int:
    commands.append(command)
    folder = next(argument for argument in command if argument.startswith("--run_folder=")).partition("=")[2]
    _checkpoint(Path(folder), updates, name)
    return 0


def _checkpoint(folder: Path, updates: int = 7, name: str = "last.ckpt") -> None:
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    content = {"state_dict": module(n=len(NAMES)).state_dict(), "global_step": updates, "hyper_parameters": {}}
    torch.save(content, folder / "checkpoints" / name)
