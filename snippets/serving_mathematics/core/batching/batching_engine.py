"""An engine that batches is a server whose rate rises with what it holds, and so is its ceiling.

With k requests it runs b = min(k, B) of them together in a step of s + d·b, a rate of
b/(s + d·b). One request alone keeps it busy for s + d, yet the ceiling is B/(s + d·B), not
1/(s + d). In a closed loop with other servers of demands D_k and a time away of Z the throughput
is exact, one client at a time: an arrival finds the engine as a loop with one client less does,

    R(n) = Σ_j j/μ(j)·p(j−1 | n−1),    p(j | n) = X(n)/μ(j)·p(j−1 | n−1).

A step finishes its requests, as that of an encoder does. Where an answer takes m of them, s and d
are m times those of a step: b/(m·(s + d·b)).

Assumes: steps and services are exponential; requests of a batch leave one by one, at the rate of
the batch; one engine; one class of clients.

Source: Reiser and Lavenberg (1980) for mean value analysis, the LINE solver's `pfqn_mvald` for the
form with rates; p(0 | n) from the normalizing constants, as the page derives it.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.closed_network import AWAY_S, SERVER_S
from serving_mathematics.core.queues.mean_value_analysis import exact_mva
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def engine_rates(clients: int, fixed_s: float, per_item_s: float, max_batch: int) -> FloatArray:
    """Rate at which an engine finishes requests when it holds 1, 2, …, N of them [1/s], shape (N,).

    clients: N. fixed_s: s, time of a step whatever it holds [s]. per_item_s: d, further time for
    each request in it [s]. max_batch: B, most requests in a step. Raises ValueError on counts that
    are not positive integers, a non-positive s, or a negative d.

    >>> engine_rates(3, fixed_s=1.0, per_item_s=1.0, max_batch=2).round(9).tolist()
    [0.5, 0.666666667, 0.666666667]
    """
    clients, max_batch = require_positive_integer(clients=clients, max_batch=max_batch)
    require_work(clients, clients=clients)
    fixed_s = require_positive(fixed_s=fixed_s)
    per_item_s = require_non_negative(per_item_s=per_item_s)
    batch = np.minimum(np.arange(1, int(clients) + 1), max_batch)
    return np.asarray(batch / (fixed_s + per_item_s * batch))


def load_dependent_mva(
    demands_s: npt.ArrayLike, think_time_s: float, rates_per_s: npt.ArrayLike
) -> FloatArray:
    """Exact throughput with 1, 2, …, N clients of a loop around an engine and other servers [1/s].

    demands_s: D_k of the other servers [s], shape (K,), K ≥ 0. think_time_s: Z [s], above 0 when
    there are none. rates_per_s: μ(j), rate of the engine when it holds j = 1 … N requests, shape
    (N,). Returns shape (N,). Raises ValueError outside these ranges. All terms are positive:
    p(0 | n) is p(0 | n−1)·X(n)/X⁻(n), with X⁻ the throughput of the loop without the engine.

    >>> load_dependent_mva([], 3.0, [1.0, 2.0, 3.0]).round(9).tolist()  # nobody waits: n/(3 + 1)
    [0.25, 0.5, 0.75]
    """
    rates = as_floats(rates_per_s=rates_per_s)
    require(rates.ndim == 1 and rates.size > 0, "rates_per_s", "an (N,) array", rates.shape)
    require(np.all((rates > 0) & (rates < math.inf)), "rates_per_s", "positive and finite", rates)
    demands, count = as_floats(demands_s=demands_s), rates.size
    numbers = np.arange(1, count + 1)
    if demands.size:
        without = exact_mva(count, demands, think_time_s)[0]
    else:
        think_time_s = require_positive(think_time_s=think_time_s)
        without = numbers / think_time_s
    throughput, queues = np.empty(count), np.zeros(demands.size)
    held = np.array([1.0])  # p(0 … n−1 | n−1)
    for n in range(1, count + 1):
        engine = float((numbers[:n] / rates[:n] * held).sum())
        others = demands * (1 + queues)
        throughput[n - 1] = n / (think_time_s + float(others.sum()) + engine)
        queues = throughput[n - 1] * others
        empty = held[0] * throughput[n - 1] / without[n - 1]
        held = np.r_[empty, throughput[n - 1] / rates[:n] * held]
    return throughput


def engine_ceiling(
    demands_s: npt.ArrayLike, fixed_s: float, per_item_s: float, max_batch: int
) -> float:
    """Greatest throughput of an engine and the servers around it, min(B/(s + dB), 1/D_k) [1/s].

    demands_s: D_k of the other servers [s], shape (K,), K ≥ 0. The rest as for `engine_rates`, and
    refused as there.

    >>> engine_ceiling([0.1], fixed_s=1.0, per_item_s=0.0, max_batch=4)
    4.0
    """
    max_batch = require_positive_integer(max_batch=max_batch)
    require_work(max_batch, max_batch=max_batch)
    full = float(engine_rates(max_batch, fixed_s, per_item_s, max_batch)[-1])
    demands = as_floats(demands_s=demands_s)
    require(demands.ndim == 1, "demands_s", "a (K,) array", demands.shape)
    require(np.all((demands > 0) & (demands < math.inf)), "demands_s", "positive", demands)
    return float(min([full, *(1 / demands).tolist()]))


def engine_saturation(
    demands_s: npt.ArrayLike,
    think_time_s: float,
    fixed_s: float,
    per_item_s: float,
    max_batch: int,
) -> float:
    """Clients N* that the ceiling C keeps in flight, C·(Z + ΣD_k + s/(1 − C·d)).

    At the ceiling a step holds what arrives in it, b = C·(s + d·b), and takes s/(1 − C·d).
    think_time_s: Z [s], non-negative. The rest as for `engine_ceiling`, and refused as there.

    >>> engine_saturation([], 9.0, fixed_s=1.0, per_item_s=0.0, max_batch=4)  # four in, 36 away
    40.0
    """
    max_batch = as_number(max_batch=max_batch)
    require_work(max_batch, max_batch=max_batch)
    fixed_s, per_item_s = as_number(fixed_s=fixed_s, per_item_s=per_item_s)
    ceiling = engine_ceiling(demands_s, fixed_s, per_item_s, max_batch)
    think_time_s = require_non_negative(think_time_s=think_time_s)
    spare = 1 - ceiling * per_item_s
    require(spare > 0, "per_item_s", "small enough to leave time for a step of fixed_s", per_item_s)
    step = fixed_s / spare
    return ceiling * (think_time_s + float(np.sum(as_floats(demands_s=demands_s))) + step)


def batching_throughput(
    clients: int, fixed_s: float, per_item_s: float, max_batch: int, think_time_s: float
) -> float:
    """Throughput [1/s] of a closed loop around a batching engine alone, from its states.

    clients: N. think_time_s: Z > 0 [s]. The rest as for `engine_rates`, and refused as there.
    Exact by the balance of steps up and down: p_k·(N − k)/Z = p_{k+1}·μ(k+1).

    >>> batching_throughput(1, fixed_s=0.5, per_item_s=0.5, max_batch=8, think_time_s=3.0)
    0.25
    """
    clients = as_number(clients=clients)
    require_work(clients, clients=clients)
    rate = engine_rates(clients, fixed_s, per_item_s, max_batch)
    think_time_s = require_positive(think_time_s=think_time_s)
    thinking = int(clients) - np.arange(int(clients))
    log_weight = np.r_[0.0, np.cumsum(np.log(thinking / think_time_s) - np.log(rate))]
    weight = np.exp(log_weight - log_weight.max())
    return float((weight[1:] * rate).sum() / weight.sum())


ANSWER_STEPS = 100  # where an answer is decoded token by token
ENGINE_S, MAX_BATCH = (0.018, 0.002), 16  # fixed and per request [s]: 20 ms for one alone, as above
OTHERS_S = (SERVER_S[0], SERVER_S[2])  # tokenizer and detokenizer [s]


def _server(
    gpu: float = 1.0, tokenizer: float = 1.0, clients: int = 96, steps: int = 1
) -> FloatArray:
    """Throughput of the chapter's server, with parts sped up, for 1 … N clients [1/s].

    steps: of the engine for an answer, 1 for an encoder.
    """
    fixed, item = (steps * time / gpu for time in ENGINE_S)
    rates = engine_rates(clients, fixed, item, MAX_BATCH)
    return load_dependent_mva((OTHERS_S[0] / tokenizer, OTHERS_S[1]), AWAY_S, rates)


def _one_at_a_time(gpu: float = 1.0, tokenizer: float = 1.0, clients: int = 96) -> FloatArray:
    """The same without batches: the GPU takes 20 ms for every request."""
    demands = (OTHERS_S[0] / tokenizer, sum(ENGINE_S) / gpu, OTHERS_S[1])
    return exact_mva(clients, demands, AWAY_S)[0]


def example() -> SimpleNamespace:
    """Answers to the exercises; rates per second, times in milliseconds, gains in percent."""
    fixed, item = ENGINE_S
    batched, single = _server(), _one_at_a_time()
    at, crowd = 24, 48
    gains = {
        f"{name}_{part}_gain": 100 * float(model(gpu, tokenizer)[crowd - 1] / now[crowd - 1] - 1)
        for name, model, now in (
            ("batched", _server, batched),
            ("single", _one_at_a_time, single),
        )
        for part, gpu, tokenizer in (("gpu", 2.0, 1.0), ("tokenizer", 1.0, 2.0))
    }
    alone = load_dependent_mva([], AWAY_S, engine_rates(crowd, fixed, item, MAX_BATCH))
    decoded, faster, other = (
        float(_server(gpu, tokenizer, crowd, ANSWER_STEPS)[-1])
        for gpu, tokenizer in ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))
    )
    return SimpleNamespace(
        answer_steps=ANSWER_STEPS,
        decoded_per_s=decoded,
        decoded_gpu_gain=100 * (faster / decoded - 1),
        decoded_tokenizer_gain=abs(100 * (other / decoded - 1)),
        max_batch=MAX_BATCH,
        fixed_ms=1000 * fixed,
        item_ms=1000 * item,
        alone_ms=1000 * (fixed + item),
        full_step_ms=1000 * (fixed + item * MAX_BATCH),
        full_rate=MAX_BATCH / (fixed + item * MAX_BATCH),
        low_load_rate=1 / (fixed + item),
        low_load_error=MAX_BATCH / (fixed + item * MAX_BATCH) * (fixed + item),
        server_ceiling=engine_ceiling(OTHERS_S, fixed, item, MAX_BATCH),
        server_knee=engine_saturation(OTHERS_S, AWAY_S, fixed, item, MAX_BATCH),
        batch_at_ceiling=fixed / (OTHERS_S[0] - item),
        one_client_per_s=float(batched[0]),
        one_client_ms=1000 * (1 / float(batched[0]) - AWAY_S),
        batched_at_12=float(batched[11]),
        batched_at_24=float(batched[at - 1]),
        batched_at_24_ms=1000 * (at / float(batched[at - 1]) - AWAY_S),
        batched_at_48=float(batched[crowd - 1]),
        batched_at_48_ms=1000 * (crowd / float(batched[crowd - 1]) - AWAY_S),
        clients_for_95_batched=1 + int(np.argmax(batched >= 0.95 / OTHERS_S[0])),
        lone_engine_knee=engine_saturation([], AWAY_S, fixed, item, MAX_BATCH),
        lone_engine_at_48=float(alone[-1]),
        **gains,
    )


def figure_batching(figure: Figure) -> None:
    """An engine that batches goes on where one at a time stops, until another server is full.

    The same server, 20 ms of GPU for one request alone. Exact throughput; dashed: the ceilings of
    the tokenizer and of a GPU that takes one request at a time.

    Alt: Line chart of throughput against clients from 0 to 64. The curve of the batching engine
    rises nearly straight to 140 per second at 21 clients and bends into a dashed ceiling at 167.
    The curve without batches leaves it at four clients and stays below a dashed line at 50.
    """
    axes = figure.subplots()
    n = np.arange(1, 65)
    axes.plot(n, _server(clients=64), color="C0")
    axes.plot(n, _one_at_a_time(clients=64), color="C3")
    for ceiling, colour in ((1 / OTHERS_S[0], "C0"), (1 / sum(ENGINE_S), "C3")):
        axes.axhline(ceiling, linestyle="--", color=colour, linewidth=1.2)
    knee = engine_saturation(OTHERS_S, AWAY_S, *ENGINE_S, MAX_BATCH)
    axes.axvline(knee, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("N*", (knee + 0.6, 4), color="C4")
    axes.annotate("tokenizer always busy, 1/(6 ms)", (63, 170), color="C0", ha="right")
    axes.annotate("batches of up to 16", (26, 140), color="C0")
    axes.annotate("one at a time, 1/(20 ms)", (63, 54), color="C3", ha="right")
    axes.set(xlim=(0, 64), ylim=(0, 190), xlabel="clients N", ylabel="throughput X [1/s]")


def figure_upgrades(figure: Figure) -> None:
    """Which part is worth an upgrade depends on whether the GPU batches: the ranking turns.

    Exact throughput of the model server as it is, with a GPU twice as fast, and with a tokenizer
    twice as fast.

    Alt: Two line charts of throughput against clients from 0 to 64. Left, one request at a time:
    the faster GPU doubles the ceiling of 50 per second, the faster tokenizer changes nothing.
    Right, batches of up to 16: the faster GPU ends at the same 167 per second as before, the faster
    tokenizer reaches 310.
    """
    figure.set_size_inches(6.4, 3.4)
    n = np.arange(1, 65)
    for axes, model, title in zip(
        figure.subplots(1, 2),
        (_one_at_a_time, _server),
        ("one request at a time", "batches of up to 16"),
        strict=True,
    ):
        for gpu, tokenizer, colour, style in (
            (1.0, 1.0, "C0", "-"),
            (2.0, 1.0, "C2", "--"),
            (1.0, 2.0, "C1", "-."),
        ):
            axes.plot(n, model(gpu, tokenizer, 64), color=colour, linestyle=style)
        axes.set(xlim=(0, 64), xlabel="clients N", ylabel="throughput X [1/s]", title=title)
    left, right = figure.axes
    left.set_ylim(0, 120)
    right.set_ylim(0, 340)
    for axes, text, spot, colour in (
        (left, "GPU × 2", (63, 103), "C2"),
        (left, "as it is, tokenizer × 2", (63, 53), "C1"),
        (right, "tokenizer × 2", (40, 285), "C1"),
        (right, "as it is, GPU × 2", (63, 148), "C2"),
    ):
        axes.annotate(text, spot, color=colour, ha="right")


def check_recursion_against_states() -> None:
    """Alone in the loop the engine has the throughput that its states give, up to 300 clients.

    Source: weights of the birth–death chain; without batches, the recursion for single servers.
    """
    rates = engine_rates(300, *ENGINE_S, MAX_BATCH)
    got = load_dependent_mva([], AWAY_S, rates)
    for n in (1, 2, 15, 16, 17, 48, 300):
        states = batching_throughput(n, *ENGINE_S, MAX_BATCH, AWAY_S)
        checks.close(f"{n} clients", float(got[n - 1]), states, rtol=1e-9)
    plain = exact_mva(300, SERVER_S, AWAY_S)[0]
    one = load_dependent_mva(OTHERS_S, AWAY_S, np.full(300, 1 / SERVER_S[1]))
    checks.close("batch of 1, whole server", one, plain, rtol=1e-9)
    free = load_dependent_mva([], AWAY_S, engine_rates(64, 0.02, 0.0, 64))
    checks.close("batching for free", free, np.arange(1, 65) / 0.12, rtol=1e-12)


def check_batching_simulated() -> None:
    """The loop of tokenizer, engine and detokenizer, run jump by jump, has the exact throughput.

    Source: 210 simulated runs of 600 jumps each with 24 clients; mean and standard error over the
    runs.
    """
    rng, clients, runs = np.random.default_rng(85), 24, 210
    places = np.tile([clients - 6, 0, 6, 0], (runs, 1))  # away, tokenizer, engine, detokenizer
    rates = np.r_[0.0, engine_rates(clients, *ENGINE_S, MAX_BATCH)]
    elapsed, finished = np.zeros(runs), np.zeros(runs)
    for jump in range(900):
        speeds = np.column_stack(
            [
                places[:, 0] / AWAY_S,
                (places[:, 1] > 0) / OTHERS_S[0],
                rates[places[:, 2]],
                (places[:, 3] > 0) / OTHERS_S[1],
            ]
        )
        sums = np.cumsum(speeds, axis=1)
        source = (rng.random(runs)[:, None] * sums[:, -1:] >= sums).sum(axis=1)
        if jump >= 300:
            elapsed += rng.exponential(1 / sums[:, -1])
            finished += source == 3
        places[np.arange(runs), source] -= 1
        places[np.arange(runs), (source + 1) % 4] += 1
    through = finished / elapsed
    error = float(through.std(ddof=1)) / math.sqrt(runs)
    estimate = MeanEstimate(float(through.mean()), error, 0.0)
    checks.covers("X with 24 clients [1/s]", estimate, float(_server(clients=24)[-1]))


def check_ceiling_is_not_at_low_load() -> None:
    """The GPU alone ends at 320 per second, not at the 50 that one request at a time would have.

    Source: 16/(18 ms + 16·2 ms) by hand, and 2,000 clients; N* = 16 in the batch and 32 away.
    """
    checks.close("full batch [1/s]", engine_ceiling([], *ENGINE_S, MAX_BATCH), 320.0, rtol=1e-12)
    crowd = batching_throughput(2000, *ENGINE_S, MAX_BATCH, AWAY_S)
    checks.close("2,000 clients", crowd, 320.0, rtol=1e-9)
    checks.close("N*", engine_saturation([], AWAY_S, *ENGINE_S, MAX_BATCH), 48.0, rtol=1e-12)
    step = 0.018 / (1 - 0.002 / 0.006)  # the tokenizer hands over one request every 6 ms
    checks.close("step at the tokenizer's rate [s]", step, 0.018 + 0.002 * step / 0.006, rtol=1e-12)
    whole = engine_saturation(OTHERS_S, AWAY_S, *ENGINE_S, MAX_BATCH)
    checks.close("N* of the whole server", whole, (0.1 + 0.008 + step) / 0.006, rtol=1e-12)
    highest = float(_server(clients=400)[-1])
    checks.close("whole server, 400 clients", highest, 1 / 0.006, rtol=1e-9)


def check_throughput_stays_below_its_bounds() -> None:
    """With an engine too, X ≤ min(C, N/(D + Z)), and no further client lowers it.

    Source: 40 random servers of up to three single servers and an engine; the ceilings by hand.
    """
    rng, below, rising = np.random.default_rng(86), [], []
    for _ in range(40):
        demands = rng.exponential(0.01, rng.integers(0, 4)) + 0.001
        fixed, item = (float(time) for time in rng.exponential(0.02, 2))
        most = int(rng.integers(1, 40))
        think = float(rng.exponential(0.2)) + 0.01
        got = load_dependent_mva(demands, think, engine_rates(60, fixed, item, most))
        n = np.arange(1, 61)
        ceiling = min([most / (fixed + item * most), *(1 / demands)])
        bound = np.minimum(ceiling, n / (demands.sum() + fixed + item + think))
        below.append(bool(np.all(got <= bound * (1 + 1e-9))))
        rising.append(bool(np.all(np.diff(got) >= -1e-9 * got[:-1])))
    checks.holds("below both bounds", all(below))
    checks.holds("never falls", all(rising))


def check_upgrade_ranking_turns() -> None:
    """With 48 clients a faster GPU is worth most without batches, nothing with them where a step is
    an answer, and most again where an answer takes a hundred steps.

    Source: three models of the same server, whose GPU takes 20 ms for a request alone; ceilings by
    hand, 1/(20 ms), 1/(6 ms) and 16/(100·50 ms), which all have reached.
    """

    def decoding(gpu: float = 1.0, tokenizer: float = 1.0) -> FloatArray:
        return _server(gpu, tokenizer, 48, ANSWER_STEPS)

    for label, model, ceiling, winner in (
        ("one at a time", _one_at_a_time, 1 / 0.020, "gpu"),
        ("batches", _server, 1 / 0.006, "tokenizer"),
        ("batches, 100 steps an answer", decoding, 3.2, "gpu"),
    ):
        checks.close(f"{label} [1/s]", float(model()[47]), ceiling, rtol=1e-4)
        gains = {"gpu": float(model(2.0, 1.0)[47]), "tokenizer": float(model(1.0, 2.0)[47])}
        checks.equal(f"worth an upgrade, {label}", max(gains, key=lambda p: gains[p]), winner)


def check_bad_input_is_refused() -> None:
    """Empty batches, free steps, engines without rates and loops without a pause are errors."""
    checks.raises("batch 0", engine_rates, 1, 1.0, 0.0, 0, match="max_batch must be a positive")
    checks.raises("free step", engine_rates, 1, 0.0, 0.0, 1, match="fixed_s must be positive")
    checks.raises("no rates", load_dependent_mva, [], 1.0, [], match="rates_per_s must be an (N,)")
    checks.raises("nothing else", load_dependent_mva, [], 0.0, [1.0], match="think_time_s must be")
    checks.raises("free server", engine_ceiling, [0.0], 1.0, 0.0, 1, match="demands_s must be")
