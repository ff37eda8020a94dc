"""What a report gives to take along: alert rules, an autoscaler's objects, flags of a queue.

Alerts follow the burn rate of the objective over two windows each, and pages ask for as many errors
as `failure_budgets.windows`; a promise on the first token is read from the engine's histogram, so
its bound is the next larger bucket, and of SGLang from answers that are streamed, because it tells
the first token of others with their 50th. Each model is told apart.
Autoscalers count requests that run and wait for each replica. Queue limits are those of the engine
itself. What has to be set before a file is used stands at its head.

Assumes: Prometheus scrapes every replica.

Source: Beyer et al. (2018), *The Site Reliability Workbook*, table 5-8; Prometheus documentation,
alerting rules; Kubernetes documentation, HorizontalPodAutoscaler v2; KEDA documentation,
ScaledObject and its Prometheus scaler; vLLM, `vllm/v1/metrics/loggers.py` and `SchedulerConfig`;
SGLang, server arguments and pull requests 23215 and 32363; prometheus-adapter, external metrics.
"""

from __future__ import annotations

import math

from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import RULES
from serving_mathematics.intuition.failure_budgets.windows import GUARDS
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

BUCKETS = {  # of the histograms of the time to first token [s]
    "vllm": (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
        *(10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
    ),
    "sglang": (
        *(0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0),
        *(200.0, 400.0),
    ),
}
QUEUED = {  # names of the levels of requests that run and wait
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
}
FEW_PLACES, UNKNOWN = 0.4, 0.2  # of the requests that a replica may hold
MOST_REPLICAS = 20
WAITING = 0.4  # of the prompt tokens that are read within the promise, beside answers
FEWEST_WAITING = 3  # that may wait in SGLang, where a limit of one refuses a tenth at half load
MODEL = {  # keeps other models out of a query, and what SGLang shows beside a total: its parts, and
    # the line again for each stage of a pipeline, of which each runs its own part
    "vllm": ('{model_name="model"}', '{model_name="model"}'),
    "sglang": (
        '{model_name="model",priority=""}',
        '{model_name="model",pp_rank="0",priority=""}',
    ),
}

SWITCHED_ON = {"vllm": [], "sglang": ["# SGLang has metrics only with --enable-metrics."]}


def bucket_above(ttft_s: float, engine: str = "vllm") -> float:
    """The smallest bucket of an engine's histogram that holds a time to first token [s].

    ttft_s: up to the largest bucket. engine: vllm or sglang. Raises ValueError otherwise.

    >>> bucket_above(0.3), bucket_above(1.0, "sglang")
    (0.5, 1.0)
    """
    ttft_s = require_positive(ttft_s=ttft_s)
    require(engine in BUCKETS, "engine", f"one of {', '.join(BUCKETS)}", engine)
    largest = BUCKETS[engine][-1]
    require(ttft_s <= largest, "ttft_s", f"at most {largest:g}", ttft_s)
    return next(one for one in BUCKETS[engine] if one >= ttft_s - 1e-12)


def alert_rules(ttft_s: float, quantile: float, engine: str = "vllm") -> str:
    """Burn-rate alerts on the time to first token for each model, as Prometheus reads them.

    ttft_s: promised. quantile: share of requests that keep it, in (0, 1). engine: vllm or sglang. A
    rule that could never fire, because more than all requests would have to be late, is left out. A
    page asks for six late ones in its hour, or eight in six; the ticket, for its three days.
    Raises ValueError otherwise.

    >>> text = alert_rules(1.0, 0.99)
    >>> text.count("- alert:"), 'le="1.0"' in text
    (3, True)
    """
    quantile = require_in("(0, 1)", quantile=quantile)
    bound = bucket_above(ttft_s, engine)
    name = f"{engine}:time_to_first_token_seconds"
    streamed = 'is_streaming!="false",' if engine == "sglang" else ""  # others tell it later
    in_time = f'{name}_bucket{{{streamed}le="{bound}"}}'
    told = f"{name}_count" + (f"{{{streamed[:-1]}}}" if streamed else "")

    def sums(window: str) -> tuple[str, str]:
        """Rates of first tokens in time, and of all."""
        good, every = (f"sum by (model_name) (rate({of}[{window}]))" for of in (in_time, told))
        return good, every

    def late(window: str) -> str:
        good, every = sums(window)
        return f"1 - {good} / {every}"

    lines = [
        "# Each model of this Prometheus is held to this objective by itself: if only one has it,",
        "# put model_name into the selectors. No alert is of the time per token, nor of errors,",
        "# refusals or silent engines, which Failure budgets in the handbook has.",
        *(
            [f"# Late is beyond {bound:g} s, the engine's next bound above {ttft_s:g} s."]
            if bound > ttft_s
            else []
        ),
        *SWITCHED_ON[engine],
        *(
            ["# Not where prompts have engines of their own: both count a request."]
            if engine == "vllm"
            else []
        ),
        *("groups:", "  - name: first-token-objective", "    rules:"),
    ]
    head = len(lines)
    for (title, long, short, burn), least in zip(
        RULES, (*(one[2] for one in GUARDS), None), strict=True
    ):
        most = burn * (1 - quantile)
        if most >= 1:
            continue
        severity = title.rsplit(" ", 1)[1]
        windows = [_minutes(long), _minutes(short)]
        good, every = sums(windows[0])
        lines += [
            f"      - alert: FirstTokenBudgetBurns{windows[0]}",
            "        expr: |",
            f"          ({late(windows[0])}) > {most:.6g}",
            f"          and ({late(windows[1])}) > {most:.6g}",
            f"          and {60 * long} * ({every} - {good}) > {least - 0.5}"
            if least
            else f"          and sum by (model_name) ({told} offset {windows[0]})",
            "        labels:",
            f"          severity: {severity}",
            "        annotations:",
            f"          summary: '{{{{ $labels.model_name }}}}: over {100 * most:.4g}% of first"
            f" tokens took more than {bound:g} s'",
        ]
    require(len(lines) > head, "quantile", "such that an alert can fire, above 0", quantile)
    return "\n".join(lines) + "\n"


def _minutes(count: int) -> str:
    return (
        f"{count // 1440}d"
        if count % 1440 == 0
        else f"{count // 60}h"
        if count % 60 == 0
        else f"{count}m"
    )


def scaling_target(inside: float, twice: float = 0.0) -> int:
    """Requests inside each replica, running and waiting, to scale on.

    inside: with which the promise breaks, ≥ 1. twice: with which a request takes twice as long as
    alone; 0 where the costs of a step are not known. Raises ValueError otherwise.

    Where a request takes twice as long as alone, one percent of load makes requests inside two
    percent more, beyond which a fleet swings (`capacity.autoscaling.replica_response`); few places
    are full before that. Where those costs are not known, a fifth of what is held keeps the shift
    if a lone request takes an eighth of a full engine's time per token, and swings at a fourteenth.
    `capacity.autoscaling.signals` checks what such targets pay.

    >>> scaling_target(239.0, 37.4), scaling_target(64.0, 37.4), scaling_target(100.0)
    (37, 25, 20)
    """
    inside = require_in("[1, 1e6]", inside=inside)
    twice = require_non_negative(twice=twice)
    target = min(FEW_PLACES * inside, twice) if twice > 0 else UNKNOWN * inside
    return max(1, math.floor(target))


def autoscaler_objects(target: int, engine: str = "vllm") -> dict[str, str]:
    """A ScaledObject of KEDA and a HorizontalPodAutoscaler that hold so many requests for each
    replica, running and waiting, in YAML by name of the file. One of them is to be used.

    target: requests, as `scaling_target` says. engine: vllm or sglang. Raises ValueError
    otherwise.

    >>> objects = autoscaler_objects(40)
    >>> 'threshold: "40"' in objects["keda.yaml"], 'averageValue: "40"' in objects["hpa.yaml"]
    (True, True)
    """
    target = require_positive_integer(target=target)
    require(engine in QUEUED, "engine", f"one of {', '.join(QUEUED)}", engine)
    named = zip(QUEUED[engine], MODEL[engine], strict=True)
    query = " + ".join(f"sum({name}{labels})" for name, labels in named)
    keda = [
        "# Use this file or hpa.yaml, not both. Set the Deployment's name, model_name (twice), the",
        "# address of Prometheus and the replicas. Where there are no series the fleet stays.",
        *SWITCHED_ON[engine],
        "apiVersion: keda.sh/v1alpha1",
        "kind: ScaledObject",
        "metadata:",
        "  name: model",
        "spec:",
        "  scaleTargetRef:",
        "    name: model",
        "  minReplicaCount: 1",
        f"  maxReplicaCount: {MOST_REPLICAS}",
        "  pollingInterval: 15",
        "  triggers:",
        "    - type: prometheus",
        "      metricType: AverageValue",
        "      metadata:",
        "        serverAddress: http://prometheus.monitoring:9090",
        '        ignoreNullValues: "false"',
        f"        query: '{query}'",
        f'        threshold: "{target}"',
    ]
    hpa = [
        "# Use this file or keda.yaml, not both. Set the Deployment's name and the replicas.",
        "# No engine exports the metric: give prometheus-adapter this rule, model_name set.",
        *SWITCHED_ON[engine],
        "# externalRules:",
        f"# - seriesQuery: {QUEUED[engine][0]}",
        "#   name: {as: requests_running_and_waiting}",
        "#   resources: {namespaced: false}",
        f"#   metricsQuery: '{query}'",
        "apiVersion: autoscaling/v2",
        "kind: HorizontalPodAutoscaler",
        "metadata:",
        "  name: model",
        "spec:",
        "  scaleTargetRef:",
        "    apiVersion: apps/v1",
        "    kind: Deployment",
        "    name: model",
        "  minReplicas: 1",
        f"  maxReplicas: {MOST_REPLICAS}",
        "  metrics:",
        "    - type: External",
        "      external:",
        "        metric:",
        "          name: requests_running_and_waiting",
        "        target:",
        "          type: AverageValue",
        f'          averageValue: "{target}"',
        "  behavior:",
        "    scaleDown:",
        "      stabilizationWindowSeconds: 300",
    ]
    return {"keda.yaml": "\n".join(keda) + "\n", "hpa.yaml": "\n".join(hpa) + "\n"}


def queue_flags(
    inside: float,
    prompt_tokens_per_s: float,
    ttft_s: float,
    prompt_tokens: float,
    engine: str = "vllm",
) -> str:
    """Flags, or what to set in its environment, that let an engine refuse what it would answer too
    late.

    inside: requests that it may hold, running and waiting, ≥ 1. prompt_tokens_per_s: that it reads
    at its busiest while it answers, positive. ttft_s: promised. prompt_tokens: of a prompt, in the
    mean. engine: vllm or sglang. Raises ValueError otherwise.

    vLLM counts requests that run among those that it may hold, from 0.30 on of all data-parallel
    ranks together. Its limit on tokens is left alone: it counts a prompt whole until its first
    token, so that one as long as the limit has all others refused at any load. SGLang counts
    requests that wait: two fifths of those whose prompts are read within the promise, because
    requests wait for a place too, and at least three, because whoever comes during a step waits
    until it ends. Past the ceiling the chat machine then keeps nearly nine tenths of its work in
    time and the mixture six; with all of them, next to none and a sixth
    (`capacity.overload_control.limits`). Each of its data-parallel ranks counts its own, so divide
    by them; where prompts have engines of their own, none counts. Where half of them is below
    three, the time that they wait is limited instead, to half of the promise: on an L40S three keep
    less than two thirds of what that keeps.

    >>> queue_flags(64.0, 20_000.0, 0.5, 1000.0)
    '--max-num-queued-reqs 64'
    >>> queue_flags(64.0, 20_000.0, 0.5, 1000.0, "sglang")
    '--max-queued-requests 4'
    >>> queue_flags(64.0, 5000.0, 1.0, 1000.0, "sglang")
    'SGLANG_REQ_WAITING_TIMEOUT=0.5'
    """
    inside = require_in("[1, 1e6]", inside=inside)
    prompt_tokens_per_s, ttft_s, prompt_tokens = require_positive(
        prompt_tokens_per_s=prompt_tokens_per_s, ttft_s=ttft_s, prompt_tokens=prompt_tokens
    )
    require(engine in QUEUED, "engine", f"one of {', '.join(QUEUED)}", engine)
    tokens = WAITING * prompt_tokens_per_s * ttft_s
    require(tokens < 1e12, "prompt_tokens_per_s", "such that few tokens wait", prompt_tokens_per_s)
    if engine == "sglang":
        if prompt_tokens_per_s * ttft_s / 2 < FEWEST_WAITING * prompt_tokens:
            return f"SGLANG_REQ_WAITING_TIMEOUT={ttft_s / 2:g}"
        waiting = max(FEWEST_WAITING, math.floor(tokens / prompt_tokens + 1e-9))
        return f"--max-queued-requests {waiting}"
    return f"--max-num-queued-reqs {math.floor(inside)}"


def check_thresholds_by_hand() -> None:
    """For 99% the page of an hour fires above 14.4% late, for 90% it cannot.

    Source: Beyer et al. (2018), table 5-8: burn rates of 14.4, 6 and 1.
    """
    text = alert_rules(1.0, 0.99)
    checks.equal("99%", [f"> {x}" in text for x in ("0.144", "0.06", "0.01")], [True] * 3)
    checks.equal("90%", alert_rules(1.0, 0.9).count("- alert:"), 2)


def check_bad_input_is_refused() -> None:
    """Another engine is an error."""
    rule = "engine must be one of vllm, sglang"
    checks.raises("engine", alert_rules, 1.0, 0.99, "tgi", match=rule)
