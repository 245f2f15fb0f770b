"""Words to the user that are no log records, said once for all processes of a run."""

from __future__ import annotations

import os
import sys
import warnings

PART_OF_A_WHOLE = "LDX_PART_OF_A_WHOLE"
"""Environment variable of trainings that another verb starts: that one says what comes next."""
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Where launchers say which of the processes this is, in the order that Lightning looks."""


def is_first_process() -> bool:
    """Tell whether this is the first of a run's processes, or the only one."""
    torch = sys.modules.get("torch")  # nobody has started processes with it where it was not imported
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return bool(torch.distributed.get_rank() == 0)
    return next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0) == 0


def say(text: str) -> None:
    """Print on the first process: whoever silences logging still needs to know what is trained and measured."""
    if is_first_process():
        print(text, flush=True)


def warn(text: str) -> None:
    """Warn on the first process, as of the caller of whoever calls this."""
    if is_first_process():
        warnings.warn(text, stacklevel=4)
