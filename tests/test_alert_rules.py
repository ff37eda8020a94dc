"""The alert rules that a chapter hands out: read by a parser of their language, and run.

What `promql` parses is evaluated minute by minute on counters of a made-up week, and the alerts
fire when those of the chapter do.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import RULES, alert_firing
from serving_mathematics.intuition.failure_budgets.windows import GUARDS

from builder import ROOT
from tests.promql import Parser, Series

ENGINES = ("vllm", "sglang")


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


NAMES = {  # of what the rules read: running, waiting, cache, preemptions
    "vllm": (
        *("num_requests_running", "num_requests_waiting"),
        *("kv_cache_usage_perc", "num_preemptions_total"),
    ),
    "sglang": ("num_running_reqs", "num_queue_reqs", "token_usage", "num_retracted_requests_total"),
}
BATCHING = ["BudgetTooSmall", "StreamsStall", "NoBudgetFits", "Preempting"]


def batching_alerts(engine: str, **shown: float) -> list[str]:
    """Which alerts on batches fire on an engine that shows this for an hour, beside a quiet one.

    tokens: a second. late: share of the gaps. preempted: of the requests.
    """
    quiet = {"tokens": 1e4, "running": 40.0, "waiting": 0.2, "cache": 0.3, "late": 0.0}
    seen = quiet | {"preempted": 0.0} | shown
    running, waiting, cache, preempted = (f"{engine}:{name}" for name in NAMES[engine])
    gap, first = (f"{engine}:{n}_seconds" for n in ("inter_token_latency", "time_to_first_token"))

    def series(of: dict[str, float]) -> dict[str, float]:
        return {
            running: of["running"],
            waiting: of["waiting"],
            cache: of["cache"],
            f"{engine}:prompt_tokens_total": 60 * 0.85 * of["tokens"],
            f"{engine}:generation_tokens_total": 60 * 0.15 * of["tokens"],
            f"{gap}_count": 9000.0,
            f'{gap}_bucket{{le="0.1"}}': 9000 * (1 - of["late"]),
            f"{first}_count": 600.0,
            preempted: 600 * of.get("preempted", 0.0),
        }

    mine, other = series(seen), series(quiet)
    found: dict[str, Any] = {
        name: {"a": np.full(60, mine[name]), "b": np.full(60, other[name])} for name in mine
    }
    alerts = []
    file = ROOT / "docs" / "downloads" / f"batching-alerts-{engine}.yaml"
    for group in yaml.safe_load(file.read_bytes())["groups"]:
        for rule in group["rules"]:
            value = Parser(rule["expr"], found).vector()
            if "record" in rule:
                found[rule["record"]] = value
                continue
            assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
            assert np.all(np.isnan(value.get("b", np.full(60, np.nan))))
            alerts += [rule["alert"]] * bool(np.any(~np.isnan(value.get("a", np.full(1, np.nan)))))
    return alerts


PASSES = 2048 / 0.055  # tokens a second in full steps, of the file


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("shown", "due"),
    [
        ({}, []),
        ({"waiting": 30.0}, []),  # slots for adapters, or one long prompt: no larger budget helps
        ({"waiting": 3.6, "running": 120.0, "tokens": 0.85 * 31_400}, []),  # chat at 85%, healthy
        ({"waiting": 160.0, "running": 78.0, "tokens": 1.0 * PASSES}, BATCHING[:1]),
        ({"waiting": 450.0, "running": 253.0, "tokens": 1.0 * PASSES}, []),  # places bind
        ({"waiting": 30.0, "cache": 0.95, "tokens": 1.0 * PASSES}, []),  # memory does
        ({"late": 0.02}, BATCHING[1:2]),
        ({"late": 0.02, "waiting": 160.0, "tokens": 1.0 * PASSES}, BATCHING[2:3]),
        ({"preempted": 0.05}, BATCHING[3:]),
    ],
)
def test_alerts_on_batches_fire_for_what_the_chapter_says(
    engine: str, shown: dict[str, float], due: list[str]
) -> None:
    """Never two that order opposite things."""
    assert batching_alerts(engine, **shown) == due


@pytest.mark.parametrize("engine", ENGINES)
def test_alerts_on_batches_are_silent_without_series(engine: str) -> None:
    found: dict[str, Any] = {"up": np.zeros(60)}
    file = ROOT / "docs" / "downloads" / f"batching-alerts-{engine}.yaml"
    for group in yaml.safe_load(file.read_bytes())["groups"]:
        for rule in group["rules"]:
            found[rule.get("record", rule.get("alert"))] = Parser(rule["expr"], found).vector()
    assert not any(found[name] for name in BATCHING)


def test_the_page_on_batching_shows_a_rule_of_the_file() -> None:
    page = (ROOT / "docs" / "optimization" / "batching.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    for engine in ENGINES:
        assert f"](../downloads/batching-alerts-{engine}.yaml)" in page
        file = ROOT / "docs" / "downloads" / f"batching-alerts-{engine}.yaml"
        assert shown[1] in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("wrong", ["a >", "a > 1 b", "rate(a[5x])", "sum(a", "a ! b", "avg(a)b"])
def test_the_parser_refuses(wrong: str) -> None:
    with pytest.raises((AssertionError, AttributeError)):
        Parser(wrong, {"a": np.ones(3)}).whole()
