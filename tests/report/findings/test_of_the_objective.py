from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import stats
from serving_mathematics.capacity.autoscaling import signals
from serving_mathematics.capacity.overload_control import limits
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.report.artefacts import queue_flags
from serving_mathematics.report.engine_metrics import scrape_run
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked, _alike, _ends_of, percent
from serving_mathematics.report.findings.of_the_ceiling import (
    _rates_simulated,
    breaking_load,
)
from serving_mathematics.report.findings.of_the_objective import (
    _in_time,
    _prompt_speed,
    canary,
    cost,
    goodput,
    load_kept,
)
from serving_mathematics.report.joining import joined
from serving_mathematics.report.request_log import read_log
from serving_mathematics.support.digits import sized
from serving_mathematics.support.intervals import half_width

from ..example_runs import clean

ASKED = Asked(ttft_s=1.0, tpot_s=0.1, price_per_hour=4.0)


def test_nothing_is_said_without_an_objective() -> None:
    run = clean(count=400)
    for function in (goodput, load_kept, breaking_load, canary, cost):
        assert function(run, Asked()) is None
        assert function(Run("", ""), ASKED) is None


def test_a_failed_request_is_late_and_an_unknown_one_is_neither() -> None:
    columns = {"ttft_s": np.array([0.1, 0.1, np.nan]), "failed": np.array([0.0, 1.0, 0.0])}
    kept = _in_time(Run("", "", columns), Asked(ttft_s=1.0))
    assert kept[:2].tolist() == [1.0, 0.0]
    assert np.isnan(kept[2])


SUMMARY = {"ttft_s": 0.5, "ttft_p99_s": 0.9, "tpot_s": 0.03, "tpot_p99_s": 0.06, "completed": 900.0}


@pytest.mark.parametrize(
    ("told", "asked", "level", "seen"),
    [
        ({}, {"ttft_s": 1.0}, "note", "TTFT at p99 is 900 ms, 1 s promised"),
        ({}, {"ttft_s": 0.8}, "problem", "TTFT at p99 is 900 ms, 800 ms promised"),
        ({}, {"ttft_s": 1.0, "tpot_s": 0.05}, "problem", "TPOT at p99 is 60 ms, 50 ms promised"),
        ({}, {"ttft_s": 0.4, "quantile": 0.5}, "problem", "TTFT is 500 ms on average"),
        ({}, {"ttft_s": 1.0, "quantile": 0.999}, "", ""),  # p99 keeps less than is promised
        ({}, {"ttft_s": 0.8, "quantile": 0.9}, "", ""),  # and breaks more
        ({"ttft_p99_s": np.nan}, {"ttft_s": 1.0}, "", ""),  # a mean keeps nothing
        ({"failed": 100.0}, {"ttft_s": 1.0}, "problem", "10% of the requests failed"),
        ({"failed": 0.0, "completed": 0.0}, {"ttft_s": 1.0}, "note", "TTFT at p99"),  # none counted
    ],
)
def test_a_summary_keeps_or_breaks_what_its_percentiles_tell(
    told: dict[str, float], asked: dict[str, float], level: str, seen: str
) -> None:
    found = goodput(Run("", "", told=SUMMARY | told), Asked(**asked))
    assert (found.level if found else "") == level
    assert found is None or found.seen.startswith(seen)


@pytest.mark.parametrize(
    ("limit", "quantile", "level", "share"),
    [
        (1.0, 0.99, "problem", "for 80%"),
        (1.0, 0.8, "note", "for 80%"),
        (0.7, 0.9, "problem", "for 10% to 80%"),
        (0.7, 0.5, "", ""),  # between its bounds nobody knows
        (0.3, 0.95, "problem", "for 0% to 10%"),
        (5.0, 0.99, "", ""),
    ],
)
def test_a_histogram_tells_how_many_were_in_time(
    limit: float, quantile: float, level: str, share: str
) -> None:
    name = "vllm:time_to_first_token_seconds"
    counts = (("0.5", 10), ("1.0", 80), ("+Inf", 100))
    before, after = (
        "\n".join(f'{name}_bucket{{le="{bound}"}} {k * n + 7}' for bound, n in counts)
        + f"\n{name}_sum {50 * k}\n{name}_count {100 * k}"
        for k in (1, 4)
    )
    (run,) = joined([scrape_run(text, "") for text in (before, after)])
    found = goodput(run, Asked(ttft_s=limit, quantile=quantile))
    assert (found.level if found else "") == level
    assert found is None or found.seen.endswith(share)


