"""What fit says at its end can be typed as it stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from landmark_diffusion.cli.next_steps import Trained, next_steps
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


def test_a_pre_training_leads_to_the_fine_tuning_of_its_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x", "last.ckpt")
    learned = replace(TRAINED, monitor="val/loss", unit="", landmarks=False)
    for name in ("folder_ddpm_pretrain", "folder_ddpm_pretrain_small", "hand_ddpm_pretrain"):
        last = next_steps(run, learned, [Path(f"configs/{name}.yaml")])[-1]
        config = name.replace("ddpm_pretrain", "finetune")
        assert f"ldx fit --config {config}.yaml --model.pretrained {run.path}/checkpoints/last.ckpt" in last
