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
from typing import Any

import numpy as np

from serving_mathematics.architecture.rest_grpc.number_digits import _number_cost, _number_s
from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    CONTINENT,
    INITIAL_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    CallParts,
    call_parts,
    window_to_fill,
)
from serving_mathematics.core.machines.machines import AGENTS, CHAT
from serving_mathematics.core.servers.wire_format import base64_bytes, varint
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

TOKEN_BYTES = 4  # characters of text for a token
ENVELOPE = {"JSON": 300, "bytes": 100}  # [B]
EVENT = {"JSON": 250, "bytes": 30}  # of one token of a stream [B]
EMBEDDINGS, WIDTH = 32, 4096
PHOTO_BYTES = 2**20
LINK_BYTES_PER_S = 125e6  # 1 Gbit/s
SLOW_LINK = 1.25e6  # 10 Mbit/s, which carries less in 50 ms than HTTP/2's first window
GROWN_BYTES = 2**22  # window of a connection that is busy
DISTANCES_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)  # round trips
CONNECTIONS: dict[str, dict[str, Any]] = {
    "new": {"handshakes": 2, "window_bytes": INITIAL_WINDOW_BYTES},
    "kept, after a pause": {"window_bytes": INITIAL_WINDOW_BYTES},
    "kept and busy": {"window_bytes": GROWN_BYTES},
    "busy, small window": {"window_bytes": GROWN_BYTES},  # HTTP/2's, never raised
    "paused, small window": {"window_bytes": INITIAL_WINDOW_BYTES},
}


