"""Several runs: what differs between two of them, and where a ladder of loads stops being served.

Two runs are compared by blocks in order and not by requests, because those that stand in one queue
are slow together: the mean of each of ten blocks is a replication, and Welch's test compares them;
so is a percentile of first tokens and of whole answers. Blocks are fewer where a tenth is not worth
two independent requests, because neighbours in one queue are slow together too.
A difference that it does not tell from chance, all numbers together, is noise. Runs of other rates
or other tokens are not compared by their times: a time per token is held against what the first
run's costs of a step give at the second's load. An engine's counters tell means and no spread:
times differ by more than those of requests may of which ten in a row are worth one.

Source: Welch (1947); Law (2015), *Simulation Modeling and Analysis*, section 10.2, for replications
instead of requests; Little (1961) for the ladder.
"""

# In one piece: two runs, and the stages of one test, which share what is told apart from chance.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving_mathematics.machine.predictions.own_runs import calibrate, calibration_text
from serving_mathematics.planner.questions.load_tests import LoadRun, runs_of
from serving_mathematics.report.evidence import FloatArray, Run, _rates_told
from serving_mathematics.report.findings.finding import (
    FEW,
    Asked,
    Finding,
    _alike_times,
    _blocks_of,
    duration,
)
from serving_mathematics.report.findings.of_the_test import (
    _requests,
    _sent_rate,
    all_at_once,
    closed_loop,
    growing_queue,
)
from serving_mathematics.report.own_engine import _counted, _step_costs
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.intervals import student_quantile
from serving_mathematics.support.require import require

RUN_BLOCKS, BLOCK_WORTH = 10, 2.0  # at most; requests that each is worth at least
ANY_CHANCE = 0.05  # of two runs alike, in which one of their numbers is told to differ
WORSE = 0.1  # slower beyond chance, from which that is a problem
OTHER_LOAD, OTHER_SIGMAS = 0.1, 3.0  # by which rates or tokens differ, and in standard errors
STEPS_TELL = 0.05  # of a time per token, within which the costs of a step give another load's
MODEL_FACTOR = 1.3  # of the step model, which is off by a ninth on average
KEPT_UP = 0.93  # of the rate that is asked, up to which a stage is sent
CHANCE = 3.0  # standard errors of a Poisson count, by which a load may fall short
WORTH_ONE = 10.0  # requests in a row, where counters tell no spread
WAITED, OF_LATE = 0.05, 0.5  # of a stage's time, and of how much longer it took, that was a queue
METRICS = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "latency_s": "latency",
    "read_tokens": "prompt tokens that no cache had",
}
TAILED = ("ttft_s", "latency_s")  # of which a percentile is compared beside the mean
FOR_P99 = 10_000  # requests of each run, with which ten of every block are beyond its p99


@dataclass(frozen=True)
class Difference:
    """One number of two runs. change: b over a, less one, with its interval, and whether it is
    told from chance. unlike: whether the runs are of other loads, which the name says. unit: of
    both, seconds where none is said.

    >>> Difference("TTFT", 0.1, 0.2, 1.0, 0.8, 1.2).real
    True
    """

    name: str
    first: float
    second: float
    change: float
    low: float
    high: float
    unlike: bool = False
    unit: str = "s"

    @property
    def level(self) -> str:
        """Of a finding, where the second is slower beyond chance; else empty."""
        return ("problem" if self.low > WORSE else "warning") if self.low > 0 else ""

    @property
    def real(self) -> bool:
        """Whether the interval leaves out no change."""
        return not self.low <= 0 <= self.high


