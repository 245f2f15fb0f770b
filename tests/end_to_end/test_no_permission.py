"""Without permission to write a verb ends with a message that names the place, before it has worked for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.cli import fewshot_verb
from landmark_diffusion.studies.trainings import runner
from tests.end_to_end.console import PHANTOM, ldx, run
from tests.end_to_end.folders import make_folder
from tests.end_to_end.small_disk import SmallDisk, commands, message, worked
from tests.end_to_end.test_full_disk import NAMED
from tests.studies.fewshot.grid import FAKE, write_config

pytestmark = pytest.mark.slow


PLACES = {name: path if name.startswith(("export", "calibrate", "cache")) else path.split("/")[0]
          for name, path in NAMED.items()}  # fmt: skip
"""What each message has to name: at least the folder that the user chose."""


@pytest.mark.parametrize("name", PLACES)
def test_where_nothing_can_be_written_each_verb_ends_with_one_message(name: str, disk: SmallDisk, home: Path) -> None:
    before = disk.content()
    with disk.locked():
        said = message(ldx(*commands(disk.folder, home)[name]))
    assert str(disk.folder / PLACES[name]) in said
    assert disk.content() == before


def test_a_new_run_in_a_locked_place_is_refused_before_anything_is_decoded(disk: SmallDisk, tmp_path: Path) -> None:
    with disk.locked():
        outcome = ldx("fit", *PHANTOM, "--run_folder", str(disk.folder / "new"), "--data.cache_folder", str(tmp_path))
    assert f"--run_folder {disk.folder / 'new'}" in message(outcome)
    assert not list(tmp_path.iterdir())


def test_images_are_checked_without_a_cache(disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(disk.folder / "cache"))
    with disk.locked():
        worked("data", "check", "--dataset", "folder", "--root", str(make_folder(tmp_path / "images")))


def test_weights_and_biases_offline_does_not_hide_the_message(disk: SmallDisk, home: Path) -> None:
    with disk.locked():
        said = message(run([*commands(disk.folder, home)["fit"], "--wandb=offline"], home))
    assert str(disk.folder / "run") in said


def test_a_grid_tells_and_goes_on_when_it_may(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHILD", FAKE)
    monkeypatch.setattr(fewshot_verb, "check_before", lambda plan, manifest: None)
    (disk.folder / "few").mkdir()
    config = write_config(disk.folder / "few", draws=1)
    grid = ("fewshot", "--config", str(config))
    with disk.locked():
        assert str(disk.folder / "few" / "grid") in message(ldx(*grid))
    worked(*grid, "--cell=1")
    before = disk.content()
    with disk.locked():
        assert str(disk.folder / "few" / "grid") in message(ldx(*grid))
        assert "scratch-n1-d0  finished" in worked(*grid, "--list").out
        assert str(disk.folder / "few" / "grid") in message(ldx(*grid, "--only-summary"))
    assert disk.content() == before
    worked(*grid)