WAYS = {  # rows of the picture: encoding, and whether it goes over gRPC
    "JSON over HTTP": ("JSON", False),
    "bytes over HTTP": ("bytes", False),
    "bytes over gRPC": ("bytes", True),
}
_Part = tuple[str, float]  # state, and how long it lasts [s]


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
        "an agent's token ids": prompt(
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
    capped = grpc and encoding == "bytes" and connection.endswith("small window")
    return call_parts(
        what.request[encoding],
        what.answer[encoding],
        round_trip_s,
        link,
        work_s=_number_s("token id" if "ids" in payload else "embedding") * what.numbers[encoding],
        stream_window_bytes=STREAM_WINDOW_BYTES if capped else math.inf,
        **how,
    )


def _took(way: str, payload: str, connection: str, round_trip_ms: float) -> CallParts:
    encoding, grpc = WAYS[way]
    return _call(payload, encoding, connection, round_trip_ms / 1000, grpc)


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
    vectors = "32 embeddings back"
    return SimpleNamespace(
        first_ms=around_ms + read_ms,
        around_ms=around_ms,
        chat_gain_us=1000 * (_ms(chat, "JSON", paused, 50) - _ms(chat, "bytes", paused, 50)),
        embeddings_json_ms=_ms(vectors, "JSON", busy, 0.5),
        embeddings_bytes_ms=_ms(vectors, "bytes", busy, 0.5),
        embeddings_base64_kb=base64_bytes(4 * EMBEDDINGS * WIDTH) / 1000,
        embeddings_json_kb=_payloads()[vectors].answer["JSON"] / 1000,
        embeddings_kb=_payloads()[vectors].answer["bytes"] / 1000,
        photo_capped_ms=_ms("a photo", "bytes", "busy, small window", 50),
        photo_busy_ms=_ms("a photo", "bytes", busy, 50),
        width=WIDTH,
        embeddings_digits_percent=100
        * 1000
        * _call(vectors, "JSON", busy, 0.0005).work_s
        / (_ms(vectors, "JSON", busy, 0.5) - _ms(vectors, "bytes", busy, 0.5)),
        embeddings_slow_ms=1000 * _payloads()[vectors].answer["JSON"] / CONTINENT[1],
    )


def figure_call_times(figure: Figure) -> None:
    """For text, the encoding makes next to no difference; for embeddings, digits cost more than the
    network unless the receiver is far away.

    At 1 Gbit/s, without the model's own time. In print: the time of a call over a kept connection
    after a pause, against the round trip.

    Alt: Two line charts with logarithmic axes of the time of a call against the round trip. For a
    chat's prompt, the two lines cannot be told apart and rise in proportion. For embeddings, the
    line of JSON lies far above that of bytes for short round trips, and the two come close for long
    ones.
    """
    figure.set_size_inches(5.8, 3.2)
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


def _flights(size_bytes: float, round_trip_s: float, first: float, most: float) -> list[_Part]:
    """What is sent and waited for until a body has left, flight by flight, first and most bytes in
    one."""
    parts: list[_Part] = []
    while size_bytes > 0:
        sent_s = min(size_bytes, first, most) / LINK_BYTES_PER_S
        size_bytes, first = size_bytes - min(first, most), 2 * first
        parts.append(("answer", sent_s))
        if size_bytes > 0:
            parts.append(("waits", max(0.0, round_trip_s - sent_s)))
    return parts


def _parts(
    payload: str, encoding: str, connection: str, round_trip_s: float, grpc: bool = True
) -> list[_Part]:
    """The same call part after part, as a client sees it, of the states in which it is drawn."""
    what, how = _payloads()[payload], CONNECTIONS[connection]
    capped = grpc and encoding == "bytes" and connection.endswith("small window")
    most = STREAM_WINDOW_BYTES if capped else math.inf
    cost = _number_cost("token id" if "ids" in payload else "embedding")
    write, read = (
        ("prompt", 1e-9 * each * what.numbers[encoding]) for each in (cost.write_ns, cost.read_ns)
    )
    asked, answered = (
        _flights(size, round_trip_s, how["window_bytes"], most)
        for size in (what.request[encoding], what.answer[encoding])
    )
    half = ("waits", round_trip_s / 2)
    opened = ("starts", how.get("handshakes", 0) * round_trip_s)
    if payload.endswith("back"):  # digits of the answer
        return [opened, *asked, half, write, half, *answered, read]
    return [opened, write, *asked, half, read, half, *answered]


def _row(way: str, payload: str, connection: str, round_trip_ms: float) -> list[tuple[Any, ...]]:
    """The bars of a call [ms], its total at the end of the last."""
    encoding, grpc = WAYS[way]
    bars: list[list[Any]] = []
    end = 0.0
    for state, took_s in _parts(payload, encoding, connection, round_trip_ms / 1000, grpc):
        start, end = end, end + 1000 * took_s
        if bars and bars[-1][3] == state:
            bars[-1][2] = end
        elif f"{start:.4g}" != f"{end:.4g}":  # as they are kept
            bars.append([way, start, end, state])
    bars[-1].append(f"{end:,.1f} ms")
    return [tuple(bar) for bar in bars]


def slider_call_times() -> dict[str, Any]:
    """One call, from beginning to end. Change what is sent, how far away the other side is, and the
    connection: what does the call wait for?"""

    def of(value: Any) -> list[list[list[Any]]]:
        return [
            [[value(payload, kept, far) for kept in CONNECTIONS] for far in DISTANCES_MS[::2]]
            for payload in _payloads()
        ]

    def rows(*call: Any) -> list[tuple[Any, ...]]:
        return [bar for way in WAYS for bar in _row(way, *call)]

    def format_percent(*call: Any) -> float:
        text, packed = (_took(way, *call).total_s for way in list(WAYS)[:2])
        return 100 * (1 - packed / text)

    def longer_percent(*call: Any) -> float:
        plain, grpc = (_took(way, *call).total_s for way in list(WAYS)[1:])
        return 100 * (grpc / plain - 1)

    def waits_percent(*call: Any) -> float:
        took = _took(list(WAYS)[2], *call)
        return 100 * (took.connect_s + took.waits_s) / took.total_s

    return {
        "controls": [
            {"label": "what is sent", "values": list(_payloads()), "start": "32 embeddings back"},
            {"label": "round trip", "values": DISTANCES_MS[::2], "text": "{:g} ms", "start": 2},
            {"label": "connection", "values": list(CONNECTIONS), "start": "paused, small window"},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "one call at 1 Gbit/s, without the model",
                "lanes": list(WAYS),
                "x": {"label": "time", "unit": "ms"},
                "bars": of(rows),
            }
        ],
        "readouts": [
            {"label": "saved", "unit": "%", "decimals": 0, "values": of(format_percent)},
            {"label": "longer", "unit": "%", "decimals": 0, "values": of(longer_percent)},
            {"label": "waiting", "unit": "%", "decimals": 0, "values": of(waits_percent)},
        ],
        "legend": {
            "starts": "opens the connection",
            "waits": "waits for a round trip",
            "answer": "bytes on the link",
            "prompt": "digits, written and read",
        },
        "reading": "Over HTTP, bytes take {saved} less time than JSON. Over gRPC, bytes take"
        " {longer} longer than over HTTP; {waiting} of that call is waiting for the other side.",
    }


