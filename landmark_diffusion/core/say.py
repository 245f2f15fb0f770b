"""Words to the user, said once for all processes of a run: the logger ``landmark_diffusion``, which ``ldx`` prints."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("landmark_diffusion")
"""What a program that uses the package listens to; silent until it does."""
LOGGER.addHandler(logging.NullHandler())

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
    """Tell on the first process what is done, as information of the logger."""
    if is_first_process():
        LOGGER.info(text)


@contextmanager
def spoken_aloud() -> Iterator[None]:
    """Print what is said while the block runs, whatever other loggers are set to: the command line's way."""
    console, level = _Console(), LOGGER.level
    LOGGER.addHandler(console)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(console)
        LOGGER.setLevel(level)


class _Console(logging.Handler):
    """Print messages bare, on the standard output of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), flush=True)


@contextmanager
def unsaid(*others: str) -> Iterator[None]:
    """Say and warn nothing while the block runs, nor let loggers of these names inform: it was all told before."""
    loggers = [LOGGER, *map(logging.getLogger, others)]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def warn(text: str) -> None:
    """Warn on the first process, as of the caller of whoever calls this."""
    if is_first_process():
        warnings.warn(text, stacklevel=4)
