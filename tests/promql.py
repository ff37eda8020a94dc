"""A parser of the part of PromQL that the files to take along use, with its precedence.

What is parsed is evaluated minute by minute on made-up counters: a value a minute, or NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]
TOKEN = re.compile(r'\s*([a-zA-Z_:][\w:]*|\d+\.?\d*|"[^"]*"|=~|>=|<=|==|[-+*/><(){}\[\]=,])')
MINUTES = {"m": 1, "h": 60, "d": 1440}
LEVELS = (("or",), ("and",), (">", ">=", "<", "<=", "=="), ("+", "-"), ("*", "/"))


class Parser:
    """One expression, parsed and evaluated as it is read: a value a minute, or NaN."""

    def __init__(self, text: str, series: dict[str, Series]) -> None:
        self.tokens, at = [], 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            assert found, f"no token of PromQL: {text[at:]}"
            self.tokens.append(found[1])
            at = found.end()
        self.series = series
        self.length = len(next(iter(series.values())))

    def take(self, *wanted: str) -> str:
        assert self.tokens, f"ends where one of {wanted} is due"
        assert not wanted or self.tokens[0] in wanted, f"{self.tokens[0]} where {wanted} is due"
        return self.tokens.pop(0)

    def whole(self) -> Series:
        value = self.level(0)
        assert not self.tokens, f"goes on with {self.tokens}"
        return value

    def level(self, depth: int) -> Series:
        if depth == len(LEVELS):
            return self.atom()
        value = self.level(depth + 1)
        while self.tokens and self.tokens[0] in LEVELS[depth]:
            value = OPERATORS[self.take()](value, self.level(depth + 1))
        return value

    def atom(self) -> Series:
        token = self.take()
        if token == "(":
            value = self.level(0)
        elif token[0].isdigit():
            return np.full(self.length, float(token))
        elif token in FUNCTIONS:
            self.take("(")
            value = FUNCTIONS[token](self.level(0))
        elif token in {"rate", "avg_over_time", "stdvar_over_time"}:
            self.take("(")
            name = self.selector(self.take())
            self.take("[")
            number, unit = re.fullmatch(r"(\d+)([mhd])", self.take() + self.take()).groups()  # type: ignore[union-attr]
            self.take("]")
            window = int(number) * MINUTES[unit]
            value = self.mean_over(name, window) / (60 if token == "rate" else 1)
            if token == "stdvar_over_time":
                self.series["squares"] = self.series[name] ** 2
                value = self.mean_over("squares", window) - value**2
        else:
            return self.series.get(self.selector(token), np.full(self.length, np.nan))
        self.take(")")
        return value

    def selector(self, name: str) -> str:
        if self.tokens and self.tokens[0] == "{":
            self.take("{")
            label, how, text = self.take(), self.take("=", "=~"), self.take()
            self.take("}")
            name += f"{{{label}{how}{text}}}"
        return name

    def mean_over(self, name: str, window: int) -> Series:
        """Mean of what there is in the last minutes; of a counter, the series holds increments."""
        values = self.series.get(name, np.full(self.length, np.nan))
        total = np.cumsum(np.nan_to_num(values))
        there = np.cumsum(~np.isnan(values)).astype(float)
        for sums in (total, there):
            sums[window:] -= sums[:-window].copy()
        return np.where(there > 0, total / np.maximum(there, 1), np.nan)


def kept(compare: Callable[[Series, Series], Any]) -> Callable[[Series, Series], Series]:
    return lambda a, b: np.where(compare(a, b), a, np.nan)


def divided(a: Series, b: Series) -> Series:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(a / b)  # infinite by nothing, as there


OPERATORS: dict[str, Callable[[Series, Series], Series]] = {
    "or": lambda a, b: np.where(np.isnan(a), b, a),
    "and": lambda a, b: np.where(np.isnan(b), np.nan, a),
    ">": kept(np.greater),
    ">=": kept(np.greater_equal),
    "<": kept(np.less),
    "<=": kept(np.less_equal),
    "==": kept(np.equal),
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": divided,
}
FUNCTIONS: dict[str, Callable[[Series], Series]] = {
    "sum": lambda a: a,
    "count": lambda a: a,
    "avg": lambda a: a,
    "vector": lambda a: a,
    "absent": lambda a: np.where(np.isnan(a), 1.0, np.nan),
}
