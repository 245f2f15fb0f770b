"""A config of a stranger names values, and classes of an allowed list: nothing else is imported, run or fetched."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import cv2
import pytest

from landmark_diffusion.cli.safe_configs import ALLOWED
from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import ALLOW_VARIABLE
from landmark_diffusion.core.untrusted import MAX_BYTES, check_harmless
from tests.detection.tiny_model import picture, write_positions
from tests.end_to_end.console import PHANTOM, Outcome, ldx

STRANGER = """
import pathlib
from lightning.pytorch import Callback
(pathlib.Path(__file__).parent / "mark").write_text("")


class Spy(Callback):
    pass


def make() -> Callback:
    return Callback()
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a stranger's module that can be imported, and leaves a mark when it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    (tmp_path / "stranger.py").write_text(STRANGER)


def fit(config: str, *options: str) -> Outcome:
    Path("c.yaml").write_text(config)
    return ldx("fit", *PHANTOM, "--config", "c.yaml", "--print_config", *options)


POPEN = "{class_path: subprocess.Popen, init_args: {args: [touch, mark]}}"
CLASSES = {
    "a callback": ("trainer: {callbacks: [{class_path: stranger.Spy}]}", "stranger.Spy"),
    "a callback by its name alone": ("trainer: {callbacks: [stranger.Spy]}", "stranger.Spy"),
    "a function that makes one": ("trainer: {callbacks: stranger.make}", "stranger.make"),
    "a logger": (f"trainer: {{logger: {POPEN}}}", "subprocess.Popen"),
    "a plugin": (f"trainer: {{plugins: [{POPEN}]}}", "subprocess.Popen"),
    "a strategy": ("trainer: {strategy: {class_path: stranger.Spy}}", "stranger.Spy"),
    "a profiler": ("trainer: {profiler: {class_path: stranger.Spy}}", "stranger.Spy"),
    "an accelerator": ("trainer: {accelerator: {class_path: stranger.Spy}}", "stranger.Spy"),
    "the model": ("model: {class_path: os.system}", "os.system"),
    "the model by its name alone": ("model: stranger.Spy", "stranger.Spy"),
    "an option of any kind": (f"data: {{dataset_options: {{count: {POPEN}}}}}", "subprocess.Popen"),
    "deep within one": (f"data: {{recipe_options: {{a: [{{b: {POPEN}}}]}}}}", "subprocess.Popen"),
    "what an allowed class calls": (
        "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: os.abort}}]}", "os.abort",
    ),
    "through an allowed module": (
        "trainer: {callbacks: [landmark_diffusion.studies.trainings.runner.subprocess.Popen]}", "subprocess.Popen",
    ),
    "torch.load": ("trainer: {callbacks: [{class_path: torch.load, init_args: {f: x.ckpt}}]}", "torch.load"),
    "a second config in an option": ("trainer: {callbacks: more.yaml}", "stranger.Spy"),
    "the parser itself": ("trainer: {callbacks: [jsonargparse.set_parsing_settings]}", "set_parsing_settings"),
}  # fmt: skip


FIRST = ("a callback", "a callback by its name alone", "an option of any kind", "through an allowed module")


@pytest.mark.parametrize(
    "place", [each if each in FIRST else pytest.param(each, marks=pytest.mark.slow) for each in CLASSES]
)
def test_classes_of_others_are_refused_by_name_before_they_are_imported(place: str, tmp_path: Path) -> None:
    config, name = CLASSES[place]
    (tmp_path / "more.yaml").write_text("- class_path: stranger.Spy\n")
    outcome = fit(config)
    assert outcome.status == 1 and f"{name}: refused, and nothing of it was run." in outcome.err.replace("\n", " ")
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "mark").exists() and "stranger" not in sys.modules


@pytest.mark.parametrize(
    "option",
    ["--trainer.callbacks=stranger.Spy", "--trainer.callbacks+=stranger.Spy", "--model.class_path=stranger.Spy",
     '--trainer.callbacks=[{"class_path": "stranger.Spy"}]', "--trainer.callbacks.help=stranger.Spy"],
)  # fmt: skip
def test_the_command_line_is_held_to_the_same(option: str, tmp_path: Path) -> None:
    """`ldx fewshot` writes what its config says onto the command lines of its cells."""
    outcome = fit("{}", option)
    assert outcome.status == 1 and "stranger.Spy" in outcome.err
    assert not (tmp_path / "mark").exists() and "stranger" not in sys.modules


