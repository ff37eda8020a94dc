"""Today's payloads: the picture against its parts, and the file to take along."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import yaml
from serving_mathematics.architecture.rest_grpc import number_digits
from serving_mathematics.architecture.rest_grpc.payloads import (
    CONNECTIONS,
    DISTANCES_MS,
    LINK_BYTES_PER_S,
    PHOTO_BYTES,
    WAYS,
    _call,
    _payloads,
    example,
    slider_call_times,
)
from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    CONTINENT,
    STREAM_WINDOW_BYTES,
    window_to_fill,
)

from builder import ROOT

PAGE = ROOT / "docs/architecture/rest-grpc.md"
SLOW = "a photo", 50
FILE = ROOT / "docs/downloads/http2-windows.yaml"


CALLS = list(itertools.product(_payloads(), DISTANCES_MS[::2], CONNECTIONS))


def drawn(state: str | None = None) -> dict[tuple[str, float, str], list[float]]:
    """By call: how long the bars of each way are together [ms]."""
    (panel,) = slider_call_times()["panels"]
    runs = (run for by_distance in panel["bars"] for row in by_distance for run in row)
    return {
        call: [
            sum(bar[2] - bar[1] for bar in run if bar[0] == way and state in (None, bar[3]))
            for way in WAYS
        ]
        for call, run in zip(CALLS, runs, strict=True)
    }


def test_the_bars_are_the_parts_of_the_calls() -> None:
    shown = {state: drawn(state) for state in ("starts", "waits", "answer", "prompt")}
    for payload, far, kept in CALLS:
        for i, (encoding, grpc) in enumerate(WAYS.values()):
            call = _call(payload, encoding, kept, far / 1000, grpc)
            due = call.connect_s, call.waits_s, call.transfer_s, call.work_s
            got = [one[payload, far, kept][i] for one in shown.values()]
            assert got == pytest.approx(1000 * np.array(due), abs=4e-4 * 1000 * call.total_s)


def test_a_row_is_one_call_from_beginning_to_end() -> None:
    (panel,) = slider_call_times()["panels"]
    run = panel["bars"][list(_payloads()).index("a photo")][4][3]  # 50 ms, window never raised
    for way in WAYS:
        bars = [bar for bar in run if bar[0] == way]
        for before, after in itertools.pairwise(bars):
            assert before[2] == pytest.approx(after[1], rel=1e-3)
        assert bars[-1][4] == f"{bars[-1][2]:,.1f} ms"
        flights = sum(bar[3] == "answer" for bar in bars)  # an event's bytes are too few to see
        assert flights == (PHOTO_BYTES // STREAM_WINDOW_BYTES if way == "bytes over gRPC" else 1)


def test_only_the_window_makes_bytes_slower() -> None:
    for (_, far, kept), (text, plain, packed) in drawn().items():
        raised = not kept.endswith("small window")
        assert plain <= text + 1e-9
        waited = far > 1000 * STREAM_WINDOW_BYTES / LINK_BYTES_PER_S
        assert packed == pytest.approx(plain) if raised or not waited else packed >= plain
    photo = {kept: row for (what, far, kept), row in drawn().items() if (what, far) == SLOW}
    assert photo["busy, small window"][2] > photo["busy, small window"][0]


def test_the_card_says_how_much_longer_grpc_takes_and_begins_where_it_does() -> None:
    card = slider_call_times()
    longer = np.array(card["readouts"][1]["values"]).ravel()
    bars = np.array(list(drawn().values()))
    assert longer == pytest.approx(100 * (bars[:, 2] / bars[:, 1] - 1), abs=0.1)
    begun = drawn()[tuple(control["start"] for control in card["controls"])]
    assert begun[1] * 1.5 < begun[2] < begun[0]


def test_example_by_hand() -> None:
    told, digits = example(), number_digits.example()
    assert told.chat_gain_us == pytest.approx((200 + 220) / 125)  # bytes over 1 Gbit/s
    assert told.embeddings_kb == pytest.approx(4 * 32 * 4096 / 1000)
    difference = told.embeddings_json_ms - told.embeddings_bytes_ms
    digits_ms = 32 * 4096 * digits.digit_ns / 1e6
    assert told.embeddings_digits_percent == pytest.approx(100 * digits_ms / difference)
    assert 4e6 / digits.digit_ns == pytest.approx(7_000, rel=0.2)  # numbers in four milliseconds
    assert told.embeddings_slow_ms == pytest.approx(told.embeddings_json_kb * 8 / 100)
    capped = _call("a photo", "bytes", "busy, small window", 0.05)
    window_s = STREAM_WINDOW_BYTES / LINK_BYTES_PER_S  # 16 whole windows and the envelope's
    assert capped.waits_s == pytest.approx(0.05 + 16 * (0.05 - window_s))
    assert told.photo_capped_ms == pytest.approx(1000 * capped.total_s)


def test_the_file_fills_the_chapters_link_and_is_shown() -> None:
    text = FILE.read_text(encoding="utf-8")
    (listener,) = yaml.safe_load(text)["listeners"]  # of requests it is the receiver
    (chain,) = listener["filter_chains"]
    http2 = chain["filters"][0]["typed_config"]["http2_protocol_options"]
    assert http2["initial_stream_window_size"] > window_to_fill(*CONTINENT)
    assert http2["initial_stream_window_size"] >= window_to_fill(0.134, LINK_BYTES_PER_S)
    assert max(DISTANCES_MS) / 1000 * CONTINENT[1] < http2["initial_stream_window_size"]
    assert http2["initial_connection_window_size"] >= http2["initial_stream_window_size"]
    assert http2["initial_connection_window_size"] < 2**31  # the most that HTTP/2 allows
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in text
    assert "](../downloads/http2-windows.yaml)" in page
