"""What fit says at its end can be typed as it stands."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from landmark_diffusion.cli.next_steps import Trained, next_steps
from landmark_diffusion.configuration.config_files import config_paths, installed_folder
from landmark_diffusion.configuration.own_split import sources_of
from landmark_diffusion.training.folder import RunFolder

TRAINED = Trained(2000, "val/mre", 2.31234, 1800, "mm", validated=20, tested=22, landmarks=True)


def make_run(folder: Path, *names: str) -> RunFolder:
    run = RunFolder(folder)
    run.checkpoints.mkdir(parents=True)
    for name in names:
        (run.checkpoints / name).touch()
    return run


def test_the_best_weights_and_what_to_do_with_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my xrays", "best.ckpt", "last.ckpt")
    first, _, test, export, detect = next_steps(run, TRAINED)
    best = f"{run.path}/checkpoints/best.ckpt"
    assert first == f"fit: the best weights are {best} (val/mre 2.312 mm at step 1800 of 2000)"
    assert test.split("  #")[0].rstrip() == f"  ldx test '{run.path}'" and "22 test images" in test
    assert f"ldx export '{run.path}/checkpoints/best.ckpt' 'my xrays.ldx'" in export
    assert "ldx detect IMAGES --model 'my xrays.ldx'" in detect


def test_without_a_validation_the_last_weights_are_named_and_why(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x", "last.ckpt")
    short = replace(TRAINED, score=None, score_step=None)
    assert "last.ckpt (no validation came before the end" in next_steps(run, short)[0]
    lines = next_steps(run, replace(short, validated=0, tested=0))
    assert "(the split has no validation images" in lines[0] and not any("ldx test" in line for line in lines)
    assert any(f"ldx export {run.path}/checkpoints/last.ckpt x.ldx" in line for line in lines)


def test_few_test_images_of_ones_own_lead_to_cross_validation(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x", "best.ckpt")
    few = replace(TRAINED, tested=1, own_images=True)
    said = next_steps(run, few)
    assert said[1] == "fit: only 1 test image: the figures will say little; `ldx crossval` tests every image once"
    assert "table and pictures of 1 test image" in said[3] and "1 test images" not in said[3]
    for enough in (replace(few, tested=10), replace(few, own_images=False), replace(few, tested=0)):
        assert not any("crossval" in line for line in next_steps(run, enough))


def _after_pretraining(run: RunFolder, *arguments: str) -> list[str]:
    learned = replace(TRAINED, monitor="val/loss", unit="", landmarks=False)
    line = next_steps(run, learned, config_paths(list(arguments)), sources_of(arguments))[-1]
    return shlex.split(line.partition("  #")[0])


def test_the_fine_tuning_keeps_what_the_user_said_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --data.root the printed command ended in "my_xrays: the folder does not exist"."""
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "x", "last.ckpt")
    config = ("--config", str(installed_folder() / "folder_ddpm_pretrain_small.yaml"))
    start = ["ldx", "fit", "--config", "folder_finetune_small.yaml"]
    start += ["--model.pretrained", f"{run.path}/checkpoints/last.ckpt"]
    assert _after_pretraining(run, *config) == start
    given = (
        "--data.root", "own images", "--data.dataset_options.csv=a.csv", "--data.split=seeded", "--data.size",
        "[64, 80]", "--model.network.encoder_channels=[8, 16]", "--data.batch_size=2", "--trainer.max_steps=3",
        "--model.noise.steps=20",
    )  # fmt: skip
    assert _after_pretraining(run, *config, *given) == [
        *start, "--data.root=own images", "--data.dataset_options.csv=a.csv", "--data.split=seeded",
        "--data.size=[64, 80]", "--model.init_args.network.init_args.encoder_channels=[8, 16]",
    ]  # fmt: skip
    Path("folder_ddpm_pretrain_small.yaml").write_text("data: {root: mine, recipe: paper_b, size: [96, 96]}\n")
    own = _after_pretraining(run, "--config", "folder_ddpm_pretrain_small.yaml")
    assert own == [*start, "--data.root=mine"]  # the size is that of the fine-tuning's config


