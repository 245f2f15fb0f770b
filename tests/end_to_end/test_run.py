"""Fit, validate, test and predict through the real entry: what a first run leaves for its user."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
import yaml

from landmark_diffusion.cli import main
from landmark_diffusion.data.sources.phantom import LANDMARK_NAMES, PhantomDataset
from tests.cli.terminals import FAILING
from tests.end_to_end.console import COUNT, PHANTOM, Outcome, column, ldx, read_rows
from tests.end_to_end.folders import make_folder

COLUMNS = "image_id,landmark,x,y,x_true,y_true,error,unit"
SPACING_MM = 0.5
STEPS = 6


def loaded(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after ``ldx fit``."""
    folder = tmp_path_factory.mktemp("end_to_end") / "run"
    outcome = ldx("fit", *PHANTOM, f"--trainer.max_steps={STEPS}", "--run_folder", str(folder))
    assert outcome.status == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def tested(fitted: Path) -> tuple[Path, Outcome]:
    """The folder that ``ldx test`` wrote, and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "160")  # no row of the table wraps
        outcome = ldx("test", *PHANTOM, "--pictures=1", "--run_folder", str(fitted))
    assert outcome.status == 0, outcome.err
    return fitted / "test", outcome


def test_fit_leaves_checkpoints_config_and_curves(fitted: Path) -> None:
    assert loaded(fitted / "checkpoints" / "last.ckpt")["global_step"] == STEPS
    assert (fitted / "checkpoints" / "best.ckpt").is_file()
    assert (fitted / "config.yaml").is_file()
    curves = read_rows(fitted / "logs" / "version_0" / "metrics.csv")
    assert len([row for row in curves if row.get("val/mre")]) == STEPS // 2  # an epoch is two steps of two images


def test_test_says_which_checkpoint_it_took_and_prints_every_row(tested: tuple[Path, Outcome]) -> None:
    folder, outcome = tested
    assert f"test: using the checkpoint {folder.parent / 'checkpoints' / 'best.ckpt'}" in outcome.out
    plain = re.sub(r"\s+", " ", outcome.out)
    for row in ("single-step", "multi-step", "annotator_1 to the mean", "annotator_1 to annotator_2", "MRE ± SD"):
        assert row in plain


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("test", "closed pipe"), pytest.param("test", "ascii", marks=pytest.mark.slow), ("predict", "full disk")],
)
def test_results_are_whole_whatever_becomes_of_the_terminal(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, kind: str
) -> None:
    """`ldx test | head` left no results."""
    shutil.copytree(fitted / "checkpoints", tmp_path / "checkpoints")
    make, status = FAILING[kind]
    monkeypatch.setattr(sys, "stdout", make())
    more = ("--pictures=1",) if verb == "test" else ()
    assert main([verb, *PHANTOM, *more, "--run_folder", str(tmp_path)]) == status
    written = {path.name for path in (tmp_path / verb).iterdir()}
    expected = {"predictions.csv", "predictions_single_step.csv"}
    assert written == expected if verb == "predict" else expected | {"metrics.json", "spread.csv", "report"} <= written


@pytest.mark.parametrize("name", ["predictions.csv", "predictions_single_step.csv"])
def test_predictions_hold_each_point_once_with_its_truth_and_error(tested: tuple[Path, Outcome], name: str) -> None:
    path = tested[0] / name
    assert path.read_text().splitlines()[0] == COLUMNS
    rows = read_rows(path)
    samples = PhantomDataset(count=COUNT).samples("test")
    assert [(row["image_id"], row["landmark"]) for row in rows] == [
        (sample.image_id, landmark) for sample in samples for landmark in LANDMARK_NAMES
    ]
    truth = np.concatenate([np.mean(sample.annotations, axis=0) for sample in samples])
    rounding = 1e-6  # of six decimals
    assert np.abs(column(rows, "x_true", "y_true") - truth).max() < rounding
    offset = column(rows, "x", "y") - column(rows, "x_true", "y_true")
    assert np.abs(SPACING_MM * np.sqrt((offset**2).sum(1)) - column(rows, "error")).max() < 2 * rounding
    assert {row["unit"] for row in rows} == {"mm"}


@pytest.mark.parametrize(
    ("variant", "name"), [("multi-step", "predictions.csv"), ("single-step", "predictions_single_step.csv")]
)
def test_metrics_are_what_numpy_finds_in_the_predictions(tested: tuple[Path, Outcome], variant: str, name: str) -> None:
    rows = read_rows(tested[0] / name)
    metrics = json.loads((tested[0] / "metrics.json").read_text())
    offset = SPACING_MM * (column(rows, "x", "y") - column(rows, "x_true", "y_true"))
    error = np.hypot(offset[:, 0], offset[:, 1])
    found = metrics["variants"][variant]
    assert found["mre"] == pytest.approx(error.mean(), abs=1e-6)
    assert found["std"] == pytest.approx(error.std(ddof=0), abs=1e-6)
    assert set(found["sdr"]) == {"2", "2.5", "3", "4"}
    for radius, percent in found["sdr"].items():
        assert percent == pytest.approx(100 * np.mean(error < float(radius)), abs=1e-6)
    assert (found["images"], found["points"]) == (COUNT[2], len(rows))
    assert metrics["unit"] == "mm"


def test_the_logged_metric_is_the_written_one(tested: tuple[Path, Outcome]) -> None:
    """The torchmetrics of the module and the report count the same."""
    metrics = json.loads((tested[0] / "metrics.json").read_text())
    logs = [read_rows(path) for path in sorted((tested[0].parent / "logs").glob("version_*/metrics.csv"))]
    logged = [row for rows in logs for row in rows if row.get("test/mre_multi_step")][-1]
    assert float(logged["test/mre_multi_step"]) == pytest.approx(metrics["variants"]["multi-step"]["mre"], rel=1e-6)
    assert float(logged["test/mre_single_step"]) == pytest.approx(metrics["variants"]["single-step"]["mre"], rel=1e-6)


def test_the_report_has_pictures_that_show_something(tested: tuple[Path, Outcome]) -> None:
    report = tested[0] / "report"
    for pattern in ("overlay_*.png", "process_*.png", "heatmaps_*.png", "landmark_errors.png", "annotators.png"):
        pictures = sorted(report.glob(pattern))
        assert pictures, pattern
        pixels = matplotlib.image.imread(pictures[0])[..., :3]
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 0.02 and len(np.unique(pixels @ [1.0, 7.0, 31.0])) > 50, pictures[0]
    text = (report / "README.md").read_text()
    linked = re.findall(r"\]\(([^)]+\.png)\)", text)
    assert linked and all((report / name).is_file() for name in linked)


def test_the_annotators_stand_beside_the_method(tested: tuple[Path, Outcome]) -> None:
    *landmarks, everything = read_rows(tested[0] / "annotators.csv")
    metrics = json.loads((tested[0] / "metrics.json").read_text())
    assert [row["landmark"] for row in landmarks] == list(LANDMARK_NAMES)
    for row, found in zip(landmarks, metrics["landmarks"], strict=True):
        assert float(row["error"]) == pytest.approx(found["variants"]["multi-step"]["mre"], abs=1e-6)
        assert float(row["rest"]) == pytest.approx(found["annotators"]["rest"], abs=1e-6)
    nearer = next(row["mre"] for row in metrics["table"] if row["label"].startswith("multi-step to nearer"))
    assert float(everything["nearer"]) == pytest.approx(nearer, abs=1e-6)
    assert metrics["annotator_view"]["variant"] == "multi-step"


def test_nothing_half_written_lies_about(tested: tuple[Path, Outcome]) -> None:
    assert not [path for path in tested[0].parent.rglob("*") if path.name.startswith((".tmp", ".part", ".config"))]


def test_validate_and_predict_write_their_own_folders(fitted: Path, tested: tuple[Path, Outcome]) -> None:
    before = (tested[0] / "metrics.json").read_bytes()
    assert ldx("validate", *PHANTOM, "--run_folder", str(fitted)).status == 0
    assert ldx("predict", *PHANTOM, "--run_folder", str(fitted)).status == 0
    metrics = json.loads((fitted / "validate" / "metrics.json").read_text())
    assert metrics["variants"]["multi-step"]["images"] == COUNT[1]
    ours, again = (read_rows(fitted / name / "predictions.csv") for name in ("test", "predict"))
    assert np.array_equal(column(ours, "x", "y"), column(again, "x", "y"))  # predict takes the test images
    assert (tested[0] / "metrics.json").read_bytes() == before


def test_a_run_goes_on_where_it_was_left(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted / "checkpoints", run / "checkpoints")
    schedule = "--model.optimisation.lr_schedule=cosine"
    outcome = ldx(
        "fit", *PHANTOM, schedule, f"--trainer.max_steps={STEPS + 2}", "--run_folder", str(run), "--ckpt_path=last"
    )
    assert outcome.status == 0, outcome.err
    assert f"fit: continuing from {run / 'checkpoints' / 'last.ckpt'}" in outcome.out
    assert loaded(run / "checkpoints" / "last.ckpt")["global_step"] == STEPS + 2


def refusal(*arguments: str) -> str:
    outcome = ldx(*arguments)
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    message = outcome.err.partition("error: ")[2]
    assert message
    return message


def test_a_run_is_not_replaced_unasked(fitted: Path) -> None:
    before = (fitted / "checkpoints" / "last.ckpt").read_bytes()
    message = refusal("fit", *PHANTOM, "--trainer.max_steps=1", "--run_folder", str(fitted))
    assert "--ckpt_path last" in message and "--overwrite true" in message
    assert (fitted / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_untrained_weights_are_not_measured(verb: str, tmp_path: Path) -> None:
    message = refusal(verb, *PHANTOM, "--run_folder", str(tmp_path / "nothing"))
    assert f"ldx {verb}: no whole checkpoint in the run folder {tmp_path / 'nothing'}" in message


def test_a_resume_with_nothing_to_find_is_an_error(tmp_path: Path) -> None:
    run = tmp_path / "nothing"
    message = refusal("fit", *PHANTOM, "--trainer.max_steps=1", "--run_folder", str(run), "--ckpt_path=last")
    assert f"no whole checkpoint in the run folder {run}" in message
    assert not run.exists()


def test_another_network_is_refused_by_name(fitted: Path) -> None:
    other = ("--model.network.encoder_channels=[8,24]", "--model.network.decoder_channels=[24,8]")
    message = refusal("test", *PHANTOM, *other, "--run_folder", str(fitted))
    assert "encoder_channels: [8, 16] in the checkpoint, [8, 24] in the config" in message
    message = refusal("test", *PHANTOM, "--model.diffusion=false", "--run_folder", str(fitted))
    assert "diffusion: True in the checkpoint, False in the config" in message


def test_a_checkpoint_of_another_number_of_landmarks_is_refused(fitted: Path, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "own")
    checkpoint = fitted / "checkpoints" / "last.ckpt"
    own = ("--data.dataset=folder", f"--data.root={root}", "--data.dataset_options=null")
    for verb in ("fit", "test"):
        message = refusal(verb, *PHANTOM, *own, "--run_folder", str(tmp_path / "run"), f"--ckpt_path={checkpoint}")
        assert f"{checkpoint} finds {len(LANDMARK_NAMES)} landmarks" in message and "the data has 2" in message


def test_a_cut_checkpoint_is_refused_by_name(fitted: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes((fitted / "checkpoints" / "last.ckpt").read_bytes()[:5000])
    assert f"{cut}: the checkpoint is cut short or damaged" in refusal("test", *PHANTOM, f"--ckpt_path={cut}")


OPTIONS = {
    "option": ("--data.recepe=none", "unknown option --data.recepe. Did you mean --data.recipe"),
    "trainer option": ("--trainer.max_step=3", "Did you mean --trainer.max_steps"),
    "model option": (
        "--model.paramterisation=x0",
        "unknown option paramterisation of DiffusionHeatmapModule (model). Did you mean parameterisation",
    ),
    "option of a group": ("--model.sampling.stepz=3", "Did you mean steps"),
    "network option": ("--model.network.blok_per_level=3", "Did you mean blocks_per_level"),
    "class": ("--model.class_path=DifusionHeatmapModule", "Did you mean DiffusionHeatmapModule"),
    "choice": ("--model.noise.schedule=linar", "Did you mean linear"),
    "recipe": ("--data.recipe=paper_aa", "expected 'paper_a'"),
    "dataset": ("--data.dataset=isbi2014", "Did you mean isbi2015?"),
    "size": ("--data.size=[0,10]", "data.size: found [0, 10]"),
    "value that the model refuses": ("--model.sampling.steps=500", "model.sampling.steps: found 500, expected 1 to"),
    "value that torch refuses": ("--model.network.dropout=3", "model: dropout probability has to be between 0 and 1"),
    "rate": ("--model.optimisation.learning_rate=-1", "model.optimisation.learning_rate: found -1.0"),
    "run folder": ("--run_folder=/dev/null/run", "--run_folder /dev/null/run: the folder cannot be made"),
}


@pytest.mark.parametrize(("option", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_a_wrong_option_is_one_message(tmp_path: Path, option: str, expected: str) -> None:
    run = ("--run_folder", str(tmp_path / "run"), "--trainer.max_steps=1")
    assert expected in refusal("fit", *PHANTOM, *run, option)


def test_print_config_shows_what_would_be_run() -> None:
    outcome = ldx("fit", *PHANTOM, "--print_config")
    assert outcome.status == 0
    assert "class_path: landmark_diffusion.DiffusionHeatmapModule" in outcome.out and "recipe: mild" in outcome.out


def test_print_config_leaves_the_widths_of_another_network_behind() -> None:
    """As the run does: what is printed has to be a config that runs."""
    other = ("--model.network.class_path", "ResNetUNet")
    outcome = ldx("fit", "--config", "phantom_baseline.yaml", *other, "--print_config")
    network = yaml.safe_load(outcome.out)["model"]["init_args"]["network"]
    assert network["class_path"].endswith("ResNetUNet") and "decoder_channels" not in network["init_args"]
