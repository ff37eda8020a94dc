"""The stepper of devices and splits: prices by the loop, what cannot be, and what was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.parallelism.more_devices import (
    DEVICES,
    REQUESTS,
    SPLITS,
    _deployed,
    _found,
    example,
    stepper_more_devices,
)


def test_the_stepper_says_what_the_loop_says() -> None:
    told = stepper_more_devices()
    times, prices = (np.array(panel["curves"][0]["values"]) for panel in told["panels"])
    runs = np.array(told["readouts"][1]["values"])
    assert times.shape == prices.shape == runs.shape == (6, 8, 4)
    for i, devices in enumerate(DEVICES):
        for k, requests in enumerate(REQUESTS):
            one = replace(CHAT.deployment, tensor=devices, concurrency=float(requests))
            loop = loop_latencies(count_work([one]), FITTED)
            assert times[i, 0, k] == pytest.approx(1e3 * float(loop.per_token_s[0]))
    place = DEVICES.index(8), list(SPLITS).index("chat, layers shared"), REQUESTS.index(128)
    assert times[place] == example().many_shared_ms
    assert runs[place] > 100


def test_what_cannot_be_is_absent() -> None:
    assert _deployed("mixture, layers shared", 1, 16) is None  # weights
    assert _deployed("mixture, copies of eight", 4, 16) is None
    assert _deployed("chat, copies", 8, 1) is None  # a copy would have nothing to do
    assert ("mixture, layers shared", 4, 16) not in _found()  # room for one sequence


def test_one_copy_one_stage_and_one_engine_are_the_same() -> None:
    for requests in REQUESTS:
        rows = [_found()[f"chat, {way}", 1, requests] for way in ("copies", "stages")]
        for row in rows:
            assert row == pytest.approx(_found()["chat, layers shared", 1, requests])


def test_copies_share_the_requests_out() -> None:
    for copies, requests in ((8, 16), (8, 128), (32, 512)):
        copy = replace(CHAT.deployment, concurrency=requests / copies)
        alone = loop_latencies(count_work([copy]), FITTED).per_token_s[0]
        assert _found()["chat, copies", copies, requests][0] == pytest.approx(1e3 * alone)
    eight, one = _found()["chat, copies", 8, 128], _found()["chat, copies", 1, 16]
    assert eight[:2] == pytest.approx(one[:2])
    assert eight[2] == pytest.approx(8 * one[2])


def test_it_says_who_waits() -> None:
    """A faster token may be a dearer one where most requests wait for a place."""
    shared, apart = (
        _found()[f"mixture, {way}", 8, 512] for way in ("layers shared", "attention apart")
    )
    assert shared[0] < apart[0]
    assert shared[1] > apart[1]
    assert 50 < shared[2] < 100 < apart[2]
    assert _found()["chat, layers shared", 8, 512][2] == 512
    assert _found()["chat, copies", 8, 128][2] == 128
    told = stepper_more_devices()["readouts"][0]
    place = DEVICES.index(8), list(SPLITS).index("mixture, layers shared"), REQUESTS.index(512)
    assert np.array(told["values"])[place] == shared[2]