def test_a_ddpm_of_windows_starts_a_window_network_and_a_pooled_one_leaves_its_sets_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "x", "last.ckpt")
    last, more = f"{run.path}/checkpoints/last.ckpt", "--model.network.dropout=0.1"
    windows = (
        "--config",
        str(installed_folder() / "ceph_ddpm_pretrain_windows_small.yaml"),
        "--data.root",
        "mine",
        more,
    )
    ranged = "--model.init_args.image_range=[-1, 1]"
    dropout = "--model.init_args.window_network.init_args.dropout=0.1"
    begun = ["--model.window_pretrained", last, "--data.root=mine"]
    small = ["ldx", "fit", "--config", "ceph_diffusion_small.yaml"]
    assert _after_pretraining(run, *windows) == [*small, *begun, dropout, ranged]
    other = ("--config", str(installed_folder() / "ceph_ddpm_pretrain_small.yaml"), "--model.windows.count=8")
    assert _after_pretraining(run, *other, "--data.root", "mine") == [
        "ldx",
        "fit",
        "--config",
        "DIFFUSION.yaml",
        *begun,
    ]
    first = ("--config", str(installed_folder() / "ceph_ddpm_pretrain_coarse_small.yaml"), "--data.size=[64, 80]")
    assert _after_pretraining(run, *first) == [*small, "--model.pretrained", last, ranged]
    pooled = ("--config", str(installed_folder() / "pooled_ddpm_pretrain_small.yaml"), "--data.root", "all", more)
    assert _after_pretraining(run, *pooled) == [
        "ldx", "fit", "--config", "FINETUNE.yaml", "--model.pretrained", last,
        "--model.init_args.network.init_args.dropout=0.1", ranged,
    ]  # fmt: skip


def test_a_rival_s_pre_training_brings_its_network_and_its_weights(tmp_path: Path) -> None:
    """SimCLR as released printed a command that stopped: a UNet, and an average that there is not."""
    run = make_run(tmp_path / "x", "last.ckpt")
    learned = replace(TRAINED, monitor="val/loss", unit="", landmarks=False, averaged=False)
    start = ["--model.pretrained", f"{run.path}/checkpoints/last.ckpt"]
    for name, more in {
        "simclrv2_pretrain_released": [
            "--model.init_args.network.class_path=DenseNetUNet",
            "--model.init_args.null_time=removed",
        ],
        "dino_pretrain_small": [],
    }.items():
        given = ("--config", str(installed_folder() / f"ceph_{name}.yaml"))
        line = next_steps(run, learned, config_paths(list(given)), sources_of(given))[-1]
        config = f"ceph_finetune_{name.rpartition('_')[2]}.yaml"
        assert shlex.split(line.partition("  #")[0]) == [
            "ldx", "fit", "--config", config, *start, *more, "--model.init_args.weights=raw",
        ]  # fmt: skip


def test_the_network_of_a_pre_training_is_named_before_its_options(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x", "last.ckpt")

    def after(name: str, *more: str) -> list[str]:
        options = _after_pretraining(run, "--config", str(installed_folder() / f"{name}.yaml"), *more)[6:]
        return [option.removeprefix("--model.init_args.") for option in options]

    grown = ["network.class_path=DenseNetUNet", "network.init_args.growth=32", "null_time=removed"]
    assert after("ceph_simclrv2_pretrain_released", "--model.network.growth=32") == grown
    changed = ("--model.network.class_path", "DenseNetUNet", "--model.network.init_args.growth", "32")
    assert after("ceph_mocov3_pretrain_small", *changed) == grown  # nothing of the config's UNet
    assert after("ceph_mocov3_pretrain_small", "--model.network", "DenseNetUNet") == [grown[0], grown[2]]
    named = ("--model.network.class_path", "landmark_diffusion.UNet")
    assert "null_time=removed" not in after("ceph_mocov3_pretrain_small", *named)
    both = ("--config", str(installed_folder() / "ceph_ddpm_pretrain_windows_small.yaml"))
    found = _after_pretraining(run, "--config", str(installed_folder() / "ceph_ddpm_pretrain_small.yaml"), *both)
    assert found[3:5] == ["DIFFUSION.yaml", "--model.window_pretrained"]  # not the first one's, which has no windows
    cut = ("--model.windows.size", "20")
    assert "windows.size=20" in after("ceph_ddpm_pretrain_windows_small", *cut)
    other_size = ("--data.size", "[384, 384]")  # windows see the method's own size, the first network another
    assert "--data.size=[384, 384]" in after("ceph_ddpm_pretrain_windows_small", *other_size)
    assert after("ceph_ddpm_pretrain_coarse_small", *other_size) == ["image_range=[-1, 1]"]


def test_windows_of_a_config_of_ones_own_lead_to_a_method_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "x", "last.ckpt")
    Path("mine_ddpm_pretrain_windows.yaml").write_text("model: {init_args: {windows: {count: 4}}}\n")
    found = _after_pretraining(run, "--config", "mine_ddpm_pretrain_windows.yaml")
    assert found[3:5] == ["DIFFUSION.yaml", "--model.window_pretrained"]


def test_a_pre_training_leads_to_the_fine_tuning_of_its_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x", "last.ckpt")
    learned = replace(TRAINED, monitor="val/loss", unit="", landmarks=False)
    for name in ("folder_ddpm_pretrain", "folder_ddpm_pretrain_small", "hand_ddpm_pretrain"):
        last = next_steps(run, learned, [Path(f"configs/{name}.yaml")])[-1]
        config = name.replace("ddpm_pretrain", "finetune")
        assert f"ldx fit --config {config}.yaml --model.pretrained {run.path}/checkpoints/last.ckpt" in last
