"""The command: `serving-mathematics COMMAND …`, or `python -m serving_mathematics COMMAND …`.

Each command is the `main` of one module, which is imported when it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import sys

COMMANDS = {
    "plan": ("planner.planner_command", "size a fleet for a latency objective"),
    "predict": ("machine.predict", "predict latencies of deployments in a table"),
    "serve": ("engine.engine_server", "serve a small language model with the OpenAI API"),
    "check": ("checks", "run the checks of modules, with the values compared"),
    "exercises": ("exercises", "list exercises, print one to fill in, or check an answer"),
}


def main(arguments: list[str] | None = None) -> int:
    """Hand the arguments to a command; its exit status, and 2 when there is no such command.

    arguments: the command's name and what it takes; by default those of the process.

    >>> main(["--help"])
    usage: serving-mathematics COMMAND ...
    <BLANKLINE>
      plan       size a fleet for a latency objective
      predict    predict latencies of deployments in a table
      serve      serve a small language model with the OpenAI API
      check      run the checks of modules, with the values compared
      exercises  list exercises, print one to fill in, or check an answer
    <BLANKLINE>
    serving-mathematics COMMAND --help says what a command takes.
    0
    """
    name, *rest = sys.argv[1:] if arguments is None else arguments or [""]
    if name in COMMANDS:
        place = f"serving_mathematics.{COMMANDS[name][0]}"
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as problem:
            if not place.startswith(problem.name or "?"):
                raise
            print(f"serving-mathematics: {name} is not part of this download", file=sys.stderr)
            return 2
        status: int = module.main(rest)
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
