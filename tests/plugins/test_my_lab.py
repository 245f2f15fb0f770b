"""What a user's own package brings, by entry points and by class paths, through every verb that asks for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import landmark_diffusion
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.landmark_names import arranged, renamed
from landmark_diffusion.data.sources import DATASETS, build_dataset
from landmark_diffusion.detection.batch import detect_all, refuse_existing
from landmark_diffusion.detection.forms import make_writers
from landmark_diffusion.detection.model import load_module
from landmark_diffusion.export.onnx_networks import list_networks
from landmark_diffusion.modelfile.model_file import read_facts
from tests.end_to_end.console import Outcome, ldx, read_rows, run
from tests.plugins.install import GROUPS, HERE, forget, installed, on_path, write_dist_info, write_pictures

__all__ = ["installed", "on_path"]
IMAGES = 100

CONFIG = """
seed_everything: 1
trainer: {max_steps: 4, precision: 32-true, accelerator: cpu, enable_model_summary: false}
data: {dataset: my_data, root: data, size: [64, 48], batch_size: 2, eval_batch_size: 20}
model: {class_path: MyMethod, init_args: {channels: 3, optimisation: {learning_rate: 0.01}}}
"""
BY_PATH = CONFIG.replace("my_data", "my_lab.data.MyData").replace("MyMethod", "my_lab.method.MyMethod")


def done(*arguments: str) -> Outcome:
    outcome = ldx(*arguments)
    assert outcome.status == 0, outcome.err
    return outcome


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an installed my_lab, its data, and its method trained on them, tested and exported."""
    home = tmp_path_factory.mktemp("my_lab")
    write_pictures(home / "data", IMAGES)
    (home / "my.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("LDX_ALLOW_CLASSES", raising=False)
        patch.syspath_prepend(HERE)
        patch.syspath_prepend(write_dist_info(home / "site", GROUPS))
        forget("my_lab")
        done("fit", "--config", "my.yaml", "--run_folder", "runs/a")
        done("test", "runs/a", "--pictures", "0")
        done("export", "runs/a/checkpoints/last.ckpt", "a.ldx")
        yield home
    forget("my_lab")


def test_the_model_file_keeps_which_method_and_data_set(home: Path) -> None:
    facts = read_facts("a.ldx")
    assert facts.class_path == "my_lab.method.MyMethod" and facts.model["channels"] == 3
    assert facts.data["dataset"] == "my_data" and facts.length_unit == "mm"
    assert facts.landmark_names == ("left", "right")
    card = Path("a.md").read_text()
    assert facts.note in card and facts.note == "Trained on the pictures of my lab: ask us."
    assert "ldx test a.ldx --data.root PATH" in card and "MyMethod with landmark" in card


def test_the_file_measures_as_its_run(home: Path) -> None:
    done("test", "a.ldx", "--data.root", "data", "--pictures", "0")
    ours, theirs = (Path(f"runs/{run}/test/predictions.csv").read_bytes() for run in ("a.ldx", "a"))
    assert ours == theirs and len(read_rows(Path("runs/a/test/predictions.csv"))) == IMAGES // 5 * 2
    assert json.loads(Path("runs/a/test/metrics.json").read_text())["unit"] == "mm"


def test_every_run_verb_takes_it(home: Path) -> None:
    for verb in ("validate", "predict"):
        done(verb, "--config", "my.yaml", "--run_folder", "runs/a")
    assert "MyMethod" in done("fit", "--help").out


def test_it_is_calibrated_and_detects_in_a_form_of_its_own(home: Path) -> None:
    done("calibrate", "--checkpoint", "a.ldx", "--data.root", "data", "--part", "val", "--output", "b.ldx")
    done("detect", "data/0.png", "--model", "b.ldx", "--to", "csv,my_text,my_lab.writer.MyWriter", "--output", "d")
    rows = read_rows(Path("d/points.csv"))
    lines = [line.split() for line in Path("d/points.txt").read_text().splitlines()]
    assert [(row["landmark"], row["x"], row["y"]) for row in rows] == [tuple(line[1:]) for line in lines]
    assert {row["region_level"] for row in rows} == {"0.900000"}


def test_images_that_trained_it_do_not_calibrate_it(home: Path) -> None:
    """The data set from outside is asked for its parts like one of ours."""
    outcome = ldx("calibrate", "--checkpoint", "a.ldx", "--data.root", "data", "--part", "train", "--output", "c.ldx")
    assert outcome.status == 1 and "a.ldx was trained on images of the train part of my_data" in outcome.err


def test_the_data_are_checked_and_divided(home: Path) -> None:
    shown = done("data", "check", "--dataset", "my_lab.data.MyData", "--root", "data").out
    assert "data check: my_data" in shown and "train 60, val 20, test 20" in shown
    outcome = ldx("fit", "--config", "my.yaml", "--run_folder", "runs/x", "--data.dataset_options.spin", "3")
    assert outcome.status == 1 and "the dataset my_data has no option 'spin'" in outcome.err
    said = done("fit", "--config", "my.yaml", "--data.dataset", "phantom", "--print_config").out
    assert "dataset: phantom" in said
    assert DATASETS.load("my_data").knows_folds


def test_names_and_order_of_landmarks_leave_the_rest_of_a_data_set_as_it_is(home: Path) -> None:
    """Its patients, above all: folds would tear them apart."""

    class WithPatients(DATASETS.load("my_data")):  # type: ignore[misc]
        def patients(self) -> dict[str, str]:
            return {"0.png": "ann"}

        def notes(self) -> list[str]:
            return ["read as told"]

    turned, _ = arranged(WithPatients("data"), ("right", "left"), "the model")
    for each in (turned, renamed(WithPatients("data"), {"left": "links"})):
        assert each.patients() == {"0.png": "ann"} and each.notes() == ["read as told"] and each.unit == "mm"


def test_a_model_file_is_read_where_the_module_is_imported_or_installed(home: Path) -> None:
    module, _ = load_module("a.ldx")
    assert type(module).__name__ == "MyMethod" and isinstance(module, landmark_diffusion.Finder)


def test_a_model_file_of_a_module_that_nobody_named_is_refused_with_the_cure(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.path", [each for each in sys.path if not each.endswith("site")])
        forget("my_lab")
        with pytest.raises(
            UserError, match=r"a\.ldx: model\.class_path: my_lab\.method\.MyMethod: refused.*add --allow"
        ):
            load_module("a.ldx")
        patch.setenv("LDX_ALLOW_CLASSES", "my_lab")
        load_module("a.ldx")
        patch.delenv("LDX_ALLOW_CLASSES")
        load_module("a.ldx")  # imported by now


def test_a_method_from_outside_is_told_by_its_forward_in_onnx(home: Path) -> None:
    module, facts = load_module("a.ldx")
    (network,) = list_networks(module, facts)
    assert network.output == ("output", "what the forward of my_lab.method.MyMethod gives for an image")

    class Blind(landmark_diffusion.LandmarkModule):
        pass

    with pytest.raises(UserError, match=r"a Blind has no forward\(image\) of its own"):
        list_networks(Blind(2), facts)


def test_plugins_lists_what_there_is_and_names_what_cannot_be_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {DATASETS.group: {"gone": "gone_lab:Data"}, "landmark_diffusion.writers": {"odd": "json:JSONDecoder"}}
    monkeypatch.syspath_prepend(write_dist_info(tmp_path, bad, "bad_lab"))
    lines = {line.split()[0]: line for line in done("plugins").out.splitlines() if line.startswith("  ")}
    assert lines["my_data"].endswith("my_lab 0.3 (my_lab.data:MyData)") and lines["folder"].endswith("built in")
    assert lines["MyMethod"].endswith("(my_lab.method:MyMethod)") and lines["my_text"].endswith("MyWriter)")
    assert "cannot be used: data.dataset: gone cannot be imported: No module named 'gone_lab'" in lines["gone"]
    assert "cannot be used: --to: odd is no Writer" in lines["odd"]
    assert {
        "isbi2015",
        "PositionDiffusionModule",
        "DDPMPretrainModule",
        "csv",
        "dicom-sr",
        "deeplabcut",
    } <= lines.keys()


def test_a_method_that_is_called_otherwise_than_its_class_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {"landmark_diffusion.methods": {"mine": "my_lab.method:MyMethod"}}
    monkeypatch.syspath_prepend(write_dist_info(tmp_path, entries, "odd_lab"))
    outcome = ldx("fit", "--config", "my.yaml", "--model", "mine", "--run_folder", "runs/x")
    assert outcome.status == 1 and "mine is the entry point of a class MyMethod (my_lab.method:MyMethod)" in outcome.err


def test_a_writer_that_fails_does_not_cost_the_results_of_the_others(installed: None, tmp_path: Path) -> None:
    writers = make_writers(["my_text", "csv", "my_lab.writer.MyWriter"], tmp_path)
    assert [each.name for each in writers] == ["my_text", "csv"]

    def fail() -> list[Path]:
        raise ZeroDivisionError

    writers[0].close, closed = fail, []
    writers[1].close = lambda: closed.append("csv") or []
    with pytest.raises(ZeroDivisionError):
        detect_all(None, [], [], writers, tell=print, advance=print)  # type: ignore[arg-type]
    assert closed == ["csv"]


def test_two_forms_that_write_one_file_are_refused(installed: None, tmp_path: Path) -> None:
    (first,) = make_writers(["my_text"], tmp_path)
    with pytest.raises(UserError, match=r"two of these forms write .*points\.txt; leave one of them out"):
        refuse_existing([first, type(first)(tmp_path)], ["a"], overwrite=True)


def test_public_names_are_all_there() -> None:
    assert all(getattr(landmark_diffusion, name) is not None for name in landmark_diffusion.__all__)
    assert set(landmark_diffusion.__all__) == {*landmark_diffusion._HOMES, "__version__"}


@pytest.mark.slow
def test_from_outside_by_class_paths_in_processes_of_their_own(tmp_path: Path) -> None:
    """Nothing is installed: --allow_classes alone, and the processes that ldx starts hold to it too."""
    write_pictures(tmp_path / "data", IMAGES)
    (tmp_path / "path.yaml").write_text(BY_PATH)
    repository, leave = str(HERE.parents[1]), ("--allow_classes", "my_lab")

    def outcome(*arguments: str) -> Outcome:
        return run(arguments, tmp_path, PYTHONPATH=f"{repository}:{HERE}")

    refused = outcome("fit", "--config", "path.yaml")
    assert refused.status == 1 and "my_lab.method.MyMethod: refused" in " ".join(refused.err.split())
    grid = "fewshot: {folder: grid, fit: [path.yaml], n: [2], draws: 1, starts: {scratch: {}}, checkpoints: [last]}"
    (tmp_path / "grid.yaml").write_text(grid)
    for arguments in (
        ("fit", "--config", "path.yaml", "--run_folder", "runs/a"),
        ("test", "runs/a", "--pictures", "1"),
        ("export", "runs/a/checkpoints/last.ckpt", "a.ldx"),
        ("calibrate", "--checkpoint", "a.ldx", "--data.root", "data", "--part", "val"),
        ("test", "a.ldx", "--data.root", "data", "--pictures", "0"),
        ("detect", "data/1.png", "--model", "a.ldx", "--to", "csv,my_lab.writer.MyWriter"),
        ("crossval", "--config", "path.yaml", "--folds", "2", "--folder", "folds"),
        ("fewshot", "--config", "grid.yaml"),
    ):
        each = outcome(*arguments, *leave)
        assert each.status == 0, (arguments, each.err)
    assert len((tmp_path / "detections" / "points.txt").read_text().splitlines()) == 2
    assert read_facts(tmp_path / "a.ldx").data["dataset"] == "my_lab.data.MyData"
    assert (tmp_path / "runs/a.ldx/test/predictions.csv").is_file() and list((tmp_path / "folds").glob("*.md"))
    data = build_dataset("phantom", count=(1, 0, 0))
    assert np.ptp(data.load_image(data.samples("train")[0])) > 0
