"""The networks of a model as ONNX files, for other runtimes: each is run against torch before it takes its name.

A network alone is written. What turns its output into points - the chain, the decoding, the way back to original
pixels - stays with this package; each file says so in its metadata, with what its inputs and output mean.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_path
from landmark_diffusion.export.onnx_networks import Network, list_networks
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.models.blocks import GroupNorm, SelfAttention

SUFFIX = ".onnx"
OPSET = 18
"""The oldest that torch's exporter writes by itself, read by onnxruntime from 1.14 on."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
BATCHES = (1, 2)
"""Images of the two batches that a file is checked with."""

ROUNDING = 10
"""How far a file may be from torch, in roundings of torch's own.

Both work in float32 and add the same numbers in another order, so they differ by about as much as each differs from the
exact result. Torch's part of that is measured, against itself in float64; the runtime's is like it, and a few times as
much where it approximates exponentials. A wrong operator or weight differs by thousands of times as much.
"""

MAX_WEIGHTS = 2**25
"""Weights of attention, queries x positions x heads, that a file holds at a time for each image: 128 MiB."""

MAX_BYTES = 2**31 - 2**24
"""Weights of one file: protobuf, which ONNX is written in, ends at 2 GiB; the rest is for the graph."""

NOT_INCLUDED = (
    "The network alone. Not in this file: reading and resizing the image, the chain of a diffusion with its noise, "
    "prior and windows, the decoding of maps to points, the way back to original pixels and mm, and the calibration. "
    "landmark_diffusion (ldx test, ldx detect) does them."
)


@dataclass(frozen=True)
class Written:
    """A file that was written: ``difference`` is the largest one from torch, ``scale`` the largest output's size."""

    path: Path
    network: Network
    difference: float
    allowed: float
    scale: float


def check_packages() -> None:
    """Raise UserError where a package of the extra ``onnx`` is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX: the export needs {', '.join(missing)}, which is not installed: "
            "pip install 'landmark_diffusion[onnx]'"
        )


def onnx_targets(path: Path, networks: Sequence[Network], overwrite: bool) -> list[Path]:
    """List the files of the networks, the first called ``path``; raises UserError where one is there already."""
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: expected a file name that ends in {SUFFIX}")
    found = [path.with_name(f"{path.stem}{network.suffix}{SUFFIX}") for network in networks]
    for target in found:
        if target.is_dir() or (target.exists() and not overwrite):
            raise UserError(f"{target} exists already and was left as it is; give another name, or --overwrite")
    return found


def write_onnx(path: Path, module: Finder, facts: ModelFacts, overwrite: bool = False) -> list[Written]:
    """Write the networks of ``module`` as ONNX files, all of them or none.

    The height and width of images are those of ``facts.data["size"]``, the first axis is free. Raises UserError for a
    missing package, a file that is there (unless ``overwrite``), weights that no file can hold, a file that cannot be
    written, and one that does not give what torch gives within rounding (``ROUNDING``).
    """
    check_packages()
    module = module.cpu().eval()
    networks = list_networks(module, facts)
    targets = onnx_targets(path, networks, overwrite)
    size = max(sum(value.numel() * 4 for value in network.module.parameters()) for network in networks)
    if size > MAX_BYTES:
        raise UserError(f"{path}: the weights take {size / 2**30:.1f} GiB, and one ONNX file holds less than 2 GiB")
    try:
        with ExitStack() as files:  # all are written and checked before the first takes its name
            places = [files.enter_context(atomic_path(target)) for target in targets]
            written = []
            for network, target, place in zip(networks, targets, places, strict=True):
                place.write_bytes(to_onnx(network, _metadata(network, facts)))
                written.append(_checked(network, target, place))
            return written
    except OSError as error:
        raise UserError(f"{path}: the network could not be written ({error.strerror or error})") from error


# ---- to ONNX ---------------------------------------------------------------------------------------------------------


class AttentionInParts(SelfAttention):
    """SelfAttention, some queries at a time.

    Torch's fused kernel never holds all weights; runtimes do, and at 640x800 and factor 4 they would take 16 GB.
    """

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Mix the values of all positions, as SelfAttention does."""
        queries = max(1, MAX_WEIGHTS // (self.heads * k.shape[-2]))
        return torch.cat([F.scaled_dot_product_attention(part, k, v) for part in q.split(queries, -2)], -2)


class GroupNormByRows(GroupNorm):
    """GroupNorm whose means are means of the rows' means.

    onnxruntime's own normalisation adds the pixels of a group one after another: a million of them at 640x800, and the
    result is off by 1e-4 where torch is by 1e-6.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x (B,C,H,W) as GroupNorm does."""
        groups = x.unflatten(1, (self.num_groups, -1))
        centred = groups - _mean_of_group(groups)
        normed: torch.Tensor = (centred * (_mean_of_group(centred.square()) + self.eps).rsqrt()).flatten(1, 2)
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


def _mean_of_group(groups: torch.Tensor) -> torch.Tensor:
    """Mean of each group of (B, groups, C, H, W), with axes of 1 left in place."""
    return groups.mean(-1, keepdim=True).mean((2, 3), keepdim=True)


EXPORTED: dict[type[nn.Module], type[nn.Module]] = {SelfAttention: AttentionInParts, GroupNorm: GroupNormByRows}
"""Layers of the same weights and result that do the work in an order that suits other runtimes."""


def to_onnx(network: Network, metadata: dict[str, str]) -> bytes:
    """Translate a network to the bytes of an ONNX file, weights and all."""
    module = copy.deepcopy(network.module)
    for layer in module.modules():
        layer.__class__ = EXPORTED.get(type(layer), type(layer))
    axis = torch.export.Dim(network.axis)
    with torch.no_grad(), _quiet():
        # strict, since tracing without it takes len(x) for a constant
        arguments = network.draw(BATCHES[-1])
        program = torch.export.export(module, arguments, dynamic_shapes=[{0: axis}] * len(arguments), strict=True)
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=list(network.inputs),
            output_names=[network.output[0]], verbose=False,
        )  # fmt: skip
    assert made is not None
    proto = made.model_proto
    _tidy(proto, network.axis, metadata)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _tidy(proto: Any, axis: str, metadata: dict[str, str]) -> None:
    """Name the free axis, take out the exporter's notes (they name folders of this machine), and put in ours."""
    import onnx

    graph = proto.graph
    free = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == free:
                dimension.dim_param = axis
    for part in (proto, graph, *graph.node, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    graph.name = metadata["network"]
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)


