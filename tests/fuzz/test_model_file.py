"""Exported models: the weights and facts are those in the file, or it is refused by name, whatever its bytes are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import FACTS_KEY, ModelFile, read_model_file, write_model_file
from tests.fuzz.harness import inputs, judge
from tests.fuzz.json_mutations import spoilt_json, strict
from tests.fuzz.strategies import spoilt_bytes

FACTS = ModelFacts(
    class_path="DiffusionHeatmapModule",
    model={"num_landmarks": 2, "diffusion": False},
    landmark_names=("sella", "nasion"),
    data={"dataset": "isbi2015", "size": [96, 120]},
    updates=2000,
    seed=3,
)
DTYPES = {"F32": "<f4", "I64": "<i8", "U8": "u1", "BOOL": "?"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    weights = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "steps": torch.tensor(7)}
    return write_model_file(tmp_path_factory.mktemp("model") / "x.ldx", FACTS, weights).read_bytes()


def parts_of(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


@st.composite
def model_files(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes of the head spoilt, or fields of the header, or of the facts within it."""
    header, body = parts_of(data)
    what = draw(st.sampled_from(("bytes", "header", "facts", "facts", "body")))
    if what == "bytes":
        return draw(spoilt_bytes(data, head=draw(st.sampled_from((9, 200, len(data))))))
    if what == "body":
        return joined(json.dumps(header).encode(), draw(spoilt_bytes(body)))
    if what == "header":
        return joined(draw(spoilt_json(header)), body)
    facts = draw(spoilt_json(json.loads(header["__metadata__"][FACTS_KEY])))
    header["__metadata__"][FACTS_KEY] = facts.decode()
    return joined(json.dumps(header).encode(), body)


def weights_in(data: bytes) -> dict[str, np.ndarray] | None:
    """The arrays of the file by its own layout; None where any byte of it is not accounted for."""
    length = int.from_bytes(data[:8], "little")
    body, found, used = data[8 + length :], {}, 0
    try:
        header = strict(data[8 : 8 + length])
        header.pop("__metadata__")
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            found[name] = np.frombuffer(body[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
            used += end - start
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if used == len(body) else None


@inputs(80, 1200)
@given(data=st.data())
def test_no_model_gives_other_weights_than_it_holds(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = data.draw(model_files(written))
    path = tmp_path_factory.getbasetemp() / "x.ldx"
    path.write_bytes(content)
    found: ModelFile | None = judge(".ldx model", lambda: read_model_file(path), path)
    if content == written:
        assert found is not None
    if found is None:
        return
    expected = weights_in(content)
    assert expected is not None and found.weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found.weights[name].numpy(), value)
    said = json.loads(parts_of(content)[0]["__metadata__"][FACTS_KEY])
    assert list(found.facts.landmark_names) == said["landmark_names"] and found.facts.updates == said["updates"]
    shapes = {name: list(value.shape) for name, value in expected.items()}
    assert found.facts.tensors == shapes  # none dropped, none added


def test_the_oracle_reads_what_is_written(written: bytes, tmp_path: Path) -> None:
    found = weights_in(written)
    assert found is not None and found["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
