"""Harmless releases: the slider against records and formulas, and the files to take along."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import yaml
from scipy.stats import binom
from serving_mathematics.architecture.shadow_canary.clumps import clump
from serving_mathematics.architecture.shadow_canary.harmless_releases import (
    COUNTS,
    RULES,
    SHOWN,
    _alarms,
    _limits,
    slider_harmless_releases,
)
from serving_mathematics.architecture.shadow_canary.same_version import (
    LOOK_S,
    LOOKS,
    PAIRS,
    _compared,
    _run,
    _seen,
)
from serving_mathematics.architecture.shadow_canary.sequential_tests import msprt_ratio
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support.intervals import student_quantile

from builder import ROOT
from tests import rule_files
from tests.promql import Parser, Series, Vector
from tests.rule_files import STEPS, named, without_streaming

PAGE = ROOT / "docs/architecture/shadow-canary.md"
ENGINES = ("vllm", "sglang")
TIMES = (
    ("CanaryTokensSlower", "release:token_slower:log1m", 0.05),
    ("CanaryFirstTokenLater", "release:first_later:log1m", 0.1),
)


def test_a_release_is_stopped_at_its_first_look_above_the_threshold() -> None:
    slider = slider_harmless_releases()
    (walks, limits), grid = slider["panels"][0]["curves"], slider["panels"][1]
    times, runs = slider["clock"]["values"], itertools.product(COUNTS, RULES, PAIRS)
    assert times[-1] == LOOKS * LOOK_S / 60
    flat = [
        [run for by_rule in values for row in by_rule for run in row]
        for values in (
            walks["values"],
            limits["values"],
            grid["running"],
            slider["clock"]["events"],
        )
    ]
    for (count, rule, version), walk, limit, going, events in zip(runs, *flat, strict=True):
        z = np.abs([row[count] for row in _seen("pairs")[version]])
        above = z > np.array(limit)
        assert (np.logical_or.accumulate(above, axis=1) == _alarms(version, count, rule)).all()
        one, left = above[SHOWN[version]], z[SHOWN[version]]
        stop = int(one.argmax()) if one.any() else LOOKS - 1
        assert walk == [*left[: stop + 1], *[None] * (LOOKS - stop - 1)]
        assert events == [(times[stop], times[-1], "stopped")] * int(one.any())
        share = above.cumsum(axis=1).astype(bool).mean(axis=0)
        assert going == pytest.approx(100 * (1 - share), abs=0.56)
    assert (flat[1][2 * len(PAIRS)] == _limits("requests", RULES[2])).all()
    minutes = LOOK_S / 60 * np.arange(1, LOOKS + 1)
    at_it = msprt_ratio(minutes, _limits("minutes", RULES[2]) / np.sqrt(minutes), 1.0, 0.5)
    assert at_it == pytest.approx(20.0)


def test_one_run_alone_says_how_many_requests_are_worth_one() -> None:
    """`clump` of a single run's minutes agrees with the variance of the means of many runs."""
    run = _run(CHAT, 0.6, 2.0, 1)
    since, values = _compared(run, 2.0)
    alone = clump(values, since // 60)
    many = _seen("worth")["chat"]["token"]
    assert 0.6 < alone / many < 1.6


def rules(engine: str) -> dict[str, str]:
    """Of each rule of a file, by its name."""
    return {named(rule): rule["expr"] for rule in rule_files.rules(f"release-{engine}")}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("alert", "series", "margin"), TIMES)
def test_alerts_fire_beyond_the_margin_and_not_within(
    engine: str, alert: str, series: str, margin: float
) -> None:
    told, noise = rules(engine), 0.07 * np.tile([1.0, -1.0], 120)
    beyond = math.sqrt(13 / 120) * 0.07
    for more, fires in ((1.01 * beyond, True), (0.99 * beyond, False)):
        at = Parser(told[alert], {series: math.log1p(margin) + more + noise}).whole()[-1]
        assert bool(~np.isnan(at)) == fires
        assert not fires or at == pytest.approx(math.exp(more) * (1 + margin) - 1)  # what is told
    text = rule_files.rule_text(f"release-{engine}")
    assert "by 0.2 or more (in two hours less is" in text
    assert 1.96 / math.sqrt(120) == pytest.approx(0.2, abs=0.025)  # of independent minutes
    assert "it would be 5.2" in text
    assert student_quantile(1 - 0.05 / 4, 119) ** 2 == pytest.approx(5.2, abs=0.05)
    nobody = Parser(told[alert], {series: np.full(5, np.nan)}).whole()
    assert np.isnan(nobody).all()


