"""The config of a grid: what is read, and what is refused before hours are spent on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.configuration.options import arguments, config_options, data_section, over
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.fewshot.jobs import make_job
from landmark_diffusion.studies.fewshot.manifest import merge
from landmark_diffusion.studies.fewshot.plan import Cell, GridStart, Plan, read_plan
from tests.studies.fewshot.grid import manifest_of, write_config

RATE = "model.init_args.optimisation.learning_rate"


def test_options_go_from_configs_over_options_and_command_line_to_the_start(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, options={"trainer.max_steps": 7, "data.size": [8, 8], "trainer": {"precision": "32-true"}}
    )
    plan = read_plan([str(config)], cell_options={"data.size": [16, 16], "model.decoding.decoder": "argmax"})
    assert plan.base()["trainer.max_steps"] == 7
    assert plan.base()["data.size"] == [16, 16]
    assert plan.base()["trainer.precision"] == "32-true"
    assert plan.base()["model.init_args.decoding.decoder"] == "argmax"
    assert plan.base()["model.init_args.target.kind"] == "one_hot"  # the config of ldx fit
    assert plan.own_options(Cell("scratch", "default", 1, 0)) == {RATE: 0.001}


@pytest.mark.parametrize("config", [path for path in installed_configs() if "_fewshot" in path.stem], ids=str)
def test_the_installed_grids_are_read(config: Path) -> None:
    plan = read_plan([config.name])
    assert plan.base()["data.dataset"]
    assert "scratch" in plan.starts and len({cell.name for cell in plan.cells()}) == len(plan.cells()) > 1


def test_targets_make_a_second_axis_and_name_the_cells(tmp_path: Path) -> None:
    targets = {"disc": {"model.target.kind": "disc"}, "point": {"model.target.kind": "one_hot"}}
    plan = read_plan([str(write_config(tmp_path, targets=targets))])
    assert len(plan.cells()) == 8
    assert plan.cells()[1] == Cell("scratch", "point", 1, 0)
    assert plan.cells()[1].name == "scratch-point-n1-d0"
    assert plan.own_options(Cell("scratch", "disc", 1, 0)) == {RATE: 0.001, "model.init_args.target.kind": "disc"}


OTHER = """
data: {dataset: isbi2015, root: elsewhere, split: official, size: [64, 80]}
model: {class_path: OffsetVotingModule, init_args: {network: {class_path: AFPF}, pretrained: null}}
trainer: {max_steps: 9, precision: bf16-mixed}
"""


def own_configs(folder: Path, text: str = OTHER, **changes: object) -> Plan:
    """A plan whose start ``other`` has a config of its own."""
    (folder / "other.yaml").write_text(text)
    starts = {"scratch": {RATE: 0.001}, "other": {"fit": str(folder / "other.yaml"), RATE: 0.01}}
    return read_plan([str(write_config(folder, starts=starts, **changes))])


def test_a_start_may_have_configs_of_its_own(tmp_path: Path) -> None:
    plan = own_configs(tmp_path, options={"data.batch_size": 3})
    jobs = {each: make_job(plan, manifest_of(plan), Cell(each, "default", 1, 0)) for each in plan.starts}
    assert str(tmp_path / "cell.yaml") in jobs["scratch"].options
    other = jobs["other"].options
    assert str(tmp_path / "other.yaml") in other and str(tmp_path / "cell.yaml") not in other
    assert f"--{RATE}=0.01" in other and "--data.batch_size=3" in other
    assert not any(option.startswith("--fit") for option in other)
    # what it learns with is its own, which images there are is the grid's
    assert plan.base("other")["model.class_path"] == "OffsetVotingModule"
    assert plan.base("other")["trainer.max_steps"] == 9 and plan.base("other")["data.size"] == [64, 80]
    assert plan.base("other")["data.dataset"] == "phantom" and "data.split" not in plan.base("other")
    assert "--data.dataset_options.count=[30, 5, 7]" in other and "--data.dataset=phantom" in other
    assert plan.base("scratch") == plan.base()


def test_a_start_may_have_some_n_alone(tmp_path: Path) -> None:
    starts = {"scratch": {}, "some": {"n": [3, 8], RATE: 0.5}}  # 8 is none of the plan's
    plan = read_plan([str(write_config(tmp_path, starts=starts, draws=1))])
    assert [cell.name for cell in plan.cells()] == ["scratch-n1-d0", "scratch-n3-d0", "some-n3-d0"]
    assert plan.starts["some"].options == {RATE: 0.5} and len(plan.one_cell_each()) == 2
    bare = read_plan([str(write_config(tmp_path, starts={"scratch": None, "some": {"n": [3], RATE: 0.5}}, draws=1))])
    assert bare.starts["some"] == GridStart({RATE: 0.5}, n=(3,)) and bare.starts["scratch"] == GridStart()
    with pytest.raises(UserError, match=r"fewshot\.starts\.some\.n: found \['x'\], expected whole numbers"):
        read_plan([str(write_config(tmp_path, starts={"scratch": {}, "some": {"n": ["x"]}}))])


def test_the_manifest_knows_a_start_by_what_its_own_configs_say(tmp_path: Path) -> None:
    before = manifest_of(own_configs(tmp_path))
    assert before["starts"]["other"]["fit"] == ["other.yaml"] and "fit" not in before["starts"]["scratch"]
    assert merge(before, manifest_of(own_configs(tmp_path)), tmp_path) == before
    after = manifest_of(own_configs(tmp_path, OTHER.replace("max_steps: 9", "max_steps: 8")))
    with pytest.raises(UserError, match=r"starts\.other"):
        merge(before, after, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OTHER + "model: [", "other.yaml"),
        (
            OTHER.replace("{network", "{optimisation: {lr_schedule: plateau}, network"),
            "other-n1-d0 lowers its",
        ),
    ],
)
def test_own_configs_are_checked_as_the_plans_are(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        own_configs(tmp_path, text)
    starts = {"scratch": {}, "other": {"fit": ["no_such.yaml"]}}
    with pytest.raises(UserError, match=r"no_such\.yaml"):
        read_plan([str(write_config(tmp_path, starts=starts))])
    with pytest.raises(UserError, match=r"fewshot\.starts\.other\.fit: found 3, expected a list of names"):
        read_plan([str(write_config(tmp_path, starts={"scratch": {}, "other": {"fit": 3}}))])


def test_cells_of_an_n_have_its_options_below_those_of_their_start(tmp_path: Path) -> None:
    by_n = {1: {"trainer.max_steps": 2, RATE: 0.5}, 3: {"trainer.max_steps": 3}}
    plan = read_plan([str(write_config(tmp_path, n=[1, 3, 4], by_n=by_n))])
    assert plan.own_options(Cell("scratch", "default", 1, 0)) == {"trainer.max_steps": 2, RATE: 0.001}
    assert plan.own_options(Cell("scratch", "default", 4, 0)) == {RATE: 0.001}
    job = make_job(plan, manifest_of(plan), Cell("scratch", "default", 3, 1))
    assert "--trainer.max_steps=3" in job.options and "--trainer.max_steps=5" not in job.options
    assert {cell.n for cell in plan.one_cell_each()} == {1, 3, 4}  # the options of each are checked


def test_readings_are_options_of_the_evaluations_alone(tmp_path: Path) -> None:
    plan = read_plan([str(write_config(tmp_path, readings={"top": {"model.decoding.decoder": "argmax"}}))])
    job = make_job(plan, manifest_of(plan), plan.cells()[0])
    read = "--model.init_args.decoding.decoder=argmax"
    assert job.measured() == [("best", None), ("best", "top"), ("last", None), ("last", "top")]
    assert read in job.evaluate("last", "top") and read not in job.evaluate("last") + job.fit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by_n": {2: {}}}, r"fewshot.by_n: found 2, expected one of fewshot.n \(\[1, 3\]\)"),
        ({"by_n": ["a"]}, "fewshot.by_n: found .*, expected options by n"),
        ({"by_n": {1: {"data.split": "x"}}}, "fewshot.by_n.1: data.split must be the same for a whole grid"),
        ({"readings": {"a b": {}}}, "fewshot.readings: found the name 'a b'"),
        ({"order": "nmes"}, "fewshot.order: found 'nmes'.*names"),
        ({"order": "names"}, "fewshot.draws: found 2, but the first n by name"),
        (
            {"readings": {"a": {"trainer.max_steps": 3}}},
            "fewshot.readings.a: found trainer.max_steps, expected",
        ),
        ({"readings": {"a": {}}}, "fewshot.readings.a: found no option, expected options of the model"),
    ],
)
def test_further_keys_that_cannot_be_used_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_plan([str(write_config(tmp_path, **changes))])


def test_a_grid_of_another_dataset_keeps_its_split_to_itself() -> None:
    plan = read_plan(["ceph_fewshot_small.yaml"])
    assert plan.base()["data.split"] == "development"
    own = read_plan(["ceph_fewshot_small.yaml"], cell_options={"data.dataset": "folder", "data.root": "my_xrays"})
    assert data_section(own.base()) == {"name": "folder", "root": "my_xrays", "options": {}}


def test_the_command_line_changes_the_plan(tmp_path: Path) -> None:
    plan = read_plan([str(write_config(tmp_path))], {"n": [2], "draws": 1, "folder": "elsewhere"})
    assert (plan.n, plan.draws, plan.folder) == ((2,), 1, Path("elsewhere"))


def test_a_folder_is_named_after_the_config(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text("".join(line for line in config.open() if "folder:" not in line))
    assert read_plan([str(config)]).folder == Path("runs/fewshot/fewshot")


def test_options_as_arguments_keep_texts_as_they_are() -> None:
    """An image called 001 would become the number 1, and a path with a blank two arguments."""
    options = {"data.root": "/a b", "data.size": [64, 80], "model.init_args.pretrained": None, "x": "001", "y": True}
    assert arguments(options) == [
        *("--data.root=/a b", "--data.size=[64, 80]", "--model.init_args.pretrained=null", "--x=001", "--y=true")
    ]


def test_a_later_config_replaces_a_whole_option(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("data: {dataset: folder, root: x, split: auto, dataset_options: {csv: a, split_seed: 1}}")
    second.write_text("data: {dataset_options: {csv: b}}\ntrainer: {max_steps: 1}")
    options = config_options([first, second])
    assert options["data.root"] == "x" and options["trainer.max_steps"] == 1
    assert data_section(options) == {"name": "folder", "root": "x", "options": {"csv": "b", "split": "auto"}}
    assert over(options, {"data.dataset_options": {}})["data.dataset_options"] == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drwas": 3}, r"fewshot.yaml:\d+: unknown key fewshot.drwas. Did you mean draws"),
        ({"draws": 0}, "fewshot.draws: found 0, expected a whole number of at least 1"),
        ({"draws": True}, "fewshot.draws: found True"),
        ({"n": [1, 1]}, r"fewshot.n: found \[1, 1\]"),
        ({"n": []}, "fewshot.n: found"),
        ({"n": [0]}, "fewshot.n: found"),
        ({"starts": {}}, "fewshot.starts: found {}"),
        ({"starts": None}, "fewshot.starts is missing; an example"),
        ({"starts": {"a-b": {}}}, "found the name 'a-b'"),
        ({"starts": {"default": {}}}, "not 'default'"),
        ({"starts": {"a": 3}}, "fewshot.starts.a: found 3, expected options"),
        ({"starts": {"a": {"run_folder": "x"}}}, "run_folder is decided by `ldx fewshot`"),
        ({"starts": {"a": {"data": {"split": "x"}}}}, "data.split must be the same for a whole grid"),
        (
            {"targets": {"t": {"model.optimisation.learning_rate": 1}}},
            "both set model.init_args.optimisation.learning_rate",
        ),
        ({"checkpoints": ["bset"]}, "fewshot.checkpoints: found 'bset'. Did you mean best"),
        ({"checkpoints": []}, "fewshot.checkpoints: found nothing"),
        ({"stage": "train"}, "fewshot.stage: found 'train'"),
        ({"keep_checkpoints": "maybe"}, "expected true or false"),
        ({"fit": ["nowhere.yaml"]}, "nowhere.yaml"),
        ({"fit": 3}, "fewshot.fit: found 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_plan([str(write_config(tmp_path, **changes))])


def test_an_option_given_twice_is_refused_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fewshot\.starts\.scratch sets it too"):
        read_plan([str(write_config(tmp_path))], cell_options={"model.optimisation.learning_rate": 1})


def test_a_config_of_another_verb_is_told(tmp_path: Path) -> None:
    write_config(tmp_path)
    with pytest.raises(UserError, match="found the section data, expected `fewshot:` alone"):
        read_plan([str(tmp_path / "cell.yaml")])
    with pytest.raises(UserError, match="needs --config"):
        read_plan([])


@pytest.mark.parametrize(
    "options",
    [{"model.optimisation.lr_schedule": "plateau"}, {"model.optimisation.early_stopping_patience": 3}],
    ids=["plateau", "stopping"],
)
def test_last_weights_that_followed_validation_labels_are_not_called_free_of_them(tmp_path: Path, options) -> None:
    with pytest.raises(UserError, match=r"checkpoints: last stands for training without validation labels.*\[best\]"):
        read_plan([str(write_config(tmp_path, options=options))])
    assert read_plan([str(write_config(tmp_path, options=options, checkpoints=["best"]))]).checkpoints == ("best",)
