"""The manifest: which images each cell saw, and that one folder holds one grid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.studies.fewshot.manifest import agree, is_news, propose, read_manifest
from landmark_diffusion.studies.fewshot.plan import Plan, read_plan
from landmark_diffusion.studies.trainings.manifest import MANIFEST
from tests.studies.fewshot.grid import POOL, manifest_of, start_process, write_config


def plan_with(folder: Path, cell_options: dict | None = None, **changes: object) -> Plan:
    return read_plan([str(write_config(folder, **changes))], cell_options=cell_options)


def test_draws_are_nested_in_n_and_stay_when_larger_ones_are_added(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, n=[1, 5])
    first = agree(plan.folder, manifest_of(plan))
    assert [len(draw) for draw in first["draws"]] == [5, 5]
    assert first["draws"][0] != first["draws"][1]
    larger = plan_with(
        tmp_path, n=[1, 5, 10], draws=3, starts={"scratch": {"model.optimisation.learning_rate": 0.001}, "b": {}}
    )
    second = agree(larger.folder, manifest_of(larger))
    assert [draw[:5] for draw in second["draws"][:2]] == first["draws"]
    assert [len(set(draw)) for draw in second["draws"]] == [10, 10, 10]
    assert second["n"] == [1, 5, 10] and list(second["starts"]) == ["scratch", "b"]
    assert set(second["draws"][2]) <= set(POOL)


def test_images_of_a_patient_are_drawn_one_after_the_other(tmp_path: Path) -> None:
    """So that no patient but the last of a draw is there in part."""
    plan = plan_with(tmp_path, n=[6], draws=3)
    pool = [f"{patient}_{number}" for patient in "abcdefg" for number in range(3)]
    draws = propose(plan, pool, {"train": len(pool)}, ["last"], {image: image[0] for image in pool})["draws"]
    assert [len(draw) for draw in draws] == [6, 6, 6]
    assert all(len({image[0] for image in draw[at : at + 3]}) == 1 for draw in draws for at in (0, 3))


def test_a_smaller_plan_leaves_the_manifest_as_it_is(tmp_path: Path) -> None:
    plan = plan_with(tmp_path)
    agree(plan.folder, manifest_of(plan))
    before = (plan.folder / MANIFEST).read_bytes()
    smaller = plan_with(tmp_path, n=[1], draws=1)
    assert not is_news(plan.folder, manifest_of(smaller))
    agree(smaller.folder, manifest_of(smaller))
    assert (plan.folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"options": {"trainer.max_steps": 9}}, "options: trainer.max_steps: 5 there, 9 now"),
        (
            {"options": {"model.decoding.decoder": "argmax"}},
            "options: model.init_args.decoding.decoder: not set there, argmax now",
        ),
        (
            {"starts": {"scratch": {"model.optimisation.learning_rate": 1}}},
            "starts.scratch: model.init_args.optimisation.learning_rate: 0.001 there, 1 now",
        ),
        ({"targets": {"disc": {"model.target.kind": "disc"}}}, r"targets: \[\] there, \['disc'\] now"),
        ({"stage": "val"}, "stage: test there, val now"),
        ({"checkpoints": ["last"]}, "checkpoints: .* now"),
        ({"by_n": {3: {"trainer.max_steps": 9}}}, "by_n.3: trainer.max_steps: not set there, 9 now"),
        ({"readings": {"top": {"model.decoding.decoder": "argmax"}}}, "readings: top: not set there"),
        ({"order": "names", "draws": 1}, "order: random there, names now"),
    ],
)
def test_another_grid_in_the_same_folder_is_refused_by_name(tmp_path: Path, changes: dict, difference: str) -> None:
    plan = plan_with(tmp_path)
    agree(plan.folder, manifest_of(plan))
    with pytest.raises(UserError, match=rf"(?s){difference}.*[Cc]hoose another folder"):
        agree(plan.folder, manifest_of(plan_with(tmp_path, **changes)))


def test_options_of_a_larger_n_are_added_with_it(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, by_n={1: {"trainer.max_steps": 2}})
    agree(plan.folder, manifest_of(plan))
    larger = plan_with(tmp_path, n=[1, 3, 5], by_n={1: {"trainer.max_steps": 2}, 5: {"trainer.max_steps": 9}})
    found = agree(larger.folder, manifest_of(larger))
    assert found["by_n"] == {"1": {"trainer.max_steps": 2}, "5": {"trainer.max_steps": 9}}


def test_the_manifest_of_an_earlier_version_is_one_of_random_draws(tmp_path: Path) -> None:
    plan = plan_with(tmp_path)
    content = manifest_of(plan)
    plan.folder.mkdir()
    earlier = {key: value for key, value in content.items() if key not in ("by_n", "readings", "order")}
    (plan.folder / MANIFEST).write_text(json.dumps(earlier))
    assert not is_news(plan.folder, content) and read_manifest(plan.folder) == content


def test_the_first_images_by_name_are_one_draw(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, order="names", draws=1, n=[1, 3])
    assert manifest_of(plan, ["b", "d", "a", "c"])["draws"] == [["a", "b", "c"]]


def test_where_a_cell_runs_is_not_what_it_is(tmp_path: Path) -> None:
    """Machines that share a grid keep the images elsewhere and have other accelerators."""
    plan = plan_with(tmp_path)
    first = agree(plan.folder, manifest_of(plan))
    there = plan_with(tmp_path, {"data.root": "/mnt/isbi", "trainer.accelerator": "gpu", "data.num_workers": 4})
    assert agree(plan.folder, manifest_of(there)) == first
    assert "/mnt/isbi" not in (plan.folder / MANIFEST).read_text()


def test_other_images_in_the_training_part_are_refused(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, n=[10])
    agree(plan.folder, manifest_of(plan))
    with pytest.raises(UserError, match=r"images: train: 30 there, 29 now(.|\n)*draw 0: other images"):
        agree(plan.folder, manifest_of(plan, POOL[:-1]))


@pytest.mark.parametrize("option", ["pretrained", "window_pretrained"])
def test_a_pretraining_checkpoint_is_known_by_its_content(tmp_path: Path, option: str) -> None:
    """A start that was pre-trained again under the same name would mix two starts in one row."""
    here, there = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    here.write_bytes(b"weights")
    there.write_bytes(b"weights")
    plan = plan_with(tmp_path, starts={"ddpm": {f"model.{option}": str(here)}})
    agree(plan.folder, manifest_of(plan))
    moved = plan_with(tmp_path, starts={"ddpm": {f"model.{option}": str(there)}})
    assert not is_news(plan.folder, manifest_of(moved))
    here.write_bytes(b"others")
    with pytest.raises(UserError, match=rf"starts.ddpm: content of model.init_args.{option}"):
        agree(plan.folder, manifest_of(plan))
    here.unlink()
    with pytest.raises(UserError, match=rf"{option}: found no file .*a.ckpt; pre-train first"):
        manifest_of(plan)


def test_more_images_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fewshot\.n: found 31, but the training part has 30"):
        manifest_of(plan_with(tmp_path, n=[31]))


def test_a_damaged_manifest_is_told(tmp_path: Path) -> None:
    plan = plan_with(tmp_path)
    agree(plan.folder, manifest_of(plan))
    (plan.folder / MANIFEST).write_text("{")
    with pytest.raises(DataError, match=r"manifest.json: no whole manifest"):
        read_manifest(plan.folder)


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    config = write_config(tmp_path, n=[1], draws=1)
    processes = [start_process(config) for _ in range(3)]
    outcomes = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    assert sorted(cell for out, _ in outcomes for cell in json.loads(out)["done"]) == ["scratch-n1-d0"]