def test_a_module_that_the_user_allows_is_taken(tmp_path: Path) -> None:
    """And no longer in the next command of this process."""
    config = CLASSES["a callback"][0]
    allowed = fit(config, "--allow_classes", "my_lab,stranger")
    assert allowed.status == 0 and "class_path: stranger.Spy" in allowed.out and (tmp_path / "mark").exists()
    assert ALLOW_VARIABLE not in os.environ
    assert fit(config).status == 1
    assert fit(config, "--allow_classes=stranger").status == 0


CLASS_BY_TEXT = {
    "fit": ("fit", "--config", "d.yaml"),
    "data check": ("data", "check", "--config", "d.yaml"),
    "data check by option": ("data", "check", "--dataset", "stranger.Spy"),
    "fewshot": ("fewshot", "--config", "grid.yaml"),
    "crossval": ("crossval", "--config", "d.yaml"),
    "an output": ("detect", "x.png", "--model", "x.ldx", "--to", "csv,stranger.Spy"),
    "the dataset in a model file": ("test", "data.ldx"),
    "the method in a model file, test": ("test", "method.ldx"),
    "the method in a model file, detect": ("detect", "x.png", "--model", "method.ldx"),
    "the method in a model file, export": ("export", "method.ldx", "x.onnx"),
    "the dataset in a model file, calibrate": ("calibrate", "--checkpoint", "data.ldx"),
}


@pytest.mark.parametrize("way", CLASS_BY_TEXT)
def test_classes_that_our_own_registries_import_are_held_to_the_same(way: str, tmp_path: Path) -> None:
    """jsonargparse does not see these: a data set, an output and the method of a model file are texts to it."""
    (tmp_path / "d.yaml").write_text("data:\n  dataset: stranger.Spy\n  size: [64, 80]\n")
    (tmp_path / "grid.yaml").write_text("fewshot: {fit: [d.yaml], n: [1], draws: 1, starts: {scratch: {}}}\n")
    (tmp_path / "x.png").write_bytes(cv2.imencode(".png", picture())[1].tobytes())
    write_positions(tmp_path / "method.ldx", class_path="stranger.Spy")
    write_positions(tmp_path / "data.ldx", data={"dataset": "stranger.Spy", "size": [64, 80]})
    more = ("--config", "phantom_diffusion.yaml") if way == "fit" else ()
    outcome = ldx(CLASS_BY_TEXT[way][0], *more, *CLASS_BY_TEXT[way][1:])
    said = outcome.err.replace("\n", " ")
    assert outcome.status == 1 and "stranger.Spy: refused, and nothing of it was run." in said, said
    assert "add --allow_classes stranger" in said and "Traceback" not in said
    assert way != "fit" or said.partition(" data.dataset: ")[0].endswith("error: d.yaml:2:")
    assert not (tmp_path / "mark").exists() and "stranger" not in sys.modules


