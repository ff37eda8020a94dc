"""Two engines with the same version, compared again and again as a canary would be.

Of 120 pairs of the chat machine a record has z at 24 looks, one each five minutes, by two counts of
what an observation is: each request by itself, or each minute. By minutes the difference is the
mean of log(new/old) of the minute's mean time per token, and its spread is known from two hours in
which the pair before was watched. Of 60 pairs whose new version takes 1% longer for everything it
has the same. How many requests are worth one is the variance of a run's mean over that of
independent requests, on three engines and on one that sessions of agents ask. For the gate there
are the minutes of three pairs.

`python -m serving_mathematics.architecture.shadow_canary.same_version` simulates it all, in about
four minutes, and writes records/same_version.json.gz.

Assumes: what `core.machines.running` assumes; Poisson arrivals, each engine's its own.

Source: own simulation of the book's machines.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.clumps import false_alarm_rate
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.machines.customers import _long_chat
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import Run, run_engine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record

FloatArray = npt.NDArray[np.float64]
RECORD = "same_version"
COMMAND = "python -m serving_mathematics.architecture.shadow_canary.same_version"
LOAD = 0.6  # of the ceiling, of each engine
LOOKS, LOOK_S, MINUTE_S = 24, 300.0, 60.0
WARM_S = 300.0  # before the comparison begins
HOURS = LOOKS * LOOK_S / 3600
SLOWER = 1.01  # times that the slower version takes
PAIRS = {"the same": 120, "1% slower": 60}
ENGINES = {  # whose requests are counted: machine, load, hours, length of a block [s], runs
    "chat": (CHAT, 0.6, 2.0, 60.0, 128),  # of 32 runs their variance is known to a quarter
    "chat, 80%": (CHAT, 0.8, 2.0, 60.0, 32),
    "mixture": (MIXTURE, 0.6, 8.0, 600.0, 32),
    "agents": (AGENTS, 0.3, 8.0, 1800.0, 16),
}
IDLE = 0.05  # of the ceiling, where hardly any requests share a step
LONG_ANSWER, LONG_PAIRS, LONG_ASKED = 1500, 4, 8000  # tokens of a mean answer; requests of each
COPIED, ALIKE = 20_000, 50  # requests that a shadow gets too; of which answers change places
GATE = {"the same": 1.0, "5% slower": 1.05}  # times that the version at the gate takes


def _run(machine: Machine, load: float, hours: float, seed: int, slowness: float = 1.0) -> Run:
    """An engine with requests of its own, for so long."""
    rate = load * machine.ceiling_per_s
    requests = int((3600 * hours + WARM_S) * rate * 1.02 + 60)
    rng = np.random.default_rng([72, seed])
    return run_engine(machine, rate, requests, rng, slowness=slowness)


def _compared(run: Run, hours: float, what: str = "token") -> tuple[FloatArray, FloatArray]:
    """Seconds since the comparison began, and times of answers: per token, or to the first."""
    since, values = run.arrival_s - WARM_S, run.tpot_s if what == "token" else run.ttft_s
    some = (since >= 0) & (since < 3600 * hours) & np.isfinite(values)
    return since[some], values[some]


def _blocks(run: Run, hours: float, what: str = "token", block_s: float = MINUTE_S) -> FloatArray:
    """Logarithm of each block's mean."""
    since, values = _compared(run, hours, what)
    which, size = (since // block_s).astype(np.intp), round(3600 * hours / block_s)
    return np.asarray(np.log(np.bincount(which, values, size) / np.bincount(which, minlength=size)))


def _z_of_requests(old: Run, new: Run) -> FloatArray:
    """z at each look, as if requests were independent."""
    arms = []
    for run in (new, old):
        since, values = _compared(run, HOURS)
        counts = np.searchsorted(since, LOOK_S * np.arange(1, LOOKS + 1))
        mean = np.cumsum(values)[counts - 1] / counts
        square = np.cumsum(values**2)[counts - 1] / counts
        arms.append((mean, (square - mean**2) / counts))
    (one, spread_one), (two, spread_two) = arms
    return np.asarray((one - two) / np.sqrt(spread_one + spread_two))


def _z_of_minutes(apart: FloatArray, spread: float) -> FloatArray:
    """z at each look, of minutes whose spread is known, from their log(new/old)."""
    counts = np.arange(1, LOOKS + 1) * round(LOOK_S / MINUTE_S)
    return np.asarray(np.cumsum(apart)[counts - 1] / (spread * np.sqrt(counts)))


def _pair(number: int, slowness: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Of a pair: z by requests, and log(new/old) of each minute."""
    old = _run(CHAT, LOAD, HOURS, 2 * number)
    new = _run(CHAT, LOAD, HOURS, 2 * number + 1, slowness)
    return _z_of_requests(old, new), _blocks(new, HOURS) - _blocks(old, HOURS)


def _short_pair() -> FloatArray:
    """log(new/old) of the minutes of a quarter of an hour."""
    old, new = _run(CHAT, LOAD, 0.25, 8002), _run(CHAT, LOAD, 0.25, 8003)
    return _blocks(new, 0.25) - _blocks(old, 0.25)


def _pairs() -> dict[str, list[dict[str, Any]]]:
    """Of each version, what is seen of its pairs; the spread is that of the pair before."""
    found: dict[str, list[dict[str, Any]]] = {}
    spreads: list[float] = []
    for version, count in PAIRS.items():
        rows = []
        for number in range(count):
            by_requests, apart = _pair(number, 1.0 if version == "the same" else SLOWER)
            if version == "the same":
                spreads.append(float(apart.std(ddof=1)))
            spread = spreads[number - 1] if number else float(apart.std(ddof=1))
            row = {"requests": by_requests, "minutes": _z_of_minutes(apart, spread)}
            rows.append({name: np.round(z, 3).tolist() for name, z in row.items()})
        found[version] = rows
    return found | {"spreads": [{"token": spread} for spread in spreads]}


def _clump_of(found: list[Run], hours: float, what: str = "token") -> float:
    """How many requests are worth one, from the means of runs."""
    each = [_compared(run, hours, what)[1] for run in found]
    plain = np.mean([one.var() for one in each]) / np.mean([one.size for one in each])
    return float(np.var([one.mean() for one in each], ddof=1) / plain)


def _follows(apart: FloatArray) -> float:
    """Correlation of blocks with the block before, of pairs in rows."""
    return float((apart[:, 1:] * apart[:, :-1]).mean() / (apart**2).mean())


def _worth(name: str) -> dict[str, float]:
    """How many requests are worth one, for first tokens and times per token, and how log(new/old)
    of a block's time per token spreads and follows the block before."""
    machine, load, hours, block_s, runs = ENGINES[name]
    found = [_run(machine, load, hours, 9000 + seed) for seed in range(runs)]
    told = {what: _clump_of(found, hours, what) for what in ("first", "token")}
    rows = np.array([_blocks(run, hours, block_s=block_s) for run in found])
    apart = rows[::2] - rows[1::2]
    told["spread"] = float(apart.std())
    told["follows"] = _follows(apart)
    told["block"] = load * machine.ceiling_per_s * block_s
    return told


def _gate(slowness: float) -> dict[str, list[float]]:
    """log(new/old) of each minute, for first tokens and times per token."""
    old, new = _run(CHAT, LOAD, HOURS, 8000), _run(CHAT, LOAD, HOURS, 8001, slowness)
    return {
        what: np.round(_blocks(new, HOURS, what) - _blocks(old, HOURS, what), 5).tolist()
        for what in ("first", "token")
    }


@functools.cache
def _copied(times: float, sampled: bool) -> FloatArray:
    """log(new/old) of the minutes of an engine and its shadow, which gets all of its requests and
    takes so many times as long. sampled: whether its answers have the lengths of other requests
    with prompts about as long."""
    rng = np.random.default_rng(12)
    arrivals = draw_arrivals(rng, LOAD * CHAT.ceiling_per_s, COPIED)
    lengths = draw_lengths(rng, CHAT.traffic, COPIED)
    minute = (arrivals // MINUTE_S).astype(np.intp)
    rows: list[FloatArray] = []
    at = np.argsort(lengths.prompt_tokens, kind="stable")
    among = at[np.lexsort((rng.random(COPIED), np.arange(COPIED) // ALIKE))]
    other = np.empty_like(at)
    other[at] = among
    for slowness in (1.0, times):
        again = sampled and bool(rows)
        answers = lengths.output_tokens[other] if again else lengths.output_tokens
        run = simulate(Workload(arrivals / slowness, lengths.prompt_tokens, answers), CHAT.engine)
        long, kept_s = answers > 1, run.completion_s - run.first_token_s
        each = slowness * kept_s[long] / (answers[long] - 1)
        means = np.bincount(minute[long], each) / np.bincount(minute[long])
        rows.append(np.log(means[round(WARM_S / MINUTE_S) : -1]))
    return np.asarray(rows[1] - rows[0])


def _long_answers() -> FloatArray:
    """log(new/old) of the minutes of pairs whose answers are long and exponential, in rows."""
    engine, rows = _long_chat(), []
    for seed in range(2 * LONG_PAIRS):
        rng = np.random.default_rng([73, seed])
        prompts = draw_lengths(rng, CHAT.traffic, LONG_ASKED).prompt_tokens
        answers = np.minimum(rng.geometric(1 / LONG_ANSWER, LONG_ASKED), 4 * LONG_ANSWER)
        room = int(CHAT.cache_tokens / (float(prompts.mean()) + LONG_ANSWER))  # of E[m²]/2E[m]
        most = replace(engine, max_sequences=min(CHAT.places, room))
        rate = LOAD * saturated_rate(prompts, answers, most, np.zeros_like(prompts))
        arrivals = draw_arrivals(rng, rate, LONG_ASKED)
        run = simulate(Workload(arrivals, prompts, answers), engine)
        each = (run.completion_s - run.first_token_s) / np.maximum(answers - 1, 1)
        since = arrivals - WARM_S
        minute = (since[since >= 0] // MINUTE_S).astype(np.intp)
        means = np.bincount(minute, each[since >= 0]) / np.bincount(minute)
        rows.append(np.log(means))
    size = min(row.size for row in rows) - 1
    minutes = np.array([row[:size] for row in rows])
    return np.asarray(minutes[::2] - minutes[1::2])


def main() -> None:
    """Simulate and write the record."""
    record = provenance(COMMAND, ["numpy"]) | {
        "what": f"z of {LOOKS} looks at pairs of engines, and requests worth one",
        "pairs": _pairs(),
        "worth": {name: _worth(name) for name in ENGINES},
        "again": np.round(_short_pair(), 5).tolist(),
        "gate": {version: _gate(slowness) for version, slowness in GATE.items()},
    }
    print(f"wrote {write_record(RECORD, record, packed=True)}")


@functools.cache
def _seen(part: str) -> Any:
    """A part of the record."""
    return read_record(RECORD)[part]


def check_an_idle_engine_blames_less() -> None:
    """At a twentieth of the chat machine's ceiling, one look of a test of requests blames fewer
    than half of the harmless releases; at six tenths, it blames most of them.

    Source: sixteen runs of two hours; the record.
    """
    found = [_run(CHAT, IDLE, 2.0, 9100 + seed) for seed in range(16)]
    idle = max(1.0, _clump_of(found, 2.0))
    checks.inside("idle: blamed", false_alarm_rate(idle), 0.05, 0.5)
    busy = false_alarm_rate(_seen("worth")["chat"]["token"])
    checks.inside("busy: blamed", busy, 0.7, 0.9)


def check_minutes_of_long_answers_follow() -> None:
    """On the chat machine at 60% load, a minute's log(new/old) correlates with that of the minute
    before by 0.3 or more if answers have 1,500 tokens on average, and by at most 0.2, the most at
    which minutes count as independent, with the answers of the trace.

    Source: own simulation of four pairs; the record.
    """
    checks.inside("answers of the trace", _seen("worth")["chat"]["follows"], -0.2, 0.2)
    checks.inside("long answers", _follows(_long_answers()), 0.3, 0.9)


def check_a_shadow_of_all_requests_compares_times() -> None:
    """An engine and a shadow that gets all of its requests have the same minutes if they run the
    same version. If the shadow's steps take 5% longer, its tokens take 11% longer, and log(new/old)
    of a minute spreads by at most a fifth of what it does between engines with requests of their
    own; by at most a quarter if the shadow samples its own answers.

    Source: own simulation of both; the spread of two engines from the record.
    """
    apart = _seen("worth")["chat"]["spread"]
    same = float(np.abs(_copied(1.0, sampled=False)).max())
    checks.close("the same version", same, 0.0, atol=1e-12)
    for sampled, most in ((False, 0.2), (True, 0.25)):
        slower = _copied(1.05, sampled)
        label = f"answers {'sampled anew' if sampled else 'as before'}"
        checks.inside(
            f"{label}: spread, over that of two engines", float(slower.std()) / apart, 0.0, most
        )
        checks.close(
            f"{label}: log(new/old)", float(slower.mean()), math.log(1.11), atol=0.02, kind="stated"
        )


def check_a_pair_is_compared_again() -> None:
    """A quarter of an hour of one pair, simulated again, has the same minutes.

    Source: the record, and its command.
    """
    checks.close("log(new/old)", _short_pair(), _seen("again"), atol=2e-5, kind="simulation")


if __name__ == "__main__":
    main()