def differences(first: Run, second: Run) -> list[Difference]:
    """What two runs differ in, by blocks.

    first, second: with times of at least 100 requests each, or an engine's counters. Raises
    ValueError where they have no times in common.

    >>> rng = np.random.default_rng(0)
    >>> runs = [Run("", "", {"ttft_s": rng.gamma(9, k / 90, 500)}) for k in (1, 2)]
    >>> [one.real for one in differences(*runs)]
    [True, True]
    """
    both = f"{_short(first)} and {_short(second)}"
    if not (first.size or second.size) and first.series is not None and second.series is not None:
        found = _of_counters(first, second)
        require(len(found) > 0, both, "scrapes that tell a mean of requests", "none in common")
        return found
    unlike = _other_load(first, second)
    if unlike:
        same = _at_second_load(first, second, unlike)
        rule = "runs of one load, or logs that tell the costs of a step"
        require(same is not None, both, rule, unlike)
        return [same] if same is not None else []
    pairs = []
    for name, title in METRICS.items():
        values = [_values(run.in_order(), name) for run in (first, second)]
        fewest = min(x.size for x in values)
        if fewest < FEW:
            continue
        many = _blocks_worth(values)
        blocks = [_blocks_of(x, many) for x in values]
        one, other = (np.array([x.mean() for x in each]) for each in blocks)
        pairs.append((f"{title}, mean", one, other, _unit(name)))
        if name in TAILED:
            at = 99 if fewest >= FOR_P99 else 95
            one, other = (np.array([np.percentile(x, at) for x in each]) for each in blocks)
            pairs.append((f"{title}, p{at}", one, other, _unit(name)))
    rule = f"runs with times of {FEW} requests or more, of the same kind"
    if not (first.size and second.size):  # means alone
        rule += " (vLLM writes each with --save-detailed, SGLang with --output-details)"
    require(len(pairs) > 0, both, rule, f"{first.size} and {second.size} requests")
    wrong = ANY_CHANCE / len(pairs)
    return [replace(_welch(title, a, b, wrong), unit=unit) for title, a, b, unit in pairs]


def _short(run: Run) -> str:
    """The file of a run, and of how many more it is."""
    names = run.where.split(", ")
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _of_counters(first: Run, second: Run) -> list[Difference]:
    """What the means of two engines' counters differ in.

    >>> from serving_mathematics.report.evidence import Series
    >>> told, series = {"completed": 2e4, "ttft_s": 0.1}, Series(np.zeros(1), {})
    >>> runs = [Run("", "", told=told | {"ttft_s": x}, series=series) for x in (0.1, 0.2)]
    >>> [(one.name, one.level) for one in _of_counters(*runs)]
    [('TTFT, mean', 'problem')]
    """
    counts = [run.said("completed") for run in (first, second)]
    if not min(counts) > 0:
        return []
    error = math.sqrt(sum(1 / count for count in counts))
    tokens = [
        _told_apart([run.said(f"{of}_tokens") for run in (first, second)], [0, 0], f"{of} tokens")
        for of in ("prompt", "output")
    ]
    unlike = ", ".join(filter(None, tokens))
    found = []
    for name, title in METRICS.items():
        a, b = (_counted_mean(run, name) for run in (first, second))
        if a > 0 and b > 0:
            change = b / a - 1
            half = max(WORSE, CHANCE * error * (1 if _unit(name) != "s" else WORTH_ONE**0.5))
            title += ", mean" + (f", of other loads ({unlike})" if unlike else "")
            found.append(
                Difference(title, a, b, change, change - half, change + half, unit=_unit(name))
            )
    return found


def _counted_mean(run: Run, name: str) -> float:
    """The mean that an engine's counters tell; NaN where they do not."""
    if name != "read_tokens" or run.series is None:
        return run.said(name)
    return run.said("prompt_tokens") * (1 - run.series.found_share())


def _unit(name: str) -> str:
    return "tokens" if name.endswith("tokens") else "s"


