"""The bounded server under real load: what it answers in time, with and without a limit, beside
the formulas.

A server process sleeps for the exponential service time that each request asks for; this process
sends Poisson requests on loopback whether earlier ones were answered or not (open loop), and times
every answer from the moment at which the request was due. `python -m
serving_mathematics.capacity.overload_control.overload_measurement` measures for less than 15 s and
writes the record that the page shows, records/overload_server.json.

Assumes: nothing of the machine; what the record shows of milliseconds holds for the machine that
it names.

Source: measurement; theory from `fifo_goodput` and `bounded_goodput` at the mean service time that
was measured.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.overload_control.overload_control import (
    bounded_goodput,
    fifo_goodput,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import as_floats, require, require_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "overload_server"
COMMAND = "python -m serving_mathematics.capacity.overload_control.overload_measurement"
MEAN_SERVICE_S = 0.005  # asked for [s]: 200 requests a second
DEADLINE_S = 0.05  # ten service times [s]
PLACES = 6  # queue limit, the request in service included
LOADS = (0.5, 0.8, 1.2, 2.0)  # offered load in units of capacity
WARM_UP_S, MEASURED_S = 0.4, 1.8  # of each phase [s]


@dataclass(frozen=True)
class Answer:
    """What became of one request: status (0 when no answer came), seconds from when it was due,
    Retry-After, body."""

    status: int
    seconds: float
    retry_after: bool
    body: bytes


async def drive(
    port: int,
    due_s: npt.ArrayLike,
    service_s: npt.ArrayLike,
    deadline_s: float | None = None,
    patience_s: float = 10.0,
) -> list[Answer]:
    """Send requests to a server on loopback when they are due, wait for all answers, and say what
    became of each.

    port: of a server that runs `busy`. due_s: times from now [s], sorted, shape (n,). service_s:
    how long each shall take [s], shape (n,). deadline_s: told to the server in X-Timeout-Ms when
    given [s]. patience_s: after which an answer counts as lost [s]. Raises ValueError on times
    that are negative, unsorted or of different shapes.
    """
    due, service = as_floats(due_s=due_s), as_floats(service_s=service_s)
    sorted_times = due.ndim == 1 and np.all(np.diff(due, prepend=0.0) >= 0) and np.all(due < np.inf)
    require(sorted_times, "due_s", "sorted, finite times from 0 on", due)
    require_shape(due.shape, service_s=service)
    require(np.all((service >= 0) & (service < 10)), "service_s", "in [0, 10)", service)
    loop = asyncio.get_running_loop()
    start = loop.time()
    timeout = "" if deadline_s is None else f"X-Timeout-Ms: {1000 * deadline_s:.0f}\r\n"

    async def one(due: float, service: float) -> Answer:
        await asyncio.sleep(start + due - loop.time())
        body = f"{1e6 * service:.0f}"
        head = f"POST / HTTP/1.1\r\nHost: loopback\r\nContent-Length: {len(body)}\r\n{timeout}\r\n"
        try:
            async with asyncio.timeout(patience_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write((head + body).encode())
                    answer = await reader.read()
                finally:
                    writer.close()
                    await writer.wait_closed()
            fields, _, content = answer.partition(b"\r\n\r\n")
            status = int(fields.split(b" ")[1])
        except (OSError, ValueError, IndexError):
            return Answer(0, loop.time() - start - due, False, b"")
        return Answer(status, loop.time() - start - due, b"\r\nRetry-After: " in fields, content)

    pairs = zip(due.tolist(), service.tolist(), strict=True)
    return list(await asyncio.gather(*(one(*pair) for pair in pairs)))


def _milliseconds(answers: list[Answer], status: int) -> list[float | None]:
    """Median and 99th percentile [ms] of the answers with a status; None where there were none."""
    times = [1000 * answer.seconds for answer in answers if answer.status == status]
    return np.quantile(times, [0.5, 0.99]).round(2).tolist() if times else [None, None]


async def _phase_pair(load: float, ports: dict[bool, int]) -> list[dict[str, Any]]:
    """One load, sent to both servers at the same time with the same arrivals and service times."""
    rng = np.random.default_rng([25, int(10 * load)])
    length = WARM_UP_S + MEASURED_S
    due = np.sort(rng.uniform(0, length, rng.poisson(load / MEAN_SERVICE_S * length)))
    service = rng.exponential(MEAN_SERVICE_S, due.size)
    service *= MEAN_SERVICE_S / service.mean()  # leaves the load of a short phase less to chance
    both = await asyncio.gather(
        *(drive(port, due, service, DEADLINE_S if limit else None) for limit, port in ports.items())
    )
    phases = []
    for limit, answers in zip(ports, both, strict=True):
        measured = [answer for answer, t in zip(answers, due, strict=True) if t >= WARM_UP_S]
        in_time = sum(a.status == 200 and a.seconds <= DEADLINE_S for a in measured)
        done = [int(a.body) / 1000 for a in answers if a.status == 200]
        statuses = [answer.status for answer in answers]
        refused = [answer for answer in answers if answer.status == 503]
        phases.append(
            {
                "limit": limit,
                "load": load,
                "sent": len(answers),
                "answered": statuses.count(200),
                "refused": len(refused),
                "expired": statuses.count(504),
                "lost": len(answers) - sum(statuses.count(status) for status in (200, 503, 504)),
                "refused_without_retry_after": sum(not answer.retry_after for answer in refused),
                "measured": len(measured),
                "goodput_per_s": round(in_time / MEASURED_S, 1),
                "mean_service_ms": round(float(np.mean(done)), 3),
                "answered_p50_p99_ms": _milliseconds(answers, 200),
                "refused_p50_p99_ms": _milliseconds(answers, 503),
            }
        )
    return phases


async def _drive_all(ports: dict[bool, int]) -> list[dict[str, Any]]:
    return [phase for load in LOADS for phase in await _phase_pair(load, ports)]


def _measure() -> dict[str, Any]:
    """Start one server without and one with a limit, drive both, stop them, and return the
    record."""
    servers = {}
    try:
        for limit, options in ((False, []), (True, ["--places", str(PLACES)])):
            command = [
                sys.executable,
                "-m",
                "serving_mathematics.core.servers.bounded_server",
                *options,
            ]
            servers[limit] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ports = {
            limit: int((server.stdout or sys.stdin).readline()) for limit, server in servers.items()
        }
        phases = asyncio.run(_drive_all(ports))
        counts = {}
        for limit, server in servers.items():
            server.send_signal(signal.SIGTERM)
            counts["with_limit" if limit else "without_limit"] = json.loads(
                server.communicate(timeout=10)[0]
            )
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    return {
        **provenance(COMMAND, ("numpy",)),
        "asked": {
            "mean_service_s": MEAN_SERVICE_S,
            "deadline_s": DEADLINE_S,
            "places": PLACES,
            "warm_up_s": WARM_UP_S,
            "measured_s": MEASURED_S,
        },
        "phases": phases,
        "server": counts,
    }


def _phase(record: dict[str, Any], limit: bool, load: float) -> dict[str, Any]:
    (found,) = [p for p in record["phases"] if p["limit"] == limit and p["load"] == load]
    return dict(found)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    held, fell = _phase(record, True, 2.0), _phase(record, False, 2.0)
    return SimpleNamespace(
        measured_with=held["goodput_per_s"],
        measured_without=fell["goodput_per_s"],
        measured_capacity=1000 / held["mean_service_ms"],
        measured_refused=held["refused"],
        measured_refused_p50_ms=held["refused_p50_p99_ms"][0],
        measured_refused_p99_ms=held["refused_p50_p99_ms"][1],
        measured_late_p50_ms=fell["answered_p50_p99_ms"][0],
        measured_sent=sum(phase["sent"] for phase in record["phases"]),
        measured_lost=sum(phase["lost"] for phase in record["phases"]),
        measured_on=record["date"],
        measured_python=record["versions"]["python"],
        measured_processors=record["machine"]["processors"],
        measured_system=f"{record['machine']['system']} {record['machine']['architecture']}",
    )


def figure_measured_goodput(figure: Figure) -> None:
    """The real server keeps answering at twice its capacity with six places, and answers almost
    nothing in time without.

    Points are measured, with 95% intervals for the number of Poisson requests in a phase; curves
    are the formulas at the mean service time that was measured. Each phase starts with empty
    queues and counts from 0.4 s on.

    Alt: Answers in time per second against offered load. Measured points at 100, 160, 240 and 400
    requests a second lie on two curves: with six places they rise to about 165 and stay there,
    without a limit they are at 94, 124, and then zero.
    """
    record = read_record(RECORD)
    axes = figure.subplots()
    asked = record["asked"]
    deadline_s, capacity = asked["deadline_s"], 1 / asked["mean_service_s"]
    for limit, colour in ((False, "C3"), (True, "C0")):
        phases = [phase for phase in record["phases"] if phase["limit"] == limit]
        service_rate = 1000 / float(np.mean([phase["mean_service_ms"] for phase in phases]))
        curve_load = np.linspace(4.0, 2.15 * capacity, 200)
        curve = [
            bounded_goodput(x, service_rate, deadline_s, asked["places"])
            if limit
            else fifo_goodput(x, service_rate, deadline_s)
            for x in curve_load
        ]
        axes.plot(curve_load, curve, color=colour)
        load = [phase["load"] * capacity for phase in phases]
        goodput = np.array([phase["goodput_per_s"] for phase in phases])
        spread = 1.96 * np.sqrt(goodput / asked["measured_s"])
        axes.errorbar(load, goodput, spread, fmt="o", color=colour)
    axes.annotate("6 places", (285, 156), color="C0")
    axes.annotate("no limit", (215, 60), color="C3")
    axes.set(xlim=(0, 430), ylim=(0, None))
    axes.set(xlabel="offered load [1/s]", ylabel="answers in time [1/s]")


def check_nothing_accepted_is_lost() -> None:
    """Every request got an answer, and every request that the server accepted was answered,
    expired or failed.

    Source: counts of client and server in the record, on any machine.
    """
    record = read_record(RECORD)
    for name, counts in record["server"].items():
        seen = {key: counts.get(key, 0) for key in ("answered", "expired", "failed")}
        accepted = counts["accepted"]
        label = name.replace("_", " ")
        checks.equal(f"accepted, {label}", sum(seen.values()), accepted, kind="measured")
        ends = accepted + sum(counts.get(key, 0) for key in ("refused", "bad", "gone"))
        checks.equal(f"connections, {label}", ends, counts["connections"], kind="measured")
        sent = sum(p["sent"] for p in record["phases"] if p["limit"] == (name == "with_limit"))
        checks.equal(f"sent by the client, {label}", counts["connections"], sent, kind="measured")
    lost = sum(phase["lost"] for phase in record["phases"])
    checks.equal("requests without an answer", lost, 0, kind="measured")


def check_excess_is_refused() -> None:
    """Beyond capacity the limited server refuses, always with Retry-After; the unlimited one
    refuses nobody.

    Source: counts of the client in the record, on any machine.
    """
    record = read_record(RECORD)
    for load in LOADS:
        held, fell = _phase(record, True, load), _phase(record, False, load)
        checks.equal(
            f"load {load}: refusals without Retry-After",
            held["refused_without_retry_after"],
            0,
            kind="measured",
        )
        checks.equal(f"load {load}: refused without a limit", fell["refused"], 0, kind="measured")
        if load > 1:
            checks.holds(
                f"load {load}: some are refused",
                held["refused"] > 0,
                got=held["refused"],
                kind="measured",
            )


def check_control_keeps_goodput() -> None:
    """Beyond capacity the limited server answers at least as many in time as the unlimited one.

    Source: goodput in the record at 1.2 and 2 times the capacity, with the same requests, on any
    machine.
    """
    record = read_record(RECORD)
    for load in LOADS:
        if load > 1:
            held, fell = (_phase(record, on, load)["goodput_per_s"] for on in (True, False))
            checks.holds(
                f"load {load}", held >= fell, got=f"{held:g}/s against {fell:g}/s", kind="measured"
            )


def check_bad_input_is_refused() -> None:
    """Unsorted times, missing and endless service times are errors that name the argument."""

    def sent(due: list[float], service: list[float]) -> object:
        return asyncio.run(drive(9, due, service))

    checks.raises("unsorted", sent, [0.2, 0.1], [0.0, 0.0], match="due_s must be sorted")
    checks.raises("shapes", sent, [0.1], [0.1, 0.1], match="service_s must be of shape (1,)")
    checks.raises("endless", sent, [0.1], [np.inf], match="service_s must be in [0, 10)")


if __name__ == "__main__":
    print(f"wrote {write_record(RECORD, _measure()).name}")
