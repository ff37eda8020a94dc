"""An evaluator of the part of PromQL that the files to take along use, with its precedence.

What is parsed is evaluated minute by minute on made-up series: a value a minute, or NaN where there
is none; a value that is no number, as 0 / 0 is, is a NaN with a sign, which stays while it is
reckoned with. A series by itself has no labels; a dictionary has one for each engine, its
`instance`, and what stands behind a slash tells the ranks of an engine apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]
Vector = dict[str, Series]  # by instance, "" where that label is not there
TOKEN = re.compile(r'\s*([a-zA-Z_:][\w:]*|\d+\.?\d*|"[^"]*"|=~|!=|>=|<=|==|[-+*/^><(){}\[\]=,])')
MINUTES = {"m": 1, "h": 60, "d": 1440}
LEVELS = (("or",), ("and", "unless"), (">", ">=", "<", "<=", "=="), ("+", "-"), ("*", "/"), ("^",))
AGGREGATES = ("sum", "avg", "count", "max", "min")
FUNCTIONS = {"ln": np.log, "exp": np.exp}
ON_DEMAND = "envoy_cluster_upstream_rq{"  # of a code: there from its first answer on
RANGES = (
    *("rate", "last_over_time", "avg_over_time", "min_over_time", "max_over_time"),
    *("stdvar_over_time", "count_over_time", "sum_over_time"),
)


class Parser:
    """One expression, parsed and evaluated as it is read."""

    def __init__(self, text: str, series: Mapping[str, Series | Vector]) -> None:
        self.tokens, at = [], 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            assert found, f"no token of PromQL: {text[at:]}"
            self.tokens.append(found[1])
            at = found.end()
        self.series = {
            name: one if isinstance(one, dict) else {"": one} for name, one in series.items()
        }
        self.length = next(len(one) for vector in self.series.values() for one in vector.values())

    def take(self, *wanted: str) -> str:
        assert self.tokens, f"ends where one of {wanted} is due"
        assert not wanted or self.tokens[0] in wanted, f"{self.tokens[0]} where {wanted} is due"
        return self.tokens.pop(0)

    def whole(self) -> Series:
        """The one series that comes out."""
        found = self.vector()
        assert set(found) <= {""}, f"a series for each of {list(found)}: ask for the vector"
        return found.get("", np.full(self.length, np.nan))

    def vector(self) -> Vector:
        """What comes out, by instance."""
        value = self.level(0)
        assert not self.tokens, f"goes on with {self.tokens}"
        return {"": value} if isinstance(value, np.ndarray) else value

    def level(self, depth: int) -> Series | Vector:
        if depth == len(LEVELS):
            return self.atom()
        value = self.level(depth + 1)
        while self.tokens and self.tokens[0] in LEVELS[depth]:
            sign, alone = self.take(), self.on_nothing()
            other = self.level(depth + 1)
            if alone:  # a condition without labels holds for every instance
                assert isinstance(other, dict)
                assert set(other) <= {""}, f"on () has a series for each of {list(other)}"
                other = other.get("", np.full(self.length, np.nan))
            value = matched(sign, value, other)
        return value

    def atom(self) -> Series | Vector:
        token = self.take()
        if token[0].isdigit():  # a number has no labels, and goes with any
            return np.full(self.length, float(token))
        if token in AGGREGATES:
            return aggregated(token, self.by(), self.inside())
        if token == "(":
            value = self.level(0)
            self.take(")")
            return value
        if token == "vector":
            return {"": next(iter(self.inside().values()))}
        if token in FUNCTIONS:
            with np.errstate(divide="ignore"):
                return {name: FUNCTIONS[token](one) for name, one in self.inside().items()}
        if token == "absent":
            there = [is_there(one) for one in self.inside().values()]
            return {"": np.where(np.any(there, axis=0), np.nan, 1.0) if there else self.ones()}
        if token in RANGES:
            return self.over_time(token)
        return self.earlier(self.series.get(self.selector(token), {}))

    def ones(self) -> Series:
        return np.ones(self.length)

    def on_nothing(self) -> bool:
        """Whether an operator matches without regard to labels, `on ()`; `on (instance)` is what
        all others do here."""
        if self.tokens[:1] != ["on"]:
            return False
        self.take("on")
        self.take("(")
        nothing = self.take("instance", ")") == ")"
        return nothing or self.take(")") != ")"

    def by(self) -> bool:
        """Whether an aggregate keeps the instances apart; all of them have one model."""
        if self.tokens[0] != "by":
            return False
        self.take("by")
        labels, after = [], "("
        while after != ")":
            self.take(after)
            labels.append(self.take("instance", "model_name"))
            after = "," if self.tokens[0] == "," else ")"
        self.take(")")
        return "instance" in labels

    def inside(self) -> Vector:
        self.take("(")
        value = self.level(0)
        self.take(")")
        return {"": value} if isinstance(value, np.ndarray) else value

    def over_time(self, token: str) -> Vector:
        self.take("(")
        read = self.selector(self.take())
        values = self.series.get(read, {})
        if read.startswith(ON_DEMAND):
            values = {name: on_demand(one, token) for name, one in values.items()}
        self.take("[")
        window, found = self.duration(), {}
        self.take("]")
        values = self.earlier(values)
        self.take(")")
        for name, one in values.items():
            mean = mean_over(one, window)
            found[name] = mean / 60 if token == "rate" else mean
            if token == "last_over_time":
                found[name] = last_over(one, window)
            if token == "min_over_time":
                found[name] = 0.0 - most_over(-one, window)
            if token == "max_over_time":
                found[name] = most_over(one, window)
            if token == "stdvar_over_time":
                found[name] = mean_over(one**2, window) - mean**2
            if token in {"count_over_time", "sum_over_time"}:
                there = 1.0 * ~np.isnan(one)
                count = mean_over(there, window) * np.minimum(np.arange(1, one.size + 1), window)
                told = count if token == "count_over_time" else count * mean
                found[name] = np.where(count > 0.5, told, np.nan)
        return found

    def duration(self) -> int:
        number, unit = re.fullmatch(r"(\d+)([mhd])", self.take() + self.take()).groups()  # type: ignore[union-attr]
        return int(number) * MINUTES[unit]

    def earlier(self, values: Vector) -> Vector:
        """As they were before an `offset`, if one follows."""
        if self.tokens[:1] != ["offset"]:
            return values
        self.take("offset")
        ago = min(self.duration(), self.length)
        before = np.full(ago, np.nan)
        return {
            name: np.concatenate([before, one[: one.size - ago]]) for name, one in values.items()
        }

    def selector(self, name: str) -> str:
        """The name of a series; where there is no such label, it is not what it must not be, and
        it is empty; every series is of an engine's first stage."""
        if self.tokens and self.tokens[0] == "{":
            after, labels = "{", []
            while after != "}":
                self.take(after)
                label, sign, value = self.take(), self.take("=", "=~", "!="), self.take()
                there = sign != "!=" and value != '""' and (label, value) != ("pp_rank", '"0"')
                labels += [label + sign + value] if there else []
                after = self.tokens[0] if self.tokens[0] in ",}" else "}"
            self.take("}")
            name += f"{{{','.join(labels)}}}" if labels else ""
        return name


