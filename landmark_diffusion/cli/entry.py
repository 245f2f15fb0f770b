"""Entry of ``ldx``: finds the verb and the config files without importing torch, then hands over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from landmark_diffusion.cli.first_line import say_first
from landmark_diffusion.cli.safe_configs import allowed_classes
from landmark_diffusion.cli.terminal import Output, hang_up_interrupts, safe_output
from landmark_diffusion.cli.verbs import OTHER_VERBS, RUN_VERBS
from landmark_diffusion.configuration.repeated import tell_repeated
from landmark_diffusion.core.errors import UserError, print_error
from landmark_diffusion.core.registry import resolve
from landmark_diffusion.core.say import spoken_aloud
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.hardware.waiting import wait_briefly

DEBUG_VARIABLE = "LDX_DEBUG"

HELP = """usage: ldx VERB [options]

Landmark detection in radiographs with diffusion models.

verbs:
{verbs}

examples:
  ldx fit --config phantom_diffusion.yaml
  ldx fit --config ceph_diffusion.yaml --data.root ~/isbi2015 --trainer.max_epochs 20
  ldx fit --config ceph_diffusion.yaml --ckpt_path last      continue a run that was stopped
  ldx test runs/ceph_diffusion                               tests the best checkpoint of that run, with its config
  ldx export runs/ceph_diffusion/checkpoints/best.ckpt ceph.ldx      one file with weights, config and figures
  ldx test ceph.ldx --data.root ~/isbi2015                   measures it; its config is in the file
  ldx detect images/ --model ceph.ldx --to csv,html          landmarks of any radiographs: tables, pictures, a page
  ldx adapt ceph.ldx --data.root my_xrays --output mine.ldx     from ten labelled images of your own, in minutes
  ldx crossval --config folder_diffusion_small.yaml --data.root my_xrays      five folds of your own images, one table
  ldx data convert cvat.xml --to csv --output points.csv     labels of another tool, in and out
  ldx compare runs/baseline runs/diffusion                   paired intervals over the images of both tests
  ldx fewshot --config ceph_fewshot.yaml                     a whole grid; `ldx fewshot --help` shows its config
  ldx fit --config ceph_diffusion.yaml --config ddp.yaml     several configs add up, the last one wins

