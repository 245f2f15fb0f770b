"""The networks of a model as ONNX files, for other runtimes: each is run against torch before it takes its name.

A network alone is written. What turns its output into points - the chain, the decoding, the way back to original
pixels - stays with this package; each file says so in its metadata, with what its inputs and output mean.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_path
from landmark_diffusion.export.onnx_networks import Network, list_networks
from landmark_diffusion.export.traced.layers import with_exported_layers
from landmark_diffusion.export.translation import (
    PACKAGES,
    SUFFIX,
    Call,
    check_packages,
    check_weights,
    session,
    translate,
)
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.modelfile.facts import ModelFacts

BATCHES = (1, 2)
"""Images of the two batches that a file is checked with."""

ROUNDING = 10
"""How far a file may be from torch, in roundings of torch's own.

Both work in float32 and add the same numbers in another order, so they differ by about as much as each differs from the
exact result. Torch's part of that is measured, against itself in float64; the runtime's is like it, and a few times as
much where it approximates exponentials. A wrong operator or weight differs by thousands of times as much.
"""

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
    for network in networks:
        check_weights(path, network.module)
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


def to_onnx(network: Network, metadata: dict[str, str]) -> bytes:
    """Translate a network to the bytes of an ONNX file, weights and all."""
    arguments = network.draw(BATCHES[-1])
    free = ({0: network.axis},) * len(arguments)
    module = with_exported_layers(copy.deepcopy(network.module))
    return translate(module, Call(arguments, free, list(network.inputs), [network.output[0]]), network.part, metadata)


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


# ---- the check -------------------------------------------------------------------------------------------------------


def _checked(network: Network, target: Path, place: Path) -> Written:
    """Run the file at ``place`` against torch; raises UserError where they differ by more than rounding."""
    runtime = session(place)
    precise = copy.deepcopy(network.module).double()
    difference = rounding = scale = 0.0
    for count in BATCHES:
        arguments = network.draw(count)
        with torch.no_grad():
            ours = network.module(*arguments)
            exact = precise(*(value.double() if value.is_floating_point() else value for value in arguments))
        feed = {name: value.numpy() for name, value in zip(network.inputs, arguments, strict=True)}
        theirs = torch.from_numpy(runtime.run(None, feed)[0])
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