@pytest.mark.parametrize(("alert", "series", "margin"), TIMES)
def test_an_alert_that_looks_every_minute_pays_for_it(
    alert: str, series: str, margin: float
) -> None:
    """Watched for eight hours, a version that changed nothing is never blamed, of 200 releases, and
    one whose harm is its margin in 1.25% of 1,000 cases at most; one twice as bad is found. What
    spreads evenly is the logarithm of a minute's times, as in the record."""
    rng, minutes = np.random.default_rng(9), 480
    for harm, runs, low, high in (
        (0.0, 200, 0.0, 0.0),
        (margin, 1000, 0.002, 0.0125 + 3 * math.sqrt(0.0125 / 1000)),
        (2 * margin, 200, 1.0, 1.0),
    ):
        times = (1 + harm) * np.exp(0.0706 * rng.standard_normal((runs, minutes)))
        apart = np.pad(times, ((0, 0), (0, 120)), constant_values=np.nan)  # each in its own window
        told = rules("vllm")
        slow, *others = re.findall(r"rate\((\S+?)\[1m\]\)", told[series])
        minute = dict.fromkeys(others, np.full(apart.size, 60.0)) | {slow: 60 * apart.ravel()}
        seen = {series: Parser(told[series], minute).whole()}
        fires = ~np.isnan(Parser(told[alert], seen).whole())
        blamed = fires.reshape(runs, -1)[:, :minutes]
        assert not blamed[:, :19].any()  # too few minutes
        assert low <= blamed.any(axis=1).mean() <= high


@pytest.mark.parametrize("engine", ENGINES)
def test_a_minute_without_answers_is_no_minute(engine: str) -> None:
    """An idle minute leaves no sample, in place of 0/0, which would silence two hours."""
    for name in ("release:token_slower:log1m", "release:first_later:log1m"):
        expr = rules(engine)[name]
        sums = re.findall(r"rate\((\S+?)\[1m\]\)", without_streaming(expr))
        idle = dict.fromkeys(sums, np.array([60.0, 0.0, 60.0]))
        assert np.isfinite(Parser(expr, idle).whole()).tolist() == [True, False, True]
        assert expr.count("> 0)") == 2


SIGMAS = "release:errors_over_margin:sigmas2h"
BUT_TIME_OUTS = ',envoy_response_code!="504"'
ARMS = ("failed_canary", "asked_canary", "failed_control", "asked_control")


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_of_both_arms_are_those_of_the_gateway(engine: str) -> None:
    told, some = rules(engine), np.full(130, 60.0)
    for arm, share in (("canary", 0.02), ("control", 0.0)):
        expr = told[f"release:failed_{arm}:increase2h"]
        # a time-out before the status is a 504 too, and one after it no error of any status
        assert expr.count(BUT_TIME_OUTS) == expr.count("envoy_response_code=~") == 3
        counted = re.findall(r"rate\((\S+?)\[2h\]\)", expr.replace(BUT_TIME_OUTS, ""))
        shares = dict(zip(counted, (0.3, 0.1, 0.1, 0.2, 0.3), strict=True))
        seen = {one: of * share * some for one, of in shares.items()} if share else {"up": some}
        seen[f"release:asked_{arm}:increase2h"] = 7200.0 + 0 * some
        assert Parser(expr, seen).whole()[-1] == pytest.approx(7200 * share)
        all_twice = dict.fromkeys(counted, some)
        all_twice[f"release:asked_{arm}:increase2h"] = 7200.0 + 0 * some
        assert Parser(expr, all_twice).whole()[-1] == pytest.approx(7200)
        expr = told[f"release:asked_{arm}:increase2h"]
        (asked,) = re.findall(r"rate\((\S+?)\[2h\]\)", expr)
        assert Parser(expr, {asked: some}).whole()[-1] == pytest.approx(7200)
        assert np.isnan(Parser(expr, {"up": some}).vector().get("", np.array(np.nan))).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_error_of_each_gateway_counts(engine: str) -> None:
    """Of a code that a gateway has not sent before there is no series, and the first value is none
    that a rate sees: of 36 gateways that send one error each, none. What an older one sent before
    these two hours is no error of theirs."""
    expr = rules(engine)["release:failed_canary:increase2h"]
    failed, *_ = re.findall(r"rate\((\S+?)\[2h\]\)", expr.replace(BUT_TIME_OUTS, ""))
    gateways: Vector = {}
    for one in range(36):
        gateways[f"{one}"] = np.full(400, np.nan)
        gateways[f"{one}"][300 + one :] = 0
        gateways[f"{one}"][300 + one] = 1
    gateways["old"] = np.zeros(400)
    gateways["old"][[100, 200, 390]] = 5, 50, 2
    shown: dict[str, Series | Vector] = {"release:asked_canary:increase2h": np.full(400, 7200.0)}
    at = Parser(expr, shown | {failed: gateways}).whole()
    assert at[-1] == pytest.approx(36 + 2)
    assert at[299] == pytest.approx(50)


