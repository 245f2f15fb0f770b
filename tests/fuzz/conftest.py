"""The fuzzer's folder of headers, and its table of counts at the end of a full run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.harness import COUNTS, FULL, Count


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the headers that one file's inputs leave behind from those of another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts as a Markdown table (of this process: `make fuzz` runs in one)."""
    if not FULL or not COUNTS:
        return
    total = Count(*(sum(getattr(count, name) for count in COUNTS.values()) for name in vars(Count())))
    terminalreporter.section("fuzzer")
    terminalreporter.line("| format | inputs | accepted | refused | seconds |\n|---|---|---|---|---|")
    for kind, count in [*sorted(COUNTS.items()), ("all", total)]:
        row = (kind, count.inputs, count.accepted, count.refused, f"{count.seconds:.1f}")
        terminalreporter.line("| " + " | ".join(map(str, row)) + " |")
