"""A run of your own deployment, from two scrapes of its engine's `/metrics`.

Counters only grow, so what happened between two scrapes is a difference: requests that ended, their
tokens, and sums of their times. Means are differences of sums over those of counts, and the
requests in the engine follow from Little's law,

    concurrency = (sum of latencies, grown by) / (seconds between the scrapes)

Gaps of vLLM are those between steps, and one in which k guesses are accepted brings k more tokens.
SGLang tells the first token of an answer that it does not stream with its 50th, or at its end, so
first tokens are those of streamed answers. Ray adds up times by the middles of their buckets, the
first of which is 0.3 s wide for a whole answer, so its sums are left out.

Assumes: load that stays about the same between the scrapes, and an engine that did not start anew.

Source: vLLM documentation, production metrics; SGLang documentation, production metrics, and its
pull requests 23215 and 32363; the wrappers of both for Ray (vLLM 0.34, SGLang 0.5.23), and Ray
2.60, `open_telemetry_metric_recorder.py`; the text format of Prometheus; Little (1961), Operations
Research 9(3).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.machine.predictions.own_runs import OwnRun
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_positive

SCRAPED = ("vllm", "sglang")
RENAMED = {  # how others begin an engine's names: Ray Serve, and where a name may have no colon
    **{f"ray_{name}{mark}": f"{name}:" for name in SCRAPED for mark in "_:"},
    **{f"{name}_": f"{name}:" for name in SCRAPED},
    "trtllm:": "trtllm_",  # of Dynamo until 0.7
}
MIDDLES = 'otel_scope_name="ray.'  # a label of what Ray adds up by the middles of buckets
FIRST = ("time_to_first_token_seconds",)
BETWEEN = ("inter_token_latency_seconds", "time_per_output_token_seconds")  # new and old names
WHOLE = ("e2e_request_latency_seconds",)
UNSTREAMED = 'is_streaming="false"'  # a label that SGLang's first tokens have from 0.5.17 on
SUMMED = ("sglang:num_running_reqs", "sglang:num_queue_reqs")  # beside them those of a priority
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"  # of guesses
_SAMPLE = (
    re.compile(  # a name, labels whose text may hold anything, a number; what follows is passed
        r'([a-zA-Z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*+")*+)\})?\s+(\S+)', re.ASCII
    )
)
_PRIORITY = re.compile(r'(?:^|,)priority="[^"]')
_LATER = re.compile(r'(?:^|,)pp_rank="[1-9]')


def read_scrape(text: str) -> dict[str, float]:
    """Samples of a scrape by name, summed over labels but for buckets.

    text: in the format of Prometheus. What is told of unstreamed answers alone is under their label
    too; what SGLang tells of each priority beside all, or of each stage anew, is left out. Raises
    ValueError where a value is no number.

    >>> read_scrape('# HELP x y\\nvllm:prompt_tokens_total{engine="0"} 5\\nup 1\\nup{a="b"} 2.5')
    {'vllm:prompt_tokens_total': 5.0, 'up': 3.5}
    """
    found: dict[str, float] = {}
    for name, labels, value in _samples(text):
        found[name] = found.get(name, 0.0) + value
        if UNSTREAMED in labels:
            alone = f"{name}{{{UNSTREAMED}}}"
            found[alone] = found.get(alone, 0.0) + value
    return found


def _samples(text: str) -> list[tuple[str, str, float]]:
    """Name, labels and value of every sample but those of buckets. Raises ValueError where a value
    is no number."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        sample = _SAMPLE.match(line)
        if not sample or sample[1].endswith("_bucket"):
            continue
        name, labels = _engine_name(sample[1]), sample[2] or ""
        if _left_out(name, labels):
            continue
        try:
            found.append((name, labels, float(sample[3])))
        except ValueError:
            raise ValueError(f"line {number}: must end in a number, got {sample[3]!r}") from None
    return found


def _engine_name(name: str) -> str:
    """A metric's name as its engine has it, whatever passes it on.

    >>> _engine_name("ray_vllm_num_requests_running"), _engine_name("up")
    ('vllm:num_requests_running', 'up')
    """
    begins = next(filter(name.startswith, RENAMED), "")
    return RENAMED.get(begins, "") + name.removeprefix(begins)


def _left_out(name: str, labels: str) -> bool:
    """Whether SGLang tells in another series too what one tells: requests of a priority are among
    all, and each stage of a pipeline counts what the first does, but of what runs its own part; or
    whether it is a sum of Ray's.

    name, labels: of a sample.

    >>> _left_out("sglang:num_queue_reqs", 'pp_rank="1"')
    True
    >>> _left_out("sglang:num_running_reqs", 'pp_rank="1"')
    False
    """
    if name in SUMMED and _PRIORITY.search(labels):
        return True
    if name.endswith("_sum") and MIDDLES in labels:
        return True
    return name.startswith("sglang:") and name != SUMMED[0] and bool(_LATER.search(labels))


