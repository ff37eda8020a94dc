"""The alert rules that a chapter hands out: read by a parser of their language, and run.

The grammar is the part of PromQL that the files use, with its precedence; what is parsed is
evaluated minute by minute on counters of a made-up week, and the alerts fire when those of the
chapter do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import RULES, alert_firing
from serving_mathematics.intuition.failure_budgets.windows import GUARDS

from builder import ROOT

Series = npt.NDArray[np.float64]
ENGINES = ("vllm", "sglang")
TOKEN = re.compile(r'\s*([a-zA-Z_:][\w:]*|\d+\.?\d*|"[^"]*"|=~|>=|==|[-+*/>(){}\[\]=,])')
MINUTES = {"m": 1, "h": 60, "d": 1440}
LEVELS = (("or",), ("and",), (">", ">=", "=="), ("+", "-"), ("*", "/"))


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
        elif token in {"rate", "avg_over_time"}:
            self.take("(")
            name = self.selector(self.take())
            self.take("[")
            number, unit = re.fullmatch(r"(\d+)([mhd])", self.take() + self.take()).groups()  # type: ignore[union-attr]
            self.take("]")
            window = int(number) * MINUTES[unit]
            value = self.mean_over(name, window) / (60 if token == "rate" else 1)
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


OPERATORS: dict[str, Callable[[Series, Series], Series]] = {
    "or": lambda a, b: np.where(np.isnan(a), b, a),
    "and": lambda a, b: np.where(np.isnan(b), np.nan, a),
    ">": kept(np.greater),
    ">=": kept(np.greater_equal),
    "==": kept(np.equal),
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": lambda a, b: np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0),
}
FUNCTIONS: dict[str, Callable[[Series], Series]] = {
    "sum": lambda a: a,
    "vector": lambda a: a,
    "absent": lambda a: np.where(np.isnan(a), 1.0, np.nan),
}


def rules(engine: str) -> list[dict[str, Any]]:
    file = ROOT / "docs" / "downloads" / f"burn-rate-alerts-{engine}.yaml"
    return [
        rule for group in yaml.safe_load(file.read_bytes())["groups"] for rule in group["rules"]
    ]


def run(engine: str, asked: Series, failed: Series) -> dict[str, npt.NDArray[np.bool_]]:
    """When each alert fires, with all failures late first tokens."""
    count = f"{engine}:time_to_first_token_seconds"
    series = {f"{count}_count": asked, f'{count}_bucket{{le="1.0"}}': asked - failed}
    alerts = {}
    for rule in rules(engine):
        value = Parser(rule["expr"], series).whole()
        if "record" in rule:
            series[rule["record"]] = value
        else:
            alerts[rule["alert"]] = ~np.isnan(value)
    return alerts


@pytest.mark.parametrize("engine", ENGINES)
def test_rules_have_the_form_of_prometheus(engine: str) -> None:
    for rule in rules(engine):
        assert {"expr"} < rule.keys()
        if "record" in rule:
            assert rule.keys() == {"record", "expr"}
            assert re.fullmatch(r"[a-zA-Z_:][\w:]*", rule["record"])
        else:
            assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
            assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("engine", ENGINES)
def test_alerts_fire_when_those_of_the_chapter_do(engine: str) -> None:
    rng = np.random.default_rng(3)
    rates = np.full(8 * 1440, 0.0002)
    rates[5000:5030], rates[7000:8200] = 0.2, 0.008  # a fast burn, and a slow one of a day
    asked = rng.poisson(600, rates.size).astype(float)
    failed = rng.binomial(asked.astype(int), rates).astype(float)
    alerts = run(engine, asked, failed)
    for name, (_, long, short, burn) in zip(
        ("BudgetBurnsFast", "BudgetBurns", "BudgetLeaks"), RULES, strict=True
    ):
        due = alert_firing(asked, failed, long, short, 0.999, burn)
        first, told = np.flatnonzero(due), np.flatnonzero(alerts[name])
        assert first.size > 0
        assert abs(int(told[0]) - int(first[0])) <= 5  # the five minutes that a record averages
        assert np.mean(due[5000:] != alerts[name][5000:]) < 0.01
    assert not alerts["NobodyAsks"][5:].any()


@pytest.mark.parametrize("engine", ENGINES)
def test_silence_and_single_errors(engine: str) -> None:
    asked, failed = np.ones(600), np.zeros(600)
    failed[300:305] = 1.0  # five errors among sixty requests an hour: one too few
    asked[400:500] = 0.0
    alerts = run(engine, asked, failed)
    assert not alerts["BudgetBurnsFast"].any()
    assert alerts["NobodyAsks"][410:499].all()
    failed[305] = 1.0
    fires = np.flatnonzero(run(engine, asked, failed)["BudgetBurnsFast"])
    assert 305 <= fires[0] <= 309


def test_thresholds_are_those_of_the_chapter() -> None:
    fast, slow, leak, _ = (rule["expr"] for rule in rules("vllm") if "alert" in rule)
    for text, (_, long, short, burn), guard in zip(
        (fast, slow), RULES[:2], [least for *_, least in GUARDS], strict=True
    ):
        short_name = f"{short}m"
        long_name = f"{long // 60}h"
        assert text == (
            f"stream:burn:{long_name} > {burn:g} and stream:burn:{short_name} > {burn:g}"
            f" and stream:failures:{long_name} > {guard - 0.5}"
        )
    assert leak == "stream:burn:3d > 1 and stream:burn:6h > 1"


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (
        (ROOT / "docs" / "downloads" / f"burn-rate-alerts-{engine}.yaml").read_text(
            encoding="utf-8"
        )
        for engine in ENGINES
    )
    assert mine.replace("vllm:", "sglang:").replace("vLLM", "SGLang") == other


def test_the_page_shows_a_rule_of_the_file() -> None:
    page = (ROOT / "docs" / "intuition" / "failure-budgets.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/burn-rate-alerts-vllm.yaml").read_text("utf-8")
    for engine in ENGINES:
        assert f"](../downloads/burn-rate-alerts-{engine}.yaml)" in page


@pytest.mark.parametrize("wrong", ["a >", "a > 1 b", "rate(a[5x])", "sum(a", "a ! b", "avg(a)b"])
def test_the_parser_refuses(wrong: str) -> None:
    with pytest.raises((AssertionError, AttributeError)):
        Parser(wrong, {"a": np.ones(3)}).whole()
