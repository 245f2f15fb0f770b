"""The store: whole after every change, deaf to nobody's changes, and quick enough for every move of an arrow key."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from landmark_diffusion.annotate.store import StaleError, Store
from landmark_diffusion.annotate.table import ImageCells, Key, MarksTable
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import WriteError
from landmark_diffusion.data.labels.label_set import Flag, Mark

NAMES = ("nasion", "sella", "gonion")
ABOUT = ImageCells((300, 400))


def hand(x: float, y: float) -> Mark:
    return Mark(x, y, origin="by hand")


def new_store(path: Path) -> Store:
    return Store(path, MarksTable.read(path) if path.exists() else MarksTable.empty(), NAMES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "annotations.csv")


def test_each_change_is_on_disk_at_once(store: Store) -> None:
    assert not store.path.exists() and store.revision("a.png") == 1
    assert (
        store.change("a.png", "anna", 1, {"nasion": hand(1, 2), "sella": Mark(math.nan, math.nan, Flag.ABSENT)}, ABOUT)
        == 2
    )
    again = new_store(store.path)
    mark = again.marks("a.png")["anna"]["nasion"]
    assert (mark.x, mark.y) == (1, 2) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", mark.time)
    assert again.count("a.png", "anna") == 2 and again.count("a.png", "bo") == 0
    store.change("a.png", "anna", 2, {"sella": None}, ABOUT)
    assert set(new_store(store.path).marks("a.png")["anna"]) == {"nasion"}


def test_a_stale_change_is_refused_and_one_of_another_image_is_not(store: Store) -> None:
    store.change("a.png", "anna", 1, {"nasion": hand(1, 2)}, ABOUT)
    with pytest.raises(StaleError, match=r"a\.png was changed"):
        store.change("a.png", "anna", 1, {"nasion": hand(9, 9)}, ABOUT)
    store.change("b.png", "anna", 1, {"nasion": hand(3, 4)}, ABOUT)
    assert new_store(store.path).marks("a.png")["anna"]["nasion"].x == 1


def test_what_another_program_wrote_meanwhile_is_kept(store: Store) -> None:
    for name in ("a.png", "b.png"):
        store.change(name, "anna", 1, {"nasion": hand(1, 2)}, ABOUT)
    other = new_store(store.path)
    other.change("b.png", "bo", 1, {"nasion": hand(5, 6)}, ABOUT)
    text = store.path.read_text(encoding="utf-8").replace("image,", "note,image,").replace("\n", "\nhello,", 3)
    store.path.write_text(text.removesuffix("hello,"), encoding="utf-8")
    assert store.change("a.png", "anna", 2, {"sella": hand(3, 4)}, ABOUT) == 3  # untouched by the others
    with pytest.raises(StaleError):
        store.change("b.png", "anna", 2, {"sella": hand(3, 4)}, ABOUT)
    assert store.reloaded == 1
    found = store.path.read_text(encoding="utf-8")
    assert found.startswith("note,image,") and found.count("hello,") == 3
    assert set(new_store(store.path).marks("b.png")) == {"anna", "bo"}


def test_a_table_that_another_program_broke_is_not_written_over(store: Store) -> None:
    store.change("a.png", "anna", 1, {"nasion": hand(1, 2)}, ABOUT)
    good = store.path.read_bytes()
    broken = b"image,landmark,x,y\na.png,nasion,one,2\n"
    store.path.write_bytes(broken)
    with pytest.raises(DataError, match=r"annotations.csv:2: .*'one'"):
        store.change("a.png", "anna", 2, {"sella": hand(3, 4)}, ABOUT)
    assert store.path.read_bytes() == broken and store.marks("a.png")["anna"]["nasion"].x == 1
    store.path.write_bytes(good)
    assert store.change("a.png", "anna", 2, {"sella": hand(3, 4)}, ABOUT) == 3


def test_a_table_that_is_gone_is_written_anew_whole(store: Store) -> None:
    store.change("a.png", "anna", 1, {"nasion": hand(1, 2)}, ABOUT)
    store.path.unlink()
    store.change("b.png", "anna", 1, {"nasion": hand(3, 4)}, ABOUT)
    assert set(new_store(store.path).images()) == {"a.png", "b.png"}


def test_an_annotator_goes_on_under_the_spelling_of_the_table(store: Store) -> None:
    store.change("a.png", "Anna B.", 1, {"nasion": hand(1, 2)}, ABOUT)
    assert (
        store.spelled("anna b") == "Anna B." and store.spelled("bo") == "bo" and store.spelled("Anna B.") == "Anna B."
    )


def test_a_failed_write_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.change("a.png", "anna", 1, {"nasion": hand(1, 2)}, ABOUT)
    before = store.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", None)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(WriteError, match="No space left"):
            store.change("a.png", "anna", 2, {"nasion": hand(9, 9), "sella": hand(1, 1)}, ABOUT)
    assert store.path.read_bytes() == before and store.revision("a.png") == 2
    assert store.marks("a.png")["anna"]["nasion"].x == 1
    store.change("a.png", "anna", 2, {"gonion": hand(5, 5)}, ABOUT)
    assert set(new_store(store.path).marks("a.png")["anna"]) == {"nasion", "gonion"}


def test_a_link_to_the_table_stays_one_and_so_do_its_rights(tmp_path: Path) -> None:
    from landmark_diffusion.annotate.store import open_store

    real = tmp_path / "elsewhere" / "labels.csv"
    real.parent.mkdir()
    real.write_text("image,annotator,landmark,x,y\na.png,anna,nasion,1,2\n", encoding="utf-8")
    real.chmod(0o640)
    link = tmp_path / "labels.csv"
    link.symlink_to(real)
    store = open_store(link, None, NAMES)
    store.change("a.png", "anna", 1, {"sella": hand(3, 4)}, ABOUT)
    assert link.is_symlink() and "sella" in real.read_text(encoding="utf-8") and real.stat().st_mode & 0o777 == 0o640


def test_changes_of_several_threads_are_all_there(store: Store) -> None:
    def work(number: int) -> None:
        for step in range(10):
            store.change(
                f"{number}.png", "anna", store.revision(f"{number}.png"), {"nasion": hand(number, step)}, ABOUT
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = MarksTable.read(store.path).marks()
    assert {(mark.x, mark.y) for mark in found.values()} == {(number, 9) for number in range(6)}


_WRITER = """
import sys
from pathlib import Path
from tests.annotate.test_store import ABOUT, NAMES, hand, new_store
store = new_store(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    store.change("a.png", "anna", store.revision("a.png"), {"nasion": hand(step, 1)}, ABOUT)
    print(step, flush=True)
"""


def test_a_kill_loses_at_most_the_last_move(tmp_path: Path) -> None:
    """What was answered is there, and the file is whole, however the process ends."""
    path = tmp_path / "annotations.csv"
    table = MarksTable.empty()
    for image in range(200):
        for place, name in enumerate(NAMES):
            table.put(Key(f"{image}.png", "anna", name), hand(place, image), {}, ABOUT)
    path.write_text(table.text(), encoding="utf-8")
    for wait in (0.05, 0.11, 0.17):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        answered = int(process.stdout.read().split()[-1])
        process.wait()
        found = MarksTable.read(path).marks()
        assert found[Key("a.png", "anna", "nasion")].x in (answered, answered + 1) and len(found) == 601


def test_a_change_of_a_large_table_takes_no_time_that_is_felt(tmp_path: Path) -> None:
    """500 images of 19 landmarks; the bound is far above what it takes (docs/annotate.md), for a busy machine."""
    names = [f"landmark {number}" for number in range(19)]
    lines = [
        f"{image}.png,anna,{name},{image},{place},visible,by hand,"
        for image in range(500)
        for place, name in enumerate(names)
    ]
    path = tmp_path / "annotations.csv"
    path.write_text("image,annotator,landmark,x,y,flag,origin,time\n" + "\n".join(lines) + "\n", encoding="utf-8")
    store = Store(path, MarksTable.read(path), names)
    store.change("7.png", "anna", 1, {names[3]: hand(1, 1)}, ABOUT)
    began = time.monotonic()
    for step in range(20):
        store.change("7.png", "anna", 2 + step, {names[3]: hand(1, step)}, ABOUT)
    assert (time.monotonic() - began) / 20 < 0.2
