"""Options of commands: what is wrong with them is one line, which proposes what was meant.

Source: Python documentation, argparse.
"""

from __future__ import annotations

import argparse
import difflib
import re
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """A parser whose refusals are one line that proposes what was meant."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        unknown = re.fullmatch(r"unrecognized arguments: ([^\s=]+).*", message, re.DOTALL)
        if unknown:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            given = unknown[1]
            near = [option for option in known if option.startswith(given)]
            names = [option.removeprefix("--") for option in known]  # all have these
            close = difflib.get_close_matches(given.removeprefix("--"), names, 1, 0.7)
            near = near or [f"--{name}" for name in close]
            meant = f"did you mean {near[0]}?" if near else "--help lists those there are"
            message = f"there is no option {given[:60]}; {meant}"
        self.exit(2, f"{message}\n")
