from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.report.findings.finding import (
    Asked,
    Finding,
    _alike,
    _blocks_of,
    duration,
    percent,
)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.9999, "1,000 ms"), (12.345, "12.3 s"), (1e-5, "10 µs"), (3e-9, "3 ns"), (-0.2, "−200 ms")],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told.replace("e+0", "e")


def test_shares_near_one_keep_their_digits() -> None:
    assert percent(0.99912) == "99.91%"
    assert percent(1.0) == "100%"
    assert percent(0.5, 0.4, 0.6) == "50% (40% to 60%)"


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.99, "99%"), (0.9872, "98.7%"), (0.98996, "98.996%"), (0.9903, "99.03%"), (0.9, "90%")],
)
def test_no_share_beside_a_promise_reads_like_it(share: float, told: str) -> None:
    assert percent(share, beside=0.99) == told
    assert percent(0.5, share, share, 0.99) == f"50% ({told} to {told})"


def test_blocks_leave_out_what_is_not_known() -> None:
    blocks = _blocks_of(np.array([1.0, np.nan, 2.0, 3.0, 4.0]), 2)
    assert [one.tolist() for one in blocks] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("stays", [0.0, 0.5, 0.9])
def test_of_a_chain_of_two_states_as_many_are_worth_one_as_its_memory_says(stays: float) -> None:
    """Each is drawn anew or stays as it was: autocorrelations of stays^k add up."""
    rng = np.random.default_rng(7)
    drawn, anew = rng.random(60_000) < 0.1, rng.random(60_000) >= stays
    anew[0] = True
    flags = drawn[np.maximum.accumulate(np.where(anew, np.arange(60_000), 0))] * 1.0
    assert _alike(flags) == pytest.approx((1 + stays) / (1 - stays), rel=0.15)
    assert _alike(1 - flags) == pytest.approx(_alike(flags))


def test_an_objective_is_one() -> None:
    assert Asked(ttft_s=1.0, engine="sglang").engine == "sglang"
    with pytest.raises(ValueError, match="engine must be vllm or sglang"):
        Asked(engine="tgi")
    assert Finding("a", "note", "b", "c", "d", "e", "f").files == {}