def _other_load(first: Run, second: Run) -> str:
    """In what the loads of two runs differ beyond chance, in words; empty where they do not."""
    runs, found = (first, second), []
    kinds = [
        [look(run, Asked()) is not None for look in (closed_loop, all_at_once)] for run in runs
    ]
    errors = [1 / math.sqrt(max(run.size, 1)) for run in runs]
    if kinds[0] != kinds[1]:
        found.append("a rate and clients that wait, or all at once")
    elif kinds[0][0]:  # where a slower engine is asked for less
        found.append(_told_apart([_held(run) for run in runs], errors, "requests held"))
    elif not kinds[0][1]:
        found.append(_told_apart([_sent_rate(run) for run in runs], errors, "requests a second"))
    for name, word in (("prompt_tokens", "prompt tokens"), ("output_tokens", "answer tokens")):
        values = [_values(run, name) for run in runs]
        if min(x.size for x in values) >= FEW:
            means = [float(x.mean()) for x in values]
            errors = [
                float(x.std()) / max(mean, 1e-9) / math.sqrt(x.size)
                for x, mean in zip(values, means, strict=True)
            ]
            found.append(_told_apart(means, errors, word))
    return ", ".join(filter(None, found))


def _held(run: Run) -> float:
    """Requests that a closed loop held; the mean number inside, where the tool does not say."""
    told = run.said("concurrency")
    seconds = _rates_told(run)["seconds"]
    return told if told > 0 else float(np.nansum(run.column("latency_s"))) / seconds


def _told_apart(numbers: Sequence[float], errors: Sequence[float], word: str) -> str:
    """Two numbers in words, where they differ by more than their errors may."""
    limit = max(OTHER_LOAD, OTHER_SIGMAS * math.hypot(*errors))
    if not (min(numbers) > 0 and abs(math.log(numbers[1] / numbers[0])) > math.log1p(limit)):
        return ""
    return f"{sized(numbers[0])} and {sized(numbers[1])} {word}"


def _at_second_load(first: Run, second: Run, unlike: str) -> Difference | None:
    """Time per token of the second run, with its own batches and prompts, as the first run's costs
    of a step give it and as it was; None where either does not tell."""
    costs = _step_costs(first)
    if costs is None or _step_costs(second) is None:
        return None
    batch, read, each = _counted(second)
    before, now = float((costs[0] + costs[1] * batch + costs[2] * read).mean()), float(each.mean())
    change = now / before - 1
    name = f"not the same load ({unlike}); TPOT at the second's, by the first's costs of a step"
    low, high = change - STEPS_TELL, change + STEPS_TELL
    return Difference(name, before, now, change, low, high, unlike=True)


def _values(run: Run, name: str) -> FloatArray:
    values = run.tpot_s() if name == "tpot_s" and run.size else run.column(name)
    if name == "read_tokens":
        values = run.column("prompt_tokens") - run.column("cached_tokens")
    if not values.size:
        return values
    values = values[run.good()]
    return np.asarray(values[np.isfinite(values)])


def _blocks_worth(values: Sequence[FloatArray]) -> int:
    """How many blocks runs are cut into: ten, or as many as are worth `BLOCK_WORTH` each in both;
    two at least, which tell apart what differs many times.

    values: of each run, in order.

    >>> _blocks_worth([np.arange(200) % 7.0]), _blocks_worth([np.repeat([1.0, 2.0, 1.5], 40)])
    (10, 2)
    """
    worth = min(one.size / _alike_times(one) for one in values)
    return max(2, min(RUN_BLOCKS, int(worth / BLOCK_WORTH)))


def _welch(title: str, one: FloatArray, other: FloatArray, wrong: float) -> Difference:
    """Two numbers by their blocks; wrong: share of intervals that leave out what is true."""
    errors = [float(x.var(ddof=1)) / x.size for x in (one, other)]
    error = math.sqrt(sum(errors))
    freedom = sum(errors) ** 2 / max(sum(e**2 / (one.size - 1) for e in errors), 1e-300)
    quantile = student_quantile(1 - wrong / 2, max(1.0, freedom)) if error > 0 else 0.0
    a, b = float(one.mean()), float(other.mean())
    base = a if a > 0 else 1.0
    half = quantile * error
    return Difference(title, a, b, (b - a) / base, (b - a - half) / base, (b - a + half) / base)


