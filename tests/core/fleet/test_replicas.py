"""Replicas that come and go, separate engines and lower tiers, traced by hand."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Workload,
    chat_workload,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import token_budgets
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.scaling import Scaling, keda
from serving_mathematics.core.fleet.scaling_rules import fixed, hpa_waiting, knative
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.tiers import Tier

ONE = Engine(1.0, max_sequences=1)


def requests_of(workload: Workload) -> Requests:
    return Requests(workload.arrival_s, workload.prompt_tokens, workload.output_tokens)


def test_a_second_replica_comes_after_its_start() -> None:
    """Three answers of 4 s on one place each; at 2 s a second replica is ordered, which serves from
    5 s on: the third request goes there."""
    asked = Requests([0.0, 0.5, 5.5], [4] * 3, [4] * 3)
    scaling = Scaling(lambda: fixed(2), ONE, sync_s=2.0, startup_s=3.0)
    got = simulate_fleet(asked, Fleet([ONE], scaling=scaling))
    assert got.engine.tolist() == [0, 0, 1]
    assert got.completion_s.tolist() == [4.0, 8.0, 9.5]
    assert got.asked_s[:3].tolist() == [2.0, 4.0, 6.0]
    assert got.ordered[:3].tolist() == [2, 2, 2]
    assert got.serving[:3].tolist() == [1, 1, 2]
    assert got.paid_s.tolist() == [got.asked_s[-1], got.asked_s[-1] - 2.0]


def test_a_replica_drains() -> None:
    """Two at first; at 3 s one is enough: the one with fewer requests takes no more, finishes its
    own at 6 s, and is paid for until then."""
    asked = Requests([0.0, 0.0, 1.0, 3.5], [4] * 4, [9, 6, 1, 1])
    engines = [Engine(1.0, max_sequences=4)] * 2
    scaling = Scaling(lambda: fixed(1), engines[0], sync_s=3.0)
    got = simulate_fleet(asked, Fleet(engines, scaling=scaling))
    assert got.engine.tolist() == [0, 1, 0, 0]
    assert got.completion_s.tolist() == [9.0, 6.0, 2.0, 5.0]
    assert got.paid_s[1] == 6.0


def test_what_starts_is_called_off_first() -> None:
    wishes = iter([3, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    scaling = Scaling(lambda: lambda *_: next(wishes), ONE, sync_s=1.0, startup_s=5.0)
    got = simulate_fleet(Requests([0.0], [4], [5]), Fleet([ONE], scaling=scaling))
    assert got.ordered[:3].tolist() == [3, 1, 1]
    assert got.serving.tolist() == [1] * got.serving.size
    assert got.paid_s[1:].tolist() == [1.0, 1.0]


def test_from_none_to_one_and_back() -> None:
    """KEDA asks every 2 s, and starts the first replica in 3 s for who came at 0.5 s; it is gone
    10 s after there was something to do."""
    asked = Requests([0.5, 30.0], [4, 4], [2, 2])
    rule = partial(keda, 8.0, places=4, cooldown_s=10.0)
    scaling = Scaling(rule, ONE, sync_s=2.0, startup_s=3.0, least=0)
    got = simulate_fleet(asked, Fleet([ONE], scaling=scaling))
    assert got.completion_s[0] == 2.5
    assert got.serving[got.asked_s == 14.0].tolist() == [0]
    assert got.completion_s[1] == 34.0 + 1.0 + 2.0  # asked at 34 s, as the mean of 2 s before
    assert got.engine.tolist() == [0, 1]
    asks, same = rule(stabilization_s=0.0), hpa_waiting(8.0, 4, stabilization_s=0.0)
    for k, requests in enumerate((40.0, 56.0, 104.0, 44.0)):  # of which ten replicas serve 40
        seen = 15.0 * k, 10, 10, 1.0, requests
        assert asks(*seen) == same(*seen)
    assert asks(60.0, 10, 10, 1.0, 160.0) == 15


def test_rules_of_the_chapter_serve_as_they_are() -> None:
    """Twice the load that one replica carries: the fleet grows within the limits, and everybody is
    answered; a fleet that is large enough stays as it is."""
    workload = chat_workload(np.random.default_rng(3), 45.0, 6000)
    for rule in (partial(hpa_waiting, 2.0, 64), partial(knative, 60.0, tick_s=2.0)):
        scaling = Scaling(rule, EIGHT_BILLION, sync_s=2.0, startup_s=20.0, most=5)
        got = simulate_fleet(requests_of(workload), Fleet([EIGHT_BILLION], scaling=scaling))
        assert not np.isnan(got.completion_s).any()
        assert 2 <= got.ordered.max() <= 5
        assert (got.ordered >= 1).all()
    scaling = Scaling(lambda: fixed(3), EIGHT_BILLION)
    steady = simulate_fleet(requests_of(workload), Fleet([EIGHT_BILLION] * 3, scaling=scaling))
    alone = simulate_fleet(requests_of(workload), Fleet([EIGHT_BILLION] * 3))
    assert np.array_equal(steady.completion_s, alone.completion_s)


def test_who_runs_or_drains_does_not_wait() -> None:
    """A rule on waiting requests orders nothing where places are free: neither that fewer run now
    than on average, nor what a replica that goes still holds, is a line."""
    workload = chat_workload(np.random.default_rng(3), 12.0, 1500)
    rule = partial(hpa_waiting, 2.0, 64, stabilization_s=0.0)
    scaling = Scaling(rule, EIGHT_BILLION, sync_s=5.0, startup_s=10.0)
    got = simulate_fleet(requests_of(workload), Fleet([EIGHT_BILLION] * 3, scaling=scaling))
    assert (got.admitted_s - got.sent_s).max() < 0.2
    assert set(got.ordered) == {1}


def test_an_engine_fails_with_what_it_holds() -> None:
    """At 2.5 s: the second's request is lost, or comes back after a second and begins anew."""
    asked = Requests([0.0, 0.0], [4, 4], [4, 4])
    fleet: dict[str, Any] = {"engines": [ONE, ONE], "failures": [(2.5, 1)]}
    lost = simulate_fleet(asked, Fleet(**fleet))
    assert lost.completion_s[0] == 4.0
    assert math.isnan(lost.completion_s[1])
    assert math.isnan(lost.first_token_s[1])
    assert (lost.engine[1], lost.refused[1], lost.paid_s[1]) == (-1, 1, 2.5)
    back = simulate_fleet(asked, Fleet(**fleet, retry=lambda *_: 1.0))
    assert back.completion_s.tolist() == [4.0, 8.0]
    assert back.engine.tolist() == [0, 0]
    nobody = simulate_fleet(asked, Fleet([ONE], failures=[(0.5, 0)]))
    assert np.isnan(nobody.completion_s).all()


