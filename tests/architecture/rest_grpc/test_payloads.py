"""Today's payloads: the slider against its parts, and the file to take along."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from serving_mathematics.architecture.rest_grpc import number_digits
from serving_mathematics.architecture.rest_grpc.payloads import (
    CONNECTIONS,
    DISTANCES_MS,
    LINK_BYTES_PER_S,
    _call,
    _ms,
    _payloads,
    example,
    slider_call_times,
)
from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    CONTINENT,
    STREAM_WINDOW_BYTES,
    window_to_fill,
)
from serving_mathematics.core.machines.machines import CHAT

from builder import ROOT

PAGE = ROOT / "docs/architecture/rest-grpc.md"
FILE = ROOT / "docs/downloads/http2-windows.yaml"


def test_the_slider_shows_the_calls() -> None:
    slider = slider_call_times()
    shape = (len(DISTANCES_MS), len(_payloads()), len(CONNECTIONS))
    text, packed = (np.array(curve["values"]) for curve in slider["curves"])
    assert text.shape == packed.shape == shape
    assert text[0, 0, 0] == pytest.approx(_ms("a chat's prompt", "JSON", "new", 0.1))
    json_trips = np.array(slider["readouts"][0]["values"]) / np.array(DISTANCES_MS)[:, None, None]
    assert json_trips[:, 0, 0] == pytest.approx(3)  # two handshakes and the call
    assert json_trips[:, 0, 2] == pytest.approx(1)
    assert json_trips[-1, 3, 1] == pytest.approx(8, rel=0.01)  # far away, eight flights
    assert json_trips[0, 3, 1] == pytest.approx(1)  # so near that every flight fills the link
    assert (np.diff(text, axis=0) > 0).all()  # farther is slower


def test_only_the_window_makes_bytes_slower() -> None:
    slider = slider_call_times()
    text, packed = (np.array(curve["values"]) for curve in slider["curves"])
    assert (packed[:, :, :3] <= text[:, :, :3]).all()
    plain = np.array(slider["readouts"][-1]["values"])  # without gRPC, no window
    assert plain[:, :, :3] == pytest.approx(packed[:, :, :3])
    waited = np.array(DISTANCES_MS) > 1000 * STREAM_WINDOW_BYTES / LINK_BYTES_PER_S
    for never_raised, raised in ((3, 2), (4, 1)):
        assert (packed[-1, :, never_raised] > text[-1, :, never_raised]).any()
        assert (plain[waited, 4, never_raised] < packed[waited, 4, never_raised]).all()
        assert plain[~waited, 4, never_raised] == pytest.approx(packed[~waited, 4, never_raised])
        assert plain[:, :, never_raised] == pytest.approx(plain[:, :, raised])


def test_example_by_hand() -> None:
    told, digits = example(), number_digits.example()
    assert told.chat_kb == pytest.approx((300 + 4 * CHAT.sample.prompt_tokens.mean()) / 1000)
    assert told.chat_gain_us == pytest.approx((200 + 220) / 125)  # bytes over 1 Gbit/s
    assert told.embeddings_kb == pytest.approx(4 * 32 * 4096 / 1000)
    difference = told.embeddings_json_ms - told.embeddings_bytes_ms
    digits_ms = 32 * 4096 * digits.digit_ns / 1e6
    assert told.embeddings_digits_percent == pytest.approx(100 * digits_ms / difference)
    assert 4e6 / digits.digit_ns == pytest.approx(7_000, rel=0.2)  # numbers in four milliseconds
    assert told.embeddings_slow_ms == pytest.approx(told.embeddings_json_kb * 8 / 100)
    capped = _call("a photo", "bytes", "busy, window never raised", 0.05)
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
