"""Twelve questions to a public configurator and to the planner, and what was measured.

aiconfigurator, by the makers of the devices that it knows, also says which fewest devices serve a
rate under limits of TTFT and TPOT (`recommend`). It looks kernels up in its makers' measurements,
predicts means in a closed loop, and divides the rate by that of a loop that is always full: it has
neither random arrivals nor quantiles. So the planner is asked for the median, with prompts and
answers of the same fixed lengths, and a second time for p99.

Runs that were published say a third thing. One with the same model, device, engine, format and
lengths that held C requests and kept both limits served C / (TTFT + (O - 1) TPOT) a second, and
the rate over that, rounded up, is how many such engines serve it in a full loop.

    make bench-plan

asks both and writes records/planner_peer.json in a quarter of an hour.

Assumes: means of measured runs stand for their medians; the limits of a full loop are those of
random arrivals, which flatters both the configurator and the measured column by the same.

Source: aiconfigurator 0.12.0, `cli_recommend`; records/machine_runs.json.gz for the runs; Little
(1961).
"""

# In one piece: one comparison: the questions, both askers, the measured runs and the table that
# holds them side by side.

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.published_runs import Run, read_lines, read_runs
from serving_mathematics.planner.capacity_planner.deployment_ranking import rank
from serving_mathematics.planner.capacity_planner.fleet_search import Performance
from serving_mathematics.planner.capacity_planner.model_errors import _columns
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.question import Question, _split_name
from serving_mathematics.planner.questions.splits import _possible_splits
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

RECORD = "planner_peer"
REQUESTS, SEED = 2000, 29
QUANTILES = (0.5, 0.99)
ALIKE = 0.02  # lengths of a measured run, off by at most
NEAREST = 2.0  # times the load of a fleet, at most, in the run that is held beside it


@dataclass(frozen=True)
class Asked:
    """A question in the words of both: lengths are fixed, latencies in seconds."""

    model: str
    device: str
    backend: str
    precision: str
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float
    rate_per_s: float
    peer_model: str  # whose published configuration has that precision


LLAMA8, LLAMA70 = "meta-llama/Meta-Llama-3.1-8B", "nvidia/Llama-3.1-70B-Instruct-FP8"
QUESTIONS = (  # lengths are means of measured runs: 0.9 of 1,024 and 8,192 for some sources
    Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, LLAMA8),
    Asked("Llama-3.1-70B", "H100", "vllm", "fp8", 922, 922, 1.0, 0.03, 4.0, LLAMA70),
    Asked("Llama-3.1-70B", "H200", "vllm", "fp8", 7373, 922, 3.0, 0.05, 1.0, LLAMA70),
    Asked("Llama-3.1-70B", "B200", "trtllm", "fp8", 922, 922, 1.0, 0.02, 8.0, LLAMA70),
    Asked("Llama-3.1-70B", "MI300X", "vllm", "fp8", 922, 922, 1.0, 0.04, 4.0, LLAMA70),
    Asked("Qwen3-32B", "H100", "vllm", "bf16", 1024, 1024, 0.5, 0.03, 3.0, "Qwen/Qwen3-32B"),
    Asked("Qwen3-32B", "H100", "trtllm", "fp8", 4096, 512, 2.0, 0.03, 2.0, "Qwen/Qwen3-32B-FP8"),
    Asked("gpt-oss-120b", "H100", "vllm", "fp4", 922, 922, 1.0, 0.01, 8.0, "openai/gpt-oss-120b"),
    Asked(
        "gpt-oss-120b", "B200", "trtllm", "fp4", 7373, 922, 1.0, 0.015, 6.0, "openai/gpt-oss-120b"
    ),
    Asked(
        "MiniMax-M2.5", "H200", "vllm", "fp8", 922, 922, 1.0, 0.02, 2.0, "MiniMaxAI/MiniMax-M2.5"
    ),
    Asked(
        "DeepSeek-R1", "H200", "sglang", "fp8", 922, 922, 1.0, 0.03, 1.0, "deepseek-ai/DeepSeek-R1"
    ),
    Asked("Kimi-K2.5", "B200", "vllm", "fp4", 922, 922, 1.0, 0.02, 3.0, "nvidia/Kimi-K2.5-NVFP4"),
)


def peer_words(asked: Asked) -> dict[str, Any]:
    """The question in the configurator's arguments; its latencies are in milliseconds.

    asked: one of them.

    >>> asked = Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, "")
    >>> peer_words(asked)["tpot"]
    15.0
    """
    return {
        "model": asked.peer_model,
        "system": find_system(asked.device).name,
        "backend": asked.backend,
        "isl": asked.prompt_tokens,
        "osl": asked.output_tokens,
        "ttft": 1e3 * asked.ttft_s,
        "tpot": 1e3 * asked.tpot_s,
        "target_request_rate": asked.rate_per_s,
        "strict_sla": True,
        "enable_chunked_prefill": True,
    }