def test_prompts_and_answers_apart() -> None:
    """Steps of 1 s; prompts of 4 and 6 tokens of 2 bytes over 4 bytes a second: read together until
    1 s, moved until 3 and 6 s, half a second on the way; the first answer has steps from 3.5, 4.5
    and 5.5 s, the second joins at 6.5 s."""
    asked = Requests([0.0, 0.0, 0.0], [4, 6, 5], [4, 2, 1])
    engine = Engine(1.0)
    parts = Fleet([engine] * 2, prompt_engines=1, token_bytes=2.0, link_bytes_per_s=4.0, link_s=0.5)
    got = simulate_fleet(asked, parts)
    assert got.first_token_s.tolist() == [1.0] * 3
    assert got.completion_s.tolist() == [6.5, 7.5, 1.0]
    assert got.engine.tolist() == [1, 1, 0]
    assert got.work[:, :3].tolist() == [[1, 15, 0], [4, 0, 4]]


def test_apart_without_interference_is_two_engines() -> None:
    """With a link of no delay prompts are those of an engine of prompts, and every answer takes its
    steps beside the others."""
    workload = chat_workload(np.random.default_rng(8), 1.0, 400)
    got = simulate_fleet(requests_of(workload), Fleet([EIGHT_BILLION] * 2, prompt_engines=1))
    single = Workload(workload.arrival_s, workload.prompt_tokens, np.ones(400))
    assert np.array_equal(got.first_token_s, simulate(single, EIGHT_BILLION).completion_s)
    tpot = (got.completion_s - got.first_token_s)[workload.output_tokens > 1]
    steps = (workload.output_tokens - 1)[workload.output_tokens > 1]
    assert (tpot >= steps * EIGHT_BILLION.step_s).all()
    assert got.work[:, 1].tolist() == [workload.prompt_tokens.sum(), 0]
    assert got.work[:, 2].tolist() == [0, (workload.output_tokens - 1).sum()]


def test_a_tier_keeps_what_the_device_lacks() -> None:
    """A device of 4 blocks of 4 tokens, a prompt of 12 twice and another between them: the second
    time the device has nothing of it, the host all but the last block, at half a second a block."""
    tree = prefixes_of_reuse([-1, -1, 0], [0, 0, 12], [12, 12, 12])
    asked = Requests([0.0, 20.0, 40.0], [12] * 3, [1] * 3, prefixes=tree)
    engine = Engine(1.0, prefill_token_s=0.25, kv_blocks=4, block_tokens=4)
    cold = simulate_fleet(asked, Fleet([engine], caching=True))
    assert cold.found_tokens.tolist() == [0, 0, 4]
    assert cold.completion_s.tolist() == [4.0, 24.0, 40.0 + 1.0 + 8 * 0.25]
    host = Tier(blocks=6, block_bytes=1.0, bytes_per_s=2.0)
    warm = simulate_fleet(asked, Fleet([engine], caching=True, tiers=[host]))
    assert warm.found_tokens.tolist() == [0, 0, 8]
    assert warm.tier_tokens.tolist() == [[0, 0, 4]]
    assert warm.completion_s[2] == 40.0 + 1.0 + 0.5 + 4 * 0.25
    # of two tiers, the first has what it holds, and the second the block before the last
    first, disk = Tier(blocks=2, block_bytes=1.0, bytes_per_s=2.0), Tier(6, 1.0, 1.0)
    both = simulate_fleet(asked, Fleet([engine], caching=True, tiers=[first, disk]))
    assert both.tier_tokens.sum(axis=0).tolist() == [0, 0, 4]
    assert both.tier_tokens.shape == (2, 3)
    held = int(both.tier_tokens[0, 2]) // 4
    assert both.completion_s[2] == 40.0 + 1.0 + 0.5 * held + 1.0 * (1 - held) + 4 * 0.25
    assert cold.tier_tokens.shape == (0, 3)


