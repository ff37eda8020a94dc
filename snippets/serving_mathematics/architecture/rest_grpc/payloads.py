"""What people send to models today, in JSON and as bytes, and what each takes on its way.

| | in JSON over HTTP/1.1 | as bytes over gRPC |
|---|---|---|
| a chat's prompt | 4 bytes a token, as text | the same text |
| an agent's prompt | the same | the same |
| its token ids | 6 digits and a comma | a varint of 3 bytes |
| 32 embeddings back | a float32 in up to 17 digits, 21.5 bytes | 4 bytes |
| a photo of a mebibyte | base64 | as it is |

Work is what `number_digits` measured for each number that Python writes and reads; text and bytes
are copied and take none. Lengths of prompts are those of the book's machines.

Assumes: 1 Gbit/s; an envelope of 300 bytes in JSON and of 100 in protobuf; the first event of a
stream, or a label, as the answer to a prompt or a photo.

Source: Gateway API Inference Extension, prefix scorer, for 4 characters a token; Protocol Buffers,
Encoding, for varints: ids from 16,384 to 2,097,151 take 3 bytes; records/number_digits.json.gz for
work.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics.architecture.rest_grpc.number_digits import _number_cost, _number_s
from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    CONTINENT,
    INITIAL_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    CallParts,
    call_parts,
    flights,
)
from serving_mathematics.core.machines.machines import AGENTS, CHAT
from serving_mathematics.core.servers.wire_format import base64_bytes, varint
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOKEN_BYTES = 4  # characters of text for a token
ENVELOPE = {"JSON": 300, "bytes": 100}  # [B]
EVENT = {"JSON": 250, "bytes": 30}  # of one token of a stream [B]
EMBEDDINGS, WIDTH = 32, 4096
PHOTO_BYTES = 2**20
LINK_BYTES_PER_S = 125e6  # 1 Gbit/s
GROWN_BYTES = 2**22  # window of a connection that is busy
DISTANCES_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)  # round trips
CONNECTIONS: dict[str, dict[str, Any]] = {
    "new": {"handshakes": 2, "window_bytes": INITIAL_WINDOW_BYTES},
    "kept, after a pause": {"window_bytes": INITIAL_WINDOW_BYTES},
    "kept and busy": {"window_bytes": GROWN_BYTES},
    "busy, window never raised": {"window_bytes": GROWN_BYTES},  # the window is of HTTP/2 only
    "paused, window never raised": {"window_bytes": INITIAL_WINDOW_BYTES},
}


@dataclass(frozen=True)
class _Payload:
    """Bytes of request and answer, and numbers that are written and read, of each encoding."""

    request: dict[str, float]
    answer: dict[str, float]
    numbers: dict[str, float]


@functools.cache
def _payloads() -> dict[str, _Payload]:
    """By name."""
    short, long = (float(machine.sample.prompt_tokens.mean()) for machine in (CHAT, AGENTS))
    floats = EMBEDDINGS * WIDTH
    digits = _number_cost("embedding").size_bytes
    none = {"JSON": 0.0, "bytes": 0.0}

    def prompt(size: dict[str, float], numbers: dict[str, float]) -> _Payload:
        return _Payload({name: ENVELOPE[name] + size[name] for name in size}, dict(EVENT), numbers)

    return {
        "a chat's prompt": prompt(
            {"JSON": TOKEN_BYTES * short, "bytes": TOKEN_BYTES * short}, none
        ),
        "an agent's prompt": prompt(
            {"JSON": TOKEN_BYTES * long, "bytes": TOKEN_BYTES * long}, none
        ),
        "its token ids": prompt(
            {"JSON": 7 * long, "bytes": 3 * long}, {"JSON": long, "bytes": 0.0}
        ),
        "32 embeddings back": _Payload(
            {"JSON": 8192.0 + ENVELOPE["JSON"], "bytes": 8192.0 + ENVELOPE["bytes"]},
            {"JSON": digits * floats, "bytes": 4.0 * floats},
            {"JSON": float(floats), "bytes": 0.0},
        ),
        "a photo": prompt({"JSON": base64_bytes(PHOTO_BYTES), "bytes": PHOTO_BYTES}, none),
    }


def _call(
    payload: str,
    encoding: str,
    connection: str,
    round_trip_s: float,
    grpc: bool = True,
    link: float = LINK_BYTES_PER_S,
) -> CallParts:
    """One of the calls; bytes go over gRPC, or as the body of HTTP/1.1, which has no window."""
    what, how = _payloads()[payload], CONNECTIONS[connection]
    capped = grpc and encoding == "bytes" and connection.endswith("never raised")
    return call_parts(
        what.request[encoding],
        what.answer[encoding],
        round_trip_s,
        link,
        work_s=_number_s("token id" if "ids" in payload else "embedding") * what.numbers[encoding],
        stream_window_bytes=STREAM_WINDOW_BYTES if capped else math.inf,
        **how,
    )


def _ms(payload: str, encoding: str, connection: str, round_trip_ms: float) -> float:
    return 1000 * _call(payload, encoding, connection, round_trip_ms / 1000).total_s


def _saved_s(payload: str, round_trip_s: float, link: float) -> tuple[float, float]:
    """What a kept connection saves of a call in JSON, and what bytes save of a kept one [s]."""
    paused = "kept, after a pause"
    new, kept, packed = (
        _call(payload, encoding, connection, round_trip_s, link=link).total_s
        for encoding, connection in (("JSON", "new"), ("JSON", paused), ("bytes", paused))
    )
    return new - kept, kept - packed


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    around_ms = 1000 * CHAT.made.around_s
    read_ms = 1000 * float(CHAT.prompt_s(CHAT.sample.prompt_tokens).mean())
    paused, busy = "kept, after a pause", "kept and busy"
    chat = "a chat's prompt"
    vectors, agent = "32 embeddings back", "an agent's prompt"
    return SimpleNamespace(
        chat_kb=_payloads()[chat].request["JSON"] / 1000,
        first_ms=around_ms + read_ms,
        around_ms=around_ms,
        chat_gain_us=1000 * (_ms(chat, "JSON", paused, 50) - _ms(chat, "bytes", paused, 50)),
        agent_flights=flights(
            _payloads()[agent].request["bytes"], GROWN_BYTES, STREAM_WINDOW_BYTES
        ),
        embeddings_json_ms=_ms(vectors, "JSON", busy, 0.5),
        embeddings_bytes_ms=_ms(vectors, "bytes", busy, 0.5),
        embeddings_base64_kb=base64_bytes(4 * EMBEDDINGS * WIDTH) / 1000,
        embeddings_json_kb=_payloads()[vectors].answer["JSON"] / 1000,
        embeddings_kb=_payloads()[vectors].answer["bytes"] / 1000,
        photo_capped_ms=_ms("a photo", "bytes", "busy, window never raised", 50),
        photo_busy_ms=_ms("a photo", "bytes", busy, 50),
        photo_paused_ms=_ms("a photo", "bytes", paused, 50),
        photo_paused_capped_ms=_ms("a photo", "bytes", "paused, window never raised", 50),
        photo_json_ms=_ms("a photo", "JSON", busy, 50),
        width=WIDTH,
        embeddings_digits_percent=100
        * 1000
        * _call(vectors, "JSON", busy, 0.0005).work_s
        / (_ms(vectors, "JSON", busy, 0.5) - _ms(vectors, "bytes", busy, 0.5)),
        embeddings_slow_ms=1000 * _payloads()[vectors].answer["JSON"] / CONTINENT[1],
    )


def figure_call_times(figure: Figure) -> None:
    """For text the two lines are one; for embeddings digits cost more than the network, unless the
    receiver is far away.

    Calls over a kept connection after a pause, at 1 Gbit/s, in JSON over HTTP and as bytes over
    gRPC; what the model takes is left out.

    Alt: Two line charts with logarithmic axes of the time of a call against the round trip. For a
    chat's prompt the two lines cannot be told apart and rise in proportion. For embeddings the line
    of JSON lies far above that of bytes for short round trips, and the two come close for long
    ones.
    """
    figure.set_size_inches(6.4, 3.2)
    for axes, payload in zip(
        figure.subplots(1, 2, sharey=True), ("a chat's prompt", "32 embeddings back"), strict=True
    ):
        for encoding, colour, width in (("JSON", "C3", 3.0), ("bytes", "C0", 1.4)):
            times = [_ms(payload, encoding, "kept, after a pause", far) for far in DISTANCES_MS]
            axes.plot(DISTANCES_MS, times, color=colour, linewidth=width)
        axes.set(xscale="log", yscale="log", title=payload)
        axes.set(xlabel="round trip [ms]", ylabel="time of a call [ms]")
        axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        axes.minorticks_off()
        axes.annotate("JSON over HTTP", (0.12, 180), color="C3")
        axes.annotate("bytes over gRPC", (0.9, 3.4 if "chat" not in payload else 0.4), color="C0")


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_call_times() -> dict[str, Any]:
    """Choose what you send, how far away you are, and what your connection is like: what does gRPC
    gain?"""

    def of(value: Any) -> list[list[list[float]]]:
        return [
            [
                [value(payload, connection, far) for connection in CONNECTIONS]
                for payload in _payloads()
            ]
            for far in DISTANCES_MS
        ]

    def waits(encoding: str) -> Any:
        return lambda p, c, far: sum(
            1000 * getattr(_call(p, encoding, c, far / 1000), part)
            for part in ("connect_s", "waits_s")
        )

    return {
        "controls": [
            {"label": "round trip", "values": list(DISTANCES_MS), "text": "{:g} ms", "start": 1},
            {"label": "what is sent", "values": list(_payloads()), "start": "32 embeddings back"},
            {"label": "connection", "values": list(CONNECTIONS), "start": "kept, after a pause"},
        ],
        "x": {"label": "round trip", "unit": "ms", "log": True, "range": (0.09, 220)},
        "y": {"label": "time of a call", "unit": "ms", "log": True, "range": (0.1, 6000)},
        "curves": [
            {
                "label": label,
                "unit": "ms",
                "decimals": 1,
                "values": of(lambda p, c, far, e=encoding: _ms(p, e, c, far)),
            }
            for label, encoding in (("JSON over HTTP", "JSON"), ("bytes over gRPC", "bytes"))
        ],
        "readouts": [
            {
                "label": "round trips of JSON",
                "unit": "ms",
                "decimals": 1,
                "values": of(waits("JSON")),
            },
            {"label": "of gRPC", "unit": "ms", "decimals": 1, "values": of(waits("bytes"))},
            {
                "label": "digits",
                "unit": "ms",
                "decimals": 1,
                "values": of(lambda p, c, far: 1000 * _call(p, "JSON", c, far / 1000).work_s),
            },
            {
                "label": "bytes over HTTP/1.1",
                "unit": "ms",
                "decimals": 1,
                "values": of(
                    lambda p, c, far: 1000 * _call(p, "bytes", c, far / 1000, grpc=False).total_s
                ),
            },
        ],
        "reading": "{what is sent}, {round trip} away at 1 Gbit/s, connection {connection}:"
        " {JSON over HTTP} as JSON, {bytes over gRPC} as bytes over gRPC and {bytes over HTTP/1.1}"
        " as bytes over HTTP/1.1. JSON waits {round trips of JSON} for round trips and {digits}"
        " for digits, gRPC {of gRPC} for round trips.",
    }


def check_text_gains_nothing() -> None:
    """For text the two encodings take the same round trips at every distance and on every
    connection, and differ by less than 50 microseconds; but an agent's prompt through a window that
    nobody raised takes as many more round trips as it holds windows.

    Source: both calls, by the same law; an envelope is all that differs; bytes over the window.
    """
    for payload in ("a chat's prompt", "an agent's prompt"):
        for connection in ("new", "kept, after a pause", "kept and busy"):
            gains = [
                _ms(payload, "JSON", connection, far) - _ms(payload, "bytes", connection, far)
                for far in DISTANCES_MS
            ]
            label = f"{payload}, {connection}: gain [ms]"
            checks.inside(label, max(gains, key=abs), 0.0, 0.05)
    for far in (1, 10, 50):
        calls = [
            _ms("an agent's prompt", encoding, "busy, window never raised", far)
            for encoding in ENVELOPE
        ]
        windows = _payloads()["an agent's prompt"].request["bytes"] // STREAM_WINDOW_BYTES
        due = windows * (far - 1000 * STREAM_WINDOW_BYTES / LINK_BYTES_PER_S)
        checks.close(f"{far} ms, unraised: lost [ms]", calls[1] - calls[0], due, atol=0.05)


def check_a_connection_is_worth_more_than_an_encoding_of_text() -> None:
    """Keeping the connection saves two round trips; of text more than bytes do, at any distance and
    on a slow link; of embeddings bytes save more at each of these distances.

    Source: calls at every distance of the slider, at 1 Gbit/s and at 100 Mbit/s.
    """
    for link in (LINK_BYTES_PER_S, CONTINENT[1]):
        for payload in _payloads():
            saved = [_saved_s(payload, far / 1000, link) for far in DISTANCES_MS]
            trips = [1000 * kept / far for (kept, _), far in zip(saved, DISTANCES_MS, strict=True)]
            label = f"{payload}, {link * 8e-6:g} Mbit/s"
            checks.close(f"{label}: round trips", trips, [2.0] * len(trips), rtol=1e-6)
            if payload.endswith("prompt"):
                most = max(packed / kept for kept, packed in saved)
                checks.inside(f"{label}: encoding over connection", most, 0.0, 0.5)
            if payload.startswith("32"):
                least = min(packed / kept for kept, packed in saved)
                checks.inside(f"{label}: encoding over connection", least, 1.1, math.inf)


def check_an_unraised_window_turns_it_round() -> None:
    """A photo over gRPC whose window nobody raised takes longer than as base64 over HTTP/1.1, from
    a round trip of a millisecond on; 50 ms away it takes 900 ms after a pause, and 351 with a
    raised window.

    Source: flights of either, and the bytes that base64 adds; flights of the photo one by one.
    """
    for connection in ("busy, window never raised", "paused, window never raised"):
        for far in DISTANCES_MS:
            times = [_ms("a photo", encoding, connection, far) for encoding in ENVELOPE]
            told = f"{times[0]:.1f} and {times[1]:.1f} ms"
            label = f"{connection}, {far:g} ms"
            checks.holds(label, (times[1] > times[0]) == (far >= 1), got=told)
    for connection, most in (
        ("paused, window never raised", STREAM_WINDOW_BYTES),
        ("kept, after a pause", PHOTO_BYTES),
    ):
        left, window, trips = PHOTO_BYTES, INITIAL_WINDOW_BYTES, 0
        while left > 0:
            left, window, trips = left - min(window, most), 2 * window, trips + 1
        told_ms = _ms("a photo", "bytes", connection, 50)
        checks.close(f"{connection}: photo [ms]", told_ms, 50.0 * trips, atol=2)


def check_sizes_by_hand() -> None:
    """Six digits and a comma in JSON, three bytes in protobuf, for ids of a large vocabulary.

    Source: ids drawn between 100,000 and 163,840, written by both.
    """
    ids = np.random.default_rng(1).integers(100_000, 163_840, 1000).tolist()
    text = len(json.dumps(ids, separators=(",", ":")))
    checks.close("JSON [B]", text / 1000, 7.0, atol=0.002)
    checks.equal("protobuf [B]", sum(len(varint(one)) for one in ids), 3000)