def _deployment_of(asked: Asked) -> Deployment:
    """One device with the question's model and lengths."""
    return Deployment(
        find_model(asked.model)[0],
        find_system(asked.device),
        asked.backend,
        asked.precision,
        float(asked.prompt_tokens),
        float(asked.output_tokens),
        1.0,
        shortest_share=1.0,
        cache_bytes=1.0 if asked.precision == "fp4" else 0.0,  # as the runs are read, rule 10
    )


def choices_of(asked: Asked, quantile: float, requests: int = REQUESTS) -> list[Question]:
    """The planner's deployments for a question: every split, as one fleet and as separate ones,
    with Poisson arrivals and the same lengths for all.

    asked: one of them. quantile: at which the limits are to be kept, in (0, 1). requests: of the
    trace. Raises ValueError on another quantile, and where no split is possible.

    >>> asked = Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, "")
    >>> [one.deployment.tensor for one in choices_of(asked, 0.5)][:4]
    [1, 2, 4, 8]
    """
    quantile = require_in("(0, 1)", quantile=quantile)
    requests = require_positive_integer(requests=requests)
    require_work(100 * requests, requests=requests)
    rng = np.random.default_rng(SEED)
    arrivals = np.cumsum(rng.exponential(1 / asked.rate_per_s, requests))
    ones = np.ones(requests, dtype=np.int64)
    traffic = Workload(
        arrivals - arrivals[0], asked.prompt_tokens * ones, asked.output_tokens * ones
    )
    goal = promised(asked.ttft_s, asked.tpot_s, quantile)
    choices = [
        Question(tried, traffic, goal, 1.0, requests=requests)
        for tried in _possible_splits(_deployment_of(asked))
    ]
    return choices + [replace(one, separate=True) for one in choices]


def answer_here(asked: Asked, quantile: float, requests: int = REQUESTS) -> dict[str, Any]:
    """The planner's answer: devices of the smallest fleet and of the smallest separate fleets, 0
    where none keep the limits, with the split and the load of a replica.

    asked, quantile, requests: as for choices_of.

    >>> asked = Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, "")
    >>> found = answer_here(asked, 0.5, requests=100)
    >>> found["devices"] >= 1, sorted(found)
    (True, ['apart', 'concurrency', 'devices', 'devices_of_replica', 'split'])
    """
    found: dict[str, Any] = {
        "devices": 0,
        "split": "",
        "devices_of_replica": 0,
        "concurrency": 0.0,
        "apart": 0,
    }
    for one in rank(choices_of(asked, quantile, requests)):
        run, width = one.run, one.question.deployment.devices
        if isinstance(run, Performance) and not found["devices"]:
            found |= {
                "devices": run.replicas * width,
                "split": f"{run.replicas} x {_split_name(one.question)}",
                "devices_of_replica": width,
                "concurrency": float(f"{run.concurrency:.3g}"),
            }
        elif run is not None and one.question.separate and not found["apart"]:
            found["apart"] = run.replicas * width
    return found


@functools.cache
def _of_engines() -> list[Run]:
    """Measured runs of one engine, as records/planner_errors.json.gz has them."""
    return [run for run in read_runs(read_lines()) if run.kind == "engine"]


@functools.cache
def _runs() -> list[tuple[Run, float]]:
    """Measured runs of one engine that guess nothing, with the time per token that is predicted
    for them by constants that were fitted without models of their shape [s]."""
    pairs = zip(_of_engines(), _columns()["tpot_ratio"].tolist(), strict=True)
    return [(run, run.per_token_s / x) for run, x in pairs if not run.answers.draft_tokens]


def measured_runs(asked: Asked) -> list[tuple[Run, float]]:
    """Published runs of the question's model, device, engine, format and mean lengths, each with
    its predicted time per token [s].

    asked: one of them.

    >>> asked = Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, "")
    >>> {run.answers.devices for run, _ in measured_runs(asked)}
    {8, 1, 2, 4}
    """
    wanted, found = _deployment_of(asked), []
    for run, predicted_s in _runs():
        one = run.answers
        same = (one.architecture.name, one.system.name, one.backend, one.precision) == (
            *(wanted.architecture.name, wanted.system.name),
            *(wanted.backend, wanted.precision),
        )
        lengths = (
            (one.mean_input_tokens, asked.prompt_tokens),
            (one.mean_output_tokens, asked.output_tokens),
        )
        if same and all(abs(length - of) <= ALIKE * of for length, of in lengths):
            found.append((run, predicted_s))
    return found