def test_a_tier_for_all_serves_the_other_engine() -> None:
    tree = prefixes_of_reuse([-1, 0], [0, 12], [12, 12])
    asked = Requests([0.0, 20.0], [12] * 2, [1] * 2, prefixes=tree)
    engines = [Engine(1.0, block_tokens=4)] * 2
    for shared, found in ((True, 8), (False, 0)):
        tier = Tier(9, 1.0, 2.0, for_all=shared)
        fleet = Fleet(engines, lambda i, _view: i, caching=True, tiers=[tier])
        assert simulate_fleet(asked, fleet).found_tokens.tolist() == [0, found]


def test_narrow_numbers_count_as_the_same_in_64_bits() -> None:
    """Bytes of a prompt, of a tier and counters of tenants are beyond the largest float of 16."""
    tree = prefixes_of_reuse([-1, -1, -1], [0, 0, 0], [120] * 3)
    asked = Requests([0.0] * 3, [120] * 3, [99] * 3, tenant=[0, 1, 1], prefixes=tree)
    engines = [Engine(1.0, max_sequences=2)] * 2
    found = []
    for kind in (float, np.float16):
        tier = Tier(np.int8(9), kind(4096), kind(64))
        parts = {"token_bytes": kind(4096), "link_bytes_per_s": kind(256), "tiers": [tier]}
        weights, rates = [kind(2**-10), kind(1)], [kind(3), kind(7)]
        admit = partial(token_budgets, tokens_per_s=rates, burst_tokens=rates)
        fleet = Fleet(
            engines, weights=weights, admit=admit, caching=True, prompt_engines=1, **parts
        )
        found.append(simulate_fleet(asked, fleet))
    for name, value in vars(found[0]).items():
        assert np.array_equal(value, getattr(found[1], name), equal_nan=True), name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prompt_engines": 2}, "prompt_engines must be below 2, so that somebody answers, got 2"),
        ({"link_bytes_per_s": 0.0}, "link_bytes_per_s must be positive, got 0.0"),
        ({"token_bytes": math.nan}, "token_bytes must be non-negative"),
        ({"tiers": [Tier(1, 1.0, 1.0)]}, "tiers must be none without caching"),
        ({"failures": [(-1.0, 0)]}, "failures_moment must be non-negative"),
        ({"failures": [(1.0, -2)]}, "failures_engine must be a non-negative integer"),
        (
            {"prompt_engines": 1, "scaling": Scaling(lambda: fixed(1), ONE)},
            "scaling must be None where prompts and answers are apart",
        ),
    ],
)
def test_parts_that_cannot_be(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Fleet(**({"engines": [ONE, ONE]} | change))


def test_scaling_and_tiers_that_cannot_be() -> None:
    for change, told in (
        ({"sync_s": 0.0}, "sync_s must be positive"),
        ({"startup_s": -1.0}, "startup_s must be non-negative"),
        ({"least": 3, "most": 2}, "most must be at least 1 and 3, got 2"),
    ):
        with pytest.raises(ValueError, match=told):
            Scaling(lambda: fixed(1), ONE, **change)
    for sizes, told in (
        ((0, 1.0, 1.0), "blocks must be a positive integer"),
        ((1, 0.0, 1.0), "block_bytes must be positive"),
        ((1, 1.0, 0.0), "bytes_per_s must be positive"),
    ):
        with pytest.raises(ValueError, match=told):
            Tier(*sizes)
    asked = Requests([0.0], [4], [4])
    scaling = Scaling(lambda: lambda *_: 0.5, ONE, sync_s=1.0)
    with pytest.raises(ValueError, match="what a rule returns must be a whole number"):
        simulate_fleet(asked, Fleet([ONE], scaling=scaling))


def test_an_answer_goes_where_somebody_answers() -> None:
    asked = Requests([0.0], [4], [4])
    with pytest.raises(ValueError, match="what route_answer returns must be an engine that answ"):
        simulate_fleet(asked, Fleet([ONE] * 2, prompt_engines=1, route_answer=lambda *_: 0))
