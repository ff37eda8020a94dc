"""An answer now costs the peak, plus the headroom that keeps it from waiting; one by tomorrow costs
the mean.

With mean rate λ, peak over mean r and mean service time S, batch work needs ⌈λS⌉ servers, which may
be busy all the time. Online work needs the fewest c that keep P(W > t) ≤ ε at the rate rλ, and
ρ* = rλS/c is what that promise allows. The ratio of the two, r/ρ* up to rounding, is what “now”
costs more.

Assumes: Poisson arrivals at the peak rate, exponential service, one first-come-first-served queue,
a peak that lasts longer than the queue needs to settle, a fleet that does not scale.

Source: Erlang (1917) for the wait; Reddi et al. (2020) for the two scenarios; MLCommons (2024).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.erlang import erlang_c, wait_exceeds
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MLPERF_H200 = {  # Inference v4.1, closed, 8 × H200: (Server, Offline) [samples or tokens/s]
    "BERT (99%)": (58090.2, 73765.6),
    "ResNet-50": (681328.0, 757446.0),
    "DLRM-v2 (99%)": (585209.0, 639512.0),
    "RetinaNet": (14012.2, 14988.0),
    "Llama 2 70B": (29715.3, 31263.8),
    "Stable Diffusion XL": (16.5912, 17.3717),
    "GPT-J": (19250.4, 20041.3),
    "Mixtral 8x7B": (57174.1, 59334.8),
}


MLPERF_LIMITS_MS = {  # Llama 2 70B: first token, each further token [ms], at the p99; mlperf.conf
    "Server": (2000, 200),
    "Interactive": (450, 40),
}


def batch_servers(arrival_rate: float, mean_service_s: float) -> int:
    """Servers that keep up with the mean load when any answer may wait: ⌈λS⌉, at least one.

    arrival_rate: λ, mean over the day [1/s]. mean_service_s: S [s].
    Raises ValueError unless both are positive and finite.

    >>> batch_servers(arrival_rate=100.0, mean_service_s=0.05)
    5
    """
    arrival_rate, mean_service_s = require_positive(
        arrival_rate=arrival_rate, mean_service_s=mean_service_s
    )
    return max(1, math.ceil(round(arrival_rate * mean_service_s, 9)))


def peak_servers(
    arrival_rate: float, mean_service_s: float, peak_to_mean: float, max_utilization: float
) -> int:
    """Servers that stay below a utilization at the peak: ⌈rλS/ρ*⌉.

    arrival_rate: λ, mean over the day [1/s]. mean_service_s: S [s]. peak_to_mean: r ≥ 1.
    max_utilization: ρ* in (0, 1]. Raises ValueError outside these ranges.

    >>> peak_servers(arrival_rate=100.0, mean_service_s=0.05, peak_to_mean=2.5, max_utilization=0.6)
    21
    """
    peak_to_mean = as_number(peak_to_mean=peak_to_mean)
    arrival_rate, mean_service_s = require_positive(
        arrival_rate=arrival_rate, mean_service_s=mean_service_s
    )
    require(1 <= peak_to_mean < math.inf, "peak_to_mean", "finite and at least 1", peak_to_mean)
    max_utilization = require_in("(0, 1]", max_utilization=max_utilization)
    load = peak_to_mean * arrival_rate * mean_service_s
    return max(1, math.ceil(round(load / max_utilization, 9)))


def online_servers(
    peak_rate: float, mean_service_s: float, wait_s: float, late_share: float
) -> int:
    """Fewest servers at which a request of M/M/c waits longer than t with at most probability ε.

    peak_rate: rλ [1/s]. mean_service_s: S [s]. wait_s: t ≥ 0 [s]; 0 asks that it does not wait.
    late_share: ε in (0, 1), for example 0.01 for a p99. Raises ValueError outside these ranges.
    Erlang B is carried from c to c + 1 by its recursion; from it C(c, a)·e^{−(c−a)t/S}.

    >>> online_servers(peak_rate=1.0, mean_service_s=1.0, wait_s=0.0, late_share=0.4)  # C(2,1)=1/3
    2
    """
    peak_rate, mean_service_s = require_positive(peak_rate=peak_rate, mean_service_s=mean_service_s)
    wait_s = require_non_negative(wait_s=wait_s)
    late_share = require_in("(0, 1)", late_share=late_share)
    load = peak_rate * mean_service_s
    most = 1e7 / mean_service_s
    require(
        peak_rate <= most, "peak_rate", f"at most {most:g}, ten million busy servers", peak_rate
    )
    servers, blocking = 0, 1.0
    while True:
        servers += 1
        blocking = load * blocking / (servers + load * blocking)
        spare = servers - load
        if spare > 0:
            waiting = servers * blocking / (spare + load * blocking)
            if waiting * math.exp(-spare * wait_s / mean_service_s) <= late_share:
                return servers


def online_engines(
    peak_rate: float, answer_s: float, places: int, wait_s: float, late_share: float
) -> int:
    """Fewest engines of k places behind one queue at which a request waits longer than t with ε.

    peak_rate: rλ [1/s]. answer_s: mean time of an answer in its place, k·S [s]. places: k, requests
    that an engine holds. wait_s, late_share: as for `online_servers`, and refused as there. Places
    are the servers of M/M/c; each is as slow as in a full engine.

    >>> online_engines(peak_rate=1.0, answer_s=1.0, places=4, wait_s=0.0, late_share=0.4)
    1
    """
    answer_s = require_positive(answer_s=answer_s)
    places = require_positive_integer(places=places)
    return math.ceil(online_servers(peak_rate, answer_s, wait_s, late_share) / places)


def cost_ratio(peak_to_mean: float, max_utilization: float) -> float:
    """What an online answer costs over a batch one before rounding to whole servers: r/ρ*.

    peak_to_mean: r ≥ 1. max_utilization: ρ* in (0, 1]. Raises ValueError outside these ranges.
    Its inverse is the share of the day that an online server is busy.

    >>> cost_ratio(peak_to_mean=2.0, max_utilization=0.5)
    4.0
    """
    peak_to_mean = as_number(peak_to_mean=peak_to_mean)
    require(1 <= peak_to_mean < math.inf, "peak_to_mean", "finite and at least 1", peak_to_mean)
    max_utilization = require_in("(0, 1]", max_utilization=max_utilization)
    return peak_to_mean / max_utilization


def shared_prices(
    servers: int, online_load: float, batch_load: float, batch_price: float
) -> tuple[float, float]:
    """Prices that just pay for a fleet when batch work fills its gaps, (online, batch).

    servers: c. online_load, batch_load: mean busy servers of each, together at most c, the first
    positive. batch_price: what batch pays as a share of the online price, in [0, 1].
    Returns server-hours paid per server-hour of work. Raises ValueError outside these ranges.

    >>> shared_prices(servers=6, online_load=2.0, batch_load=2.0, batch_price=0.5)
    (2.0, 1.0)
    """
    online_load, batch_load = as_number(online_load=online_load, batch_load=batch_load)
    servers = require_positive_integer(servers=servers)
    require(0 < online_load <= servers, "online_load", f"in (0, {servers}]", online_load)
    require(
        0 <= batch_load <= servers - online_load,
        "batch_load",
        f"in [0, {servers - online_load:g}], what online work leaves",
        batch_load,
    )
    batch_price = require_in("[0, 1]", batch_price=batch_price)
    online = servers / (online_load + batch_price * batch_load)
    return online, batch_price * online


PLACES = 64  # requests that an engine of the worked example holds


def _own_queues(peak_rate: float, answer_s: float) -> int:
    """Fewest engines when each has a queue of its own and requests come to them at random."""
    count = math.ceil(peak_rate * answer_s / PLACES + 1e-9)
    while erlang_c(PLACES, peak_rate * answer_s / count) > 0.02:
        count += 1
    return count


def example() -> SimpleNamespace:
    """Worked numbers: λ = 100/s, S = 50 ms, peak over mean 2.5; shares in percent."""
    rate, service, peak = 100.0, 0.05, 2.5
    batch, rule = batch_servers(rate, service), peak_servers(rate, service, peak, 0.6)
    p99 = online_servers(peak * rate, service, service, 0.01)
    big, big_p99 = (
        online_servers(100 * peak * rate, service, wait, share)
        for wait, share in ((0.0, 0.02), (service, 0.01))
    )
    engines = online_engines(peak * rate, PLACES * service, PLACES, 0.0, 0.02)
    kept = {name: 100 * server / offline for name, (server, offline) in MLPERF_H200.items()}
    online_price, batch_price = shared_prices(rule, rate * service, rule - rate * service, 0.5)
    return SimpleNamespace(
        mean_load=rate * service,
        peak_load=peak * rate * service,
        batch_count=batch,
        rule_count=rule,
        rule_ratio=rule / batch,
        engine_places=PLACES,
        engine_answer_s=PLACES * service,
        engine_count=engines,
        engine_ratio=engines / batch,
        engine_rho=peak * rate * service / engines,
        own_queue_count=_own_queues(peak * rate, PLACES * service),
        fluid_ratio=cost_ratio(peak, 0.6),
        rule_waiting=100 * erlang_c(rule, peak * rate * service),
        p99_count=p99,
        p99_rho=peak * rate * service / p99,
        p99_ratio=p99 / batch,
        big_count=big,
        big_rho=100 * peak * rate * service / big,
        big_ratio=big / (100 * batch),
        big_p99_ratio=big_p99 / (100 * batch),
        kept_least=min(kept.values()),
        kept_most=max(kept.values()),
        server_ttft_ms=MLPERF_LIMITS_MS["Server"][0],
        server_tpot_ms=MLPERF_LIMITS_MS["Server"][1],
        server_tokens_per_s=1000 / MLPERF_LIMITS_MS["Server"][1],
        interactive_ttft_ms=MLPERF_LIMITS_MS["Interactive"][0],
        interactive_tpot_ms=MLPERF_LIMITS_MS["Interactive"][1],
        kept_llama=kept["Llama 2 70B"],
        kept_bert=kept["BERT (99%)"],
        implied_peak=2 * 100 * peak * rate * service / big,
        alone_price=shared_prices(rule, rate * service, 0.0, 0.5)[0],
        full_batch=rule - rate * service,
        full_online_price=online_price,
        full_batch_price=batch_price,
    )


def figure_cost_of_now(figure: Figure) -> None:
    """The premium for “now” is the peak over the mean, plus a headroom that large fleets hardly
    need.

    Each online fleet is the smallest in which at most 2% of the requests wait at the peak, divided
    by the mean load. The half price of batch interfaces stands for a ratio of 2.

    Alt: Cost ratio of online to batch against peak over mean from 1 to 5, for mean loads of 5, 50
    and 500 busy servers. All lines rise nearly in proportion; the line of 5 is highest, at 4.2 for
    a peak of 2.5, that of 500 is close to the dotted diagonal. A horizontal line marks 2.
    """
    axes = figure.subplots()
    peaks = np.linspace(1, 5, 121)
    for load, colour in ((5, "C3"), (50, "C0"), (500, "C2")):
        ratio = [online_servers(load * p, 1.0, 0.0, 0.02) / load for p in peaks.tolist()]
        axes.plot(peaks, ratio, color=colour, label=f"mean load {load}")
    axes.plot(peaks, peaks, ":", color="C4", label="peak over mean alone")
    axes.axhline(2, color="C1", linewidth=1.2)
    axes.annotate("batch at half price", (4.95, 1.9), color="C1", ha="right", va="top")
    axes.plot(2.5, 21 / 5, "o", color="C3")
    axes.annotate("21 servers for 5", (2.4, 4.35), color="C3", ha="right", va="bottom")
    axes.legend(loc="upper left")
    axes.set(
        xlim=(1, 5),
        ylim=(1, 8),
        xlabel="peak over mean of the arrival rate",
        ylabel="online cost / batch cost",
    )


def figure_server_over_offline(figure: Figure) -> None:
    """A latency target at p99 takes 4% to 21% of the throughput of one machine with eight GPUs.

    Server throughput over Offline throughput in the MLPerf Inference v4.1 results of a GIGABYTE
    G593-SD1 with eight H200.

    Alt: Horizontal dot chart of eight models. BERT keeps 79 percent of its offline throughput,
    ResNet-50 90, DLRM-v2 92, RetinaNet 93, Llama 2 70B 95, Stable Diffusion XL 96, GPT-J 96 and
    Mixtral 96 percent.
    """
    axes = figure.subplots()
    names = list(MLPERF_H200)
    kept = [100 * server / offline for server, offline in MLPERF_H200.values()]
    rows = np.arange(len(names))[::-1]
    axes.hlines(rows, kept, 100, color="C4", linewidth=1.2)
    axes.plot(kept, rows, "o", color="C0")
    for row, share in zip(rows.tolist(), kept, strict=True):
        axes.annotate(
            f"{share:.0f}",
            (share, row),
            (-7, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )
    axes.set_yticks(rows, names)
    axes.grid(visible=False, axis="y")
    axes.set(
        xlim=(72, 100.5),
        ylim=(-0.6, len(names) - 0.4),
        xlabel="Server throughput / Offline throughput [%]",
        ylabel="MLPerf benchmark",
    )


def check_hundred_per_second() -> None:
    """A hundred requests a second of 50 ms, with a peak of 2.5 times the mean and ρ* = 0.6, need 21
    servers online and 5 in batch: 4.2 times as many.

    Source: by hand; 100·0.05 = 5 and 5·2.5/0.6 = 20.8.
    """
    online, batch = peak_servers(100.0, 0.05, 2.5, 0.6), batch_servers(100.0, 0.05)
    checks.equal("online", online, 21)
    checks.equal("batch", batch, 5)
    checks.close("ratio", online / batch, 4.2, rtol=1e-15)
    checks.close("before rounding, 25/6", cost_ratio(2.5, 0.6), 25 / 6, rtol=1e-15)


def check_rule_is_a_promise() -> None:
    """The rule of 0.6 says that two requests in a hundred wait; asking for that gives the same 21
    servers.

    Source: Erlang's formula of the chapter Utilization, and 150,000 simulated requests at the peak.
    """
    count = online_servers(250.0, 0.05, 0.0, 0.02)
    checks.equal("at most 2% wait", count, peak_servers(100.0, 0.05, 2.5, 0.6))
    checks.inside("share waiting with 21", erlang_c(21, 12.5), 0.019, 0.02, kind="identity")
    checks.inside("with 20", erlang_c(20, 12.5), 0.02, 0.04, kind="identity")
    rng = np.random.default_rng(31)
    arrivals = np.cumsum(rng.exponential(1 / 250, 150_000))
    waits = fifo_waits(arrivals, rng.exponential(0.05, 150_000), count)
    checks.covers("simulated with 21", batch_means(waits > 0), erlang_c(21, 12.5))


def check_online_count_is_the_smallest() -> None:
    """For every promise the count just keeps it, and one server fewer breaks it.

    Source: P(W > t) of the chapter Utilization at c and c − 1.
    """
    for rate, wait_s, late in ((250.0, 0.05, 0.01), (2500.0, 0.0, 0.02), (30.0, 0.2, 0.001)):
        count = online_servers(rate, 0.05, wait_s, late)
        label = f"{rate:g}/s, wait {1000 * wait_s:g} ms, {late:g}"
        checks.inside(
            f"{label}: kept", wait_exceeds(wait_s, rate, 0.05, count), 0, late, kind="identity"
        )
        fewer = count - 1
        late_fewer = wait_exceeds(wait_s, rate, 0.05, fewer) if fewer > rate * 0.05 else 1.0
        checks.holds(f"{label}: one fewer breaks it", late_fewer > late, got=late_fewer)


def check_engines_need_less_headroom() -> None:
    """At the same work a fleet of engines with 64 places is smaller than one of 21 servers that
    take one request at a time, with one queue or with a queue for each engine.

    Source: Erlang C at the count and at one fewer, for both ways to queue; 64 answers of 3.2 s are
    the 50 ms of work each that the servers do.
    """
    count = online_engines(250.0, 3.2, 64, 0.0, 0.02)
    checks.inside("waiting", erlang_c(64 * count, 800.0), 0, 0.02, kind="identity")
    fewer = erlang_c(64 * (count - 1), 800.0)
    checks.holds("one engine fewer breaks it", fewer > 0.02, got=fewer)
    own = _own_queues(250.0, 3.2)
    checks.inside("waiting, own queues", erlang_c(64, 800 / own), 0, 0.02, kind="identity")
    checks.holds("one fewer breaks it", erlang_c(64, 800 / (own - 1)) > 0.02)
    one_at_a_time = peak_servers(100.0, 0.05, 2.5, 0.6)
    checks.holds("both smaller", count <= own < one_at_a_time, got=(count, own, one_at_a_time))


def check_size_buys_headroom() -> None:
    """At a hundred times the traffic, ρ* rises from 0.6 to 0.94 and the ratio falls from 4.2 to
    2.65, close to the peak over the mean.

    Source: square-root staffing, c = a + β√a, with β = 2.054 from 1 − Φ(β) = 0.02 as a bound that
    is too high by less than 1%.
    """
    count = online_servers(25_000.0, 0.05, 0.0, 0.02)
    checks.close("servers for a load of 1250", count, 1250 + 2.054 * math.sqrt(1250), rtol=0.01)
    checks.inside("cost ratio", count / 500, 2.5, 2.7, kind="identity")
    checks.close("ρ*", 1250 / count, 0.9427, atol=5e-5)


def check_mlperf_server_over_offline() -> None:
    """Every published Server throughput is below Offline, by 3.6% to 21.2%.

    Source: MLCommons (2024), summary of GIGABYTE's v4.1 results; quotients by long division.
    """
    kept = {name: server / offline for name, (server, offline) in MLPERF_H200.items()}
    checks.close("BERT", kept["BERT (99%)"], 0.7875, atol=5e-5, kind="published")
    checks.close("Llama 2 70B", kept["Llama 2 70B"], 0.9505, atol=5e-5, kind="published")
    checks.close("Mixtral 8x7B", kept["Mixtral 8x7B"], 0.9636, atol=5e-5, kind="published")
    checks.holds("all below 1", max(kept.values()) < 1, got=max(kept.values()), kind="published")


def check_prices_pay_for_the_fleet() -> None:
    """What both kinds pay is what the fleet costs, and at half price a full fleet of 21 asks less
    of batch than a fleet of its own would.

    Source: money in equals money out; 21/(5 + 16/2) = 1.615 by hand.
    """
    online, batch = shared_prices(21, 5.0, 16.0, 0.5)
    checks.close("online price", online, 21 / 13, rtol=1e-15)
    checks.close("paid in all", 5 * online + 16 * batch, 21.0, rtol=1e-15)
    checks.inside("batch price, own fleet = 1", batch, 0, 1, kind="identity")
    checks.close("no batch work: r/ρ*", shared_prices(21, 5.0, 0.0, 0.5)[0], 4.2, rtol=1e-15)


def check_bad_input_is_refused() -> None:
    """Peaks below the mean, impossible promises and overfull fleets are errors that name the
    argument.
    """
    checks.raises("no traffic", batch_servers, 0.0, 0.05, match="arrival_rate must be positive")
    checks.raises(
        "peak below mean", cost_ratio, 0.9, 0.6, match="peak_to_mean must be finite and at least 1"
    )
    checks.raises(
        "120% busy", peak_servers, 1.0, 1.0, 2.0, 1.2, match="max_utilization must be in (0, 1]"
    )
    checks.raises(
        "never late", online_servers, 1.0, 1.0, 0.0, 0.0, match="late_share must be in (0, 1)"
    )
    checks.raises("NaN wait", online_servers, 1.0, 1.0, math.nan, 0.1, match="wait_s must be")
    checks.raises(
        "more work than servers",
        shared_prices,
        6,
        4.0,
        3.0,
        0.5,
        match="batch_load must be in [0, 2]",
    )
