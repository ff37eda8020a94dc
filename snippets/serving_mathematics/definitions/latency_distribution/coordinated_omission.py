"""A load generator that waits for each answer stops asking when the server stalls, and its
percentiles do not contain the stall.

Requests are due every I seconds. A closed loop sends the next one only after the last answer, so a
stall of S seconds leaves one slow sample instead of S/I. Measured from when it was due, request i
takes done_i − i·I. Adding x − I, x − 2I, … down to I to each latency x restores what the closed
loop left out, if the server answers all that waited at once. Over T seconds with one stall the
q-quantile is then S − (1−q)·T.

`python -m serving_mathematics.definitions.latency_distribution.coordinated_omission` measures both
loops against a stalling server for about 6 s and writes the record that the page shows,
records/coordinated_omission.json.

Assumes: one request in flight (closed loop); nothing of the machine: what the record shows of
milliseconds holds for the machine that it names.

Source: Tene's HdrHistogram for the correction, its test HistogramDataAccessTest for the numbers;
wrk2 for measuring from when a request was due.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "coordinated_omission"
COMMAND = "python -m serving_mathematics.definitions.latency_distribution.coordinated_omission"
COUNT, INTERVAL_S = 300, 0.01  # requests, one every 10 ms [s]
STALL_START_S, STALL_S = 1.0, 1.0  # after the first request [s]


def closed_loop_latencies(
    service_s: npt.ArrayLike, interval_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a closed loop records, timed from sending, and timed from when each request was due.

    service_s: how long the server takes for each request in turn [s], shape (n,), n ≥ 1, ≥ 0.
    interval_s: > 0, request i is due at i·interval_s [s] and sent then or when the last answer
    came. Returns both latencies [s], shape (n,). Raises ValueError outside these ranges.

    >>> sent, due = closed_loop_latencies([1.0, 5.0, 1.0, 1.0], interval_s=2.0)
    >>> sent.tolist(), due.tolist()
    ([1.0, 5.0, 1.0, 1.0], [1.0, 5.0, 4.0, 3.0])
    """
    service = as_floats(service_s=service_s)
    require(service.ndim == 1 and service.size > 0, "service_s", "non-empty (n,)", service.shape)
    require_all_non_negative(service_s=service)
    interval_s = require_positive(interval_s=interval_s)
    due = interval_s * np.arange(service.size)
    busy = np.cumsum(service)
    start = np.maximum.accumulate(due - busy + service)  # idle time so far
    return service, start + busy - due