def gate() -> tuple[dict[str, list[float]], dict[str, str]]:
    """The limits of the gate, and what it asks."""
    text = (ROOT / "docs/downloads/release-argo.yaml").read_text(encoding="utf-8")
    bounds, queries = {}, {}
    for metric in list(yaml.safe_load_all(text))[1]["spec"]["metrics"]:
        assert (metric["count"], metric["initialDelay"]) == (1, "130m")
        conditions = metric["successCondition"], metric["failureCondition"]
        assert all(one.startswith("len(result) > 0 && result[0] ") for one in conditions)
        bounds[metric["name"]] = [float(one.split()[-1]) for one in conditions]
        queries[metric["name"]] = metric["provider"]["prometheus"]["query"]
    return bounds, queries


@pytest.mark.parametrize("old", [0.0005, 0.005, 0.02])
@pytest.mark.parametrize(("canary", "control"), [(200, 200), (1440, 27_360), (14_400, 14_400)])
def test_errors_are_judged_as_promised_with_few_answers_too(
    canary: int, control: int, old: float
) -> None:
    """Whatever the number of answers: with a version at the margin 5% are promoted and 1.25% rolled
    back at most, and of harmless ones hardly any. Exactly, over all numbers of errors."""
    low, high = gate()[0]["errors"]
    for harm, most_promoted, most_back in ((0.005, 0.06, 0.0125), (0.0, 1.0, 0.002)):
        told = [binom(n, p) for n, p in ((canary, old + harm), (control, old))]
        failed = [np.arange(one.ppf(1 - 1e-9) + 2) for one in told]
        grid = [part.ravel() for part in np.meshgrid(*failed, indexing="ij")]
        chance = np.outer(*(one.pmf(k) for one, k in zip(told, failed, strict=True))).ravel()
        asked = [np.full(chance.size, 1.0 * arm) for arm in (canary, control)]
        counts = (grid[0], asked[0], grid[1], asked[1])
        names = (f"release:{arm}:increase2h" for arm in ARMS)
        seen = dict(zip(names, counts, strict=True))
        far = Parser(rules("vllm")[SIGMAS], seen).whole()
        assert chance[far < low].sum() <= most_promoted
        assert chance[far > high].sum() <= most_back


