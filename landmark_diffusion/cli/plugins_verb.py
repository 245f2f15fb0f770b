"""``ldx plugins``: what is known by a short name, and why one of them cannot be used."""

from __future__ import annotations

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import Registry

DESCRIPTION = """List the data sets, methods, networks, outputs and forms of labels that ldx knows by
a short name: those built in, and those that other installed packages bring by entry points.
Each is imported, so that one that cannot be used is named with the why."""


def run_plugins(arguments: list[str]) -> int:
    """Print one line for each; return 0, also where one cannot be used. ``arguments`` are those behind the verb."""
    VerbParser("plugins", DESCRIPTION).parse(arguments)
    from landmark_diffusion.data.labels import FORMATS
    from landmark_diffusion.data.sources import DATASETS
    from landmark_diffusion.detection.forms import WRITERS
    from landmark_diffusion.methods import METHODS
    from landmark_diffusion.models.network import NETWORKS

    known = (
        ("data sets", DATASETS), ("methods", METHODS), ("networks", NETWORKS), ("outputs", WRITERS),
        ("forms of labels", FORMATS),
    )  # fmt: skip
    for title, registry in known:
        print(f"{title} ({registry.option}; others bring them by the entry points {registry.group}):")
        width = max(map(len, registry.names()))
        for name in registry.names():
            print(f"  {name:<{width}}  {_whence(registry, name)}{_fault(registry, name)}", flush=True)
    return 0


def _whence(registry: Registry, name: str) -> str:
    if name in registry.built_in:
        return "built in"
    entry = registry.found()[name]
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "another package"
    return f"{package} ({entry.value})"


def _fault(registry: Registry, name: str) -> str:
    try:
        registry.load(name)
    except UserError as error:
        return f"; cannot be used: {error}"
    return ""
