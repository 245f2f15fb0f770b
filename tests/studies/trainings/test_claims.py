"""Claims: one owner a cell, and a dead owner's cell is free again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.trainings.claims import Claim, Holder, acquire, living_holder
from landmark_diffusion.studies.trainings.locks import exclusive
from tests.studies.fewshot.grid import wait_until


def leave_claim(cell: Path, number: int = 1, age: float = 0.0, **changes: object) -> Path:
    """Write a claim as another process would have left it, its last heartbeat ``age`` seconds ago."""
    cell.mkdir(parents=True, exist_ok=True)
    path = cell / f"claim-{number:04d}"
    path.write_text(json.dumps(vars(replace(Holder.this_process(), **changes))))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_held_cell_is_refused_and_says_by_whom(tmp_path: Path) -> None:
    claim = acquire(tmp_path / "cell")
    assert isinstance(claim, Claim) and not claim.lost
    other = acquire(tmp_path / "cell")
    assert isinstance(other, Holder) and other.pid == os.getpid()
    claim.release("stopped")
    again = acquire(tmp_path / "cell")
    assert isinstance(again, Claim)
    again.release()
    assert not list((tmp_path / "cell").glob("claim-*"))


def test_a_dead_process_of_this_machine_is_noticed_at_once(tmp_path: Path) -> None:
    leave_claim(tmp_path, pid=dead_process())
    assert living_holder(tmp_path) is None
    claim = acquire(tmp_path)
    assert isinstance(claim, Claim)
    claim.release()


def test_a_process_number_that_is_used_again_is_not_taken_for_the_owner(tmp_path: Path) -> None:
    leave_claim(tmp_path, started="1")
    assert living_holder(tmp_path) is None


def test_a_killed_process_that_nobody_has_waited_for_counts_as_dead(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    leave_claim(tmp_path, pid=process.pid, started=started)
    assert living_holder(tmp_path) is not None
    process.kill()
    wait_until(lambda: living_holder(tmp_path) is None, 5)
    process.wait()


@pytest.mark.parametrize("machine", ["elsewhere boot pid:[1]", ""], ids=["other machine", "no process table"])
def test_another_machine_is_believed_as_long_as_its_heart_beats(tmp_path: Path, machine: str) -> None:
    leave_claim(tmp_path, age=200, machine=machine, host="elsewhere", pid=1)
    assert "on elsewhere" in str(living_holder(tmp_path))
    leave_claim(tmp_path, age=400, machine=machine, host="elsewhere", pid=1)
    assert living_holder(tmp_path) is None


def test_an_unreadable_claim_is_left_for_a_while_then_taken_over(tmp_path: Path) -> None:
    path = leave_claim(tmp_path)
    path.write_text("")
    assert isinstance(acquire(tmp_path), Holder)
    os.utime(path, (1, 1))
    claim = acquire(tmp_path)
    assert isinstance(claim, Claim)
    claim.release()


def test_the_heart_beats_and_stops_with_the_claim(tmp_path: Path) -> None:
    claim = acquire(tmp_path, beat=0.01)
    assert isinstance(claim, Claim)
    os.utime(claim.path, (1, 1))
    wait_until(lambda: claim.path.stat().st_mtime > time.time() - 60, 5)
    claim.release("stopped")
    os.utime(claim.path, (1, 1))
    time.sleep(0.05)
    assert claim.path.stat().st_mtime == 1


def test_of_many_that_see_an_abandoned_cell_one_gets_it(tmp_path: Path) -> None:
    """Two winners would train the same cell in the same folder."""
    for turn in range(20):
        cell = tmp_path / str(turn)
        leave_claim(cell, pid=dead_process() if turn == 0 else 2**22 + 1)
        ready, found = threading.Barrier(8), []

        def take(cell: Path = cell, ready: threading.Barrier = ready, found: list = found) -> None:
            ready.wait()
            found.append(acquire(cell))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        claims = [each for each in found if isinstance(each, Claim)]
        assert len(claims) == 1 and len(found) == 8
        claims[0].release()


def test_an_owner_that_was_silent_too_long_notices_its_loss_and_leaves_the_new_claim_alone(tmp_path: Path) -> None:
    claim = acquire(tmp_path)
    assert isinstance(claim, Claim)
    newer = leave_claim(tmp_path, number=2)
    assert claim.lost
    claim.release("failed")
    assert json.loads(newer.read_text())["released"] == ""
    assert living_holder(tmp_path) is not None


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be claimed"):
        acquire(tmp_path / "file" / "cell")


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import sys, time; from landmark_diffusion.studies.trainings.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    refused = pytest.raises(UserError, match="another process still holds the cell")
    with refused, exclusive(tmp_path / "lock", "the cell", 0.1):
        pass
    process.kill()
    process.communicate()
    with exclusive(tmp_path / "lock", "the cell", 5):
        pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "lock", tmp_path):
        with pytest.raises(UserError, match=f"{path}: the file cannot be written"), exclusive(path, "it"):
            raise AssertionError("not reached")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_claim_that_does_not_fit_leaves_nothing_that_keeps_others_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without links the claim is made in place; an empty one would count as another's for minutes."""
    monkeypatch.setattr(os, "link", full)
    real = Path.open

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real(path, mode, *args, **kwargs)
        if mode == "x":
            file.write = full  # type: ignore[method-assign, assignment]
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(UserError, match="cannot be claimed"):
            acquire(tmp_path / "cell")
    assert list((tmp_path / "cell").iterdir()) == []
    claim = acquire(tmp_path / "cell")
    assert isinstance(claim, Claim)
    claim.release()


@pytest.mark.parametrize("how", ["", "failed"])
def test_giving_a_cell_back_on_a_full_disk_does_not_hide_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    claim = acquire(tmp_path / "cell")
    assert isinstance(claim, Claim)
    monkeypatch.setattr(Path, "unlink", full)
    monkeypatch.setattr("landmark_diffusion.studies.trainings.claims.atomic_write_text", full)
    claim.release(how)


def test_where_nothing_can_be_written_a_foreign_claim_is_aged_by_our_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_claim(tmp_path / "old", age=1000, machine="another")
    leave_claim(tmp_path / "new", age=10, machine="another")
    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    assert living_holder(tmp_path / "old", 300) is None
    assert living_holder(tmp_path / "new", 300) is not None
