"""The load generator against a real server in this process, and the shape of the record."""

from __future__ import annotations

import asyncio
import json
import math
import re

import numpy as np
import pytest
from serving_mathematics.capacity.overload_control import overload_measurement
from serving_mathematics.capacity.overload_control.overload_measurement import RECORD, Answer, drive
from serving_mathematics.core.servers.bounded_server import BoundedServer, Limits, Request, busy
from serving_mathematics.support.measuring import FOLDER, read_record


def test_drive_tells_what_became_of_each() -> None:
    async def test() -> tuple[list[Answer], dict[str, int]]:
        async with BoundedServer(busy, Limits(places=2)) as server:
            answers = await drive(server.port, [0.0] * 20 + [0.1], [0.005] * 21)
        return answers, dict(server.counts)

    answers, counts = asyncio.run(test())
    assert [answer.status for answer in answers].count(200) == counts["answered"]
    assert [answer.status for answer in answers].count(503) == counts["refused"] >= 10
    for answer in answers:
        assert answer.retry_after == (answer.status == 503)
        assert answer.seconds > 0
        if answer.status == 200:
            assert int(answer.body) >= 5000
            assert answer.seconds >= 0.005


def test_drive_passes_the_deadline_on() -> None:
    seen = []

    async def handler(request: Request) -> bytes:
        seen.append((request.body, request.headers.get("x-timeout-ms")))
        return b""

    async def test() -> None:
        async with BoundedServer(handler, Limits(places=None)) as server:
            await drive(server.port, [0.0], [0.0015], deadline_s=2.5)
            await drive(server.port, [0.0], [0.0])

    asyncio.run(test())
    assert seen == [(b"1500", "2500"), (b"0", None)]


def test_drive_counts_time_from_when_a_request_was_due() -> None:
    """An open loop: the second request is sent while the first is still served, and waits in the
    queue."""

    async def test() -> list[Answer]:
        async with BoundedServer(busy) as server:
            return await drive(server.port, [0.0, 0.01], [0.05, 0.0])

    first, second = asyncio.run(test())
    assert first.status == second.status == 200
    assert second.seconds >= 0.03


def test_drive_does_not_count_the_time_before_a_request_was_due() -> None:
    async def test() -> list[Answer]:
        async with BoundedServer(busy) as server:
            (answered,) = await drive(server.port, [0.4], [0.0])
        (lost,) = await drive(server.port, [0.4], [0.0])
        return [answered, lost]

    answered, lost = asyncio.run(test())
    assert (answered.status, lost.status) == (200, 0)
    assert 0 < answered.seconds < 0.4  # generous: an idle server on loopback
    assert 0 < lost.seconds < 0.4


def test_drive_reports_what_is_lost() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"nonsense")
        writer.close()
        await writer.wait_closed()

    async def test() -> list[Answer]:
        listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        nonsense = await drive(port, [0.0], [0.0])
        listener.close()
        await listener.wait_closed()
        return nonsense + await drive(port, [0.0], [0.0])

    assert [answer.status for answer in asyncio.run(test())] == [0, 0]


def test_drive_gives_up_after_its_patience() -> None:
    async def test() -> list[Answer]:
        async with BoundedServer(busy) as server:
            return await drive(server.port, [0.0], [0.2], patience_s=0.02)

    (answer,) = asyncio.run(test())
    assert (answer.status, answer.body) == (0, b"")


@pytest.mark.parametrize(
    "bad", [[0.2, 0.1], [-0.1, 0.0], [math.nan, 0.1], [0.0, math.inf], [[0.0, 0.1]]]
)
def test_times_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="due_s must be sorted, finite times from 0 on"):
        asyncio.run(drive(9, bad, [0.0, 0.0]))


@pytest.mark.parametrize("bad", [-0.1, 10.0, math.nan])
def test_service_times_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"service_s must be in \[0, 10\)"):
        asyncio.run(drive(9, [0.0], [bad]))
    with pytest.raises(ValueError, match=r"service_s must be of shape \(1,\)"):
        asyncio.run(drive(9, [0.0], [0.0, 0.0]))


def test_the_record_is_whole_and_private() -> None:
    text = (FOLDER / f"{RECORD}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["command"] == overload_measurement.COMMAND
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert not re.search(r"/(home|root|work|tmp)|\\\\|localhost|@", text)
    loads = [(phase["load"], phase["limit"]) for phase in record["phases"]]
    assert loads == [(x, limit) for x in overload_measurement.LOADS for limit in (False, True)]
    for phase in record["phases"]:
        ends = phase["answered"] + phase["refused"] + phase["expired"] + phase["lost"]
        assert ends == phase["sent"]
        assert 0 <= phase["goodput_per_s"] * record["asked"]["measured_s"] <= phase["measured"] + 1
        p50, p99 = phase["answered_p50_p99_ms"]
        assert 0 < p50 <= p99


def test_both_servers_got_the_same_requests() -> None:
    phases = read_record(RECORD)["phases"]
    sent = np.array([phase["sent"] for phase in phases]).reshape(-1, 2)
    assert (sent[:, 0] == sent[:, 1]).all()


def test_a_phase_is_what_became_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of six answers the first is of the warm-up, and two are in time."""
    kinds = [
        Answer(200, 0.010, False, b"4000"),
        Answer(200, 0.030, False, b"5000"),
        Answer(200, 0.050, False, b"6000"),
        Answer(200, 0.051, False, b"7000"),
        Answer(503, 0.002, True, b""),
        Answer(503, 0.004, False, b""),
        Answer(504, 0.090, False, b""),
        Answer(0, 0.5, False, b""),
        Answer(500, 0.1, False, b""),
    ]
    asked = []

    async def driven(port: int, due: np.ndarray, service: np.ndarray, deadline: object) -> list:
        asked.append((port, due, service, deadline))
        return [kinds[i % len(kinds)] for i in range(due.size)]

    monkeypatch.setattr(overload_measurement, "drive", driven)
    without, limited = asyncio.run(overload_measurement._phase_pair(1.2, {False: 1, True: 2}))
    (port, due, service, deadline), (other, same_due, same_service, passed_on) = asked
    assert (port, other, deadline, passed_on) == (1, 2, None, 0.05)
    assert np.array_equal(due, same_due)
    assert np.array_equal(service, same_service)
    assert due.size == pytest.approx(1.2 * 200 * 2.2, rel=0.2)
    assert service.mean() == pytest.approx(0.005)
    assert without | {"limit": True} == limited
    count = [len(range(i, due.size, 9)) for i in range(9)]
    good = sum(t >= 0.4 and i % 9 < 3 for i, t in enumerate(due))
    assert limited["load"] == 1.2
    assert limited["sent"] == due.size
    assert limited["answered"] == sum(count[:4])
    assert limited["refused"] == count[4] + count[5]
    assert limited["expired"] == count[6]
    assert limited["lost"] == count[7] + count[8]
    assert limited["refused_without_retry_after"] == count[5]
    assert limited["goodput_per_s"] == round(good / 1.8, 1)
    served = [x for x, many in zip((4, 5, 6, 7), count, strict=False) for _ in range(many)]
    assert limited["mean_service_ms"] == pytest.approx(np.mean(served), abs=1e-3)
    assert limited["refused_p50_p99_ms"][1] == 4.0
    assert limited["answered_p50_p99_ms"][1] == 51.0
