"""The documentation names what is there: files, headings, verbs, options, columns."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from landmark_diffusion.cli.entry import main
from landmark_diffusion.cli.verbs import OTHER_VERBS, RUN_VERBS
from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.detection.forms import WRITERS
from landmark_diffusion.detection.writers.points_csv import COLUMNS as POINTS_COLUMNS
from landmark_diffusion.detection.writers.points_json import points_schema
from landmark_diffusion.evaluation.spread_view import COLUMNS as SPREAD_COLUMNS
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.tables import AGREEMENT_COLUMNS, MEASURE_COLUMNS
from landmark_diffusion.studies.shifts.files import COLUMNS
from landmark_diffusion.studies.shifts.rows import ShiftRow
from landmark_diffusion.studies.suggest.files import COLUMNS as SUGGESTION_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
PARSED = (
    "annotate",
    "detect",
    "serve",
    "calibrate",
    "shifts",
    "suggest",
    "adapt",
    "analyse",
    "export",
    "crossval",
    "compare",
    "data convert",
)
"""Verbs whose options are all argparse's; those of fit, test, validate and predict are the classes' own."""

EVERYWHERE = {"-h", "--help", "--debug"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages(test: Any) -> Any:
    """Run a test for each page."""
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))(test)


def prose(page: Path) -> str:
    """The page without its blocks of code, where brackets are no links and # begins a comment."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def section(heading: str) -> str:
    """What the reference says under a heading of the second level."""
    return REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@cache
def anchors(page: Path) -> set[str]:
    """Names of the page's headings as GitHub makes them: lower case, no punctuation, hyphens; repeated ones counted."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def commands(page: Path) -> Iterator[list[str]]:
    """Words behind ``ldx`` of every command on the page: lines of code blocks, and code within the text."""
    text = page.read_text(encoding="utf-8")
    blocks = [block.replace("\\\n", " ") for language, block in _FENCE.findall(text) if language in ("", "sh", "bash")]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]
    for line in lines:
        if line.strip().startswith("ldx "):
            yield _words(line)[1:]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # an apostrophe of the text, no quotation mark
        return line.split()


class _Captured(Exception):
    """Carries a verb's parser out of it."""


@cache
def known_options(verb: str) -> frozenset[str]:
    """Options of a verb, from the parser that it builds."""

    def capture(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> Any:
        raise _Captured(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", capture)
        with pytest.raises(_Captured) as caught:
            main(verb.split())
    parser = caught.value.args[0]
    return frozenset(option for action in parser._actions for option in action.option_strings)


@pages
def test_links_lead_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("path", [*PAGES, *installed_configs()], ids=lambda path: path.name)
def test_a_paper_is_introduced_where_it_first_stands(path: Path) -> None:
    """Who reads "paper A" on a page has not read the README."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, said in (("A", "Salt & Pepper Heatmaps"), ("B", "Di Via")):
        first = next((place for place, line in enumerate(lines) if re.search(rf"[Pp]aper {name}\b", line)), None)
        if first is not None:
            assert said in " ".join(lines[max(0, first - 3) : first + 3])


def test_the_reference_lists_the_common_options_of_the_trainer() -> None:
    from landmark_diffusion.cli.run_help import TRAINER

    for name, text in TRAINER.items():
        assert f"| `--trainer.{name}` | {text} |" in section("Trainer")


@pages
def test_commands_have_verbs_and_options_that_exist(page: Path) -> None:
    wrong = []
    for words in commands(page):
        verb, *rest = words
        if verb not in {*RUN_VERBS, *OTHER_VERBS, "VERB", "--version"}:
            wrong.append(" ".join(words))
        verb = " ".join(words[:2]) if verb == "data" else verb
        if verb not in PARSED or "--folds" in rest:  # with folds, further options are those of fit
            continue
        options = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
        if verb == "crossval":  # options of the sections go to `ldx fit`
            options = [option for option in options if not re.match(r"--(data|model|trainer)\.", option)]
        wrong += [f"{verb} {option}" for option in options if option not in known_options(verb) | EVERYWHERE]
    assert not wrong


def test_commands_name_configs_that_are_shipped() -> None:
    told = [page for page in PAGES if "experiments" not in page.parts]  # those record names that are no more
    pairs = [pair for page in told for words in commands(page) for pair in pairwise(words)]
    named = {word for before, word in pairs if before == "--config" and re.fullmatch(r"[a-z_]+\.yaml", word)}
    assert named and named <= {path.name for path in installed_configs()}


@pytest.mark.parametrize("verb", PARSED)
def test_the_reference_lists_every_option(verb: str) -> None:
    listed = set(re.findall(r"`(--?[a-z][\w.-]*)", section(f"ldx {verb}")))
    assert listed == known_options(verb) - {"-h", "--help"}


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("ldx shifts", [*COLUMNS, *(each.name for each in fields(ShiftRow))]),
        ("ldx suggest", SUGGESTION_COLUMNS),
        ("points.csv", POINTS_COLUMNS), ("Measures", MEASURE_COLUMNS), ("spread.csv", SPREAD_COLUMNS),
        ("Measures", [name for name in AGREEMENT_COLUMNS if not name.endswith(("_low", "_high"))]),
    ],
)  # fmt: skip
def test_the_reference_explains_every_column(heading: str, columns: tuple[str, ...]) -> None:
    assert [name for name in columns if f"`{name}`" not in section(heading)] == []


def test_the_reference_explains_every_field_of_the_schema() -> None:
    schema = points_schema()
    text = section("points.json")
    parts = (schema, schema["$defs"]["image"], schema["$defs"]["landmark"], schema["$defs"]["ellipse"])
    assert [name for part in parts for name in part["properties"] if f"`{name}`" not in text] == []


def test_the_reference_lists_every_form_of_output() -> None:
    assert [name for name in WRITERS.names() if f"| `{name}` |" not in REFERENCE] == []


def test_the_reference_states_the_class_limits_that_are_used() -> None:
    rows = {match[1]: match[0] for match in re.finditer(r"^\| (\w+)[ ,].*$", section("Measures"), re.MULTILINE)}
    for name, scheme in SCHEMES.items():
        low, high = scheme.normal
        lowest, *_, highest = scheme.classes
        for words in (f"{low:g} to {high:g}", f"{lowest.number}: below", f"{highest.number}: above"):
            assert words in rows[name], name


def test_pages_that_the_code_names_are_there() -> None:
    """A docstring that points to a page of somebody's own notes helps nobody."""
    folders = ("landmark_diffusion", "tools", "benchmarks")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in sources}
    named = {page for text in texts.values() for page in re.findall(r"docs/[\w/]+\.md", text)}
    assert named and all((ROOT / page).is_file() for page in named)
    assert not [path for path, text in texts.items() if "design.md" in text]


def test_the_package_says_that_it_is_typed() -> None:
    """Without the mark a user's type checker takes everything here for Any (PEP 561); hatchling packs all files."""
    assert (ROOT / "landmark_diffusion" / "py.typed").is_file()
