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
        rule = r"unrecognized arguments: ([^\s=]+)[\s=]?(\S*).*"
        if unknown := re.fullmatch(rule, message, re.DOTALL):
            message = f"there is no option {unknown[1][:60]}; {self.meant(*unknown.groups())}"
        self.exit(2, f"{message}\n")

    def meant(self, option: str, value: str) -> str:
        """What is to be given instead of an option that there is not, in words. value: its own.

        >>> parser = OneLineParser()
        >>> _ = parser.add_argument("--device")
        >>> parser.meant("--devices", "2")
        'did you mean --device?'
        """
        known = [one for one in self._option_string_actions if one.startswith("--")]
        near = [one for one in known if one.startswith(option)]
        names = [one.removeprefix("--") for one in known]  # all have these
        close = difflib.get_close_matches(option.removeprefix("--"), names, 1, 0.7)
        near = near or [f"--{name}" for name in close]
        return f"did you mean {near[0]}?" if near else "--help lists those there are"
