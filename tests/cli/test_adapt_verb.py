"""``ldx adapt``: a model file and a few labelled images give a calibrated model file, or one line and nothing lost."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from landmark_diffusion.cli import adapt_verb, main
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import read_model_file, write_model_file
from landmark_diffusion.studies.adapt import rule as rules
from landmark_diffusion.studies.adapt import trainings
from landmark_diffusion.studies.adapt.plan import MANIFEST_FILE, AdaptPlan
from landmark_diffusion.studies.adapt.rule import rule_for
from landmark_diffusion.studies.calibrate.learned_images import count_learned, with_learned
from landmark_diffusion.studies.calibrate.material import seen_in_training
from landmark_diffusion.studies.trainings.locks import exclusive
from landmark_diffusion.training import checkpoint, short_run
from tests.detection.tiny_model import tiny_options
from tests.methods.tiny_positions import module
from tests.training.tiny import default_sigint

COUNT = (6, 0, 1)
OPTIONS = {"count": list(COUNT), "image_size": [97, 120]}
NAMES = PhantomDataset(count=(1, 1, 1), image_size=(97, 120)).landmark_names
THEIRS = (*NAMES[:8], "apex of the lung")
START, MINE = Path("start.ldx"), Path("mine.ldx")
ARGUMENTS = [
    "adapt", str(START), "--data.dataset", "phantom", "--data.dataset_options", json.dumps(OPTIONS),
    "--output", str(MINE),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model that knows 8 of the 12 landmarks, and a rule of a few updates."""
    monkeypatch.chdir(tmp_path)
    options = tiny_options({"num_landmarks": len(THEIRS)})
    facts = ModelFacts(
        "PositionDiffusionModule", options, THEIRS, {"dataset": "phantom", "size": [64, 80]}, 7, seed=3,
        training={"dataset": "phantom", "split": None}, note="For research use.",
    )  # fmt: skip
    write_model_file(START, facts, module(n=len(THEIRS)).state_dict())
    monkeypatch.setattr(short_run, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(rules, "rule_for", lambda *given: replace(rule_for(*given), updates=4, folds=2))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Optimiser steps that were really done."""
    done: list[int] = []
    original = short_run._Advance.on_train_batch_end

    def count(self: Any, *rest: Any) -> None:
        done.append(1)
        original(self, *rest)

    monkeypatch.setattr(short_run._Advance, "on_train_batch_end", count)
    return done


def test_a_calibrated_model_of_ones_own_landmarks_comes_with_a_table(
    steps: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ARGUMENTS, "--landmarks", f"{NAMES[10]}=apex of the lung"]) == 0
    told = capsys.readouterr().out
    assert "9 of 12 landmarks are known to it (by name)" in told and len(steps) == 3 * 4
    assert "As it was / adapted" in told and "known to the start, 9 of 12" in told and "new, 3 of 12" in told
    assert "regions are stated for 50 %, 80 %; 90 % needs 9 images" in told
    found = read_model_file(MINE)
    facts, before = found.facts, read_model_file(START)
    assert facts.landmark_names == NAMES and facts.updates == 7 + 4 and facts.note.startswith("For research use.")
    assert facts.model["num_landmarks"] == 12 and "pretrained" not in facts.model
    adapted = facts.training["adapted"]
    assert adapted["start"] == "start.ldx" and adapted["images"] == 6 and len(adapted["rows"]) == 2
    assert adapted["rows"][0]["before"] is not None and adapted["rows"][1]["before"] is None
    same = "network.conv_in.weight"
    assert not torch.equal(found.weights[same], before.weights[same])
    assert "Adapted from start.ldx (7 updates on phantom)" in MINE.with_suffix(".md").read_text()
    image = PhantomDataset(**OPTIONS).load_image(PhantomDataset(**OPTIONS).samples("test")[0])
    detection = Detector.load(MINE)(image)
    assert detection.level == 0.8 and detection.regions is not None and np.isfinite(detection.points).all()
    assert detection.unlike is None
    assert not Path("runs/adapt/mine").exists()


def test_what_the_start_knows_of_orientations_and_shapes_is_kept() -> None:
    """A handful of images must not teach anew what the start knows from many; nor does that cost minutes a training."""
    changes = {"orientation.learn": True, "orientation.steps": 1}
    knows = module(changes, n=len(NAMES))
    knows.shape_prior.fit(torch.rand(30, len(NAMES), 2))
    facts = ModelFacts(
        "PositionDiffusionModule", tiny_options({"num_landmarks": len(NAMES), **changes}), NAMES,
        {"dataset": "phantom", "size": [64, 80]}, 7, seed=3, training={"dataset": "phantom", "split": None},
    )  # fmt: skip
    write_model_file(START, facts, knows.state_dict(), overwrite=True)
    assert main(ARGUMENTS) == 0
    found, before = read_model_file(MINE).weights, read_model_file(START).weights
    kept = [name for name in before if name.startswith(("form_network.", "shape_prior."))]
    assert len(kept) > 4 and all(torch.equal(found[name], before[name]) for name in kept)
    assert not torch.equal(found["network.conv_in.weight"], before["network.conv_in.weight"])


def test_a_stopped_one_goes_on_and_ends_as_the_unbroken_one(
    steps: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ARGUMENTS) == 0
    unbroken = read_model_file(MINE)
    MINE.unlink()
    MINE.with_suffix(".md").unlink()
    steps.clear()

    def stop(self: Any, *rest: Any) -> None:
        if len(steps) == 7:  # within the second fold, behind its checkpoint of 2 updates
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        counted = short_run._Advance.on_train_batch_end
        patch.setattr(short_run._Advance, "on_train_batch_end", lambda self, *rest: (counted(self, *rest), stop(self)))
        status = None
        try:
            status = main(ARGUMENTS)
        except SystemExit as ended:
            status = ended.code
    assert status not in (0, None) and not MINE.exists()
    steps.clear()
    capsys.readouterr()
    assert main(ARGUMENTS) == 0
    assert len(steps) == 2 + 4  # of the second fold the rest, and all images
    told = capsys.readouterr().out.splitlines()
    expected = ["fold 1 of 2: trained already", "fold 2 of 2: goes on at update 2 of 4", "all: 4 updates on 6 images"]
    assert [line for line in told if line.startswith(("fold ", "all: "))] == expected
    again = read_model_file(MINE)
    assert all(torch.equal(again.weights[name], value) for name, value in unbroken.weights.items())
    assert again.facts.calibration == unbroken.facts.calibration
    assert again.facts.training == unbroken.facts.training


def test_ctrl_c_before_the_first_update_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning itself ends the process there, with status 1 and without a word."""

    def stop(*rest: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(short_run._Advance, "on_train_start", stop)
    with default_sigint():
        assert main(ARGUMENTS) == 130
    assert capsys.readouterr().err == "interrupted\n"


def own_folder(parts: str) -> list[str]:
    """Write images of the phantom with a table whose column ``split`` has a letter an image; gives the arguments."""
    source, folder = PhantomDataset(**OPTIONS), Path("own")
    folder.mkdir()
    rows = [",".join(["image", "split", *(f"{name}_{axis}" for name in NAMES for axis in "xy")])]
    for part, sample in zip(parts, source.samples("train"), strict=True):
        Image.fromarray(source.load_image(sample)).save(folder / f"{sample.image_id}.png")
        numbers = [f"{value:.2f}" for value in sample.mean_points.ravel()]
        rows.append(",".join([f"{sample.image_id}.png", {"t": "train", "v": "val", "x": "test"}[part], *numbers]))
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    return ["adapt", str(START), "--data.root", str(folder), "--output", str(MINE)]


def planned(command: list[str], folder: str = "trainings") -> AdaptPlan:
    return adapt_verb._plan(adapt_verb._parse([*command[1:], "--folder", folder]), "ldx adapt")


def test_changed_labels_begin_anew(capsys: pytest.CaptureFixture[str]) -> None:
    """What was trained on other labels does not go on, whatever it has cost; another seed is refused as ever."""
    command = own_folder("tttttt")
    plan = planned(command)
    plan.folder.mkdir()
    MANIFEST_FILE.agree(plan.folder, plan.manifest())
    trained = plan.folder / "1_of_2" / "checkpoints"
    trained.mkdir(parents=True)
    assert not planned(command).set_aside_outdated() and trained.is_dir()
    table = Path("own/points.csv")
    table.write_text(re.sub(r"(?m),(\d+)\.(\d\d)$", lambda each: f",{int(each[1]) + 1}.{each[2]}", table.read_text()))
    other_seed = planned([*command, "--seed_everything", "4"])
    assert not other_seed.set_aside_outdated()
    with pytest.raises(UserError, match="seed: 0 there, 4 now"):
        MANIFEST_FILE.agree(plan.folder, other_seed.manifest())
    moved = planned(command)
    assert moved.set_aside_outdated() and not trained.exists()
    assert sorted(each.name for each in plan.folder.iterdir() if each.name[0] != ".") == ["outdated"]
    assert (plan.folder / "outdated" / "1_of_2" / "checkpoints").is_dir()
    MANIFEST_FILE.agree(plan.folder, moved.manifest())
    fewer = planned([*command, "--data.train_images", json.dumps(plan.ids[:5])])
    assert fewer.set_aside_outdated()


def test_a_start_that_was_adapted_to_the_images_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(own_folder("tttttt")) == 0
    capsys.readouterr()
    facts = read_model_file(MINE).facts
    images = sorted(Path("own").glob("*.png"))
    measured = ["test", str(MINE), "--data.root", "own", "--data.evaluate_on_train", "true", "--pictures", "0"]
    with pytest.warns(UserWarning, match="the model was adapted to 5 of these 5 images: on new ones"):  # one validates
        assert main(measured) == 0
    images[0].rename("own/renamed.png")
    table = Path("own/points.csv")
    table.write_text(table.read_text().replace(images[0].name, "renamed.png"))
    command = ["adapt", str(MINE), "--data.root", "own", "--output", "again.ldx"]
    with pytest.warns(UserWarning, match=r"mine\.ldx was adapted to 6 of these 6 images.*Adapt start\.ldx to all"):
        plan = planned(command)
    assert seen_in_training(facts, plan.section, plan.images) and len(with_learned(facts, plan.images)) == 6
    Image.fromarray(np.zeros((120, 97), np.uint8)).save(images[1])
    assert count_learned(facts, planned([*command[:1], str(START), *command[2:]]).images) == 5


@pytest.mark.parametrize(
    ("parts", "given", "fitted"),
    [("ttttttt", [], 7), ("tttttvx", [], 5), ("tttttvx", ["--data.split", "column"], 5),
     ("tttttvx", ["--data.split", "all"], 7)],
)  # fmt: skip
def test_a_split_column_says_which_images_are_fitted_to(
    parts: str, given: list[str], fitted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the training rows none is lost to a validation; what is called val or test is not seen."""
    monkeypatch.setitem(OPTIONS, "count", [len(parts), 0, 1])
    arguments = adapt_verb._parse([*own_folder(parts), *given][1:])
    plan = adapt_verb._plan(arguments, "ldx adapt")
    assert len(plan.ids) == fitted and plan.section["split"] == "all"
    assert sorted(plan.ids) == sorted(path.name for path in Path("own").glob("*.png"))[:fitted]
    assert {each for fold in plan.folds() for each in (*fold.kept, *fold.held_out)} == set(plan.ids)


def test_a_split_column_without_training_images_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(own_folder("xxxxxv")) == 1
    assert "has no image to fit to; call some train, or take all by --data.split all" in capsys.readouterr().err


def test_a_second_one_of_the_same_output_stops_with_a_line(
    steps: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("runs/adapt/mine")
    with exclusive(folder / ".running.lock", "the first"):
        assert main(ARGUMENTS) == 1
    told = capsys.readouterr()
    assert "another process still holds the adaptation in runs/adapt/mine; end it, or wait" in told.err
    assert not steps and not MINE.exists() and [path.name for path in folder.iterdir()] == [".running.lock"]


def test_another_seed_in_the_folder_of_a_stopped_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*rest: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.torch, "save", full)
        assert main(ARGUMENTS) == 1
    assert "the checkpoint could not be written (No space left on device)" in capsys.readouterr().err
    assert not MINE.exists()
    assert main([*ARGUMENTS, "--seed_everything", "4"]) == 1
    told = capsys.readouterr().err
    assert "seed: 0 there, 4 now" in told and "another --folder" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["--data.dataset_options", '{"count": [3, 0, 1]}'], "found 3 labelled images, expected at least 5"),
        (["--landmarks", "gonoin=sella"], "the data has no landmark 'gonoin'.*gonion"),
        (["--landmarks", f"{NAMES[0]}=apx"], "start.ldx has no landmark 'apx'"),
        (["--landmarks", "sella"], "found 'sella', expected MINE=THEIRS"),
        (["--output", "mine.ckpt"], "expected a file name that ends in .ldx"),
        (["--data.dataset", "folder"], "needs --data.root PATH"),
        (["--seed_everything", "-1"], "expected a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(
    changes: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "rule_for", rule_for)
    monkeypatch.setattr(trainings, "train", None)
    assert main([*ARGUMENTS, *changes]) == 1
    error = capsys.readouterr().err
    assert error.count("error:") == 1 and "Traceback" not in error
    assert re.search(told, error), error
    assert not MINE.exists()


def test_a_file_that_is_there_is_not_touched(capsys: pytest.CaptureFixture[str]) -> None:
    MINE.write_bytes(b"precious")
    assert main(ARGUMENTS) == 1
    assert MINE.read_bytes() == b"precious" and "--overwrite" in capsys.readouterr().err


def test_a_model_that_is_no_landmark_method_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    content = read_model_file(START)
    write_model_file(START, replace(content.facts, class_path="DDPMPretrainModule"), content.weights, overwrite=True)
    assert main(ARGUMENTS) == 1
    assert "found the class DDPMPretrainModule, expected one of" in capsys.readouterr().err


def test_fit_begins_from_a_model_file_by_the_names_of_its_landmarks(capsys: pytest.CaptureFixture[str]) -> None:
    options = {
        "data": {"dataset": "phantom", "size": [64, 80], "batch_size": 2, "dataset_options": OPTIONS},
        "model": {
            "class_path": "PositionDiffusionModule",
            "init_args": {
                **{name: value for name, value in tiny_options().items() if name != "num_landmarks"},
                "pretrained": str(START), "landmark_map": {NAMES[10]: "apex of the lung"},
            },
        },
        "trainer": {"max_steps": 1, "limit_val_batches": 0},
    }  # fmt: skip
    Path("mine.yaml").write_text(yaml.safe_dump(options))
    assert main(["fit", "--config", "mine.yaml"]) == 0
    told = capsys.readouterr().out
    assert "9 of 12 landmarks are known to it (by name)" in told
    assert main(["export", "runs/mine/checkpoints/last.ckpt", "fitted.ldx"]) == 0
    assert "pretrained" not in {name for name, value in read_model_file("fitted.ldx").facts.model.items() if value}
    assert (
        main(["fit", "--config", "mine.yaml", "--run_folder", "runs/b", "--model.landmark_map", "{nosuch: sella}"]) == 1
    )
    assert "the data has no landmark 'nosuch'" in capsys.readouterr().err
