"""How OpenMP's threads wait for each other; to be settled before torch is loaded, since they read it once.

A thread that spins takes its core from whoever else wants it. GNU OpenMP's default of 300,000 turns can make a small
training ten times as slow where one of two cores is busy; without any turn an idle machine loses a third, as each of
thousands of short loops then wakes its threads through the kernel. With ten thousand it loses nothing
(docs/experiments/speed.md).
"""

from __future__ import annotations

from collections.abc import MutableMapping

SHORT_WAIT = {
    "GOMP_SPINCOUNT": "10000",  # turns; GNU OpenMP, of torch on Linux
    "KMP_BLOCKTIME": "1",  # ms; LLVM's and Intel's OpenMP, of torch on macOS and Windows
}
OWN_SETTINGS = ("OMP_WAIT_POLICY", *SHORT_WAIT)
"""A user who sets one of them has chosen."""


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads wait briefly and then sleep, unless ``environment`` says how they wait."""
    if not any(name in environment for name in OWN_SETTINGS):
        environment.update(SHORT_WAIT)
