"""An exported model: what is written comes back bit for bit, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landmark_diffusion import __version__
from landmark_diffusion.core import files
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.facts import FORMAT_VERSION, ModelFacts
from landmark_diffusion.modelfile.model_file import FACTS_KEY, read_facts, read_model_file, write_model_file
from landmark_diffusion.training.checkpoint import AtomicCheckpointIO

FACTS = ModelFacts(
    class_path="DiffusionHeatmapModule",
    model={"num_landmarks": 2, "diffusion": False, "optimisation": {"adam_betas": [0.9, 0.999]}},
    landmark_names=("sella", "nasion — point 2"),
    data={"dataset": "isbi2015", "size": [96, 120], "resize": "stretch"},
    updates=2000,
    seed=3,
    length_unit="mm",
    precision="bf16-mixed",
    note="for research use",
)


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    convolution = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    tied = torch.randn(5)
    return {
        "convolution": convolution,
        "transposed": torch.randn(3, 7).T,
        "tied_1": tied,
        "tied_2": tied,
        "part": torch.randn(10)[2:5],
        "half": torch.randn(3).to(torch.bfloat16),
        "count": torch.tensor(7),
    }


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_model_file(tmp_path / "x.ldx", FACTS, weights())


def test_weights_and_facts_come_back_to_the_bit(written: Path) -> None:
    """Convolutions of channels_last models and tied weights are what safetensors refuses as they are."""
    model = read_model_file(written)
    assert model.weights.keys() == weights().keys()
    for name, value in weights().items():
        assert model.weights[name].dtype == value.dtype
        assert model.weights[name].is_contiguous()
        assert torch.equal(model.weights[name], value), name
    assert replace(model.facts, tensors={}, weights_sha256="", package_version="") == FACTS
    assert model.facts.package_version


def test_the_file_is_read_with_json_and_numpy_alone(written: Path) -> None:
    """What docs/model_file.md promises to those without this package."""
    content = written.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["landmark_diffusion"])
    assert (facts["format_version"], facts["updates"]) == (FORMAT_VERSION, 2000)
    start, end = header["convolution"]["data_offsets"]
    values = np.frombuffer(content[8 + length :][start:end], "<f4").reshape(header["convolution"]["shape"])
    assert np.array_equal(values, weights()["convolution"].numpy())


def test_the_same_model_gives_the_same_bytes(written: Path) -> None:
    again = write_model_file(written.with_name("y.ldx"), FACTS, weights())
    assert again.read_bytes() == written.read_bytes()


def test_facts_are_read_without_torch(written: Path) -> None:
    code = "import sys; from landmark_diffusion.modelfile.model_file import read_facts; "
    code += "facts = read_facts(sys.argv[1]); "
    code += "assert facts.updates == 2000 and not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(written)], check=True)


def test_a_file_is_not_replaced_unasked(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(UserError, match=r"x\.ldx exists already and was left as it is.*--overwrite"):
        write_model_file(written, replace(FACTS, updates=1), weights())
    assert written.read_bytes() == before
    write_model_file(written, replace(FACTS, updates=1), weights(), overwrite=True)
    assert read_facts(written).updates == 1


def test_a_failed_write_leaves_the_old_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", disk_full)
    with pytest.raises(UserError, match=r"x\.ldx: the file cannot be written \(No space left"):
        write_model_file(written, replace(FACTS, updates=1), weights(), overwrite=True)
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["x.ldx"]


@pytest.mark.parametrize(
    ("name", "facts", "values", "message"),
    [
        ("x.safetensors", FACTS, {}, "ends in .ldx"),
        ("x.ldx", FACTS, {"w": torch.tensor([1.0, float("nan")])}, "w holds values that are not finite"),
        ("x.ldx", FACTS, {"w": 1.0}, "found float under w"),
        ("x.ldx", replace(FACTS, model={"network": object()}), {}, "no plain value"),
        ("x.ldx", replace(FACTS, measured={"mre": float("nan")}), {}, "no plain value"),
    ],
)
def test_what_cannot_be_handed_over_is_refused(
    tmp_path: Path, name: str, facts: ModelFacts, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write_model_file(tmp_path / name, facts, values)
    assert not list(tmp_path.iterdir())


def test_the_config_holds_what_a_test_needs(written: Path) -> None:
    config = read_facts(written).config()
    assert config["seed_everything"] == 3 and config["trainer"] == {"precision": "bf16-mixed"}
    assert config["data"]["size"] == [96, 120]
    assert config["model"]["class_path"] == "DiffusionHeatmapModule"
    assert "num_landmarks" not in config["model"]["init_args"]  # the command line refuses it: the data decides


def test_it_has_the_form_of_a_checkpoint(written: Path) -> None:
    """What the Trainer, and the comparison with a config, ask a checkpoint for."""
    for content in (read_checkpoint(written), AtomicCheckpointIO().load_checkpoint(written, weights_only=True)):
        assert content["global_step"] == 2000
        assert content["hyper_parameters"]["_class_path"] == "DiffusionHeatmapModule"
        assert content[FACTS_KEY]["landmark_names"] == ["sella", "nasion — point 2"]
        assert torch.equal(content["state_dict"]["tied_2"], weights()["tied_2"])
        assert content["pytorch-lightning_version"]


# ---- attacks and accidents ------------------------------------------------------------------------------------------


class Malicious:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, ("touch /tmp/landmark_diffusion_was_here",))


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: Any, rest: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def with_description(content: bytes, text: str) -> bytes:
    header, rest = header_of(content)
    header["__metadata__"][FACTS_KEY] = text
    return with_header(header, rest)


def with_field(content: bytes, **changes: Any) -> bytes:
    header, _ = header_of(content)
    facts = json.loads(header["__metadata__"][FACTS_KEY]) | changes
    return with_description(content, json.dumps({key: value for key, value in facts.items() if value != "absent"}))


def described(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(header_of(content)[0]["__metadata__"][FACTS_KEY])
    return found


def without_tensor(content: bytes) -> bytes:
    header, rest = header_of(content)
    del header["convolution"]
    return with_header(header, rest)


def with_shape(content: bytes, shape: Any) -> bytes:
    header, rest = header_of(content)
    header["convolution"]["shape"] = shape
    return with_header(header, rest)


def with_offsets(content: bytes, offsets: list[int]) -> bytes:
    header, rest = header_of(content)
    header["convolution"]["data_offsets"] = offsets
    return with_header(header, rest)


def with_weights(content: bytes, value: float) -> bytes:
    """The first weight replaced, and the checksum left out, as if the file had been made so."""
    header, rest = header_of(with_field(content, weights_sha256="absent"))
    place = header["convolution"]["data_offsets"][0]
    return with_header(header, rest[:place] + np.float32(value).tobytes() + rest[place + 4 :])


def with_a_flipped_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


NAN, ENDLESS = float("nan"), float("inf")
DEEP = b"[" * 200_000
ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "found 0 bytes"),
    "cut within the length": (lambda content: content[:5], "found 5 bytes"),
    "cut within the header": (lambda content: content[:300], "cut short or no safetensors file"),
    "cut within the weights": (lambda content: content[:-9], "weights are cut short or damaged"),
    "bytes added": (lambda content: content + b"x" * 9, "weights are cut short or damaged"),
    "header of 2**60 bytes": (lambda c: (2**60).to_bytes(8, "little") + c[8:], f"claims a header of {2**60} bytes"),
    "header of 2**64 - 1 bytes": (lambda c: b"\xff" * 8 + c[8:], "claims a header of"),
    "another kind of file": (lambda _: b"GIF89a" + b"\0" * 500, "cut short or no safetensors file"),
    "pickle": (lambda _: pickle.dumps({"state_dict": Malicious()}), "found a pickle or checkpoint"),
    "header that is no JSON": (lambda _: with_header(b"{'a': 1}"), "the header is no JSON"),
    "header that is no text": (lambda _: with_header(b"\xff\xfe{}"), "the header is no JSON"),
    "header that is a list": (lambda _: with_header([1, 2]), "the header is a JSON list"),
    "header too deep": (lambda _: with_header(DEEP), "the header is no JSON"),
    "no metadata": (lambda _: with_header({}), "without the metadata landmark_diffusion"),
    "metadata of others": (lambda _: with_header({"__metadata__": {"format": "pt"}}), "without the metadata"),
    "metadata that is a list": (lambda _: with_header({"__metadata__": [1]}), "without the metadata"),
    "description that is no JSON": (lambda c: with_description(c, "{format_version: 1}"), "description .* is no JSON"),
    "description too deep": (lambda c: with_description(c, "[" * 100_000), "description .* is no JSON"),
    "description that is a text": (lambda c: with_description(c, '"x"'), "description .* is a JSON str"),
    "newer format": (
        lambda c: with_field(c, format_version=FORMAT_VERSION + 1, package_version="9.1", model="absent"),
        rf"written by landmark_diffusion 9\.1 in format {FORMAT_VERSION + 1}; this is .* upgrade the package",
    ),
    "format that is a text": (lambda c: with_field(c, format_version="1"), "found format_version '1'"),
    "format that is true": (lambda c: with_field(c, format_version=True), "found format_version True"),
    "no format": (lambda c: with_field(c, format_version="absent"), "found format_version None"),
    "field missing": (lambda c: with_field(c, landmark_names="absent"), "has no field 'landmark_names'"),
    "field of another kind": (lambda c: with_field(c, updates="many"), "found 'many' as 'updates', expected a whole"),
    "names that are no texts": (lambda c: with_field(c, landmark_names=[1, 2]), "landmark_names that are no texts"),
    "a class that is no name": (lambda c: with_field(c, class_path="os.system()"), "expected the name of a class"),
    "a class of no module": (lambda c: with_field(c, class_path=".system"), "expected the name of a class"),
    "file within the data": (lambda c: with_field(c, data={"root": "/etc"}), r"found data\.root"),
    "NaN in a weight": (lambda c: with_weights(c, NAN), "the weight convolution holds NaN or infinity"),
    "infinity in a weight": (lambda c: with_weights(c, -ENDLESS), "the weight convolution holds NaN or infinity"),
    "a flipped bit": (with_a_flipped_bit, r"not those that were written \(weights_sha256\)"),
    "checksum of other weights": (lambda c: with_field(c, weights_sha256="0" * 64), r"\(weights_sha256\)"),
    "NaN in a figure": (lambda c: with_field(c, measured={"mre": NAN}), "found nan as 'measured.mre'"),
    "infinity in a list of figures": (
        lambda c: with_field(c, measured={"table": [{"sdr": ENDLESS}]}),
        "found inf as 'measured.table.0.sdr'",
    ),
    "NaN in an option": (lambda c: with_field(c, model={"sigma": NAN}), "found nan as 'model.sigma'"),
    "NaN in the calibration": (lambda c: with_field(c, calibration={"a": -ENDLESS}), "found -inf as 'calibration.a'"),
    "a number beyond floats": (
        lambda c: with_description(c, json.dumps({**described(c), "measured": {"mre": 1.5}}).replace("1.5", "1e999")),
        "found inf as 'measured.mre'",
    ),
    "updates below 0": (lambda c: with_field(c, updates=-1), "found -1 as 'updates', expected a whole number from 0"),
    "a name twice": (lambda c: with_field(c, landmark_names=["a", "a"]), "found 'a' twice in landmark_names"),
    "a name that steers the terminal": (
        lambda c: with_field(c, landmark_names=["a", "\x1b[2J"]),
        r"found '\\x1b\[2J' in landmark_names",
    ),
    "values without end": (lambda c: with_field(c, model={"a": nested(60)}), "more than 50 levels in 'model.a"),
    "weight missing": (without_tensor, r"the weight convolution is absent, expected \[4, 3, 3, 3\]"),
    "weight not listed": (lambda c: with_field(c, tensors={}), r"convolution is \[4, 3, 3, 3\], expected absent"),
    "weight of another shape": (lambda c: with_shape(c, [4, 3, 9]), r"convolution is \[4, 3, 9\], expected"),
    "weight beyond the end": (lambda c: with_offsets(c, [0, 2**40]), "weights are cut short or damaged"),
    "weight before the start": (lambda c: with_offsets(c, [-8, 424]), "weights are cut short or damaged"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_anything_else_is_refused_by_name(written: Path, attack: str) -> None:
    change, message = ATTACKS[attack]
    written.write_bytes(change(written.read_bytes()))
    for read in (read_model_file, read_checkpoint):
        with pytest.raises(UserError, match=message) as caught:
            read(written)
        assert str(written) in str(caught.value)
    assert not Path("/tmp/landmark_diffusion_was_here").exists()


def test_a_file_without_checksum_is_read(written: Path) -> None:
    """Those that were written before there was one."""
    written.write_bytes(with_field(written.read_bytes(), weights_sha256="absent"))
    assert torch.equal(read_model_file(written).weights["convolution"], weights()["convolution"])


def test_the_checksum_is_that_of_the_bytes_behind_the_header(written: Path) -> None:
    """As docs/model_file.md says."""
    content = written.read_bytes()
    rest = content[8 + int.from_bytes(content[:8], "little") :]
    assert read_facts(written).weights_sha256 == hashlib.sha256(rest).hexdigest()


def test_the_shipped_model_has_its_checksum() -> None:
    """A damaged copy of it is refused like one of any other model."""
    shipped = Path(__file__).parents[2] / "weights" / "ceph_small.ldx"
    content = shipped.read_bytes()
    rest = content[8 + int.from_bytes(content[:8], "little") :]
    assert read_facts(shipped).weights_sha256 == hashlib.sha256(rest).hexdigest()


def test_a_checkpoint_under_its_name_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(3)}}, tmp_path / "x.ldx")
    with pytest.raises(UserError, match="found a pickle or checkpoint"):
        read_model_file(tmp_path / "x.ldx")


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "x.ldx")
    with pytest.raises(UserError, match="it is no model of `ldx export`"):
        read_model_file(tmp_path / "x.ldx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"y\.ldx: found nothing, expected a model file"):
        read_model_file(tmp_path / "y.ldx")
    (tmp_path / "z.ldx").mkdir()
    with pytest.raises(UserError, match=r"z\.ldx: found a folder, expected a model file"):
        read_model_file(tmp_path / "z.ldx")


# ---- versions -------------------------------------------------------------------------------------------------------


def test_a_newer_file_is_refused_with_both_versions(written: Path) -> None:
    """Who reads it has to know what to upgrade to; nothing else of the file is looked at."""
    newer = with_field(written.read_bytes(), format_version=7, package_version="9.1", updates="absent", seed=[])
    written.write_bytes(newer)
    with pytest.raises(UserError) as caught:
        read_facts(written)
    message = str(caught.value)
    assert "written by landmark_diffusion 9.1 in format 7" in message
    assert f"this is landmark_diffusion {__version__}, which reads up to format {FORMAT_VERSION}" in message
    assert message.endswith("upgrade the package")


def test_a_newer_file_that_does_not_say_its_writer_is_refused(written: Path) -> None:
    written.write_bytes(with_field(written.read_bytes(), format_version=7, package_version="absent"))
    with pytest.raises(UserError, match="written by landmark_diffusion an unknown version in format 7; this is"):
        read_facts(written)


@pytest.mark.parametrize("version", ["absent", None, 0, -1, 1.0, "1", [1]])
def test_a_file_without_a_version_is_refused(written: Path, version: Any) -> None:
    written.write_bytes(with_field(written.read_bytes(), format_version=version))
    with pytest.raises(UserError, match=r"x\.ldx: found format_version .*, expected a whole number from 1"):
        read_facts(written)


FIRST_FIELDS = {
    "format_version", "package_version", "class_path", "model", "landmark_names", "data", "intensity", "updates",
    "seed", "precision", "length_unit", "training", "measured", "note", "tensors",
}  # fmt: skip
"""Those of format 1 as it was first written; a list of its own, since such files are out there."""


def test_a_file_of_format_1_as_first_written_is_read(written: Path) -> None:
    """Fields that came later are absent from it: it is a model without them, not a damaged one."""
    header, rest = header_of(written.read_bytes())
    description = json.loads(header["__metadata__"][FACTS_KEY])
    first = {key: description[key] for key in FIRST_FIELDS} | {"format_version": 1}
    first["model"] = {"num_landmarks": 2, "diffusion": False, "adam_betas": [0.9, 0.999], "decoder_radius": 3}
    header["__metadata__"][FACTS_KEY] = json.dumps(first)
    written.write_bytes(with_header(header, rest))
    model = read_model_file(written)
    network = {"network": {"class_path": "UNet", "init_args": {}}}
    groups = {**FACTS.model, **network, "decoding": {"radius": 3}}
    assert replace(model.facts, tensors={}, package_version="") == replace(FACTS, model=groups)
    assert model.weights.keys() == weights().keys()


@pytest.mark.parametrize("name", sorted(FIRST_FIELDS - {"format_version"}))
def test_a_file_that_lacks_one_of_the_first_fields_is_refused(written: Path, name: str) -> None:
    written.write_bytes(with_field(written.read_bytes(), **{name: "absent"}))
    with pytest.raises(UserError, match=f"has no field '{name}'; export the model again"):
        read_facts(written)


def test_a_field_that_nobody_knows_yet_is_passed_over(written: Path) -> None:
    written.write_bytes(with_field(written.read_bytes(), a_field_to_come={"scale": 2}))
    assert replace(read_facts(written), tensors={}, weights_sha256="", package_version="") == FACTS