def check_text_gains_nothing() -> None:
    """For text, unless a small window is in the way, the two encodings take the same round trips at
    every distance and differ by less than 50 microseconds. Over gRPC through a window that nobody
    raised, an agent's prompt takes one more round trip for each window that it fills.

    Source: both calls, by the same law: only the envelope differs; the prompt's bytes over the
    window's.
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
            _ms("an agent's prompt", encoding, "busy, small window", far) for encoding in ENVELOPE
        ]
        windows = _payloads()["an agent's prompt"].request["bytes"] // STREAM_WINDOW_BYTES
        due = windows * (far - 1000 * STREAM_WINDOW_BYTES / LINK_BYTES_PER_S)
        checks.close(f"{far} ms, unraised: lost [ms]", calls[1] - calls[0], due, atol=0.05)


def check_a_connection_is_worth_more_than_an_encoding_of_text() -> None:
    """Keeping the connection saves two round trips. For text, that is at least twice what bytes
    save, at every distance, on a slow link too; for embeddings, bytes save more at each of these
    distances.

    Source: calls at every distance, at 1 Gbit/s and at 100 Mbit/s.
    """
    for link in (LINK_BYTES_PER_S, CONTINENT[1]):
        for payload in _payloads():
            saved = [_saved_s(payload, far / 1000, link) for far in DISTANCES_MS]
            trips = [1000 * kept / far for (kept, _), far in zip(saved, DISTANCES_MS, strict=True)]
            label = f"{payload}, {link * 8e-6:g} Mbit/s"
            checks.close(f"{label}: round trips", trips, [2.0] * len(trips), rtol=1e-6)
            if payload.endswith("prompt"):
                most = max(packed / kept for kept, packed in saved)
                checks.inside(f"{label}: saved by encoding over connection", most, 0.0, 0.5)
            if payload.startswith("32"):
                least = min(packed / kept for kept, packed in saved)
                checks.inside(f"{label}: saved by encoding over connection", least, 1.1, math.inf)


def check_an_unraised_window_turns_it_round() -> None:
    """Over gRPC through a window that nobody raised, a photo takes longer than as base64 over
    HTTP/1.1 if a round trip takes a millisecond or more. At 50 ms, this also holds at 100 Mbit/s,
    but not at 10, where the link carries less than the window in a round trip.

    Source: the flights of both, and the bytes that base64 adds.
    """
    for link in (CONTINENT[1], SLOW_LINK):
        text, packed = (
            _call("a photo", encoding, "busy, small window", CONTINENT[0], link=link).total_s
            for encoding in ENVELOPE
        )
        holds = window_to_fill(CONTINENT[0], link) <= STREAM_WINDOW_BYTES
        label = f"{link * 8e-6:g} Mbit/s: gRPC is slower unless a window fills the link"
        checks.holds(label, (packed < text) == holds == (link == SLOW_LINK), got=packed / text)
    for connection in ("busy, small window", "paused, small window"):
        for far in DISTANCES_MS:
            times = [_ms("a photo", encoding, connection, far) for encoding in ENVELOPE]
            told = f"{times[0]:.1f} and {times[1]:.1f} ms"
            label = f"{connection}, {far:g} ms"
            checks.holds(label, (times[1] > times[0]) == (far >= 1), got=told)


def check_sizes_by_hand() -> None:
    """Token ids of a large vocabulary take six digits and a comma in JSON, and three bytes in
    protobuf.

    Source: ids drawn between 100,000 and 163,840, written in both.
    """
    ids = np.random.default_rng(1).integers(100_000, 163_840, 1000).tolist()
    text = len(json.dumps(ids, separators=(",", ":")))
    checks.close("JSON [B]", text / 1000, 7.0, atol=0.002)
    checks.equal("protobuf [B]", sum(len(varint(one)) for one in ids), 3000)
