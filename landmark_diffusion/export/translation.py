"""From a module of torch to the bytes of an ONNX file, and a session that runs one."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError

SUFFIX = ".onnx"
OPSET = 18
"""The oldest that torch's exporter writes by itself, read by onnxruntime from 1.14 on."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

MAX_BYTES = 2**31 - 2**24
"""Weights of one file: protobuf, which ONNX is written in, ends at 2 GiB; the rest is for the graph."""


@dataclass(frozen=True)
class Call:
    """How a graph is called.

    Attributes:
        arguments: an example of each input.
        free: for each input, the axes that may have any length, by their names.
        inputs, outputs: names.
        strict: trace by torch's compiler, which keeps ``len(x)`` free; without it, what a module looks at in Python has
            to be the same for all inputs.
    """

    arguments: tuple[torch.Tensor, ...]
    free: tuple[Mapping[int, str], ...]
    inputs: Sequence[str]
    outputs: Sequence[str]
    strict: bool = True


def check_packages() -> None:
    """Raise UserError where a package of the extra ``onnx`` is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX: the export needs {', '.join(missing)}, which is not installed: "
            "pip install 'landmark_diffusion[onnx]'"
        )


def check_weights(path: Path, module: nn.Module) -> None:
    """Raise UserError for weights that no file can hold."""
    size = sum(value.numel() * 4 for value in module.parameters())
    if size > MAX_BYTES:
        raise UserError(f"{path}: the weights take {size / 2**30:.1f} GiB, and one ONNX file holds less than 2 GiB")


def translate(module: nn.Module, call: Call, name: str, metadata: Mapping[str, str]) -> bytes:
    """Translate a module to the bytes of an ONNX file, weights and all; ``name`` is the graph's."""
    names = {axis for axes in call.free for axis in axes.values()}
    known = {axis: torch.export.Dim(axis) for axis in names}
    shapes = [{place: known[axis] for place, axis in axes.items()} for axes in call.free]
    with torch.no_grad(), _quiet():
        program = torch.export.export(module, call.arguments, dynamic_shapes=shapes, strict=call.strict)
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=list(call.inputs), output_names=list(call.outputs),
            verbose=False,
        )  # fmt: skip
    assert made is not None
    proto = made.model_proto
    _tidy(proto, call, name, metadata)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def session(model: Path | bytes) -> Any:
    """Open an ONNX file in onnxruntime, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    found = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(found, options, providers=["CPUExecutionProvider"])


def _tidy(proto: Any, call: Call, name: str, metadata: Mapping[str, str]) -> None:
    """Name the free axes, take out the exporter's notes (they name folders of this machine), and put in ours."""
    import onnx

    graph = proto.graph
    names = {
        value.type.tensor_type.shape.dim[place].dim_param: axis
        for value, axes in zip(graph.input, call.free, strict=True)
        for place, axis in axes.items()
    }
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]
    _without_notes(graph)
    _without_unused(graph)
    for part in (proto, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    graph.name = name
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto, full_check=True)


def _without_notes(graph: Any) -> None:
    """Take the notes out of a graph and of those within its nodes (loops)."""
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.HasField("g"):
                _without_notes(attribute.g)


def _without_unused(graph: Any) -> None:
    """Take out weights that nothing reads: the exporter leaves those of loops, of which runtimes warn."""
    used = {value.name for value in graph.output} | _read_by(graph)
    unused = [each for each in graph.initializer if each.name not in used]
    for each in unused:
        graph.initializer.remove(each)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _without_unused(attribute.g)


def _read_by(graph: Any) -> set[str]:
    """Names of the values that the nodes of a graph read, also within loops."""
    found = {name for node in graph.node for name in node.input}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _read_by(attribute.g) | {value.name for value in attribute.g.output}
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's talk about itself, and about packages it does not need, from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