def mean_over(values: Series, window: int) -> Series:
    """Mean of what there is in the last minutes; of a counter, the series holds increments."""
    total = np.cumsum(np.nan_to_num(values))
    there = np.cumsum(~np.isnan(values)).astype(float)
    for sums in (total, there):
        sums[window:] -= sums[:-window].copy()
    return np.where(there > 0, total / np.maximum(there, 1), np.nan)


def on_demand(increments: Series, token: str) -> Series:
    """A counter that begins with its first events, of which its rate says nothing; what else looks
    at it reads what it has counted."""
    there = np.logical_or.accumulate(~np.isnan(increments))
    counted = np.where(there, np.cumsum(np.nan_to_num(increments)), np.nan)
    return np.nan_to_num(np.diff(counted, prepend=0)) if token == "rate" else counted


def most_over(values: Series, window: int) -> Series:
    """The largest of what there is in the last minutes."""
    there = np.where(np.isnan(values), -np.inf, values)
    most = np.array([there[max(0, n + 1 - window) : n + 1].max() for n in range(there.size)])
    return np.where(np.isfinite(most), most, np.nan)


def last_over(values: Series, window: int) -> Series:
    """The last of what there is in the last minutes."""
    at = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(values.size)))
    known = (at >= 0) & (np.arange(values.size) - at < window)
    return np.where(known, values[np.maximum(at, 0)], np.nan)


def aggregated(how: str, by: bool, values: Vector) -> Vector:
    """Over the series that are there, or over those of each instance, its ranks."""
    if not values:
        return {}
    if by:
        ranks: dict[str, Vector] = {}
        for name, one in values.items():
            ranks.setdefault(name.partition("/")[0], {})[name] = one
        return {name: aggregated(how, False, those)[""] for name, those in ranks.items()}
    rows = np.array(list(values.values()))
    count = np.sum(~np.isnan(rows), axis=0)
    total = np.nansum(rows, axis=0) if how != "count" else count
    total = total / np.maximum(count, 1) if how == "avg" else total
    total = np.max(np.nan_to_num(rows, nan=-np.inf), axis=0) if how == "max" else total
    total = np.min(np.nan_to_num(rows, nan=np.inf), axis=0) if how == "min" else total
    return {"": np.where(count > 0, total, np.nan)}


def matched(sign: str, left: Series | Vector, right: Series | Vector) -> Series | Vector:
    """A number with every series, a series with that of the same instance."""
    apply = OPERATORS[sign]
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return apply(left, right)
    if isinstance(left, np.ndarray):
        assert isinstance(right, dict)
        return {name: apply(left, one) for name, one in right.items()}
    if isinstance(right, np.ndarray):
        return {name: apply(one, right) for name, one in left.items()}
    of = {name: name if name in right else name.partition("/")[0] for name in left}  # of a rank
    both = {name: apply(one, right[of[name]]) for name, one in left.items() if of[name] in right}
    if sign == "unless":
        return {**left, **both}
    return {**right, **left, **both} if sign == "or" else both


def kept(compare: Callable[[Series, Series], Any]) -> Callable[[Series, Series], Series]:
    return lambda a, b: np.where(compare(a, b), a, np.nan)


def divided(a: Series, b: Series) -> Series:
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite by nothing, as there
        return np.where((a == 0) & (b == 0), -np.nan, a / b)


def is_there(values: Series) -> npt.NDArray[np.bool_]:
    """Where there is a value, be it a number or not."""
    return ~np.isnan(values) | np.signbit(values)


OPERATORS: dict[str, Callable[[Series, Series], Series]] = {
    "or": lambda a, b: np.where(is_there(a), a, b),
    "and": lambda a, b: np.where(is_there(b), a, np.nan),
    "unless": lambda a, b: np.where(is_there(b), np.nan, a),
    ">": kept(np.greater),
    ">=": kept(np.greater_equal),
    "<": kept(np.less),
    "<=": kept(np.less_equal),
    "==": kept(np.equal),
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": divided,
    "^": np.power,
}
