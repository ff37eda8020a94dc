"""What is measured of servers and a clock that a test made."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from serving_mathematics.capacity.overload_control import overload_measurement

from ..clockwork import Clock, loops_of


class Server:
    """Answers one request after the other, in the time that each asks for; refuses beyond its
    places, gives up beyond the deadline, and now and then does something odd.
    """

    def __init__(self, places: int | None, clock: Clock) -> None:
        self.places, self.clock = places, clock
        self.free_s, self.inside, self.number = 0.0, 0, 0

    async def answer(self, head: bytes) -> bytes:
        self.number += 1
        fields, _, body = head.decode().partition("\r\n\r\n")
        service_s = int(body) / 1e6
        if self.number % 23 == 0:
            raise ConnectionResetError
        if self.number % 29 == 0:
            return b"nonsense"
        if self.places and self.inside >= self.places:
            await asyncio.sleep(0.001 + self.number / 1e6)
            retry = "Retry-After: 1\r\n" * (self.number % 3 > 0)
            return f"HTTP/1.1 503 Full\r\n{retry}\r\n".encode()
        wait_s = max(0.0, self.free_s - self.clock.now)
        if "X-Timeout-Ms: 50" in fields and wait_s > 0.02:
            await asyncio.sleep(0.02)
            return b"HTTP/1.1 504 Late\r\n\r\n"
        self.free_s = self.clock.now + wait_s + service_s
        self.inside += 1
        await asyncio.sleep(wait_s + service_s)
        self.inside -= 1
        return f"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{1e6 * service_s:.0f}".encode()


class Connection:
    """Both ends of a connection to a server."""

    def __init__(self, server: Server) -> None:
        self.server, self.sent = server, b""

    def write(self, data: bytes) -> None:
        self.sent += data

    async def read(self) -> bytes:
        return await self.server.answer(self.sent)

    def close(self) -> None:
        """Nothing is open."""

    async def wait_closed(self) -> None:
        """Nothing is open."""


def _overload(_: Path) -> dict[str, Any]:
    """The whole record, of a short and of a long queue."""
    clock, commands = Clock(), []
    servers = {1: Server(None, clock), 2: Server(6, clock)}

    def started(command: list[str], **_: Any) -> Any:
        commands.append(command[1:])
        port = len(commands)

        def said(timeout: float) -> tuple[str, None]:
            commands.append(["stopped", str(port), str(timeout)])
            return json.dumps({"port": port}), None

        return SimpleNamespace(
            stdout=io.StringIO(f"{port}\n"),
            send_signal=lambda number: commands.append([str(port), number.name]),
            communicate=said,
            kill=lambda: commands.append([str(port), "killed"]),
            wait=lambda: commands.append([str(port), "waited"]),
        )

    async def connected(host: str, port: int) -> tuple[Connection, Connection]:
        assert host == "127.0.0.1"
        both = Connection(servers[port])
        return both, both

    with (
        loops_of(clock),
        mock.patch.object(asyncio, "open_connection", connected),
        mock.patch.object(overload_measurement.subprocess, "Popen", started),
        mock.patch.object(overload_measurement, "provenance", lambda *made: {"made": made}),
        mock.patch.multiple(
            overload_measurement, LOADS=(0.3, 2.5), WARM_UP_S=0.1, MEASURED_S=0.3, PLACES=7
        ),
    ):
        record = overload_measurement._measure()
    return record | {"commands": commands}


CASES: Mapping[str, Any] = {
    "capacity.overload_control.overload_measurement": _overload,
}
