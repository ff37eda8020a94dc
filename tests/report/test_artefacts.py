from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import RULES as BURNS
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import alert_firing
from serving_mathematics.report.artefacts import (
    BUCKETS,
    QUEUED,
    alert_rules,
    autoscaler_objects,
    bucket_above,
    queue_flags,
    scaling_target,
)

from ..promql import Parser
from ..test_manifests import KEDA


@given(st.floats(0.001, 2000), st.floats(0.5, 0.9999), st.sampled_from(["vllm", "sglang"]))
def test_rules_are_as_prometheus_reads_them(ttft_s: float, quantile: float, engine: str) -> None:
    if ttft_s > BUCKETS[engine][-1]:
        return
    ((group,),) = yaml.safe_load(alert_rules(ttft_s, quantile, engine)).values()
    assert group.keys() == {"name", "rules"}
    assert group["rules"]
    for rule in group["rules"]:
        assert rule.keys() == {"alert", "expr", "labels", "annotations"}
        assert re.fullmatch(r"[A-Za-z0-9_]+", rule["alert"])
        text = rule["expr"]
        assert text.count("(") == text.count(")")
        bounds = {float(x) for x in re.findall(r'le="([^"]+)"', text)}
        assert bounds == {bucket_above(ttft_s, engine)}
        assert 0 < float(text.split(" > ")[1].split()[0]) < 1
        assert len(set(re.findall(r"\[(\w+)\]", text))) == 2


def test_thresholds_are_burn_rates_of_the_budget() -> None:
    rules = yaml.safe_load(alert_rules(0.5, 0.995))["groups"][0]["rules"]
    limits = [float(rule["expr"].split(" > ")[1].split()[0]) for rule in rules]
    assert limits == pytest.approx([14.4 * 0.005, 6 * 0.005, 0.005])


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_alerts_fire_when_those_of_the_chapter_do(engine: str) -> None:
    """Parsed as PromQL and run on a week of minutes, with a fast burn and a slow one."""
    rng = np.random.default_rng(4)
    rates = np.full(7 * 1440, 0.0005)
    rates[5000:5030], rates[7000:8200] = 0.4, 0.08
    asked = rng.poisson(600, rates.size).astype(float)
    late = rng.binomial(asked.astype(int), rates).astype(float)
    name = f"{engine}:time_to_first_token_seconds"
    series = {f"{name}_count": asked, f'{name}_bucket{{le="1.0"}}': asked - late}
    rules = yaml.safe_load(alert_rules(1.0, 0.99, engine))["groups"][0]["rules"]
    for rule, (_, long, short, burn) in zip(rules, BURNS, strict=True):
        fires = ~np.isnan(Parser(rule["expr"], series).whole())
        due = alert_firing(asked, late, long, short, 0.99, burn)
        assert due.any()
        assert np.mean(fires[long:] != due[long:]) < 0.002


def test_a_page_asks_for_six_late_first_tokens_within_its_hour() -> None:
    """Of thirty requests an hour, a sixth late is far beyond the rate, and may be chance."""
    name = "vllm:time_to_first_token_seconds"
    page = yaml.safe_load(alert_rules(0.9, 0.99))["groups"][0]["rules"][0]
    asked, late = np.full(600, 0.5), np.zeros(600)
    for count, due in ((5, False), (6, True)):
        late[300 : 300 + count] = 1.0
        series = {f"{name}_count": asked + late, f'{name}_bucket{{le="1.0"}}': asked}
        assert (~np.isnan(Parser(page["expr"], series).whole())).any() == due
    assert "# Late is beyond 1 s, the engine's next bound above 0.9 s." in alert_rules(0.9, 0.99)
    assert "next bound" not in alert_rules(1.0, 0.99)