A config is looked for in the current folder, then among the installed ones. `ldx VERB --help` lists all options.
A config may name classes of landmark_diffusion, Lightning and torchmetrics; --allow_classes my_lab.models adds others.
--version prints the version; --debug (or {debug}=1) shows the traceback of an error.
"""


def main(argv: list[str] | None = None) -> int:
    """Run ``ldx`` and return its exit status: 0, 1 after a message for the user, 129 or 130 when interrupted.

    Whatever becomes of the terminal meanwhile, the work is finished (``cli.terminal``).

    ``argv`` are the arguments after the program's name, by default those of the process.
    """
    wait_briefly(os.environ)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--debug" in arguments:
        arguments = [argument for argument in arguments if argument != "--debug"]
        os.environ[DEBUG_VARIABLE] = "1"  # in the environment, so that processes started by Lightning know it too
    with safe_output(tell=_leaves_files(arguments)) as output, hang_up_interrupts() as hung_up:
        try:
            status = _status(arguments, hung_up)
        except SystemExit as stop:  # of --help, or a run that was stopped
            if stop.code or output.lost is None:
                raise
            status = 0
        return status or _told_of_lost_output(output)


def _status(arguments: list[str], hung_up: Callable[[], bool]) -> int:
    try:
        with spoken_aloud(), allowed_classes(arguments) as rest:
            return _dispatch(rest)
    except UserError as error:
        if debugging():
            raise
        print_error(error)
        return 1
    except KeyboardInterrupt:
        if debugging():
            raise
        print("interrupted", file=sys.stderr)
        return 129 if hung_up() else 130  # as the shell numbers them: 128 + signal


def _leaves_files(arguments: list[str]) -> bool:
    """Tell whether the command works on where nobody reads what it prints."""
    only_printed = {"-h", "--help", "--help=all", "--version", "--print_config", "--list"}
    first = "LOCAL_RANK" not in os.environ  # and none of the processes that Lightning starts beside it
    return bool(arguments) and arguments[0] != "configs" and only_printed.isdisjoint(arguments) and first


def _told_of_lost_output(output: Output) -> int:
    if output.lost is None:
        return 0
    why = getattr(output.lost, "strerror", None) or output.lost
    print(f"error: what was printed is not whole ({why}); all files were written", file=sys.stderr)
    return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if arguments[0] == "--version":
        from landmark_diffusion.core.version import version

        print(f"landmark_diffusion {version()}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    tell_repeated(rest)
    say_first(verb, rest)
    if verb in RUN_VERBS:
        return _run(verb, rest)
    if verb in OTHER_VERBS:
        return _run_own(verb, rest)
    raise UserError(_unknown_verb(verb))


def help_text() -> str:
    """Return the overview that ``ldx`` and ``ldx --help`` print."""
    verbs = RUN_VERBS | {verb: each.what for verb, each in OTHER_VERBS.items()}
    lines = "\n".join(f"  {verb:<9} {line}" for verb, line in verbs.items())
    return HELP.format(verbs=lines, debug=DEBUG_VARIABLE)


def _run(verb: str, rest: list[str]) -> int:
    from landmark_diffusion.cli.model_file_arguments import expanded_model_file
    from landmark_diffusion.cli.run_folder_arguments import expanded_run_folder
    from landmark_diffusion.cli.run_help import asks_for_help, run_help
    from landmark_diffusion.configuration.config_files import resolve_config_arguments

    if asks_for_help(rest):
        print(run_help(verb), end="")
        return 0
    rest = ["--help" if argument == "--help=all" else argument for argument in rest]
    with expanded_model_file(verb, rest) as expanded:
        # before the heavy import: a misspelt config or folder is told at once
        resolved = resolve_config_arguments(expanded_run_folder(verb, expanded))
        with _arguments_of_process([verb, *resolved]):
            from landmark_diffusion.cli.lightning_cli import run_cli

            return run_cli()


def _run_own(verb: str, rest: list[str]) -> int:
    known = OTHER_VERBS[verb]
    place, actions = known.run or f"{verb}_verb:run_{verb}", known.actions
    if actions:
        if rest and rest[0] in ("-h", "--help"):
            usage = "\n".join(f"usage: ldx {verb} {action} [options]" for action in actions)
            lists = " and ".join(f"`ldx {verb} {action} --help`" for action in actions)
            print(f"{usage}\n\n{known.what}\n{lists} {'lists' if len(actions) == 1 else 'list'} them.")
            return 0
        if not rest or rest[0] not in actions:
            found = f"found {rest[0]!r}" if rest else "nothing follows it"
            expected = " or ".join(f"`ldx {verb} {action}`" for action in actions)
            raise UserError(f"ldx {verb}: {found}, expected {expected}: {known.what}")
        place, rest = actions[rest[0]], rest[1:]
    run: Callable[[list[str]], int | None] = resolve(f"landmark_diffusion.cli.{place}")
    return run(rest) or 0


def _unknown_verb(verb: str) -> str:
    known = [*RUN_VERBS, *OTHER_VERBS]
    if verb.startswith("-"):
        return f"{verb} comes before a verb; begin with one of {', '.join(known)}: `ldx fit --config NAME`"
    hint = did_you_mean(verb, known)
    return f"unknown verb {verb!r}.{hint if 'Known' in hint else hint + ' Verbs: ' + ', '.join(known) + '.'}"


def debugging() -> bool:
    """Whether tracebacks of errors are to be shown: `--debug`."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


@contextmanager
def _arguments_of_process(arguments: list[str]) -> Iterator[None]:
    """Set sys.argv for the duration: LightningCLI and processes that Lightning starts read their options there."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before
