"""A real browser without a window, for the tests of pages; skips where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--no-first-run",
)  # fmt: skip
NO_BROWSER = "no browser is found: `apt install chromium` or `playwright install chromium`"


@contextmanager
def started_browser() -> Iterator[Any]:
    """Start a browser; skip where there is none, or no driver of it."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="a browser's driver is needed: pip install landmark_diffusion[browser]"
    )
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        path = found or driver.chromium.executable_path
        if not Path(path).exists():
            pytest.skip(NO_BROWSER)
        browser = driver.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()
