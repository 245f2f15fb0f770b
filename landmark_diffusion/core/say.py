"""Words of a run to its user that are no log records."""

from __future__ import annotations

from lightning.pytorch.utilities.rank_zero import rank_zero_only


@rank_zero_only
def say(text: str) -> None:
    """Print on the first process: whoever silences logging still needs to know what is trained and measured."""
    print(text, flush=True)
