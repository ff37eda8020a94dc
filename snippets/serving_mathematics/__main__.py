"""The command: `serving-mathematics COMMAND …`, or `python -m serving_mathematics COMMAND …`.

Each command is the `main` of one module, which is imported when it is asked for. However it ends,
the process ends without a traceback about its streams: a reader may close them, a disk be full,
and an encoding lack a sign, which is then written as Python escapes it. So are the signs of names
and files that would move a terminal's cursor, colour it or turn a line around.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from serving_mathematics.support.extras import install_command

WHOLE = {"serve": ("serve", "engine")}  # extras that a command needs, where one does not do
_UNSEEN = re.compile(  # of C0, C1, those without a width or with a direction, halves of a pair
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
COMMANDS = {
    "plan": ("planner.planner_command", "size a fleet for a latency objective"),
    "predict": ("machine.predictions.predict", "predict latencies of deployments in a table"),
    "report": ("report.report_command", "say what a load test or a log shows, and what to change"),
    "serve": ("engine.engine_server", "serve a small language model with the OpenAI API"),
    "check": ("support.checks", "run the checks of modules, with the values compared"),
    "exercises": ("exercises", "list exercises, print one to fill in, or check an answer"),
}


def main(arguments: list[str] | None = None) -> int:
    """Hand the arguments to a command; its exit status, 2 when there is no such command or nowhere
    to print to, 141 when the reader has gone and 130 when it was interrupted, as of a shell.

    arguments: the command's name and what it takes; by default those of the process.

    >>> main(["--help"])
    usage: serving-mathematics COMMAND ...
    <BLANKLINE>
      plan       size a fleet for a latency objective
      predict    predict latencies of deployments in a table
      report     say what a load test or a log shows, and what to change
      serve      serve a small language model with the OpenAI API
      check      run the checks of modules, with the values compared
      exercises  list exercises, print one to fill in, or check an answer
    <BLANKLINE>
    serving-mathematics COMMAND --help says what a command takes.
    0
    """
    words = (sys.argv[1:] if arguments is None else arguments) or [""]
    errors = _Errors(sys.stderr or io.StringIO())  # not the answer where it is closed
    try:
        with contextlib.redirect_stderr(cast(TextIO, errors)):
            return _answered(words)
    finally:
        errors.flush()
        if errors.problem is not None:
            _close(sys.stderr)


def _answered(words: list[str]) -> int:
    if sys.stdout is None:  # closed by whoever started it
        print("standard output must be open, got none", file=sys.stderr)
        return 2
    output = _Output(sys.stdout)
    try:
        with contextlib.redirect_stdout(cast(TextIO, output)):
            status = _flushed(words)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError as problem:
        output.problem, status = problem, 0
    except (OSError, SystemExit):
        if output.problem is None:
            raise
        status = 0
    if output.problem is None:
        return status
    _close(sys.stdout)
    if isinstance(output.problem, BrokenPipeError):
        _close(sys.stderr)
        return 128 + 13
    if status == 0:  # or the command has told it
        words = ["standard output", output.problem.strerror or ""]
        print(": ".join(["serving-mathematics", *words]), file=sys.stderr)
    return 2


class _Output:
    """Standard output that keeps why it could not be written: who prints may pass over it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.problem: OSError | None = None

    def write(self, text: str) -> int:
        """Write it, with escapes for what cannot be written, or shown by a terminal."""
        with self._noting():
            self.stream.write(_shown(text, self.stream, self.stream.isatty()))
        return len(text)

    def flush(self) -> None:
        """Write what is left."""
        with self._noting():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            self.problem = problem
            raise


class _Errors(_Output):
    """Standard error: what it does not take is lost, and the status is the command's."""

    def write(self, text: str) -> int:
        """Write it, with escapes for what no sentence has."""
        with contextlib.suppress(OSError), self._noting():
            self.stream.write(_shown(text, self.stream, True))
        return len(text)

    def flush(self) -> None:
        """Write what is left."""
        with contextlib.suppress(OSError):
            super().flush()


def _shown(text: str, stream: TextIO, plain: bool) -> str:
    """A text as a stream can write it; where it must be plain, without what no letter is."""
    if plain:
        text = _UNSEEN.sub(lambda sign: sign[0].encode("unicode_escape").decode("ascii"), text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "strict")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _flushed(words: list[str]) -> int:
    try:
        return _status(*words)
    finally:
        sys.stdout.flush()


def _close(stream: TextIO) -> None:
    """Let what is left go nowhere, or Python reports it when it ends."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _status(name: str, *rest: str) -> int:
    if name in COMMANDS:
        place = f"serving_mathematics.{COMMANDS[name][0]}"
        try:
            module = importlib.import_module(place)
            status: int = module.main(list(rest))
        except ModuleNotFoundError as problem:
            missing = problem.name or "?"
            told = "is not part of this download"
            if not place.startswith(missing):
                command = install_command(missing, WHOLE.get(name, ()))
                if command is None:
                    raise
                told = f"needs {missing}, which is not installed: {command}"
            print(f"serving-mathematics {name} {told}", file=sys.stderr)
            return 2
        return status
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    near = difflib.get_close_matches(name, COMMANDS, 1)
    reason = f"there is no command {name!r}" if name else "name a command"
    hint = f"; did you mean {near[0]}?" if near else f": {', '.join(COMMANDS)}"
    print(f"serving-mathematics: {reason}{hint}", file=sys.stderr)
    return 2


def _usage() -> str:
    lines = [f"  {name:<10} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    head, tail = "usage: serving-mathematics COMMAND ...", "serving-mathematics COMMAND --help"
    return "\n".join([head, "", *lines, "", f"{tail} says what a command takes."])


if __name__ == "__main__":
    sys.exit(main())