def ladder(runs: Sequence[Run], _asked: Asked) -> Finding | None:
    """Where the stages of a test stop being served, and what a stage beyond costs in latency.

    runs: with the rates that were asked for and served.

    >>> def stage(rate, sent, first):
    ...     told = {"rate_asked": rate, "rate_sent": sent, "completed": 60 * sent, "ttft_s": first}
    ...     return Run(f"{rate}", "", told=told | {"duration_s": 60.0})
    >>> ladder([stage(10.0, 10.0, 0.03), stage(20.0, 14.0, 2.0)], Asked()).level
    'problem'
    """
    rows = _steps_of(runs) if len({run.tool for run in runs}) == 1 else []
    if len(rows) < 2:
        return None
    kept = [row for row in rows if not row[3]]
    lost = [row for row in rows if row[3]]
    where = runs[0].where.partition(",")[0]
    if not lost:
        top = rows[-1]
        return Finding(
            "note",
            f"all {len(rows)} loads were served, up to {sized(top[1], 4)} requests a second with a "
            f"first token in {duration(top[2])}",
            "the knee is beyond, and how near is not told",
            "add stages until one is not served",
            "counted",
            "definitions/throughput",
            where=where,
        )
    best = max((row for row in kept if row[0] < lost[0][0]), default=None)
    ceiling = max(row[1] for row in lost if row[1] < lost[0][0])
    at, most = sized(lost[0][0], 4), sized(ceiling, 4)
    seen = f"from {at} requests a second on no more than {most} are served"
    if best:
        seen += (
            f"; at {sized(best[0], 4)} a first token takes {duration(best[2])}, at "
            f"{at} it takes"
            f" {duration(lost[0][2])}"
        )
    return Finding(
        "problem",
        seen,
        f"{len(lost)} of {len(rows)} loads are above the ceiling: their latencies say how long the "
        "stage was",
        f"quote latencies up to {sized(best[0], 4)} a second, and the ceiling as throughput"
        if best
        else "begin the ladder lower",
        f"{len(rows)} loads, by how the wait grew, or by the rate that left as the tool says",
        "definitions/throughput",
        where=where,
    )


def _steps_of(runs: Sequence[Run]) -> list[tuple[float, float, float, bool]]:
    """Rate asked, rate served, mean time to first token of the loads of a test, and whether more
    came than was served, by rate.

    runs: of which those without a finite rate, and those whose client fell behind, are passed over.

    >>> told = {"rate_asked": 4.0, "completed": 400.0, "ttft_s": 0.1}
    >>> _steps_of([Run("", "", told=told | {"duration_s": 110.0})])  # with its last answers
    [(4.0, 4.0, 0.1, False)]
    >>> _steps_of([Run("", "", told=told | {"duration_s": 130.0, "ttft_s": 12.0})])[0][3]
    True
    """
    told = [(run.said("rate_asked"), run.said("ttft_s"), run) for run in runs]
    told = [one for one in told if 0 < one[0] < math.inf and one[1] > 0]
    rows = []
    for asked, first, run in told:
        least = min(x for _, x, _ in told)
        queue = min(x for rate, x, _ in told if rate >= asked) - least
        step = _served(run, asked, first, queue)
        if step is not None:
            rows.append((asked, step[0], first, step[1]))
    return sorted(rows)


def _served(run: Run, asked: float, first: float, queue: float) -> tuple[float, bool] | None:
    """The rate that was served and whether that is less than came; None where the client fell
    behind, or nothing is told.

    A stage lasts as long as its requests come, then until the last of them is served, and then
    until its answer is through, which is of no queue: where a queue grows, the last request waits
    about twice the mean.

    first: mean time to first token. queue: by how much it and those of all higher loads exceed the
    least of the ladder.
    """
    count = float(np.nan_to_num(_requests(run)))
    allowed = max(1 - KEPT_UP, CHANCE / math.sqrt(max(count, 1.0)))
    left = run.said("rate_sent")
    if left > 0:
        return left, 1 - left / asked > allowed
    whole = run.said("duration_s")
    if not (count > 0 and whole > 0) or 1 - _sent_rate(run) / asked > allowed:
        return None
    coming = count / asked
    longer = max(whole - coming, 0.0)
    waited = min(2 * first, longer)
    mostly = waited > max(OF_LATE * longer, allowed * coming)
    if mostly or 2 * queue > WAITED * coming or growing_queue(run, Asked()) is not None:
        return count / (coming + waited), waited > 0
    return asked, False


