"""Today's payloads: the slider against its parts, and the file to take along."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from serving_mathematics.architecture.rest_grpc.payloads import (
    CONNECTIONS,
    DISTANCES_MS,
    _call,
    _ms,
    _payloads,
    example,
    slider_call_times,
)
from serving_mathematics.architecture.rest_grpc.rest_grpc import CONTINENT, window_to_fill
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
    json_trips = np.array(slider["readouts"][0]["values"])
    assert json_trips[:, 0, 0] == pytest.approx(3)  # two handshakes and the call
    assert json_trips[:, 0, 2] == pytest.approx(1)
    assert (np.diff(text, axis=0) > 0).all()  # farther is slower


def test_only_the_window_makes_bytes_slower() -> None:
    slider = slider_call_times()
    text, packed = (np.array(curve["values"]) for curve in slider["curves"])
    assert (packed[:, :, :3] <= text[:, :, :3]).all()
    assert (packed[-1, :, 3] > text[-1, :, 3]).any()


def test_example_by_hand() -> None:
    told = example()
    assert told.chat_kb == pytest.approx((300 + 4 * CHAT.sample.prompt_tokens.mean()) / 1000)
    assert told.chat_gain_us == pytest.approx((200 + 220) / 125)  # bytes over 1 Gbit/s
    assert told.far_new_ms == pytest.approx(100)
    assert told.embeddings_kb == pytest.approx(4 * 32 * 4096 / 1000)
    capped = _call("a photo", "bytes", "busy, window never raised", 0.05)
    assert capped.waits_s == pytest.approx(17 * 0.05)  # 16 whole windows and the envelope's
    assert told.photo_capped_ms == pytest.approx(1000 * capped.total_s)


def test_the_file_fills_the_chapters_link_and_is_shown() -> None:
    text = FILE.read_text(encoding="utf-8")
    (cluster,) = yaml.safe_load(text)["clusters"]
    (options,) = cluster["typed_extension_protocol_options"].values()
    http2 = options["explicit_http_config"]["http2_protocol_options"]
    assert http2["initial_stream_window_size"] > window_to_fill(*CONTINENT)
    assert http2["initial_stream_window_size"] >= window_to_fill(0.08, CONTINENT[1])
    assert http2["initial_connection_window_size"] >= http2["initial_stream_window_size"]
    assert http2["initial_connection_window_size"] < 2**31  # the most that HTTP/2 allows
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in text
    assert "](../downloads/http2-windows.yaml)" in page