def engines_needed(
    rate_per_s: float, concurrency: float, ttft_s: float, tpot_s: float, output_tokens: float
) -> int:
    """Engines in a full loop that together serve a rate.

    rate_per_s: requests a second. concurrency: requests that each engine holds. ttft_s, tpot_s:
    mean latencies [s]. output_tokens: of an answer. Returns ⌈rate · (TTFT + (O − 1) TPOT) / C⌉, by
    Little's law. Raises ValueError unless all are positive.

    >>> engines_needed(4.0, 16.0, 0.5, 0.01, 401.0)  # 16 in 4.5 s are 3.6 a second
    2
    """
    rate_per_s, concurrency, ttft_s, tpot_s, output_tokens = require_positive(
        rate_per_s=rate_per_s,
        concurrency=concurrency,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        output_tokens=output_tokens,
    )
    each_s = ttft_s + max(0.0, output_tokens - 1) * tpot_s
    return math.ceil(rate_per_s * each_s / concurrency)


def answer_measured(asked: Asked) -> tuple[int, Run] | None:
    """The fewest devices by measured runs that kept both limits, and the run; None where none did.

    asked: one of them.

    >>> asked = Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, "")
    >>> found = answer_measured(asked)
    >>> found is not None and found[0] >= 1
    True
    """
    best: tuple[int, Run] | None = None
    for run, _ in measured_runs(asked):
        if run.first_token_s > asked.ttft_s or run.per_token_s > asked.tpot_s:
            continue
        times = (run.first_token_s, run.per_token_s, run.answers.mean_output_tokens)
        engines = engines_needed(asked.rate_per_s, run.concurrency, *times)
        if best is None or engines * run.answers.devices < best[0]:
            best = engines * run.answers.devices, run
    return best


def nearest_run(asked: Asked, devices: int, concurrency: float) -> tuple[Run, float] | None:
    """The measured run of a question that is nearest to a fleet's replica, with its predicted time
    per token [s]; None where none has as many devices at half to twice its load.

    asked: one of them. devices, concurrency: of a replica, positive. Raises ValueError otherwise.

    >>> asked = Asked("Llama-3.1-8B", "H100", "trtllm", "bf16", 1024, 256, 0.5, 0.015, 20.0, "")
    >>> found = nearest_run(asked, 1, 30.0)
    >>> found[0].concurrency if found else 0
    32.0
    """
    devices, concurrency = require_positive(devices=devices, concurrency=concurrency)
    off = [
        (abs(math.log2(run.concurrency / concurrency)), place, run, predicted_s)
        for place, (run, predicted_s) in enumerate(measured_runs(asked))
        if run.answers.devices == devices
    ]
    if not off or min(off)[0] > math.log2(NEAREST):
        return None
    _, _, run, predicted_s = min(off)
    return run, predicted_s


def _name(asked: Asked) -> str:
    lengths = f"{asked.prompt_tokens:,} in, {asked.output_tokens:,} out"
    limits = f"{asked.ttft_s:g} s, {1e3 * asked.tpot_s:g} ms"
    kind = f"{asked.model} {asked.precision}, {asked.device}, {asked.backend}"
    return f"{kind}, {lengths}, {asked.rate_per_s:g}/s, {limits}"


def _many(devices: int) -> str:
    return f"{devices}" if devices else "none"