def test_a_class_is_refused_with_its_place_in_a_config_of_another_folder(tmp_path: Path) -> None:
    """jsonargparse reads it from within that folder, where the path as typed leads nowhere."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "c.yaml").write_text(CLASSES["a callback"][0])
    outcome = ldx("fit", *PHANTOM, "--config", "runs/c.yaml", "--print_config")
    assert outcome.status == 1 and "error: runs/c.yaml:1: stranger.Spy: refused" in outcome.err


def test_the_refusal_says_where_it_stands_and_what_to_add() -> None:
    told = fit("# a run\n" + CLASSES["a callback"][0]).err.replace("\n", " ")
    assert told.startswith("error: c.yaml:2: stranger.Spy: refused")
    assert "add --allow_classes stranger" in told and all(name in told for name in ALLOWED)
    assert "--allow_classes" not in fit(CLASSES["a logger"][0]).err  # nobody should be told to allow subprocess


@pytest.mark.parametrize("value", ["", "my lab", "--data.root", "*", "jsonargparse"])
def test_what_is_no_module_cannot_be_allowed(value: str) -> None:
    outcome = fit("{}", f"--allow_classes={value}")
    assert outcome.status == 1 and "--allow_classes" in outcome.err


def test_classes_of_lightning_may_be_named_but_for_those_that_speak_to_others() -> None:
    taken = fit("trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LearningRateMonitor}]}")
    assert taken.status == 0 and "LearningRateMonitor" in taken.out
    for name in ("WandbLogger", "MLFlowLogger"):
        outcome = fit(f"trainer: {{logger: {{class_path: lightning.pytorch.loggers.{name}}}}}")
        assert outcome.status == 1 and "It speaks to other machines" in outcome.err.replace("\n", " ")


# ---- the yaml itself ------------------------------------------------------------------------------------------------

TAGS = ("!!python/object/apply:os.system [touch mark]", "!!python/name:os.system", "!!python/object/new:os.system [a]",
        "!!python/module:stranger", "!stranger {a: 1}")  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_tags_build_no_objects(tag: str, tmp_path: Path) -> None:
    for config in (f"data: {{root: {tag}}}", f"fewshot: {tag}"):
        Path("c.yaml").write_text(config)
        for verb in (("fit",), ("fewshot",), ("data", "check")):
            outcome = ldx(*verb, "--config", "c.yaml")
            assert outcome.status == 1 and "c.yaml" in outcome.err and "Traceback" not in outcome.err
    assert not (tmp_path / "mark").exists()


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
BOMBS = {
    "billion laughs": (LAUGHS, "aliases that stand for more than"),
    "merged a billion times": (MERGED, "aliases that stand for more than"),
    "an alias within itself": ("data: &a [*a]", r"the alias \*a within what it stands for"),
    "depth": ("data: " + "[" * 100_000, "more than 50 levels"),
    "depth in blocks": ("\n".join(" " * n + "a:" for n in range(1_000)), "more than 50 levels"),
    "size": ("data: " + "x" * MAX_BYTES, f"expected a config of at most {MAX_BYTES}"),
    "a URL": ("data: http://example.com/x.yaml", "a config names local files, and no URLs"),
    "a URL in a path": ("data: {root: 's3://bucket/x'}", "no URLs"),
    "a chained URL": ("trainer: {default_root_dir: 'simplecache::https://example.com'}", "no URLs"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_that_blows_up_is_refused_at_once(bomb: str) -> None:
    text, says = BOMBS[bomb]
    Path("c.yaml").write_text(text)
    begin = time.monotonic()
    with pytest.raises(UserError, match=says):
        check_harmless(Path("c.yaml"))
    for verb in (("fit",), ("fewshot",), ("data", "check")):
        outcome = ldx(*verb, "--config", "c.yaml")
        assert outcome.status == 1 and "error: c.yaml" in outcome.err and "Traceback" not in outcome.err
    assert time.monotonic() - begin < 20  # some ms on an idle machine


@pytest.mark.parametrize(("place", "name"), [("data", "more.yaml"), ("trainer", "/dev/zero"), ("model", "more.yaml")])
def test_a_section_is_no_other_file(place: str, name: str) -> None:
    Path("more.yaml").write_text("callbacks: [stranger.Spy]")
    outcome = fit(f"{place}: {name}")
    assert outcome.status == 1 and f"found '{name}' as {place}" in outcome.err.replace("\n", " ")


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/x.yaml", "s3://bucket/x.yaml", "file:///etc/x.yaml"])
def test_no_config_is_fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"fetched {arguments}")

    import fsspec

    monkeypatch.setattr(fsspec, "open", refuse)
    for line in (("--config", name), ("--config", "phantom_baseline.yaml", "--data", name),
                 ("--config", "phantom_baseline.yaml", "--trainer", name)):  # fmt: skip
        outcome = ldx("fit", *line)
        assert outcome.status == 1 and "Traceback" not in outcome.err


def test_variables_of_the_environment_are_not_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their values would travel on in config.yaml and in the run's record."""
    monkeypatch.setenv("SECRET", "hunter2")
    text = "${oc.env:SECRET} ${env:SECRET} $SECRET ${SECRET}"
    outcome = fit(f"data: {{root: '{text}'}}")
    assert outcome.status == 0 and "hunter2" not in outcome.out and text in outcome.out


def test_harmless_configs_are_read_as_before() -> None:
    """Anchors that mean what they say, a list of 100,000 images, and all that come with the package."""
    images = "\n".join(f"  - '{number:06}'" for number in range(100_000))
    Path("c.yaml").write_text(f"data:\n  train_images:\n{images}\nx: &a {{b: 1}}\ny: {{<<: *a}}\nz: *a\n")
    check_harmless(Path("c.yaml"))
    for path in installed_configs():
        check_harmless(path)


def test_a_config_cannot_discard_a_run() -> None:
    outcome = fit("run_folder: runs/precious\noverwrite: true\n")
    assert outcome.status == 1
    assert "c.yaml:2: found overwrite: True, but a config cannot discard a run" in outcome.err
    assert fit("overwrite: false\n").status == 0  # as every saved config.yaml says
    assert fit("pictures: 0\n", "--overwrite", "true").status == 0


def test_an_empty_config_is_named() -> None:
    outcome = fit("# pictures: 0\n")
    assert outcome.status == 1 and "c.yaml: found an empty config" in outcome.err