def test_the_ticket_of_three_days_waits_for_them() -> None:
    name, late = "vllm:time_to_first_token_seconds", np.full(5000, 0.05)
    ticket = yaml.safe_load(alert_rules(1.0, 0.99))["groups"][0]["rules"][-1]
    series = {f"{name}_count": 0 * late + 1, f'{name}_bucket{{le="1.0"}}': 1 - late}
    fires = np.flatnonzero(~np.isnan(Parser(ticket["expr"], series).whole()))
    assert fires[0] == 3 * 1440


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_objects_are_as_kubernetes_and_keda_read_them(engine: str) -> None:
    objects = {n: yaml.safe_load(t) for n, t in autoscaler_objects(29, engine).items()}
    Draft202012Validator(KEDA).validate(objects["keda.yaml"]["spec"])
    assert objects["keda.yaml"]["apiVersion"] == "keda.sh/v1alpha1"
    trigger = objects["keda.yaml"]["spec"]["triggers"][0]["metadata"]
    target = objects["hpa.yaml"]["spec"]["metrics"][0]["external"]["target"]
    assert trigger["threshold"] == target["averageValue"] == "29"
    assert objects["hpa.yaml"]["apiVersion"] == "autoscaling/v2"
    assert trigger["serverAddress"].startswith("http://")
    assert f"sum({engine}:" in trigger["query"]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_two_models_of_one_prometheus_are_told_apart(engine: str) -> None:
    """In alerts by a sum for each, in a query to scale on by a selector, of which the head says
    that it has to be set; the rule that an HPA needs is the same query."""
    objects = autoscaler_objects(29, engine)
    query = yaml.safe_load(objects["keda.yaml"])["spec"]["triggers"][0]["metadata"]["query"]
    own, other = (np.full(5, x) for x in (3.0, 900.0))
    series = {f'{name}{{model_name="model"}}': own for name in QUEUED[engine]}
    series |= dict.fromkeys(QUEUED[engine], other)
    assert Parser(query, series).whole() == pytest.approx(6.0)
    assert query.count('priority=""') == 2 * (engine == "sglang")  # the totals, not parts of them
    stage = (
        'num_queue_reqs{model_name="model",pp_rank="0"' in query
    )  # of which each counts the line
    assert stage == (engine == "sglang")
    names = re.compile(rf"{engine}:\w+")
    for text in objects.values():
        assert "not both" in text.split("apiVersion")[0]
        assert "model_name" in text.split("apiVersion")[0]
    head, _, _ = objects["hpa.yaml"].partition("apiVersion")
    rule = yaml.safe_load(
        head[head.index("# externalRules") :].replace("# ", "", 1).replace("\n# ", "\n")
    )
    (found,) = rule["externalRules"]
    assert found["metricsQuery"] == query
    metric = yaml.safe_load(objects["hpa.yaml"])["spec"]["metrics"][0]["external"]["metric"]
    assert found["name"] == {"as": metric["name"]}
    for rule in yaml.safe_load(alert_rules(1.0, 0.99, engine))["groups"][0]["rules"]:
        sums = rule["expr"].count("sum by (model_name)")
        assert (
            sums == len(names.findall(rule["expr"])) == 5 + (rule["labels"]["severity"] == "page")
        )
        assert "{{ $labels.model_name }}" in rule["annotations"]["summary"]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_who_has_metrics_only_when_told_is_told(engine: str) -> None:
    files = [alert_rules(1.0, 0.99, engine), *autoscaler_objects(40, engine).values()]
    assert {"--enable-metrics" in file for file in files} == {engine == "sglang"}


def test_a_target_is_two_fifths_of_few_places_and_less_of_many() -> None:
    told = [scaling_target(most, 40.0) for most in (1.0, 30.0, 99.0, 101.0, 1e6)]
    assert told == [1, 12, 39, 40, 40]
    assert [scaling_target(most) for most in (1.0, 30.0, 1e6)] == [1, 6, 200_000]


def test_flags_by_hand() -> None:
    """SGLang's limit counts requests that wait alone, and gets none of the places."""
    assert queue_flags(10.7, 1000.0, 0.25, 30.0) == "--max-num-queued-reqs 10"
    assert queue_flags(10.7, 1000.0, 0.25, 20.0, "sglang") == "--max-queued-requests 5"
    assert queue_flags(900.0, 1000.0, 0.25, 20.0, "sglang") == "--max-queued-requests 5"
    assert queue_flags(10.7, 1000.0, 0.25, 41.0, "sglang") == "--max-queued-requests 3"
    for tokens in (42.0, 3000.0):
        told = queue_flags(10.7, 1000.0, 0.25, tokens, "sglang")
        assert told == "SGLANG_REQ_WAITING_TIMEOUT=0.125"