def corrected_latencies(latencies: npt.ArrayLike, interval: float) -> npt.NDArray[np.float64]:
    """Latencies of a closed loop and those that it left out: x − I, x − 2I, … ≥ I for each x > I.

    latencies: shape (n,), ≥ 0, n ≥ 1. interval: I > 0 between requests as intended, in the same
    unit. Returns the recorded latencies followed by the added ones. Raises ValueError outside these
    ranges. Source: `recordValueWithExpectedInterval` of HdrHistogram.

    >>> corrected_latencies([1.0, 35.0], interval=10.0).tolist()
    [1.0, 35.0, 25.0, 15.0]
    """
    x = as_floats(latencies=latencies)
    require(x.ndim == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_non_negative(latencies=x)
    interval = require_positive(interval=interval)
    most = 1e8 * interval
    require(x.sum() <= most, "latencies", f"at most {most:g} in all, 10⁸ intervals", x.sum())
    missing = np.maximum(np.floor(x / interval * (1 + 1e-12)).astype(int) - 1, 0)
    steps = np.concatenate([np.arange(1, m + 1) for m in missing])
    return np.concatenate([x, np.repeat(x, missing) - steps * interval])


def stall_quantile(stall_s: float, total_s: float, probability: float) -> float:
    """The q-quantile of latencies from when requests were due, with one stall and else no latency.

    stall_s: S ≥ 0. total_s: T ≥ S, > 0, of evenly spaced requests. probability: q in [0, 1].
    Returns max(0, S − (1−q)·T) [s]: requests due in the first x seconds of the stall are the
    share x/T. Raises ValueError outside these ranges.

    >>> stall_quantile(stall_s=6.0, total_s=60.0, probability=0.95)
    3.0
    """
    stall_s = as_number(stall_s=stall_s)
    total_s = require_positive(total_s=total_s)
    require(0 <= stall_s <= total_s, "stall_s", f"in [0, {total_s}]", stall_s)
    probability = require_in("[0, 1]", probability=probability)
    return max(0.0, round(stall_s - (1 - probability) * total_s, 12))


@contextlib.asynccontextmanager
async def stalling_server(stall_start_s: float, stall_s: float) -> AsyncIterator[int]:
    """A loopback server that answers each line at once, except during one stall; yields its port.

    stall_start_s: ≥ 0, from the first request on [s]. stall_s: ≥ 0, in [0, 60) [s]; what arrives
    meanwhile is answered at its end. Raises ValueError outside these ranges.
    """
    require(0 <= stall_start_s < math.inf, "stall_start_s", "finite and ≥ 0", stall_start_s)
    stall_s = require_in("[0, 60)", stall_s=stall_s)
    loop, first = asyncio.get_running_loop(), math.inf
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        writers.append(writer)
        while line := await reader.readline():
            first = min(first, loop.time())
            since = loop.time() - first - stall_start_s
            if 0 <= since < stall_s:
                await asyncio.sleep(stall_s - since)
            writer.write(line)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        await server.wait_closed()


@dataclass(frozen=True)
class LoadRun:
    """Latencies [s] of one run, from sending and from when each request was due, shape (n,)."""

    from_sending_s: npt.NDArray[np.float64]
    from_due_s: npt.NDArray[np.float64]


async def load_run(port: int, count: int, interval_s: float, wait_for_answer: bool) -> LoadRun:
    """Send numbered lines to a loopback server at a fixed rate and time the answers.

    port: of a server that answers in order. count: n in 1 … 100,000 requests. interval_s: > 0, due
    time of request i is i·interval_s [s]. wait_for_answer: True for a closed loop, which sends the
    next request only after the last answer; False for an open one, which sends when it is due.
    Raises ValueError outside these ranges, ConnectionError when an answer is wrong or missing.
    """
    require(count % 1 == 0 and 1 <= count <= 100_000, "count", "1 … 100,000", count)
    interval_s = require_positive(interval_s=interval_s)
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent, done = np.zeros(count), np.zeros(count)
    answered = asyncio.Semaphore(1)
    start = loop.time()

    async def send() -> None:
        for i in range(count):
            if wait_for_answer:
                await answered.acquire()
            await asyncio.sleep(max(0.0, start + i * interval_s - loop.time()))
            sent[i] = loop.time() - start
            writer.write(b"%d\n" % i)

    sending = asyncio.create_task(send())
    try:
        for i in range(count):
            if await reader.readline() != b"%d\n" % i:
                raise ConnectionError(f"no answer to request {i}")
            done[i] = loop.time() - start
            answered.release()
    finally:
        sending.cancel()
        writer.close()
        await writer.wait_closed()
    return LoadRun(done - sent, done - interval_s * np.arange(count))


async def _measure_both() -> dict[str, LoadRun]:
    """Both loops, one after the other, each against a fresh server."""
    runs = {}
    for name, wait in (("closed", True), ("open", False)):
        async with stalling_server(STALL_START_S, STALL_S) as port:
            runs[name] = await load_run(port, COUNT, INTERVAL_S, wait)
    return runs


def _measure() -> dict[str, Any]:
    """Run both loops and return the record."""
    runs = asyncio.run(_measure_both())
    return {
        **provenance(COMMAND, ("numpy",)),
        "asked": {
            "count": COUNT,
            "interval_s": INTERVAL_S,
            "stall_start_s": STALL_START_S,
            "stall_s": STALL_S,
        },
        "latencies_ms": {
            "closed_from_sending": (1000 * runs["closed"].from_sending_s).round(3).tolist(),
            "closed_from_due": (1000 * runs["closed"].from_due_s).round(3).tolist(),
            "open_from_due": (1000 * runs["open"].from_due_s).round(3).tolist(),
        },
    }


def _latencies() -> dict[str, npt.NDArray[np.float64]]:
    """The recorded latencies [ms], and those of the closed loop corrected."""
    record = read_record(RECORD)
    found = {name: np.array(values) for name, values in record["latencies_ms"].items()}
    interval_ms = 1000 * record["asked"]["interval_s"]
    return found | {"corrected": corrected_latencies(found["closed_from_sending"], interval_ms)}


def _tene() -> npt.NDArray[np.float64]:
    """10,000 answers after 1 ms, then one after 100 s [s]."""
    return np.append(np.full(10_000, 0.001), 100.0)


def _ranked(latencies: npt.NDArray[np.float64], probability: float) -> float:
    """The ⌈nq⌉-th smallest."""
    return float(np.quantile(latencies, probability, method="inverted_cdf"))


def example() -> SimpleNamespace:
    """Numbers quoted in the text; those of the loops are from the record."""
    raw = _tene()
    full, record, loop = corrected_latencies(raw, 0.01), read_record(RECORD), _latencies()
    later = np.append(raw, np.full(20_000, 0.001))
    late = closed_loop_latencies(later, 0.01)[1] > 0.005
    half_ms = 500 * record["asked"]["stall_s"]
    return SimpleNamespace(
        omitted=full.size - raw.size,
        raw_mean_ms=1000 * float(raw.mean()),
        raw_p999_ms=1000 * _ranked(raw, 0.999),
        corrected_mean_s=float(full.mean()),
        corrected_p75_s=_ranked(full, 0.75),
        corrected_p90_s=_ranked(full, 0.9),
        corrected_p99_s=_ranked(full, 0.99),
        caught_up_s=0.01 * float(np.flatnonzero(late)[-1] - 10_000),
        loop_raw_p90_ms=_ranked(loop["closed_from_sending"], 0.9),
        loop_raw_slow=int((loop["closed_from_sending"] > half_ms).sum()),
        loop_due_slow=int((loop["closed_from_due"] > half_ms).sum()),
        loop_open_slow=int((loop["open_from_due"] > half_ms).sum()),
        loop_corrected_slow=int((loop["corrected"] > half_ms).sum()),
        loop_open_p90_ms=_ranked(loop["open_from_due"], 0.9),
        loop_corrected_p90_ms=_ranked(loop["corrected"], 0.9),
        loop_law_p90_ms=1000 * stall_quantile(STALL_S, COUNT * INTERVAL_S, 0.9),
        loop_on=record["date"],
        loop_python=record["versions"]["python"],
        loop_system=f"{record['machine']['system']} {record['machine']['architecture']}",
        loop_processors=record["machine"]["processors"],
    )


def figure_stalled_loop(figure: Figure) -> None:
    """The server stood still for a second; the closed loop has one slow request of it, the open
    loop a hundred.

    Measured on loopback: one request every 10 ms, a stall from 1 s to 2 s. Every point is a
    request, at the time at which it was due.

    Alt: Latency in milliseconds against the time at which a request was due, from 0 to 3 s. Points
    of the open loop lie near zero, jump to 1000 at 1 s, fall in a straight line to zero at 2 s and
    stay there. The closed loop, timed from sending, has a single point at 1000 and all others near
    zero, also between 1 and 2 s.
    """
    found, asked = _latencies(), read_record(RECORD)["asked"]
    due = asked["interval_s"] * np.arange(asked["count"])
    axes = figure.subplots()
    axes.plot(due, found["open_from_due"], "o", color="C0", markersize=3)
    axes.plot(due, found["closed_from_sending"], "x", color="C3", markersize=4)
    slow = int(np.argmax(found["closed_from_sending"]))
    axes.annotate(
        "closed loop, from sending: 1 point",
        (due[slow], found["closed_from_sending"][slow]),
        (1.15, 1060),
        color="C3",
        arrowprops={"arrowstyle": "-", "color": "C3"},
        va="center",
    )
    axes.annotate("open loop, from due time", (1.55, 560), color="C0")
    axes.set(xlim=(0, 3), ylim=(-30, 1130))
    axes.set(xlabel="request was due at [s]", ylabel="latency [ms]")


def check_hundred_second_stall() -> None:
    """100 s of 1 ms and a stall of 100 s: the raw mean is 11 ms, the corrected one 25 s.

    Source: HdrHistogram, HistogramDataAccessTest (counts exact, percentiles to 0.1%); sums by hand,
    (10 + 100)/10,001 and (10 + 0.01·10,000·10,001/2)/20,000 s.
    """
    raw = _tene()
    full = corrected_latencies(raw, 0.01)
    checks.close("raw mean [ms]", 1000 * raw.mean(), 10.9989, atol=5e-5)
    checks.close("raw p99.9 [ms]", 1000 * _ranked(raw, 0.999), 1.0, rtol=1e-9, kind="published")
    checks.equal("corrected count", full.size, 20_000, kind="published")
    checks.close("corrected mean [s]", full.mean(), 25.003, rtol=1e-9)
    checks.close(
        "corrected mean [s], HdrHistogram", full.mean(), 25.0005, rtol=1e-3, kind="published"
    )
    for q, expected in ((0.75, 50.0), (0.9, 80.0), (0.99, 98.0)):
        got = _ranked(full, q)
        checks.close(f"corrected p{100 * q:.0f} [s]", got, expected, rtol=1e-3, kind="published")
        checks.close(
            f"p{100 * q:.0f} by the formula [s]", stall_quantile(100, 200, q), got, atol=1e-6
        )


def check_correction_is_an_open_loop() -> None:
    """The correction gives what requests would see that are sent when due and answered at the end
    of the stall.

    Source: the wait of each due request, S − i·I, built directly for 40 random stalls.
    """
    rng = np.random.default_rng(2013)
    worst = 0.0
    for stalled_for in rng.uniform(0.05, 3.0, 40):
        waits = np.sort(stalled_for - 0.01 * np.arange(math.floor(stalled_for / 0.01)))
        got = np.sort(corrected_latencies([stalled_for], 0.01))
        worst = max(worst, float(np.abs(got - waits).max()))
    checks.close("worst difference [s]", worst, 0.0, atol=1e-9)


def check_closed_loop_catches_up() -> None:
    """A closed loop that catches up afterwards, timed from due, falls behind by 9 ms less with each
    request.

    Source: the recursion start = max(due, last done), request by request; 100 s over 9 ms per
    request.
    """
    service = np.append(_tene(), np.full(20_000, 0.001))
    got = closed_loop_latencies(service, 0.01)[1]
    done, expected = 0.0, []
    for i, s in enumerate(service.tolist()):
        done = max(done, 0.01 * i) + s
        expected.append(done - 0.01 * i)
    checks.close("worst difference [s]", np.abs(got - expected).max(), 0.0, atol=1e-8)
    behind = int((got > 0.0015).sum())
    checks.close("requests behind", behind, (100 - 0.01) / 0.009 + 1, atol=1.0)


def check_real_loop_hides_the_stall() -> None:
    """On any machine: one slow request in the closed loop, about fifty in the open one and in the
    corrected record.

    Source: the record; requests due in the first half of a stall of 1 s wait at least half of it,
    50 of one every 10 ms. A closed loop that catches up makes 399 latencies of 300 requests when it
    is corrected.
    """
    found = _latencies()
    slow = {name: int((values > 500).sum()) for name, values in found.items()}
    checks.equal("closed loop, from sending", slow["closed_from_sending"], 1, kind="measured")
    checks.inside("open loop", slow["open_from_due"], 45, 60, kind="measured")
    checks.inside("corrected", slow["corrected"], 45, 60, kind="measured")
    checks.holds("closed loop, from due", slow["closed_from_due"] >= 45, kind="measured")
    law = 1000 * stall_quantile(STALL_S, COUNT * INTERVAL_S, 0.9)
    share = float((found["open_from_due"] > law).mean())
    checks.close("open loop, share beyond the law's p90", share, 0.1, atol=0.02, kind="measured")
    double = COUNT / (COUNT + STALL_S / INTERVAL_S - 1)  # the loop also sends what was left out
    share = float((found["corrected"] > law).mean())
    checks.close("corrected", share, 0.1 * double, atol=0.02, kind="measured")


def check_bad_input_is_refused() -> None:
    """Empty and negative latencies, no interval and stalls longer than the run are errors that name
    the argument."""
    checks.raises("empty", corrected_latencies, [], 1.0, match="latencies must be non-empty")
    checks.raises("no interval", corrected_latencies, [1.0], 0.0, match="interval must be positive")
    checks.raises("negative", closed_loop_latencies, [-1.0], 1.0, match="service_s must be non-neg")
    checks.raises("long", stall_quantile, 2.0, 1.0, 0.5, match="stall_s must be in [0, 1.0]")

    def sent(count: int) -> object:
        return asyncio.run(load_run(9, count, 0.01, wait_for_answer=True))

    checks.raises("nothing sent", sent, 0, match="count must be 1 … 100,000")


if __name__ == "__main__":
    print(f"wrote {write_record(RECORD, _measure()).name}")
