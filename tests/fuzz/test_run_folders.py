"""`ldx test RUN` and the like, with damaged run folders: one line that names the fault, never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import CONFIG
from tests.fuzz.harness import COUNTS, Count, inputs
from tests.fuzz.strategies import spoilt_bytes

Damage = Callable[[st.DrawFn, Path], None]
VERBS = ("test", "validate", "predict", "fit")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a tiny run, in the current folder of all commands here."""
    from lightning.pytorch import Callback

    from landmark_diffusion.cli import entry, lightning_cli
    from tests.cli.fakes import TinyBase, TinyData

    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("LDX_DEBUG", raising=False)
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        run_cli = lightning_cli.run_cli
        patch.setattr(lightning_cli, "run_cli", lambda: run_cli(TinyBase, TinyData))
        patch.setattr(lightning_cli, "ResultsWriter", lambda *_: Callback())
        (place / "tiny.yaml").write_text(CONFIG)
        with contextlib.redirect_stdout(io.StringIO()):
            assert entry.main(["fit", "--config", "tiny.yaml", "--run_folder", "whole"]) == 0
        yield place / "whole"


def _remove_config(draw: st.DrawFn, run: Path) -> None:
    (run / "config.yaml").unlink()


def _replace_config(draw: st.DrawFn, run: Path) -> None:
    content = draw(st.sampled_from((
        b"", b"\n", b"[]", b"7", b"data", b"a: b: c", b"\t", b"{", b"\x00", b"\xff\xfe", b"- x\n", b"data: 3\n",
        b"model: null\n", b"trainer: []\n", b"nothing: 1\n", b"data: {dataset: nowhere}\n", b"&a [*a]", b"? x",
        b"---\n---\n",
        b"model: {class_path: OtherTinyModel}\n", b"run_folder: elsewhere\n", b"ckpt_path: gone.ckpt\n", b"1: 2\n",
        b"%PDF-1.7", b"PK\x03\x04", b"trainer: {max_epochs: many}\n", "data: {dataset: \u00e9}\n".encode("latin-1"),
    )))  # fmt: skip
    (run / "config.yaml").write_bytes(content)


def _spoil_config(draw: st.DrawFn, run: Path) -> None:
    path = run / "config.yaml"
    path.write_bytes(draw(spoilt_bytes(path.read_bytes())))


def _folder_for_config(draw: st.DrawFn, run: Path) -> None:
    (run / "config.yaml").unlink()
    (run / "config.yaml").mkdir()


def _link_to_nothing(draw: st.DrawFn, run: Path) -> None:
    (run / "config.yaml").unlink()
    (run / "config.yaml").symlink_to(draw(st.sampled_from(("config.yaml", "gone", "/dev/null", ".."))))


def _no_checkpoints(draw: st.DrawFn, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    if draw(st.booleans()):
        (run / "checkpoints").write_text("a file")


def _bad_checkpoints(draw: st.DrawFn, run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        what = draw(st.sampled_from(("cut", "empty", "text", "folder", "spoilt")))
        data = path.read_bytes()
        path.unlink()
        if what == "folder":
            path.mkdir()
        else:
            spoilt = draw(spoilt_bytes(data)) if what == "spoilt" else b""
            path.write_bytes({"cut": data[: len(data) // 2], "text": b"no checkpoint"}.get(what, spoilt))


def _nothing(draw: st.DrawFn, run: Path) -> None:
    pass


DAMAGES: tuple[Damage, ...] = (
    _remove_config, _replace_config, _replace_config, _spoil_config, _spoil_config, _spoil_config, _folder_for_config,
    _link_to_nothing, _no_checkpoints, _bad_checkpoints, _bad_checkpoints, _nothing,
)  # fmt: skip
NAMES = (
    "{run}", "{run}", "{run}", "{run}", "{run}/", "./{run}", "{run}/config.yaml", "{run}/checkpoints", "{run}/gone",
    "{run}x",
    "{run}/checkpoints/best.ckpt", ".", "..", "", " ", "~", "*", "tiny.yaml", "/dev/null", "a\nb", "\u00fc", "x" * 300,
    "{run}/logs", "a\x1bb",
)  # fmt: skip


@inputs(15, 300)
@given(data=st.data())
def test_a_run_folder_is_run_or_refused_in_one_line(trained: Path, data: st.DataObject) -> None:
    run = Path("run")
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(trained, run)
    damage = data.draw(st.sampled_from(DAMAGES))
    damage(data.draw, run)
    argument = data.draw(st.sampled_from(NAMES)).format(run=run)
    verb = data.draw(st.sampled_from(VERBS))
    forms = ((argument,), (argument,), ("--run_folder", argument), (f"--run_folder={argument}",))
    option = data.draw(st.sampled_from(forms))
    goes_on = ["--ckpt_path", "last"] if verb == "fit" and data.draw(st.booleans()) else []
    status, out, err = _ldx([verb, *option, *goes_on, "--trainer.enable_progress_bar=false"])
    count = COUNTS.setdefault("run folders", Count())
    count.inputs += 1
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err + out
    if status == 0:
        count.accepted += 1
        assert not told and damage not in (_remove_config, _folder_for_config, _no_checkpoints)
        return
    count.refused += 1
    assert status == 1 and len(told) == 1, (status, err)
    names = (argument.strip() or verb, "config.yaml", "run", f"ldx {verb}", "--config")
    assert any(name in told[0] for name in names), told


def test_an_undamaged_run_is_run(trained: Path) -> None:
    for verb in ("test", "validate"):
        status, _, err = _ldx([verb, str(trained)])
        assert status == 0, err


def _ldx(arguments: list[str]) -> tuple[int, str, str]:
    from landmark_diffusion.cli import entry

    out, err = io.StringIO(), io.StringIO()
    os.environ.pop("PL_GLOBAL_SEED", None)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = entry.main(arguments)
        except SystemExit as stop:
            status = int(stop.code or 0) if isinstance(stop.code, int | None) else 1
    return status, out.getvalue(), err.getvalue()
