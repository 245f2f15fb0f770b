"""``python -m landmark_diffusion.cli.cell_process JOB``: one cell of a grid or a fold, in a process of its own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from landmark_diffusion.cli.entry import main as ldx
from landmark_diffusion.core.errors import UserError, print_error
from landmark_diffusion.studies.trainings.job import Job, check_options, end_with_parent, run_job


def main(argv: Sequence[str]) -> int:
    """Run the job in the file ``argv[0]``, or with ``--check`` parse the command lines in the file ``argv[1]``.

    Which of them it is at stands in the file ``argv[2]``.
    """
    end_with_parent()
    # Within training `ldx fit` handles SIGTERM itself; anywhere else there is nothing to save.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        if argv[0] == "--check":
            commands = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
            return check_options(commands, ldx, Path(argv[2]).write_text)
        return run_job(Job.read(argv[0]), ldx)
    except UserError as error:
        print_error(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