def _metadata(network: Network, facts: ModelFacts) -> dict[str, str]:
    """What the file says of itself; values are texts, those with structure JSON."""
    from landmark_diffusion.core.version import version

    structured = {
        "landmark_names": list(facts.landmark_names),
        "input_size": list(facts.data["size"]),
        "inputs": network.inputs,
        "outputs": dict([network.output]),
        "options": facts.model,
    }
    return {
        "package": "landmark_diffusion",
        "package_version": version(),
        "class": facts.class_path,
        "network": network.part,
        "resize": str(facts.data.get("resize", "stretch")),
        "intensity": str(facts.intensity.get("rule", "")),
        "not_included": NOT_INCLUDED,
        "note": facts.note,
        **{key: json.dumps(value, ensure_ascii=False) for key, value in structured.items()},
    }


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


# ---- the check -------------------------------------------------------------------------------------------------------


def _checked(network: Network, target: Path, place: Path) -> Written:
    """Run the file at ``place`` against torch; raises UserError where they differ by more than rounding."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    precise = copy.deepcopy(network.module).double()
    difference = rounding = scale = 0.0
    for count in BATCHES:
        arguments = network.draw(count)
        with torch.no_grad():
            ours = network.module(*arguments)
            exact = precise(*(value.double() if value.is_floating_point() else value for value in arguments))
        feed = {name: value.numpy() for name, value in zip(network.inputs, arguments, strict=True)}
        theirs = torch.from_numpy(session.run(None, feed)[0])
        if theirs.shape != ours.shape:
            raise UserError(f"{target}: gives {list(theirs.shape)} where torch gives {list(ours.shape)}; not written")
        difference = _largest(difference, theirs - ours)
        rounding = _largest(rounding, ours - exact)
        scale = _largest(scale, ours)
    allowed = ROUNDING * max(rounding, torch.finfo(torch.float32).eps * scale)
    if not difference <= allowed:  # so that NaN is refused too
        raise UserError(
            f"{target}: not written, since onnxruntime gives other values than torch: they differ by {difference:.2g}, "
            f"expected at most {allowed:.2g}, {ROUNDING} times torch's own rounding. Are the packages "
            f"{', '.join(PACKAGES)} and torch of one time? constraints.txt names versions that go together"
        )
    return Written(target, network, difference, allowed, scale)


def _largest(so_far: float, values: torch.Tensor) -> float:
    """The larger of ``so_far`` and the largest absolute value; NaN where one is."""
    return float(values.abs().max().clamp_min(so_far))