def step_model(runs: Sequence[Run], asked: Asked) -> Finding | None:
    """Times per token that were measured against those of the step model for the deployment.

    runs: with means, or times of their requests. asked: the deployment.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> told = {"ttft_s": 0.1, "tpot_s": 0.02, "prompt_tokens": 1000.0, "output_tokens": 200.0}
    >>> run = Run("a", "", told=told | {"in_flight": 8.0, "completed": 99.0})
    >>> step_model([run], Asked(deployment=WORKED)).level
    'warning'
    """
    if asked.deployment is None:
        return None
    loads = [one for run in runs if (one := _load_run(run)) is not None]
    if not loads:
        return None
    found = calibrate(runs_of(loads, asked.deployment))
    ratios = [
        run.per_token_s / float(found.before.per_token_s[place])
        for place, run in enumerate(found.runs)
    ]
    worst = max(ratios, key=lambda x: abs(math.log(x)))
    run = found.runs[ratios.index(worst)]
    predicted = float(found.before.per_token_s[ratios.index(worst)])
    seen = f"at {run.label} a token takes {duration(run.per_token_s)}, the step model says"
    seen += f" {duration(predicted)} ({100 * (worst - 1):+z.0f}%)"
    slow = worst > MODEL_FACTOR
    return Finding(
        "warning" if slow else "note",
        seen,
        "what the model leaves unexplained is in no plan: kernels, host, other work on the device",
        "look for what is not as said: format, parallelism, graphs that are off, a second tenant"
        if slow
        else "plan with this test (--load-test)",
        calibration_text(found).rstrip("."),
        "machine/predictions",
        where=loads[0].where.partition(",")[0],
    )


def _load_run(run: Run) -> LoadRun | None:
    """A run as the planner's calibration takes it; None where it does not tell enough."""
    means = {}
    for name in ("ttft_s", "tpot_s", "prompt_tokens", "output_tokens"):
        values = _values(run, name)
        means[name] = float(values.mean()) if values.size else run.said(name)
    held = run.said("concurrency") if run.said("rate_asked") == math.inf else math.nan
    load = held if held > 0 else run.said("in_flight")
    if not load > 0:
        whole = means["ttft_s"] + means["tpot_s"] * max(0.0, means["output_tokens"] - 1)
        load = _rates_told(run)["requests"] * whole
    fine = all(math.isfinite(x) and x > 0 for x in (*means.values(), load))
    if not fine:
        return None
    return LoadRun(
        run.where,
        run.model,
        "",
        max(1, run.size or int(run.told.get("completed", 1.0))),
        max(1.0, load),
        held > 0,
        means["prompt_tokens"],
        means["output_tokens"],
        False,
        means["ttft_s"],
        means["tpot_s"],
    )


def check_blocks_tell_noise() -> None:
    """Two runs of one queue are alike by blocks in nine pairs of ten, where requests one by one
    would often differ.

    Source: 60 pairs of one M/M/1 queue at 80%, by Lindley's recursion.
    """
    from serving_mathematics.core.queues.queue_simulator import fifo_waits

    rng = np.random.default_rng(12)
    real = 0
    for _ in range(60):
        runs = []
        for _ in range(2):
            arrivals = np.cumsum(rng.exponential(1.25, 8000))
            waits = fifo_waits(arrivals, rng.exponential(1.0, 8000))[2000:]
            runs.append(Run("", "", {"ttft_s": waits + 0.01}))
        real += differences(*runs)[0].real
    checks.inside("pairs that differ", real / 60, 0.0, 0.12)


def check_bad_input_is_refused() -> None:
    """Runs without times in common are refused by name."""
    few = Run("a.json", "", {"ttft_s": np.ones(3)})
    checks.raises("few", differences, few, few, match="a.json and a.json must be runs with times")
