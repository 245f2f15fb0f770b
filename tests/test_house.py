"""The rooms of the package: which may know which, and which know neither torch nor Lightning.

A floor may import those above it in ``FLOORS`` and itself; nothing goes in a circle, neither folders nor files. Imports
within functions and for type checkers count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "landmark_diffusion"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE
FLOORS = (
    "core", "phantom", "data", "heatmaps", "diffusion", "models", "hardware", "finders", "metrics", "spread",
    "modelfile", "training", "methods", "pictures", "detection", "evaluation", "export", "configuration", "web",
    "studies", "annotate", "service", "cli",
)  # fmt: skip
WITHOUT_TORCH = ("core", "phantom", "configuration", "web")
WITHOUT_LIGHTNING = (
    "core", "phantom", "data", "heatmaps", "diffusion", "models", "hardware", "finders", "metrics", "spread",
    "modelfile", "pictures", "detection", "export", "configuration", "web", "studies",
    "annotate", "service",
)  # fmt: skip


def module_name(path: Path) -> str:
    return ".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def imports(module: str) -> frozenset[str]:
    return frozenset(_imports(module))


def _imports(module: str) -> Iterator[str]:
    """Everything that a module imports, wherever in it: modules of ours, and the top names of other libraries."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [f"{node.module}.{each.name}" for each in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        else:
            continue
        yield from (name if name in MODULES else name.partition(".")[0] for name in names)


def floor(module: str) -> str:
    """The room of a module; the package's own face and ``python -m`` stand above all."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (len(parts) == 2 and MODULES[module].name == "__init__.py") else ""


def neighbours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES and name != module}


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_is_a_floor() -> None:
    assert {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()} == set(FLOORS)
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("room", FLOORS)
def test_a_floor_knows_those_above_alone(room: str) -> None:
    allowed = set(FLOORS[: FLOORS.index(room) + 1])
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if floor(module) == room
        for other in neighbours(module)
        if floor(other) not in allowed
    ]
    assert wrong == []


def test_no_circle_of_files() -> None:
    assert circle({module: neighbours(module) for module in MODULES}) == []


def test_no_circle_of_folders() -> None:
    """Also of those within a floor, such as data's own."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        for other in neighbours(module):
            here, there = (str(MODULES[each].parent.relative_to(ROOT)) for each in (module, other))
            if here != there and "." not in (here, there):
                graph.setdefault(here, set()).add(there)
    assert circle(graph) == []


@pytest.mark.parametrize("library", ["lightning", "torch"])
def test_libraries_stay_in_their_rooms(library: str) -> None:
    rooms = WITHOUT_LIGHTNING if library == "lightning" else WITHOUT_TORCH
    assert [module for module in MODULES if floor(module) in rooms and library in imports(module)] == []


def test_the_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


def test_no_two_classes_share_a_name() -> None:
    """One word a thing: a reader of ``Table`` would have to find out which."""
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}
