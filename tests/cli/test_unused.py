"""Nothing that a user wrote is dropped without a word, and nothing that is shipped raises a false alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from landmark_diffusion.cli import main
from landmark_diffusion.cli.unused import MODELS, OF_VERBS, RUN, refuse_contradictions, unused_options
from landmark_diffusion.configuration.config_checks import load_yaml
from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.configuration.repeated import repeated_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import dotted
from landmark_diffusion.models.network import described
from landmark_diffusion.models.presets import is_network
from tests.options import nested

RUN_OPTIONS: dict[str, Any] = {
    "snapshots": [], "snapshot_every": 0, "overwrite": False, "wandb": "disabled", "keep_snapshots": 5,
    "ckpt_path": None,
}  # fmt: skip


def options(model: str = "", init_args: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Parsed options of a verb, with changes of the run's, ``trainer`` and ``data``; the model's are dotted."""
    found: dict[str, Any] = {
        **RUN_OPTIONS,
        "trainer": {"fast_dev_run": False, "barebones": False},
        "data": {},
        **changes,
    }
    if model:
        found["model"] = {"class_path": f"landmark_diffusion.{model}", "init_args": nested(init_args or {})}
    return found


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--data.root a --data.root b", ["--data.root is given twice: b is taken, not a"]),
        ("--data.root=a --data.root b", ["--data.root is given twice: b is taken, not a"]),
        ("--model.init_args.channels 3 --model.channels=5", ["--model.channels is given twice: 5 is taken, not 3"]),
        ("--trainer.max_steps -1 --trainer.max_steps 5", ["--trainer.max_steps is given twice: 5 is taken, not -1"]),
        ("--overwrite false --overwrite", ["--overwrite is given twice: the second is taken, not false"]),
        ("--data.root a --data.root a", []),
        ("--config a.yaml --config b.yaml -c c.yaml --set draws=1 --set seed=2", []),
        (
            "--trainer.callbacks+=A --trainer.callbacks.monitor=x --trainer.callbacks+=B --trainer.callbacks.monitor=y",
            [],
        ),
        ("x.png -- --data.root a --data.root b", []),
    ],
)
def test_an_option_given_twice(line: str, told: list[str]) -> None:
    assert repeated_options(line.split()) == told


def test_an_option_given_twice_is_told_by_every_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("detect x.png --model a.ldx --model b.ldx", "fit --config nope --data.root x --data.root y"):
        assert main(command.split()) == 1
        assert " is given twice: " in capsys.readouterr().err.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("data:\n  root: a\n  size: [8, 8]\n  root: b\n", 4, "root"),
        ("data:\n  root: a\ndata:\n  root: b\n", 3, "data"),
        ("a:\n- {x: 1, x: 2}\n", 2, "x"),
    ],
)
def test_a_key_twice_in_one_file(tmp_path: Path, text: str, line: int, key: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"x\.yaml:{line}: found {key} a second time \(first in line [12]\); keep one"):
        load_yaml(path)


