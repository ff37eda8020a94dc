"""Harmless releases: the stepper against records and formulas, and the files to take along."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import yaml
from serving_mathematics.architecture.shadow_canary.clumps import clump
from serving_mathematics.architecture.shadow_canary.harmless_releases import (
    COUNTS,
    RULES,
    SHOWN,
    example,
    stepper_harmless_releases,
)
from serving_mathematics.architecture.shadow_canary.same_version import (
    LOOK_S,
    LOOKS,
    PAIRS,
    _compared,
    _run,
    _seen,
)
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support.intervals import student_quantile

from builder import ROOT
from tests import rule_files
from tests.promql import Parser
from tests.rule_files import named

PAGE = ROOT / "docs/architecture/shadow-canary.md"
ENGINES = ("vllm", "sglang")


def test_the_stepper_blames_who_crossed_a_threshold() -> None:
    stepper = stepper_harmless_releases()
    lanes, curves = stepper["panels"]
    last = stepper["clock"]["values"][-1]
    assert last == LOOKS * LOOK_S / 60
    runs = itertools.product(range(len(COUNTS)), range(len(RULES)), range(len(PAIRS)))
    for count, rule, version in runs:
        bars = lanes["bars"][count][rule][version]
        blamed = {lane: start for lane, start, _, state in bars if state == "broken"}
        rows = _seen("pairs")[list(PAIRS)[version]][:SHOWN]
        if rule == 0:
            for pair, row in enumerate(rows):
                z = np.abs(row[list(COUNTS)[count]])
                crossed = np.flatnonzero(z > 1.959964)
                first = LOOK_S / 60 * (crossed[0] + 1) if crossed.size else math.inf
                if first < last:
                    assert blamed[str(pair + 1)] == first
                else:
                    assert str(pair + 1) not in blamed
        share = curves["curves"][0]["values"][count][rule][version]
        assert share[0] == 0
        assert (np.diff(share) >= 0).all()


def test_the_page_quotes_the_stepper() -> None:
    told, curves = example(), stepper_harmless_releases()["panels"][1]["curves"][0]["values"]
    assert told.blamed_requests == pytest.approx(curves[0][0][0][-1], abs=0.05)
    assert told.blamed_minutes == pytest.approx(curves[1][0][0][-1], abs=0.05)
    assert told.found_paid == pytest.approx(curves[1][1][1][-1], abs=0.05)
    assert told.slower_tokens > told.slower_percent


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
def test_alerts_fire_beyond_the_margin_and_not_within(engine: str) -> None:
    told, noise = rules(engine), 0.07 * np.tile([1.0, -1.0], 120)
    for alert, series, margin in (
        ("CanaryTokensSlower", "release:token_slower:ratio1m", 0.05),
        ("CanaryFirstTokenLater", "release:first_later:ratio1m", 0.1),
    ):
        for harm, fires in ((margin + 0.016, True), (margin + 0.013, False), (0.0, False)):
            minutes = harm + noise
            at = Parser(told[alert], {series: minutes}).whole()[-1]
            assert bool(~np.isnan(at)) == fires
            window = minutes[-120:]
            error = window.std(ddof=0) / math.sqrt(120)
            bound = window.mean() - student_quantile(1 - 0.05 / 4, 119) * error
            assert (bound > margin) == fires


@pytest.mark.parametrize("engine", ENGINES)
def test_rules_divide_canary_by_control(engine: str) -> None:
    told = rules(engine)
    expr = told["release:token_slower:ratio1m"]
    sums = re.findall(r"rate\((\S+?)\[1m\]\)", expr)
    assert len(sums) == 4
    values = {
        name: np.full(5, 60.0 * value)
        for name, value in zip(sums, (2.2, 100, 2.0, 100), strict=True)
    }
    assert Parser(expr, values).whole()[-1] == pytest.approx(0.1)
    twin = told["CanaryIsNoTwin"]
    names = list(dict.fromkeys(re.findall(r"[a-z]+:[\w:]+(?:\{[^}]*\})?", twin)))
    canary, control, found_canary, found_control = names
    for numbers, fires in (
        ((60, 62, 0.77, 0.77), False),
        ((4, 62, 0.77, 0.77), True),
        ((130, 62, 0.77, 0.77), True),
        ((60, 62, 0.56, 0.77), True),
    ):
        row = zip((canary, control, found_canary, found_control), numbers, strict=True)
        at = Parser(twin, {name: np.array([float(value)]) for name, value in row}).whole()
        assert bool(~np.isnan(at[0])) == fires


def test_the_gate_of_argo_has_the_bounds_of_an_a_against_a() -> None:
    text = (ROOT / "docs/downloads/release-argo.yaml").read_text(encoding="utf-8")
    route, template = yaml.safe_load_all(text)
    assert (route["kind"], template["kind"]) == ("HTTPRoute", "AnalysisTemplate")
    arms = [rule["matches"][0]["headers"][0]["value"] for rule in route["spec"]["rules"][:2]]
    assert arms == ["canary", "control"]
    mirror = route["spec"]["rules"][2]["filters"][0]
    assert mirror["type"] == "RequestMirror"
    assert 0 < mirror["requestMirror"]["percent"] < 10
    (metric,) = template["spec"]["metrics"]
    assert metric["count"] == 1
    error = _seen("worth")["chat"]["spread"] / math.sqrt(120)
    low = float(metric["successCondition"].split("<")[1])
    high = float(metric["failureCondition"].split(">")[1])
    assert low == pytest.approx(0.05 - student_quantile(0.95, 119) * error, abs=6e-4)
    assert high == pytest.approx(0.05 + student_quantile(1 - 0.05 / 4, 119) * error, abs=6e-4)
    assert metric["provider"]["prometheus"]["query"] == (
        "avg_over_time(release:token_slower:ratio1m[2h])"
    )


def test_the_page_shows_the_gate_and_links_the_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    *_, gate = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert gate in (ROOT / "docs/downloads/release-argo.yaml").read_text(encoding="utf-8")
    for name in ("release-vllm", "release-sglang", "release-argo"):
        assert f"](../downloads/{name}.yaml)" in page