def _rows(told: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the page's first table."""
    rows = []
    for one in told:
        peer = one["peer"]
        measured = one["measured"]["devices"] if one["measured"] else "–"
        theirs = [_many(peer["devices"]), _many(peer["apart"])] if peer else ["no data", "no data"]
        median, tail = one["here"]["0.5"], one["here"]["0.99"]
        cells = [
            _name(Asked(**one["asked"])),
            f"{theirs[0]} ({peer['split']})" if peer and peer["devices"] else theirs[0],
            theirs[1],
            f"{_many(median['devices'])} ({median['split']})" if median["devices"] else "none",
            _many(median["apart"]),
            f"{measured}",
            _many(tail["devices"]),
        ]
        rows.append(f"| {' | '.join(cells)} |".replace(" x ", " × "))
    return rows


def _compared(told: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the second table: runs that were measured near fleets that were proposed."""
    rows = []
    for one in told:
        for run in one["runs"]:
            if run["peer_s"] is None:
                continue
            errors = [abs(run[name] / run["measured_s"] - 1) for name in ("peer_s", "here_s")]
            cells = [
                f"{one['asked']['model']}, {one['asked']['device']}, {one['asked']['backend']}, "
                f"{run['devices']} device{'s' * (run['devices'] > 1)},"
                f" {run['concurrency']:g} at a time",
                run["proposed_by"],
                *(f"{1e3 * run[name]:.3g}" for name in ("measured_s", "peer_s", "here_s")),
                "theirs" if errors[0] < errors[1] else "ours",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def _told() -> list[dict[str, Any]]:
    questions: list[dict[str, Any]] = read_record(RECORD)["questions"]
    return questions


def distances(told: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Answered over measured devices of the configurator and of the planner, on questions that both
    answered and that were measured.

    told: of the record. Raises ValueError where there are none.

    >>> one = {"measured": {"devices": 4}, "peer": {"devices": 2, "apart": 8},
    ...        "here": {"0.5": {"devices": 4, "apart": 0}}}
    >>> distances([one])
    {'peer': [0.5], 'here': [1.0]}
    """
    ratios: dict[str, list[float]] = {"peer": [], "here": []}
    for one in told:
        peer, here = one["peer"], one["here"]["0.5"]
        if one["measured"] and peer and peer["devices"] and here["devices"]:
            ratios["peer"].append(peer["devices"] / one["measured"]["devices"])
            ratios["here"].append(here["devices"] / one["measured"]["devices"])
    require(len(ratios["peer"]) > 0, "told", "answered by both and measured once or more", "none")
    return ratios


def example() -> SimpleNamespace:
    """Tables of the page and what its text quotes."""
    told, record = _told(), read_record(RECORD)
    ratios = distances(told)
    runs = [run for one in told for run in one["runs"] if run["peer_s"] is not None]
    nearer = [
        abs(run["peer_s"] / run["measured_s"] - 1) < abs(run["here_s"] / run["measured_s"] - 1)
        for run in runs
    ]
    same = [
        one["peer"]["devices"] == one["here"]["0.5"]["devices"]
        for one in told
        if one["peer"] and one["peer"]["devices"]
    ]
    return SimpleNamespace(
        versus_peer=record["peer"].replace("==", " "),
        versus_asked=len(told),
        versus_unanswered=sum(one["peer"] is None or not one["peer"]["devices"] for one in told),
        versus_unanswered_here=sum(not one["here"]["0.5"]["devices"] for one in told),
        versus_same=sum(same),
        versus_both=len(same),
        versus_measured=len(ratios["peer"]),
        versus_peer_mean=float(np.exp(np.mean(np.log(ratios["peer"])))),
        versus_here_mean=float(np.exp(np.mean(np.log(ratios["here"])))),
        versus_peer_exact=sum(x == 1 for x in ratios["peer"]),
        versus_here_exact=sum(x == 1 for x in ratios["here"]),
        versus_more_at_tail=sum(
            one["here"]["0.99"]["devices"] > one["here"]["0.5"]["devices"] for one in told
        ),
        versus_runs=len(runs),
        versus_peer_nearer=sum(nearer),
        versus_here_nearer=len(nearer) - sum(nearer),
        versus_rows="\n".join(_rows(told)),
        versus_run_rows="\n".join(_compared(told)),
    )


def check_record_is_of_these_questions() -> None:
    """The record answers the questions of this module, in their order, and what was measured is
    what the published runs say.

    Source: the record, and records/machine_runs.json.gz.
    """
    told = _told()
    checks.equal("questions", [Asked(**one["asked"]) for one in told] == list(QUESTIONS), True)
    for asked, one in zip(QUESTIONS, told, strict=True):
        found = answer_measured(asked)
        devices = one["measured"]["devices"] if one["measured"] else 0
        checks.equal(_name(asked), devices, found[0] if found else 0, kind="measured")


def check_planner_answers_as_recorded() -> None:
    """Asked again, the planner gives the third answer of the record, whose batch limit is sought.

    Source: the record, and its command.
    """
    checks.equal(
        "the third", answer_here(QUESTIONS[2], 0.5), _told()[2]["here"]["0.5"], kind="simulation"
    )


def check_a_tail_needs_no_fewer_devices() -> None:
    """What keeps the limits at p99 keeps them at the median.

    Source: theory; the same requests and limits.
    """
    pairs = [[one["here"][name]["devices"] for name in ("0.5", "0.99")] for one in _told()]
    fewer = [pair for pair in pairs if 0 < pair[1] < pair[0]]
    checks.equal("questions with fewer devices at p99", fewer, [], kind="stated")


def check_predictions_belong_to_their_runs() -> None:
    """The predicted times are of the runs beside which they stand.

    Source: time per token and concurrency in both records.
    """
    columns = _columns()
    kept = np.array([columns["concurrency"], columns["tpot_s"]]).T
    wanted = [[run.concurrency, run.per_token_s] for run in _of_engines()]
    checks.close("both", kept, wanted, rtol=1e-3, kind="measured")