def test_a_key_twice_is_refused_by_fit(folder: Path, ldx: Callable[[str], int], capfd: pytest.CaptureFixture) -> None:
    (folder / "tiny.yaml").write_text((folder / "tiny.yaml").read_text() + "  max_epochs: 3\n")
    assert ldx("fit --config tiny.yaml") == 1
    assert "found max_epochs a second time (first in line 11)" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (options(snapshots=[5, 500], trainer={"max_steps": 100}), "snapshots [500] come after the run's end"),
        (options(snapshots=[5], trainer={"fast_dev_run": True}), "snapshots: not used, since fast_dev_run"),
        (options(wandb="offline", trainer={"fast_dev_run": 2}), "wandb: not used, since fast_dev_run"),
        (
            options(snapshot_every=5, trainer={"enable_checkpointing": False}),
            "snapshot_every: not used, since trainer.ena",
        ),
        (options(keep_snapshots=3), "keep_snapshots: not used, since snapshot_every is 0"),
        (
            options(trainer={"gradient_clip_algorithm": "norm"}),
            "trainer.gradient_clip_algorithm: not used, since trainer.g",
        ),
        (
            options(trainer={"overfit_batches": 1, "limit_train_batches": 5}),
            "trainer.limit_train_batches: not used, since",
        ),
        (
            options(data={"dataset": "phantom", "root": "x"}),
            "data.root is not used: the phantom makes its images itself",
        ),
        (options(data={"split": "a", "dataset_options": {"split": "b"}}), "data.dataset_options.split is not used"),
        (options(data={"labels": False, "target_points": "senior"}), "data.target_points is not used: data.labels"),
        (
            options("DiffusionHeatmapModule", {"diffusion": False, "sampling.steps": 20, "sampling.blur_kernel": 15}),
            "model.sampling.steps, model.sampling.blur_kernel: not used, since model.diffusion is false",
        ),
        (
            options("DiffusionHeatmapModule", {"sampling.eta": 0.5}),
            "model.sampling.eta: not used, since model.sampling.sampler is ddpm",
        ),
        (
            options("DiffusionHeatmapModule", {"target.nll_sigma": 2.0}),
            "model.target.nll_sigma: not used, since model.target.nll is one",
        ),
        (
            options("PositionDiffusionModule", {"sampling.samples": 8}),
            "model.sampling.samples: not used, since model.sampling.start_noise",
        ),
        (
            options("PositionDiffusionModule", {"optimisation.plateau_factor": 0.1}),
            "model.optimisation.plateau_factor: not used, since model.optimisation.lr_s",
        ),
        (
            options("PositionDiffusionModule", {"decoding.top_k": 5}),
            "model.decoding.top_k: not used, since model.decoding.decoder is",
        ),
        (
            options("PositionDiffusionModule", {"ddpm_start.time": "removed"}),
            "model.ddpm_start.time: not used, since model.pretrained is not given",
        ),
        (
            options("DDPMPretrainModule", {"windows.size": 16}),
            "model.windows.size: not used, since model.windows.count is 0",
        ),
        (
            options("DDPMPretrainModule", {"condition.dropped": 0.5}),
            "model.condition.dropped: not used, since model.condition.sets names none",
        ),
        (
            options("DDPMPretrainModule", {"alignment.begins": 0.5}),
            "model.alignment.begins: not used, since model.alignment.weight is 0",
        ),
        (
            options(data={"dataset": "hand", "mixing": {"balance": "set", "batches": "mixed"}}),
            "data.mixing is not used: hand is one data set; dataset: pooled has several",
        ),
        (
            options("HeatmapFinetuneModule", {"weights": "raw"}),
            "model.weights: not used, since model.pretrained is not given",
        ),
        (
            options("HeatmapFinetuneModule", {"target.kind": "one_hot", "target.sigma": 3.0}),
            "model.target.sigma: not used, since model.target.kind is one point",
        ),
        (
            options("HeatmapFinetuneModule", {"network.attention_head_channels": 8, "network.attention_heads": 2}),
            "model.network.attention_heads: not used, since model.network.attention_head_channels is given",
        ),
        (
            options("DDPMPretrainModule", {"sampling.every": 0, "sampling.count": 3}),
            "model.sampling.count: not used, since model.sampling.every is 0",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_has_no_effect_beside_another_choice(
    given: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    lines = unused_options("fit", given, [])
    assert len(lines) == 1 and lines[0].startswith(told), lines
    assert unused_options("test", given, []) == []


def test_windows_alone_begin_with_the_weights_asked_for() -> None:
    given = options(
        "PositionDiffusionModule", {"window_pretrained": "w.ckpt", "weights": "raw", "ddpm_start.time": "zero"}
    )
    assert unused_options("fit", given, []) == []


def test_options_that_are_used_raise_nothing() -> None:
    for given in (
        options(data={"dataset": "hand", "mixing": {"balance": "set"}, "pseudo_labels": {"rounds": [0.4]}}),
        options(snapshots=[5, 100], snapshot_every=10, keep_snapshots=3, trainer={"max_steps": 100}),
        options(snapshots=[5], trainer={"max_steps": -1, "gradient_clip_val": 1.0, "gradient_clip_algorithm": "norm"}),
        options("DiffusionHeatmapModule", {"diffusion": False, "sampling.steps": None, "network.middle": "plain"}),
        options(
            "DiffusionHeatmapModule",
            {"sampling.sampler": "ddim", "sampling.eta": 0.5, "target.x0": "gaussian", "target.x0_sigma": 3.0},
        ),
        options(
            "PositionDiffusionModule",
            {
                "sampling.samples": 8,
                "sampling.eta": 1.0,
                "optimisation.lr_schedule": "plateau",
                "optimisation.plateau_factor": 0.1,
            },
        ),
        options("HeatmapFinetuneModule", {"pretrained": "x.ckpt", "weights": "raw", "target.sigma": 3.0}),
        options(model="", data={"dataset": "folder", "root": "x", "split": "auto"}),
    ):
        assert unused_options("fit", given, ["--snapshots", "[5]"]) == []


def test_options_of_other_verbs() -> None:
    told = unused_options("fit", options(), ["--pictures", "3", "--protocols=[paper_b]", "--snapshots", "[3]"])
    assert told == [
        "--pictures is not used: it concerns test, not fit",
        "--protocols is not used: it concerns validate and test, not fit",
    ]
    assert unused_options("validate", options(), ["--overwrite"]) == [
        "--overwrite is not used: it concerns fit, not validate"
    ]
    assert unused_options("test", options(), ["--pictures", "3", "--protocols", "[paper_b]"]) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (options(wandb="offline", trainer={"logger": False}), "--wandb offline and trainer.logger: give one"),
        (options(ckpt_path="last", trainer={"fast_dev_run": True}), "--ckpt_path and trainer.fast_dev_run"),
        (
            options(data={"dataset": "phantom", "split": "official"}),
            "data.split: found 'official', but the dataset phantom",
        ),
    ],
)
def test_what_cannot_both_be_meant(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        refuse_contradictions("fit", given)
    assert str(refused.value).startswith(told)


def test_the_environment_goes_before_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    told = unused_options("fit", options(wandb="online"), [])
    assert told == ["wandb: not used, since the environment's WANDB_MODE is disabled"]
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert unused_options("fit", options(wandb="online"), []) == []


@pytest.mark.parametrize("value", [[1, 2], None, 3])
def test_what_is_no_group_of_options_is_refused(value: object) -> None:
    asked = options("DDPMPretrainModule", {"optimisation": value})
    with pytest.raises(UserError, match=r"model\.optimisation: found .*, expected its options"):
        refuse_contradictions("fit", asked)
    asked["model"]["class_path"] = "my_lab.Method"
    refuse_contradictions("fit", asked)  # whose option it is, they know


def test_a_checkpoint_is_tested_in_a_trial_run_too() -> None:
    refuse_contradictions("test", options(ckpt_path="x.ldx", trainer={"fast_dev_run": True}))


def test_rules_name_options_that_exist() -> None:
    """A renamed option would otherwise never be told again."""
    from landmark_diffusion.cli.trainer_checks import trainer_options
    from landmark_diffusion.cli.unused import _defaults
    from landmark_diffusion.core.classes import subclasses
    from landmark_diffusion.methods import import_methods
    from landmark_diffusion.methods.training import TrainedModule

    import_methods()
    classes = {cls.__name__: cls for cls in subclasses(TrainedModule)}
    for name, rules in MODELS.items():
        usual = _defaults(classes[name]).items()
        defaults = dotted({key: described(value) if is_network(key) else value for key, value in usual})
        for option in (option for rule in rules for option in rule.options):
            assert option in defaults or (option[-1] == "." and any(each.startswith(option) for each in defaults)), (
                option
            )
        for rule in rules:
            rule.when(defaults)
    for rule in RUN:
        names = [each.removeprefix("trainer.") for each in rule.options if each.startswith("trainer.")]
        assert set(names) <= set(trainer_options())
        assert {each for each in rule.options if "." not in each} <= {*OF_VERBS, "wandb"}


@pytest.mark.parametrize("path", installed_configs(), ids=lambda path: path.stem)
def test_shipped_configs_raise_no_alarm(path: Path) -> None:
    config = load_yaml(path)
    given = {**options(), **{key: value for key, value in config.items() if key != "fewshot"}}
    model = config.get("model") or {}
    if model:
        given["model"] = {**model, "class_path": f"landmark_diffusion.{model['class_path']}"}
    refuse_contradictions("fit", given)
    assert unused_options("fit", given, []) == []
    assert yaml.safe_load(path.read_text()) == config


def test_a_run_says_it_on_stderr(ldx: Callable[[str], int], capfd: pytest.CaptureFixture) -> None:
    assert ldx("fit --config tiny.yaml --pictures 3 --trainer.gradient_clip_algorithm norm") == 0
    err = capfd.readouterr().err
    assert "warning: --pictures is not used: it concerns test, not fit\n" in err
    assert "warning: trainer.gradient_clip_algorithm: not used, since trainer.gradient_clip_val is not given\n" in err
