"""Whatever is misspelt, in yaml or on the command line, is told with its place and the nearest known name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import write_config

Ldx = Callable[[str], int]

ON_THE_COMMAND_LINE = [
    ("--data.recipee x", "unknown option --data.recipee. Did you mean --data.recipe"),
    ("--recipe x", "unknown option --recipe. Did you mean --data.recipe"),
    ("--mdoel.channels 3", "Did you mean --model.channels"),
    ("--trainer.max_epoch 3", "Did you mean --trainer.max_epochs"),
    ("--trainer.max_epochs three", "trainer.max_epochs: found three, expected a whole number."),
    ("--model.chanels 3", "unknown option chanels of TinyModel (model). Did you mean channels?"),
    ("--model.init_args.chanels 3", "unknown option chanels of TinyModel (model). Did you mean channels?"),
    ("--model.channels three", "model.init_args.channels: found three, expected a whole number."),
    ("--model TinyModl", "model: unknown class 'TinyModl'. Did you mean TinyModel"),
    ("--model.class_path OtherTiny", "model: unknown class 'OtherTiny'. Did you mean OtherTinyModel"),
    ("--wandb onlin", "wandb: found onlin, expected disabled, offline, online. Did you mean online"),
    ("--data.size 384", "data.size: found 384, expected a list in brackets, such as [1, 2]."),
    ("--data.size [1]", "data.size: found [1], expected a list with 2 elements"),
    ("--trainer.callbacks+=RichProgresBar", "trainer.callbacks: unknown class 'RichProgresBar'. Did you mean RichProg"),
    ("--trainer.accelerator gpuu", "trainer: You selected an invalid accelerator name"),
    ("--model.num_landmarks 9", "--model.num_landmarks is decided by data.num_landmarks"),
    ("--model.init_args.num_landmarks=9", "is decided by data.num_landmarks"),
    ("extra", "found 'extra' where an option such as --config NAME was expected"),
]


@pytest.mark.parametrize(("options", "expected"), ON_THE_COMMAND_LINE)
def test_command_line(ldx: Ldx, capsys: pytest.CaptureFixture[str], options: str, expected: str) -> None:
    assert ldx(f"fit --config tiny.yaml {options}") == 1
    assert expected in capsys.readouterr().err


IN_YAML = [
    ({"data__recipee": "x"}, "unknown option data.recipee. Did you mean data.recipe"),
    ({"trainer__max_stepz": 3}, "unknown option trainer.max_stepz. Did you mean trainer.max_steps"),
    ({"trainer__max_epochs": "three"}, "trainer.max_epochs: found three, expected a whole number."),
    ({"model__init_args__chanels": 3}, "unknown option chanels of TinyModel (model). Did you mean channels?"),
    ({"model__init_args__channels": "three"}, "model.init_args.channels: found three, expected a whole number."),
    ({"model__class_path": "TinyModl"}, "model: unknown class 'TinyModl'. Did you mean TinyModel"),
    ({"model__init_argz": {}}, "model: expected `class_path: NAME` with `init_args:` below it"),
    ({"runfolder": "x"}, "unknown section runfolder. Did you mean run_folder?"),
    ({"trainner": None}, "unknown section trainner. Did you mean trainer?"),
    ({"data__dataset": 3}, "data.dataset: found 3, expected text (in quotes)"),
    ({"model__init_args__num_landmarks": 9}, "model.init_args.num_landmarks is decided by data.num_landmarks"),
]


@pytest.mark.parametrize(("changes", "expected"), IN_YAML)
def test_yaml_names_the_file(
    ldx: Ldx, folder: Path, capsys: pytest.CaptureFixture[str], changes: dict, expected: str
) -> None:
    write_config(folder / "changed.yaml", **changes)
    assert ldx("fit --config changed.yaml") == 1
    err = capsys.readouterr().err
    assert expected in err
    assert "changed.yaml:" in err


def test_yaml_names_the_line_of_the_file_that_counts(
    ldx: Ldx, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "more.yaml").write_text("# more\n\ntrainer:\n  max_epochs: 2\n  max_stepz: 3\n")
    assert ldx("fit --config tiny.yaml --config more.yaml") == 1
    assert "more.yaml:5: unknown option trainer.max_stepz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2", "broken.yaml:2: not valid yaml"),
        ("- 1\n- 2\n", "broken.yaml: found list, expected sections"),
        ("\x00\x01", "broken.yaml: not valid yaml"),
    ],
)
def test_file_that_is_no_config(
    ldx: Ldx, folder: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    (folder / "broken.yaml").write_text(text)
    assert ldx("fit --config broken.yaml") == 1
    assert expected in capsys.readouterr().err


def test_nothing_given_points_to_the_configs(ldx: Ldx, capsys: pytest.CaptureFixture[str]) -> None:
    assert ldx("fit") == 1
    assert "model: not given; name a config" in capsys.readouterr().err


def test_configs_add_up_and_the_last_wins(ldx: Ldx, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.yaml").write_text("trainer:\n  max_epochs: 7\n")
    assert ldx("fit --config tiny.yaml --config more --data.recipe mild --print_config") == 0
    shown = capsys.readouterr().out
    assert "max_epochs: 7" in shown
    assert "accelerator: cpu" in shown
    assert "recipe: mild" in shown
    assert "num_sanity_val_steps: 0" in shown
    assert "use_distributed_sampler: false" in shown


def test_printed_config_is_a_config(ldx: Ldx, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ldx("fit --config tiny.yaml --print_config")
    printed = capsys.readouterr().out
    (folder / "printed.yaml").write_text(printed)
    assert ldx("fit --config printed.yaml --print_config") == 0
    assert capsys.readouterr().out == printed


def test_all_options_of_a_verb(ldx: Ldx, capsys: pytest.CaptureFixture[str]) -> None:
    assert ldx("fit --help=all") == 0
    shown = capsys.readouterr().out
    for option in ("--run_folder", "--overwrite", "--wandb", "--ckpt_path", "--data.size", "--trainer.max_epochs"):
        assert option in shown
    assert "--trainer.reload_dataloaders_every_n_epochs" in shown
    assert "--weights_only" not in shown
