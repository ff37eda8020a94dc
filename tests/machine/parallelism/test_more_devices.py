"""The slider of devices and splits: prices by the loop, what cannot be, and what was measured."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.parallelism.more_devices import (
    REQUESTS,
    _deployed,
    _found,
    slider_more_devices,
)


def _readouts() -> dict[str, Any]:
    return {one["label"]: np.array(one["values"]) for one in slider_more_devices()["readouts"]}


def test_every_row_is_as_long_as_the_loops_token_and_holds_its_weights() -> None:
    told, said = slider_more_devices(), _readouts()
    devices, ways, requests = (control["values"] for control in told["controls"])
    gigabytes = 16.06  # of the model's weights, which a device of n that share has an nth of
    for i, n in enumerate(devices):
        for j, way in enumerate(ways):
            for k, count in enumerate(requests):
                bars = told["panels"][0]["bars"][i][j][k]
                alone = replace(CHAT.deployment, concurrency=count / n)
                copy = 1e3 * float(loop_latencies(count_work([alone]), FITTED).per_token_s[0])
                assert [bar[2] for bar in bars if bar[0] == "copy"][-1] == pytest.approx(copy)
                assert said["copy"][i, j, k] == pytest.approx(copy)
                rows = {bar[0]: [one for one in bars if one[0] == bar[0]] for bar in bars}
                width = {"layers shared": n, "copies of two": 2}.get(way)
                if way == "copies of two" and n == 1:
                    assert rows.keys() == {"copy"}
                    assert said["time"][i, j, k] is None
                    continue
                assert rows.keys() == {"copy", *(str(1 + d) for d in range(n))}
                for name, row in rows.items():
                    assert row[0][1] == 0
                    assert all(end == start for (_, _, end, *_), (_, start, *_) in pairwise(row))
                    if name != "copy":
                        assert row[-1][2] == pytest.approx(said["time"][i, j, k], rel=1e-3)
                        if width:
                            assert row[-1][4] == f"{gigabytes / width:.1f} GB"


def test_stages_take_turns_and_other_copies_serve_others() -> None:
    told = slider_more_devices()
    devices, ways, _ = (control["values"] for control in told["controls"])

    def at_work(way: str) -> list[list[float]]:
        """From when to when each of eight devices works on the token, with 16 requests."""
        bars = told["panels"][0]["bars"][devices.index(8)][ways.index(way)][0]
        busy = [[b for b in bars if b[0] == str(1 + d) and b[3] != "idle"] for d in range(8)]
        return [[row[0][1], row[-1][2]] if row else [] for row in busy]

    turns = at_work("stages")
    assert all(end == pytest.approx(start) for (_, end), (start, _) in pairwise(turns))
    assert len({round(end - start, 6) for start, end in turns}) == 1
    assert [bool(row) for row in at_work("copies of two")] == [True] * 2 + [False] * 6
    assert len(set(map(tuple, at_work("layers shared")))) == 1


def test_sharing_divides_the_weights_and_adds_messages() -> None:
    told = slider_more_devices()

    def parts(place: int) -> dict[str, float]:
        bars = told["panels"][0]["bars"][place][0][0]
        return {state: end - start for row, start, end, state, *_ in bars if row == "1"}

    one, eight, sixteen = parts(0), parts(3), parts(4)
    assert one["answer"] / eight["answer"] == pytest.approx(8)
    assert one["starts"] == pytest.approx(eight["starts"])  # floors stay
    assert "prompt" not in one
    assert 5 * eight["prompt"] < sixteen["prompt"] < sum(sixteen.values())  # across nodes


def test_prices_and_runs_are_those_of_the_splits() -> None:
    said = _readouts()
    assert said["price"][3, 0, 0] == _found()["chat, layers shared", 8, 16][1]
    assert said["copies"][4, 2, 1] == _found()["chat, copies", 16, 64][1]
    assert (said["runs"][:4, 0] > 100).all()
    assert not said["runs"][4, 0].any()  # none beyond eight devices
    assert not said["runs"][1:, 2].any()  # none with stages


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
