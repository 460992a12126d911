"""What the commands have in common: exit codes, answers, arguments. Imports nothing heavy."""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

FAILED, REFUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141
"""Exit codes beside 0; ``REFUSED`` is for a mistake in the command, the configuration or the data, ``UNREAD`` is for
output whose reader has gone (128 + SIGPIPE, as a shell gives it)."""


def run_program(main: Callable[[], int]) -> NoReturn:
    """Run a command's ``main`` and end the process with its exit code; every command ends here.

    Where the reader of the output has gone (``| head -1``), the command stops without a message, with ``UNREAD``.
    """
    try:
        try:
            code: Any = main()
        except SystemExit as error:  # argparse's, or rich's where it meets a closed pipe
            code = UNREAD if isinstance(error.__context__, BrokenPipeError) else error.code
        print(end="", flush=True)  # does nothing where there is no stdout at all
    except BrokenPipeError as error:
        if not is_output_closed(error):
            raise
        code = UNREAD
    for stream in _closed_outputs():  # Python writes what is left in a buffer at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    sys.exit(code)


def is_output_closed(error: BaseException) -> bool:
    """Whether ``error`` says that the reader of stdout or stderr has gone, and is of no other pipe or socket."""
    return isinstance(error, BrokenPipeError) and bool(_closed_outputs())


def _closed_outputs() -> list[int]:
    """Those of the file descriptors 1 and 2 that are pipes without a reader."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    return [stream for stream, event in poll.poll(0) if event & select.POLLERR]


def answer(work: Callable[[dict[str, Any]], int], *, as_json: bool, on_os_error: int = REFUSED) -> int:
    """Do a command's work, tell what goes wrong in one line on stderr, and give the exit code.

    Args:
        work: fills the report it is given, returns the exit code; a ``ValueError`` refuses the call.
        as_json: print the report with its ``exit_code``, of a failure ``error`` too, as one object on stdout.
        on_os_error: exit code of what files, disks and networks say.
    """
    report: dict[str, Any] = {}
    try:
        code = work(report)
    except (ValueError, OSError) as error:
        if is_output_closed(error):
            raise
        report["error"] = " ".join(str(error).split())
        say(f"error: {report['error']}")
        code = REFUSED if isinstance(error, ValueError) else on_os_error
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        report["error"] = "interrupted"  # by Ctrl-C, which Lightning turns into an exit with 1
        say("interrupted")
        code = INTERRUPTED
    if as_json:
        print(json.dumps({"exit_code": code, **report}))
    return code


def say(line: str) -> None:
    """A line for the user, on stderr at once: stdout is for the answer."""
    print(line, file=sys.stderr, flush=True)


MOST_LINES = 10
"""Of a list of one kind that is shown."""


def shorten(lines: list[str]) -> list[str]:
    """The first ``MOST_LINES``, and how many more there are."""
    rest = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"… and {rest:,} more"] if rest > 0 else lines


class stdout_to_stderr:
    """What libraries print while a model runs does not mix with the answer."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        self._kept = os.dup(1)
        os.dup2(2, 1)

    def __exit__(self, *error: object) -> None:
        sys.stdout.flush()
        os.dup2(self._kept, 1)
        os.close(self._kept)


def make_folder(folder: Path, option: str = "--out") -> Path:
    """``folder``, made where it is missing; before the work whose files go there.

    Raises:
        ValueError: it cannot be made; names the option that says another.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be made a folder ({error.strerror}); set {option}") from error
    return folder


def positive(text: str) -> int:
    """An argument's type: a whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def natural(text: str) -> int:
    """An argument's type: a whole number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def share(text: str) -> float:
    """An argument's type: a number between 0 and 1, neither of them."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value
