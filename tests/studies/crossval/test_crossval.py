"""Every image is tested once by a model that never saw it, and the folds go into one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.metrics.bootstrap import bootstrap_interval
from landmark_diffusion.metrics.comparison import find_predictions, known_radii, read_run
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.predictions_file import read_predictions_csv, write_predictions_csv
from landmark_diffusion.metrics.records import Prediction
from landmark_diffusion.studies.crossval.plan import CrossvalPlan, FoldCell, agree, propose
from landmark_diffusion.studies.crossval.summary import read_folds, summarise, write_summary
from landmark_diffusion.studies.trainings.results import cell_folder, write_result

CONFIG = """
data: {dataset: folder, root: own, size: [32, 32]}
model: {class_path: HeatmapFinetuneModule, init_args: {target: {kind: one_hot}, pretrained: null}}
trainer: {max_steps: 5}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config beside seven images of one's own; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own").mkdir()
    lines = ["image,x1,y1,split"]
    for number in range(7):
        Image.fromarray(np.full((20, 20), 30 * number, np.uint8)).save(tmp_path / "own" / f"i{number}.png")
        lines.append(f"i{number}.png,{number + 1},9,train")
    (tmp_path / "own" / "points.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path / "mine.yaml"


def plan_of(config: Path, folds: int = 3, **options: object) -> CrossvalPlan:
    return CrossvalPlan((config,), dict(options), folds, Path("cv"))


def test_each_image_is_tested_in_one_fold(config: Path) -> None:
    """Whatever the table's split column says."""
    parts = propose(plan_of(config))["parts"]
    assert list(parts) == ["fold_1_of_3", "fold_2_of_3", "fold_3_of_3"]
    assert sorted(image for part in parts.values() for image in part["test"]) == [f"i{n}.png" for n in range(7)]
    assert all(part["train"] + part["val"] + len(part["test"]) == 7 and part["val"] == 1 for part in parts.values())


def test_a_fold_is_a_fit_and_a_test_that_anyone_can_repeat(config: Path) -> None:
    job = plan_of(config, **{"trainer.max_steps": 3}).job(FoldCell(2, 3))
    fit, test = job.fit(), job.evaluate("chosen")
    assert fit[:3] == ["fit", "--config", str(config)] and "--overwrite" in fit
    for each in (fit, test):
        assert "--data.split=folds:3/2" in each and "--trainer.max_steps=3" in each
        assert f"--run_folder={Path('cv/cells/fold_2_of_3')}" in each
    assert test[0] == "test" and "--ckpt_path" not in test  # the best weights, else the last


def test_another_plan_in_the_same_folder_is_refused(config: Path) -> None:
    first = agree(Path("cv"), propose(plan_of(config)))
    assert agree(Path("cv"), propose(plan_of(config, **{"data.root": "own", "data.num_workers": 1}))) == first
    for other, said in (
        (plan_of(config, 4), "folds: 3 there, 4 now"),
        (plan_of(config, **{"data.dataset_options.seed": 1}), "parts: other images there"),
        (plan_of(config, **{"trainer.max_steps": 9}), "trainer.max_steps: 5 there, 9 now"),
    ):
        with pytest.raises(UserError, match=said):
            agree(Path("cv"), propose(other))


def finish(folder: Path, cell: FoldCell, errors: dict[str, float]) -> None:
    """Leave what a fold's process leaves, with predictions that lie so many px right of the truth."""
    place = cell_folder(folder, cell.name)
    place.mkdir(parents=True)
    truth = np.array([[[5.0, 5.0], [9.0, 9.0]]])
    cases = [Prediction(name, i, truth[0] + np.array([off, 0]), truth) for i, (name, off) in enumerate(errors.items())]
    write_predictions_csv(place / "predictions_chosen.csv", evaluate({"a": cases}, ("a", "b")))
    write_result(place, {"checkpoints": {"chosen": {"sdr": {"2": 0.0, "4": 0.0}}}})


def test_the_table_pools_images_and_not_folds(tmp_path: Path) -> None:
    cells = [FoldCell(number, 3) for number in (1, 2, 3)]
    finish(tmp_path, cells[0], {"i1": 1.0, "i2": 3.0, "i5": 5.0})
    finish(tmp_path, cells[2], {"i3": 7.0})
    results = read_folds(tmp_path, cells)
    summary = summarise(results, 3)
    assert [row["fold"] for row in summary["rows"]] == [1, 3]
    assert summary["folds"] == {"finished": 2, "all": 3}
    whole = summary["all"]
    assert (whole["images"], whole["points"], whole["mre"], whole["median"]) == (4, 8, 4.0, 4.0)  # not (3 + 7) / 2
    assert whole["sdr"] == {2.0: 25.0, 4.0: 50.0}
    expected = bootstrap_interval(np.array([1.0, 3, 5, 7]))
    assert whole["mre_interval"]["low"] == pytest.approx(expected.low, abs=1e-5)
    markdown = write_summary(tmp_path, results, summary, "Cross-validation: x").to_markdown()
    assert "2 of 3 folds" in markdown and "| all images | 4 | 4.00 ± 2.24 | 4.00 | 25.0 | 50.0 |" in markdown
    pooled = read_predictions_csv(find_predictions(tmp_path))  # as `ldx compare` finds it
    assert pooled.image_ids == ("i1", "i2", "i5", "i3") and pooled.errors[:, 0].tolist() == [1.0, 3.0, 5.0, 7.0]
    assert known_radii(read_run("x", [tmp_path])) == (2.0, 4.0)
    (cell_folder(tmp_path, cells[2].name) / "result.json").write_text("{")
    with pytest.raises(DataError, match="remove it to run that one again"):
        read_folds(tmp_path, cells)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "ldx crossval needs --config NAME: folder_diffusion_small.yaml"),
        ("--config mine.yaml --folds 1", "--folds: found '1', expected a whole number from 2 up"),
        ("--config mine.yaml --folds 8", "found 8 folds, expected 2 to 7, the number of images"),
        ("--config mine.yaml --data.split auto", "--data.split is decided for each fold and cannot be set"),
        ("--config mine.yaml --fold 3", "unknown option '--fold'. Did you mean --folds"),
        ("--config mine.yaml --data.dataset phantom", "found data.dataset phantom, expected folder"),
        ("--config mine.yaml --data.root nowhere", "nowhere"),
    ],
)
def test_wrong_arguments_before_anything_is_started(
    config: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crossval", *words.split()]) == 1
    assert said in capsys.readouterr().err and not Path("runs").exists()


def test_the_command_runs_the_folds_once_and_prints_the_table(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folds' processes are stood in for: this one has no torch to import."""
    from landmark_diffusion.cli import crossval_verb
    from landmark_diffusion.studies.trainings import runner

    monkeypatch.setattr(crossval_verb, "check_commands", lambda commands: None)
    child = (sys.executable, str(Path(__file__).with_name("fake_fold.py")))
    monkeypatch.setattr(runner, "CHILD", child)
    command = ["crossval", "--config", "mine.yaml", "--folds", "2"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "2 of 2 folds" in out and "fold_2_of_2: finished" in out
    assert json.loads(Path("runs/crossval/mine/metrics.json").read_text())["all"]["images"] == 7
    assert main([*command, "--list"]) == 0
    assert capsys.readouterr().out == "fold_1_of_2  finished\nfold_2_of_2  finished\n"
    assert main(command) == 0
    assert "finished in" not in capsys.readouterr().out  # nothing was run again
