"""A checkpoint of a stranger runs nothing, under whatever name and on whatever way it comes in."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training.checkpoint import AtomicCheckpointIO
from tests.detection.tiny_model import write_positions
from tests.end_to_end.console import PHANTOM, ldx
from tests.security.payloads import FORMS, Payload

RUN = (*PHANTOM, "--run_folder", "runs/x")
WAYS = {
    "fit --ckpt_path": ("fit", *RUN, "--ckpt_path", "{file}"),
    "fit --ckpt_path last": ("fit", *RUN, "--ckpt_path", "last"),
    "test --ckpt_path": ("test", *RUN, "--ckpt_path", "{file}"),
    "test of the run": ("test", *RUN),
    "model.pretrained": ("fit", "--config", "ceph_finetune_small.yaml", "--data.dataset=phantom", "--data.root=null",
                         "--data.split=null", "--model.pretrained", "{file}"),
    "export": ("export", "{file}", "y.ldx"),
    "calibrate": ("calibrate", "--checkpoint", "{file}", "--part", "val"),
    "detect": ("detect", "a.png", "--model", "{file}"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_pickle_is_run_by_the_reader(form: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "x.ckpt"
    path.write_bytes(FORMS[form](mark))
    with pytest.raises(UserError, match=r"x\.ckpt: .*(refused|cut short|damaged)"):
        read_checkpoint(path)
    for choice in (None, True, False):  # None, False: Trainer.fit(ckpt_path=...) in a program of one's own
        with pytest.raises(Exception, match=r"."):
            AtomicCheckpointIO().load_checkpoint(path, weights_only=choice)
    assert not mark.exists()


def test_the_payload_would_leave_its_mark(tmp_path: Path) -> None:
    """Else the other tests could not fail."""
    mark = tmp_path / "mark"
    (tmp_path / "x.ckpt").write_bytes(FORMS["torch zip"](mark))
    torch.load(tmp_path / "x.ckpt", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("way", "suffix"), [*((way, ".ckpt") for way in WAYS), *((way, ".pt") for way in ("export", "detect", "calibrate"))]
)
def test_no_verb_runs_it(way: str, suffix: str, tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / f"x{suffix}"
    file.write_bytes(FORMS["torch zip"](mark))
    checkpoints = tmp_path / "runs" / "x" / "checkpoints"
    if "{file}" not in WAYS[way]:
        checkpoints.mkdir(parents=True)
        file = file.rename(checkpoints / "last.ckpt")
    outcome = ldx(*(part.format(file=file) if "{" in part else part for part in WAYS[way]))
    assert outcome.status == 1 and file.name in outcome.err
    words = ("refused, since it holds more than plain values", "a model file", "found a pickle or checkpoint")
    assert any(each in outcome.err for each in words)
    assert "Traceback" not in outcome.err and not mark.exists()


@pytest.mark.parametrize("verb", ["detect", "test"])
@pytest.mark.parametrize("hidden", ["as the file", "as the header", "in the metadata", "in a field"])
def test_no_pickle_in_an_exported_model_is_run(verb: str, hidden: str, tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "x.ldx"
    attack = pickle.dumps(Payload(mark), 2)
    if hidden == "as the file":
        file.write_bytes(FORMS["torch zip"](mark))
    elif hidden == "as the header":
        file.write_bytes(len(attack).to_bytes(8, "little") + attack)
    else:
        write_positions(file)
        _hide(file, base64.b64encode(attack).decode(), hidden == "in the metadata")
    line = ("detect", "a.png", "--model", "x.ldx") if verb == "detect" else ("test", "x.ldx")
    outcome = ldx(*line)
    assert outcome.status == 1 and "x.ldx: " in outcome.err
    assert "Traceback" not in outcome.err and not mark.exists()


def _hide(file: Path, attack: str, whole: bool) -> None:
    """Put a text in place of the description, or of one of its fields."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["landmark_diffusion"])
    header["__metadata__"]["landmark_diffusion"] = attack if whole else json.dumps({**facts, "model": attack})
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def test_a_config_in_an_exported_model_names_no_class_elsewhere(tmp_path: Path) -> None:
    """Its options are values: one in the form of a class is none."""
    options = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(tmp_path / "mark")]}}
    for name in ("os.system", "subprocess.Popen", "landmark_diffusion.cli.entry.main"):  # imported by now
        write_positions(tmp_path / "x.ldx", class_path=name)
        for line in (("test", "x.ldx"), ("detect", "i.png", "--model", "x.ldx"), ("export", "x.ldx", "x.onnx")):
            outcome = ldx(*line)
            assert outcome.status == 1 and f"x.ldx: model.class_path: {name} is no Method" in outcome.err
    for changes in ({"class_path": "os system"}, {"data": {"dataset": "folder", "size": [64, 80], "root": "/etc"}}):
        write_positions(tmp_path / "x.ldx", **changes)
        outcome = ldx("test", "x.ldx")
        assert outcome.status == 1 and "x.ldx: found" in outcome.err
    data = {"dataset": "folder", "size": [64, 80], "dataset_options": {"csv": options}}
    write_positions(tmp_path / "x.ldx", data=data)
    outcome = ldx("test", "x.ldx", "--data.root", ".")
    assert outcome.status == 1 and "subprocess.Popen: refused" in outcome.err
    assert not (tmp_path / "mark").exists()