@pytest.mark.parametrize("engine", ENGINES)
def test_rules_divide_canary_by_control(engine: str) -> None:
    told = rules(engine)
    expr = told["release:token_slower:log1m"]
    sums = re.findall(r"rate\((\S+?)\[1m\]\)", expr)
    assert len(sums) == 4
    values = {
        name: np.full(5, 60.0 * value)
        for name, value in zip(sums, (2.2, 100, 2.0, 100), strict=True)
    }
    assert Parser(expr, values).whole()[-1] == pytest.approx(math.log(1.1))
    twin = told["CanaryIsNoTwin"]
    names = list(dict.fromkeys(re.findall(r"[a-z]+:[\w:]+(?:\{[^}]*\})?", twin)))
    assert all("running" not in name for name in names)  # a slow version has more of them
    canary, control, found_canary, found_control = names
    for numbers, fires in (
        ((60, 62, 0.77, 0.77), False),
        ((4, 62, 0.77, 0.77), True),
        ((72, 62, 0.77, 0.77), True),
        ((70, 62, 0.77, 0.77), False),
        ((60, 62, 0.56, 0.77), True),
    ):
        row = zip((canary, control, found_canary, found_control), numbers, strict=True)
        at = Parser(twin, {name: np.array([float(value)]) for name, value in row}).whole()
        assert bool(~np.isnan(at[0])) == fires


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("late", [2, 10, 60])
def test_arms_that_start_one_after_the_other_are_twins(engine: str, late: int) -> None:
    """As long as the window of the younger fills, its rate is lower: the alert outwaits that."""
    (rule,) = [
        one for one in rule_files.rules(f"release-{engine}") if one.get("alert") == "CanaryIsNoTwin"
    ]
    canary, control, *found = dict.fromkeys(
        re.findall(r"[a-z]+:[\w:]+(?:\{[^}]*\})?", rule["expr"])
    )
    rates = {control: np.pad(np.full(150, 300.0), (30, 0))}
    rates[canary] = np.pad(np.full(150 - late, 300.0), (30 + late, 0))
    rates |= dict.fromkeys(found, np.full(180, 0.7))
    fires = ~np.isnan(Parser(rule["expr"], rates).whole()[30 + late :])  # there is no series before
    assert 0 < fires.sum() < int(rule["for"].removesuffix("m"))


@pytest.mark.parametrize("arm", ["canary", "control"])
@pytest.mark.parametrize(
    ("engine", "found", "all_of_them"),
    [
        ("vllm", "vllm:prompt_tokens_cached_total{", "vllm:prompt_tokens_total{"),
        ("sglang", f'{STEPS}{{mode="prefill_cache",', f'{STEPS}{{mode=~"prefill_.+",'),
    ],
)
def test_what_each_arm_finds(arm: str, engine: str, found: str, all_of_them: str) -> None:
    series = {f'{found}version="{arm}"}}': np.full(60, 700.0)}
    series |= {f'{all_of_them}version="{arm}"}}': np.full(60, 1000.0)}
    told = Parser(rules(engine)[f"release:found_{arm}:ratio30m"], series).whole()
    assert told[-1] == pytest.approx(0.7)


def test_the_gate_of_argo_has_the_bounds_of_an_a_against_a() -> None:
    text = (ROOT / "docs/downloads/release-argo.yaml").read_text(encoding="utf-8")
    route, template = yaml.safe_load_all(text)
    assert (route["kind"], template["kind"]) == ("HTTPRoute", "AnalysisTemplate")
    assert [rule["timeouts"] for rule in route["spec"]["rules"]] == 3 * [{"request": "0s"}]
    arms = [rule["matches"][0]["headers"][0]["value"] for rule in route["spec"]["rules"][:2]]
    assert arms == ["canary", "control"]
    mirror = route["spec"]["rules"][2]["filters"][0]
    assert mirror["type"] == "RequestMirror"
    assert 0 < mirror["requestMirror"]["percent"] < 10
    bounds, queries = gate()
    assert set(bounds) == {"time-per-token", "first-token", "errors"}  # and answers, in the shadow
    due = [-student_quantile(1 - 0.05, 119), student_quantile(1 - 0.05 / 4, 119)]
    assert all(one == pytest.approx(due, abs=5e-3) for one in bounds.values())
    for name, (_, series, margin) in zip(bounds, TIMES, strict=False):
        for minutes, spread, told in ((119, 0.07, True), (119, 0.2, True), (100, 0.07, False)):
            noise = spread * np.resize([1.0, -1.0], minutes)
            more = 2 * spread / math.sqrt(minutes)  # two standard errors, however large they are
            seen = np.r_[np.full(130, np.nan), math.log1p(margin) + more + noise]
            at = Parser(queries[name], {series: seen}).whole()[-1]
            assert bool(np.isfinite(at)) == told
            assert not told or at == pytest.approx(2, abs=0.12)
    assert queries["errors"] == SIGMAS
    assert SIGMAS in rules("vllm")


def test_the_page_shows_the_gate_and_links_its_file() -> None:
    page = PAGE.read_text(encoding="utf-8")
    *_, gate = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert gate in (ROOT / "docs/downloads/release-argo.yaml").read_text(encoding="utf-8")
    assert "](../downloads/release-argo.yaml)" in page
