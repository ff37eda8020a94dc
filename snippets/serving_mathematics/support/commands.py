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
        given = message.removeprefix("unrecognized arguments: ")
        if given != message:
            option, *value = re.split(r"[\s=]", given)
            message = f"there is no option {option[:60]}; {self.meant(option, *value)}"
        self.exit(2, f"{message}\n")

    def meant(self, option: str, *_value: str) -> str:
        """What is to be given instead of an option that there is not, in words. _value: what stands
        behind it.

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
