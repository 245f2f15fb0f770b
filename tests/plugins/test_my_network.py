"""A network of a user's own in each method of this package, by class path and by entry point, through every verb."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from landmark_diffusion.detection.model import load_module
from landmark_diffusion.export.onnx_networks import list_networks
from landmark_diffusion.modelfile.model_file import read_facts
from tests.end_to_end.console import Outcome, ldx, read_rows
from tests.plugins.install import GROUPS, HERE, forget, write_dist_info

PHANTOM: dict[str, Any] = {
    "seed_everything": 1,
    "trainer": {"max_steps": 4, "precision": "32-true", "accelerator": "cpu", "enable_model_summary": False},
    "data": {
        "dataset": "phantom", "dataset_options": {"count": [4, 2, 3]}, "size": [32, 40], "batch_size": 2,
        "num_workers": 0,
    },
}  # fmt: skip
NETWORK = {"class_path": "MyNetwork", "init_args": {"channels": 5}}
SMALL_UNET = {
    "class_path": "UNet",
    "init_args": {"encoder_channels": [8], "decoder_channels": [8], "attention_factors": [], "dropout": 0.1},
}
METHODS = {
    "DiffusionHeatmapModule": {"sampling": {"steps": 3}},
    "PositionDiffusionModule": {
        "coarse_factor": 2, "window_network": SMALL_UNET, "windows": {"size": 8}, "sampling": {"steps": 3}
    },
    "HeatmapFinetuneModule": {"encoder_rate": 0.5},
    "DDPMPretrainModule": {"noise": {"steps": 10}, "sampling": {"every": 0, "steps": 3}},
}  # fmt: skip


def write(name: str, method: str, network: Any = NETWORK, **options: Any) -> str:
    model = {"class_path": method, "init_args": {**METHODS[method], **options, "network": network}}
    Path(name).write_text(yaml.safe_dump({**PHANTOM, "model": model}))
    return name


def done(*arguments: str) -> Outcome:
    outcome = ldx(*arguments)
    assert outcome.status == 0, outcome.err
    return outcome


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and my_lab installed with its entry points."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LDX_ALLOW_CLASSES", raising=False)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.syspath_prepend(write_dist_info(tmp_path / "site", GROUPS))
    forget("my_lab")
    yield tmp_path
    forget("my_lab")


@pytest.mark.parametrize(
    "method", [pytest.param(each, marks=[pytest.mark.slow] * (each != "HeatmapFinetuneModule")) for each in METHODS]
)
def test_each_method_trains_tests_and_exports_it(home: Path, method: str) -> None:
    config = write("my.yaml", method)
    done("fit", "--config", config, "--run_folder", "runs/a")
    done("test", "runs/a", "--pictures", "0")
    if method == "DDPMPretrainModule":
        return
    done("export", "runs/a/checkpoints/best.ckpt", "a.ldx")  # what `ldx test` of the run takes
    module, facts = load_module("a.ldx")
    assert type(module.network).__name__ == "MyNetwork" and module.network.first.out_channels == 5
    assert facts.model["network"] == {
        "class_path": "my_lab.network.MyNetwork",
        "init_args": {"channels": 5, "dropout": 0.25, "extra": None},  # its own, not the UNet's 0.0
    }
    done("test", "a.ldx", "--pictures", "0")
    rows = [read_rows(Path(f"runs/{run}/test/predictions.csv")) for run in ("a", "a.ldx")]
    assert rows[0] == rows[1] and rows[0]
    assert list_networks(module, facts)


def test_options_written_for_it_reach_it_from_config_and_command_line(home: Path) -> None:
    config = write("my.yaml", "DiffusionHeatmapModule", {"class_path": "MyNetwork", "init_args": {"dropout": 0.0}})
    done("fit", "--config", config, "--model.network.channels=3", "--run_folder", "runs/a")
    kept = yaml.safe_load(Path("runs/a/config.yaml").read_text())["model"]["init_args"]["network"]["init_args"]
    assert kept == {"dropout": 0.0, "channels": 3}
    base = write("base.yaml", "DiffusionHeatmapModule", SMALL_UNET)
    Path("other.yaml").write_text("model: {init_args: {network: {class_path: MyNetwork}}}")
    done("fit", "--config", base, "--config", "other.yaml", "--run_folder", "runs/b")
    kept = yaml.safe_load(Path("runs/b/config.yaml").read_text())["model"]["init_args"]["network"]
    assert not kept.get("init_args")  # base.yaml's dropout was for the UNet


@pytest.mark.slow
def test_a_mapping_among_its_options_arrives(home: Path) -> None:
    config = write("my.yaml", "DiffusionHeatmapModule", {"class_path": "MyNetwork", "init_args": {"extra": {"a": 1}}})
    done("fit", "--config", config, "--run_folder", "runs/a")
    done("fit", "--config", config, "--model.network.extra", '{"b": 2}', "--run_folder", "runs/b")
    for run, extra in (("a", {"a": 1}), ("b", {"b": 2})):
        kept = yaml.safe_load(Path(f"runs/{run}/config.yaml").read_text())["model"]["init_args"]["network"]
        assert kept["init_args"] == {"extra": extra}


def test_a_start_hands_its_weights_on(home: Path) -> None:
    done("fit", "--config", write("pre.yaml", "DDPMPretrainModule"), "--run_folder", "runs/p")
    config = write("fine.yaml", "HeatmapFinetuneModule", pretrained="runs/p/checkpoints/last.ckpt", weights="raw")
    said = " ".join(done("fit", "--config", config, "--run_folder", "runs/f").out.split())
    assert "new: last.weight, last.bias (the last layer is replaced)" in said and "taken: 4" in said
    other = write(
        "wide.yaml", "HeatmapFinetuneModule", {"class_path": "MyNetwork", "init_args": {"channels": 6}},
        pretrained="runs/p/checkpoints/last.ckpt", weights="raw",
    )  # fmt: skip
    outcome = ldx("fit", "--config", other, "--run_folder", "runs/g")
    assert outcome.status == 1
    assert "model.init_args.network.init_args.channels: 5 in the checkpoint, 6 in the config" in outcome.err


@pytest.mark.slow
def test_without_an_entry_point_it_is_named_by_its_path_and_allowed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [each for each in sys.path if not each.endswith("site")])
    config = write("my.yaml", "DiffusionHeatmapModule", {"class_path": "my_lab.network.MyNetwork"})
    outcome = ldx("fit", "--config", config, "--run_folder", "runs/a")
    assert outcome.status == 1 and "my_lab.network.MyNetwork: refused, and nothing of it was run" in outcome.err
    assert "my_lab.network" not in sys.modules
    done("fit", "--config", config, "--run_folder", "runs/a", "--allow_classes", "my_lab")
    done("export", "runs/a/checkpoints/last.ckpt", "a.ldx", "--allow_classes", "my_lab")
    assert read_facts("a.ldx").model["network"]["class_path"] == "my_lab.network.MyNetwork"
    forget("my_lab")
    outcome = ldx("test", "a.ldx", "--pictures", "0")
    assert outcome.status == 1 and "refused" in outcome.err and "--allow_classes my_lab" in outcome.err
    done("test", "a.ldx", "--pictures", "0", "--allow_classes", "my_lab")


def test_one_that_cannot_take_what_the_method_gives_is_refused(home: Path) -> None:
    config = write("my.yaml", "PositionDiffusionModule", SMALL_UNET, window_network={"class_path": "MyNetwork"})
    outcome = ldx("fit", "--config", config, "--run_folder", "runs/a")
    assert outcome.status == 1
    assert "model.window_network: MyNetwork cannot be used by this method" in " ".join(outcome.err.split())
    assert not Path("runs/a/checkpoints").exists()


def test_plugins_lists_it(home: Path) -> None:
    lines = {line.split()[0]: line for line in done("plugins").out.splitlines() if line.startswith("  ")}
    assert lines["MyNetwork"].endswith("my_lab 0.3 (my_lab.network:MyNetwork)") and lines["UNet"].endswith("built in")
