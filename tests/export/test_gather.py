"""What an export says: the options that were measured, figures that are its own, nothing of the machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.untrusted import MAX_BYTES
from landmark_diffusion.data.source import LandmarkDataset
from landmark_diffusion.export.gather import (
    find_run,
    gather_facts,
    mismatch,
    read_config,
    read_metrics,
    without_places,
)

CLASS = "landmark_diffusion.methods.diffusion_heatmap.DiffusionHeatmapModule"
CHECKPOINT = Path("runs/x/checkpoints/best.ckpt")


def content(**changes: Any) -> dict[str, Any]:
    hparams = {
        "_class_path": CLASS, "_instantiator": "x", "num_landmarks": 2, "sampling": {"steps": 200},
        "target": {"nll_weight": 1.0},
    }  # fmt: skip
    data = {"dataset": "isbi2015", "root": "/home/ann/isbi", "size": [96, 120], "split": "official", "recipe": "mild",
            "train_images": ["001", "002"], "cache_folder": "/scratch/ann", "batch_size": 4}  # fmt: skip
    facts = {"landmark_names": ["sella", "nasion"], "data": data}
    return {"hyper_parameters": hparams, "landmark_diffusion": facts, "global_step": 2000, **changes}


def config(**model: Any) -> dict[str, Any]:
    init_args = {"num_landmarks": None, "sampling": {"steps": 50}, **model}
    return {
        "seed_everything": 7,
        "trainer": {"precision": "bf16-mixed", "default_root_dir": "/home/ann"},
        "model": {"class_path": CLASS, "init_args": init_args},
        "data": {"dataset": "isbi2015", "size": [96, 120], "eval_batch_size": 10, "root": "/home/ann/isbi"},
    }


def metrics(**extra: Any) -> dict[str, Any]:
    words = {"command": "ldx test --data.root /home/ann/isbi", "updates": 2000, "checkpoint": str(CHECKPOINT), **extra}
    return {
        "protocol": "default", "unit": "mm", "radii": [2.0], "variants": {}, "table": [], "extra": words,
        "landmark_names": ["sella", "nasion"],
    }  # fmt: skip


def test_the_options_are_those_of_the_measurement_then_the_runs_then_the_checkpoints() -> None:
    """A test with 8 evaluations must be handed over with 8, whatever the run was trained with."""
    by_itself = gather_facts(CHECKPOINT, content(), None, None)
    of_run = gather_facts(CHECKPOINT, content(), config(), None)
    measured = metrics(config=config(sampling={"steps": 8}) | {"seed_everything": 9, "trainer": {"precision": None}})
    of_test = gather_facts(CHECKPOINT, content(), config(), measured)
    assert [each.model["sampling"]["steps"] for each in (by_itself, of_run, of_test)] == [200, 50, 8]
    assert [each.model["target"]["nll_weight"] for each in (by_itself, of_run, of_test)] == [1.0] * 3
    assert [each.model["num_landmarks"] for each in (by_itself, of_run, of_test)] == [2] * 3
    assert [each.seed for each in (by_itself, of_run, of_test)] == [None, 7, 9]
    assert [each.precision for each in (by_itself, of_run, of_test)] == [None, "bf16-mixed", "32-true"]
    assert of_run.data["eval_batch_size"] == 10 and of_run.data["split"] == "official"
    assert of_test.training["seed"] == 7  # of the training, whatever the test's


def test_nothing_of_the_machine_is_handed_over() -> None:
    start = {**content()["hyper_parameters"], "pretrained": "runs/start/step_6000.ckpt", "table": "C:\\ann\\x.csv"}
    facts = gather_facts(CHECKPOINT, content(hyper_parameters=start), config(), metrics())
    text = facts.to_json()
    for word in ("ann", "/home", "scratch", "runs/", "root", "cache_folder", "_instantiator", "001"):
        assert word not in text, word
    assert facts.training["images"] == 2
    assert facts.measured is not None and facts.measured["verb"] == "test"


@pytest.mark.parametrize("place", ["/data/x", "~/x", "\\\\server\\x", "D:/x", "D:\\x", "../x", "a/../../x", "..\\x"])
def test_places_are_known_by_their_look(place: str) -> None:
    assert without_places({"a": [{"csv": place}]}) == {"a": [{"csv": None}]}


@pytest.mark.parametrize("value", ["points.csv", "tables/points.csv", "a..b", "silu", "32-true", "1:2", 3, None, True])
def test_other_values_stay(value: Any) -> None:
    assert without_places([value]) == [value]


def test_the_note_follows_the_training_data() -> None:
    """Also where it was tested on other data."""
    tested = metrics(config={"data": {"dataset": "folder", "size": [96, 120]}})
    facts = gather_facts(CHECKPOINT, content(), None, tested)
    assert (facts.data["dataset"], facts.training["dataset"]) == ("folder", "isbi2015")
    assert facts.note == "Trained on ISBI 2015, for research use."
    assert gather_facts(CHECKPOINT, content(), None, None, note="Ask us.").note == "Ask us."
    own = content(landmark_diffusion={"data": {"dataset": "folder", "size": [8, 8]}})
    assert gather_facts(CHECKPOINT, own, None, None).note == LandmarkDataset.terms


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hyper_parameters": {}}, "does not say its model's class"),
        ({"hyper_parameters": {"_class_path": "x.DDPMPretrainModule"}}, "a DDPMPretrainModule finds no landmarks"),
        ({"hyper_parameters": {"_class_path": "x.Other", "num_landmarks": 2}}, "holds a Other, but the config"),
    ],
)
def test_a_checkpoint_that_is_no_model_of_the_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        gather_facts(CHECKPOINT, content(**changes), config(), None)


def test_a_checkpoint_that_does_not_say_its_data_is_refused() -> None:
    with pytest.raises(UserError, match=r"says data\.dataset and data\.size"):
        gather_facts(CHECKPOINT, content(landmark_diffusion={}), None, None)


def test_figures_of_another_checkpoint_are_told_from_its_own(tmp_path: Path) -> None:
    """Five seeds have as many updates: the file decides, and two names of one file are one."""
    best, last, other = (tmp_path / name for name in ("best.ckpt", "last.ckpt", "other.ckpt"))
    best.write_bytes(b"1")
    other.write_bytes(b"2")
    os.link(best, last)
    assert mismatch(metrics(checkpoint=str(best)), last, content()) == ""
    assert "they are of" in mismatch(metrics(checkpoint=str(other)), best, content())
    assert mismatch(metrics(checkpoint="gone/best.ckpt"), best, content()) == ""
    assert "gone/last.ckpt" in mismatch(metrics(checkpoint="gone/last.ckpt"), best, content())
    assert "of 1500 updates" in mismatch(metrics(checkpoint=str(best), updates=1500), best, content())
    elsewhere = metrics(checkpoint=str(best)) | {"landmark_names": ["a", "b"]}
    assert "other landmarks" in mismatch(elsewhere, best, content())


def test_the_run_is_found_from_within_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "x" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert find_run(Path("best.ckpt")) == tmp_path / "x"
    assert find_run(tmp_path / "best.ckpt") is None


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"protocol": "x", "variants": {}, "table": []}', "\0"])
def test_what_is_no_metrics_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"metrics\.json: "):
        read_metrics(path)
    path.write_text(json.dumps(metrics()))
    assert read_metrics(path)["unit"] == "mm"


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "says"),
    [(LAUGHS, "aliases that stand for more"), ("a: " + "[" * 60, "more than 50 levels"),
     ("a: " + "x" * MAX_BYTES, "bytes, expected a config of at most"), ("a: &b [*b]", "within what it stands for")],
)  # fmt: skip
def test_a_strangers_config_beside_a_checkpoint_is_held_to_the_limits(tmp_path: Path, text: str, says: str) -> None:
    """It lies in the run folder that `ldx export` reads."""
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml.*{says}"):
        read_config(tmp_path / "config.yaml")


def test_the_address_of_a_loggers_service_may_stand_in_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {logger: {url: 'http://localhost:5000'}}")
    assert read_config(tmp_path / "config.yaml")["trainer"]["logger"]["url"] == "http://localhost:5000"


@pytest.mark.parametrize("text", ["- 1", "a: [", "a: !!python/object/apply:os.system [ls]"])
def test_a_config_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml: "):
        read_config(tmp_path / "config.yaml")
