"""The first line of a verb that loads torch and Lightning, which takes seconds: what was understood."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from landmark_diffusion.core.say import is_first_process

SLOW_VERBS = ("fit", "validate", "test", "predict", "fewshot", "calibrate", "shifts", "export")
QUIET = ("-h", "--help", "--print_config")
"""Options whose answer is all that is wanted; --print_config=FLAGS and --data.help as well."""


def say_first(verb: str, arguments: Sequence[str]) -> None:
    """Say on stderr, in the first process alone, what is about to run; nothing for help and printed configs."""
    if verb not in SLOW_VERBS or not arguments or any(_is_quiet(each) for each in arguments):
        return
    if is_first_process():
        print(f"ldx {verb} {' '.join(arguments)}: loading torch and Lightning ...", file=sys.stderr, flush=True)


def _is_quiet(argument: str) -> bool:
    name = argument.split("=", 1)[0]
    return name in QUIET or (name.startswith("--") and name.endswith(".help"))