def test_what_is_spent_is_of_what_the_promise_leaves() -> None:
    late = np.tile([3.0] + [0.1] * 199, 10)
    found = goodput(Run("", "", {"ttft_s": late}), Asked(ttft_s=1.0))
    assert found.why == "0.5% were late or failed, 50% of the 1% that the promise allows"
    found = goodput(Run("", "", {"ttft_s": np.tile([3.0, 0.1], 500)}), Asked(ttft_s=1.0))
    assert found.why == "50% were late or failed, 50 times the 1% that the promise allows"


def test_late_in_stretches_has_a_wider_interval_than_late_at_random() -> None:
    rng = np.random.default_rng(3)
    together = np.where(np.isin(np.arange(3000) // 60, (4, 11, 24, 25, 43)), 2.0, 0.1)
    apart = rng.permutation(together)
    widths = []
    for times in (together, apart):
        found = goodput(Run("", "", {"ttft_s": times}), Asked(ttft_s=1.0, quantile=0.9))
        low, high = found.seen.split("(")[1].split(")")[0].replace("%", "").split(" to ")
        widths.append(float(high) - float(low))
        assert 0 <= float(low) < 90 < float(high) <= 100
    assert widths[0] > 4 * widths[1]
    once = np.where(np.arange(3000) // 300 == 4, 2.0, 0.1)
    for times, why in (
        (once, "late requests came about once"),
        (0 * once, "none was late"),
        (2 + once, "all were late"),
    ):
        found = goodput(Run("", "", {"ttft_s": times}), Asked(ttft_s=1.0))
        assert "(" not in found.seen
        assert found.sure == f"no interval: {why}"


def test_an_interval_of_what_keeps_the_objective_holds_the_true_share() -> None:
    """Waits at one server that is 80% busy, of which 5% are late: of the intervals of 2,000 fewer
    than one of ten leave that out, where those by tenths of the run do in one of five."""
    rng = np.random.default_rng(8)
    limit = math.log(0.8 / 0.05) / 0.2  # M/M/1 with services of 1: P(W > t) = 0.8 exp(-0.2 t)
    held, by_tenths = [], []
    for _ in range(300):
        waits = fifo_waits(np.cumsum(rng.exponential(1.25, 4000)), rng.exponential(1.0, 4000))
        kept = (waits[2000:] <= limit) * 1.0
        ends = _ends_of(float(kept.mean()), kept.size, _alike(kept))
        held += [ends[0] <= 0.95 <= ends[1]] if ends else []
        by_tenths.append(abs(kept.mean() - 0.95) <= half_width(np.mean, kept))
    assert len(held) > 200
    assert np.mean(held) > 0.9
    assert np.mean(by_tenths) < 0.8


def test_alerts_come_along() -> None:
    found = goodput(clean(count=1500), ASKED)
    assert "alerts.yaml" in found.files
    beyond = goodput(clean(count=1500), Asked(ttft_s=1e4))
    assert dict(beyond.files) == {}
    assert beyond.change == "keep it"


def test_a_canary_by_the_book() -> None:
    times = np.where(np.arange(1000) % 100 == 0, 2.0, 0.1)  # one by one
    found = canary(Run("", "", {"ttft_s": times}), Asked(ttft_s=1.0))
    assert "from 1% to 2% takes 2,319 in each arm" in found.seen
    assert found.sure == "level 5%, power 80%"  # and not that 1 are worth one


def test_late_requests_that_come_together_make_a_canary_longer() -> None:
    """Twenty late requests in a row are worth one, whatever the order of the file."""
    rng = np.random.default_rng(3)
    late = np.repeat(rng.random(1000) < 0.02, 20)
    sent = np.arange(late.size, dtype=float)
    together = {"ttft_s": np.where(late, 2.0, 0.5), "sent_s": sent}
    mixed = rng.permutation(late.size)
    shuffled = {name: values[mixed] for name, values in together.items()}
    alone = {"ttft_s": together["ttft_s"][mixed], "sent_s": sent}

    def count(columns: dict[str, np.ndarray]) -> int:
        found = canary(Run("", "", columns), Asked(ttft_s=1.0))
        return int(found.change.split("canary ")[1].split(" requests")[0].replace(",", ""))

    assert count(shuffled) == count(together)
    assert 8 < count(together) / count(alone) < 40


def test_a_canary_of_requests_that_are_late_together_is_a_warning() -> None:
    together = np.where((np.arange(3000) // 50) % 20 == 3, 3.0, 0.1)
    asked = Asked(ttft_s=1.0)
    for times, level in (
        (together, "warning"),
        (np.random.default_rng(2).permutation(together), "note"),
    ):
        found = canary(Run("", "", {"ttft_s": times}), asked)
        assert found.level == level


def test_queue_flags_come_with_the_load_that_is_kept() -> None:
    run = served(np.random.default_rng(4), 2500, load=1.05, places=16)
    limit = float(np.quantile(run.columns["ttft_s"], 0.5))
    found = load_kept(run, Asked(ttft_s=limit, quantile=0.9))
    assert set(found.files) == {"keda.yaml", "hpa.yaml", "flags.txt"}
    assert found.files["flags.txt"].startswith("--max-num-queued-reqs ")
    asked = Asked(ttft_s=limit, quantile=0.9, engine="sglang")
    other = load_kept(run, asked)
    mean = float(np.nanmean(run.columns["prompt_tokens"]))
    waiting = int(other.files["flags.txt"].removeprefix("--max-queued-requests "))
    assert waiting == max(1, int(0.4 * _prompt_speed(run) * limit / mean))
    assert pytest.approx(1.0, abs=1) == found.seen.count("inside")


@pytest.mark.parametrize(("places", "loads"), [(256, (0.6, 1.1)), (64, (1.05, 1.05))])
def test_a_fleet_on_the_target_of_a_log_keeps_its_promise(
    places: int, loads: tuple[float, float]
) -> None:
    """On the shift of the chapter, whose best settings are 0.2 and 0.5 of the places."""
    machine, rng, count = CHAT.limited(places), np.random.default_rng(3), 4000
    pick = rng.integers(0, machine.sample.prompt_tokens.size, count)
    gaps = rng.exponential(1.0, count) / (machine.ceiling_per_s * np.linspace(*loads, count))
    lengths = (getattr(machine.sample, f"{kind}_tokens")[pick] for kind in ("prompt", "output"))
    asked = Workload(np.cumsum(gaps), *lengths)
    done = simulate(asked, machine.engine)
    columns = {
        "sent_s": asked.arrival_s,
        "ttft_s": done.first_token_s - asked.arrival_s,
        "latency_s": done.completion_s - asked.arrival_s,
        "prompt_tokens": asked.prompt_tokens.astype(float),
        "output_tokens": asked.output_tokens.astype(float),
    }
    found = load_kept(Run("", "", columns), Asked(ttft_s=1.0, tpot_s=machine.promise.tpot_s))
    trigger = yaml.safe_load(found.files["keda.yaml"])["spec"]["triggers"][0]["metadata"]
    told = float(trigger["threshold"]) / places
    run = signals._run.again("requests", told, machine=machine)
    best = signals._run("requests", 0.2 if places == 256 else 0.5, machine=machine)
    assert run.late_share < 0.02
    assert run.replica_hours < 1.25 * best.replica_hours


def test_no_target_is_told_where_nothing_broke() -> None:
    run = served(np.random.default_rng(4), 2500, load=0.4, places=16)
    found = load_kept(run, Asked(ttft_s=60.0))
    assert (found.level, dict(found.files)) == ("note", {})
    assert "scale" not in found.change


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_errors_that_come_at_random_are_no_limit_of_load(share: float) -> None:
    rng = np.random.default_rng(6)
    run = served(rng, 1000, load=0.5, places=64)
    failed = (rng.random(1000) < share).astype(float)
    found = load_kept(replace(run, columns={**run.columns, "failed": failed}), Asked(ttft_s=60.0))
    assert (found.level, dict(found.files)) == ("note", {})


@pytest.mark.parametrize("count", [2000, 8000])
def test_an_engine_that_stood_still_shows_no_limit_of_load(count: int) -> None:
    """Nothing is answered for 30 s, and the rest waits its turn afterwards."""
    rng = np.random.default_rng(7)
    sent = np.cumsum(rng.exponential(0.25, count))
    begins = float(sent[count // 2])
    ends = sent + rng.gamma(4.0, 0.75, count)
    held = (ends > begins) & (sent < begins + 30)
    after = begins + 30 + np.arange(held.sum()) / 9
    ends[held] = np.maximum(ends[held], after)
    columns = {"sent_s": sent, "ttft_s": np.where(held, ends - sent - 0.1, 0.1)}
    run = Run("", "", columns | {"latency_s": ends - sent})
    assert load_kept(run, Asked(ttft_s=5.0)) is None


@pytest.mark.parametrize(("machine", "load"), [(CHAT, 1.2), (MIXTURE, 0.95)])
def test_queue_flags_keep_the_work_that_overload_control_keeps(
    machine: Machine, load: float
) -> None:
    """Of a log of an engine without a limit, whose busiest parts tell how fast it reads."""
    asked, places = limits._asked(machine, load), limits._places(machine)
    done = simulate_fleet(asked, Fleet([machine.limited(places).engine]))
    first_s = done.first_token_s - asked.arrival_s
    prompts = asked.prompt_tokens.astype(float)
    columns = {"sent_s": asked.arrival_s, "ttft_s": first_s, "prompt_tokens": prompts}
    speed, ttft_s = _prompt_speed(Run("", "", columns)), machine.promise.ttft_s
    mean = float(prompts.mean())
    waiting = int(queue_flags(places, speed, ttft_s, mean, "sglang").split()[-1])

    def served(of: float, setting: float) -> limits.InTime:
        return limits._served.again(machine, of, "requests", setting, places)

    kept = min(served(of, waiting).work / min(of, 1.0) for of in (0.9, 1.2, 2.0))
    assert kept > (0.86 if machine is CHAT else 0.55)  # of at most 0.94 and 0.73
    # all that is read within the promise
    assert min(served(of, 2.5 * waiting).work for of in (1.2, 2.0)) < 0.25
    # of vLLM's, that holds as many as have places, with no more of them
    flags = queue_flags(places, speed, ttft_s, mean)
    assert flags == f"--max-num-queued-reqs {places}"
    many = limits._asked(machine, 2.0)
    fleet = Fleet(
        [machine.engine], admit=lambda _, view: math.inf if view.requests[0] >= places else 0.0
    )
    late_s = simulate_fleet(many, fleet).first_token_s - many.arrival_s
    late_s = late_s[limits.WARM :]
    held = np.isfinite(late_s)
    assert held.mean() > 0.4  # of at most half
    assert np.mean(late_s[held] <= ttft_s) > 0.9


def test_goodput_and_its_interval_are_what_counting_says() -> None:
    """Of a log with failures, empty cells, answers of one token and times at the limit: Wilson's
    interval or that of tenths, whichever goes further."""
    rng, count = np.random.default_rng(5), 500
    rows, kept, last = ["start_s,ttft_ms,latency_ms,output_tokens,status"], [], 0.0
    for i in range(count):
        first, each, tokens = rng.choice([300, 1000, 1001]), rng.choice([9, 50, 51]), i % 3 * 4 + 1
        blank, failed, whole = rng.random() < 0.1, rng.random() < 0.2, first + each * (tokens - 1)
        rows.append(f"{i},{'' if blank else first},{whole},{tokens},{500 if failed else 200}")
        if failed or not blank:
            kept.append(int(not failed and first <= 1000 and (tokens == 1 or each <= 50)))
        last = max(last, i + whole / 1000)
    n, share = len(kept), sum(kept) / len(kept)
    ends = [-(-k * n // 10) for k in range(11)]
    parts = [(sum(kept[a:b]), b - a) for a, b in itertools.pairwise(ends)]
    without = [(sum(kept) - good) / (n - size) for good, size in parts]
    half = stats.t.ppf(0.975, 9) * 9 * np.std(without, ddof=1) / math.sqrt(10)
    wilson = stats.binomtest(sum(kept), n).proportion_ci(method="wilson")
    told = percent(share, min(wilson.low, share - half), max(wilson.high, share + half))
    rate = count / last
    found = goodput(read_log("\n".join(rows), "a"), Asked(ttft_s=1.0, tpot_s=0.05, quantile=0.5))
    assert found.seen.startswith(f"{told} of the {percent(n / count)} that tell it keep a first")
    assert f"{rate:.3g}" == "1"
    assert found.seen.endswith(f"goodput {share * rate:.3g} of 1 request a second")


def test_where_all_failed_goodput_is_none_of_the_rate() -> None:
    columns = {"sent_s": np.arange(200.0), "ttft_s": np.full(200, 0.1), "failed": np.ones(200)}
    found = goodput(Run("", "", columns), Asked(ttft_s=1.0))
    assert found.seen.endswith("; goodput 0 of 1.01 requests a second")  # 200 in 199 s


def test_few_that_tell_it_do_not_tell_the_goodput_of_all() -> None:
    ttft = np.where(np.arange(200) % 4, np.nan, 0.1)  # those that got none have no other mark
    found = goodput(Run("", "", {"sent_s": np.arange(200.0), "ttft_s": ttft}), Asked(ttft_s=1.0))
    assert found.seen.endswith("25% that tell it keep a first token within 1 s; 99% are promised")


def test_idle_time_price_and_busiest_minute_are_what_a_clock_shows() -> None:
    """Second by second, of requests in whole seconds that leave an engine empty now and then."""
    rng = np.random.default_rng(8)
    sent = np.sort(rng.choice(900, 60)) + np.repeat([0, 1000], 30)
    ends = sent + rng.integers(1, 40, 60)
    clock = range(sent.min(), ends.max())
    busy = [any(a <= t < b for a, b in zip(sent, ends, strict=True)) for t in clock]
    tokens = {"prompt_tokens": np.ones(60), "output_tokens": np.full(60, 9)}
    run = Run("", "", {"sent_s": sent, "latency_s": ends - sent} | tokens)
    each = 1e6 * 1e-4 * len(busy) / (60 * 9)  # $ for a million, at $1e-4 a second
    assert cost(run, Asked(price_per_hour=0.36)).seen == (
        f"${sized(each, 2)} for a million answer tokens, ${sized(0.9 * each, 2)} for a million of "
        f"all, of which {percent(1 - sum(busy) / len(busy))} pays for time without a request"
    )
    most = max(sum(t <= x < t + 60 for x in sent) for t in sent)
    assert _rates_simulated(run) == pytest.approx((59 / (sent[-1] - sent[0]), most / 60))


def test_of_counters_over_time_the_worst_hour_and_month_are_told() -> None:
    """By looking at every window; an engine that began anew is no window without requests."""
    rng, step_s = np.random.default_rng(0), 1800.0
    every = rng.poisson(500, 45 * 48).astype(float)
    late = rng.binomial(every.astype(int), 0.002).astype(float)
    late[1000:1002] = [300, 100]

    def told(count: int) -> Run:
        counted = {"ttft within 1": every - late, "ttft within inf": every}
        values = {name: np.r_[0, np.cumsum(x[:count])] for name, x in counted.items()}
        if count > 500:  # that began anew
            values = {
                name: np.where(np.arange(x.size) > 500, x - x[500], x) for name, x in values.items()
            }
        return Run("", "", series=Series(step_s * np.arange(count + 1), values))

    asked = Asked(ttft_s=1.0, quantile=0.99)
    found = goodput(told(late.size), asked)
    assert found is not None
    month = [late[i : i + 1440].sum() for i in range(late.size - 1439)]
    worst = int(np.argmax(month))
    kept = 1 - month[worst] / every[worst : worst + 1440].sum()
    hour = 1 - late[1000:1002].sum() / every[1000:1002].sum()
    assert found.seen == (
        f"TTFT was within 1 s for {percent(1 - late.sum() / every.sum())}, in the worst hour (from "
        f"day {1000 / 48:.2f} on) for {percent(hour)}, in the worst 30 days (from day "
        f"{worst / 48:.2f} on) for {percent(kept)}"
    )
    spent = percent(late.sum() / every.sum() / 0.01)
    assert found.why.endswith(f"late TTFTs spent {spent} of what that allows")
    assert list(found.files) == ["alerts.yaml"]
    clock = told(late.size)
    assert clock.series is not None
    clock.series.time_s[:] += 1_788_220_800  # the first of September 2026
    dated = goodput(clock, asked)
    assert dated is not None
    assert "in the worst hour (from 2026-09-21 20:00 UTC on)" in dated.seen
    few = goodput(told(2), asked)
    assert few is not None
    assert "worst" not in few.seen
    day = goodput(told(60), asked)
    assert day is not None
    assert "worst hour" in day.seen
    assert "30 days" not in day.seen


def test_late_ones_in_a_gap_between_scrapes_are_of_no_hour() -> None:
    """Of idle hours, in which the scrapes come every ten minutes, and then every two hours."""
    times = np.r_[np.arange(0, 6001, 600.0), 13_200, 20_400]
    counted = {"ttft within 1": [2.0, 20.0], "ttft within inf": [5.0, 50.0]}
    values = {name: np.r_[np.zeros(11), told] for name, told in counted.items()}
    found = goodput(Run("", "", series=Series(times, values)), Asked(ttft_s=1.0, quantile=0.9))
    assert found is not None
    assert found.seen == "TTFT was within 1 s for 40%"