def scraped_run(
    before: str, after: str, seconds: float, deployment: Deployment, steady: bool = False
) -> OwnRun:
    """What an engine did between two scrapes, as a run that calibrates the step model.

    before, after: texts of `/metrics` of vLLM or SGLang. seconds: between them, > 0. deployment:
    what was served; its lengths and load are those that were counted. steady: whether the number of
    requests was held; else first tokens are compared and not fitted. Raises ValueError where a
    counter is missing, fell, or did not move.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> names = ("prompt_tokens_total", "generation_tokens_total",
    ...          "time_to_first_token_seconds_sum", "time_to_first_token_seconds_count",
    ...          "inter_token_latency_seconds_sum",
    ...          "inter_token_latency_seconds_count", "e2e_request_latency_seconds_sum")
    >>> told = (1e5, 2e4, 5.0, 100.0, 199.0, 19900.0, 204.0)
    >>> texts = ["\\n".join(f"vllm:{n} {k * x}" for n, x in zip(names, told)) for k in (1, 2)]
    >>> run = scraped_run(*texts, seconds=60.0, deployment=WORKED)
    >>> run.per_token_s, run.first_token_s, run.deployment.input_tokens, run.deployment.concurrency
    (0.01, 0.05, 1000.0, 3.4)
    """
    seconds = require_positive(seconds=seconds)
    old, new = read_scrape(before), read_scrape(after)
    prefix = next((one for one in SCRAPED if any(name.startswith(f"{one}:") for name in new)), "")
    rule = f"of {' or '.join(SCRAPED)}, with its metrics"
    require(prefix, "after", rule, ", ".join(list(new)[:3]) or "nothing")

    def grown(*names: str, but: str = "nothing") -> float:
        for name in names:
            key = f"{prefix}:{name}"
            if key in new:
                apart = f"{key}{{{but}}}"
                by = new[key] - old.get(key, 0.0) - (new.get(apart, 0.0) - old.get(apart, 0.0))
                require(math.isfinite(by) and by > 0, key, "a counter that grew between them", by)
                return by
        rays = ", as Ray's are" * (MIDDLES in after)
        raise ValueError(f"after must have {prefix}:{names[0]}, got a scrape without it{rays}")

    def mean(*names: str, more: float = 0.0) -> float:
        counted = grown(*(f"{name}_count" for name in names), but=UNSTREAMED) + more
        return grown(*(f"{name}_sum" for name in names), but=UNSTREAMED) / counted

    guessed = new.get(ACCEPTED, 0.0) - old.get(ACCEPTED, 0.0)
    require(guessed >= 0, ACCEPTED, "a counter, which does not fall", guessed)
    requests = grown(f"{FIRST[0]}_count")
    load = replace(
        deployment,
        input_tokens=max(1.0, grown("prompt_tokens_total") / requests),
        output_tokens=max(1.0, grown("generation_tokens_total") / requests),
        concurrency=max(1.0, grown(f"{WHOLE[0]}_sum") / seconds),
        shortest_share=1.0,
    )
    label = f"{requests:.0f} requests in {seconds:.0f} s"
    return OwnRun(load, mean(*FIRST), mean(*BETWEEN, more=guessed), steady, label)


def check_little_by_hand() -> None:
    """Ninety requests of 4 s each in a minute are six at a time, under either engine's metric
    names.

    Source: 90 * 4 / 60, with counters that began at other numbers.
    """
    for engine, between in (("vllm", BETWEEN[1]), ("sglang", BETWEEN[0])):
        grown = {
            "prompt_tokens_total": 90 * 512,
            "generation_tokens_total": 90 * 201,
            f"{FIRST[0]}_sum": 90 * 0.2,
            f"{FIRST[0]}_count": 90,
            f"{between}_sum": 90 * 200 * 0.019,
            f"{between}_count": 90 * 200,
            f"{WHOLE[0]}_sum": 90 * 4.0,
        }
        texts = [
            "\n".join(f"{engine}:{name} {7 + share * value}" for name, value in grown.items())
            for share in (0, 1)
        ]
        run = scraped_run(texts[0], texts[1], 60.0, WORKED)
        checks.close(f"{engine}: at a time", run.deployment.concurrency, 6.0, rtol=1e-9)
        checks.close(f"{engine}: per token [s]", run.per_token_s, 0.019, rtol=1e-9)
        checks.close(f"{engine}: first token [s]", run.first_token_s, 0.2, rtol=1e-9)
        checks.equal(f"{engine}: prompt", run.deployment.input_tokens, 512.0)
