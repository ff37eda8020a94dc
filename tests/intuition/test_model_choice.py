"""The constrained choice: by-hand plans, properties of the fleet, brute force, errors."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.model_choice import (
    CHAT,
    H100,
    SLOTS,
    ZOO,
    Candidate,
    Demand,
    Device,
    Plan,
    choose,
    min_replicas,
    plan,
    replica_bytes,
    response_p99,
    step_time,
)

TOY = Candidate("toy", 10.0, 2.0, 3.0, 1, 50.0)
CHIP = Device(100.0, 10.0, 40.0, 3.0)


@given(st.floats(0.01, 100.0), st.floats(0.0, 0.99))
def test_p99_is_that_of_an_exponential(service: float, utilization: float) -> None:
    scale = service / (1 - utilization)
    assert response_p99(service, utilization) == pytest.approx(stats.expon.ppf(0.99, scale=scale))


@given(st.floats(0.1, 500.0), st.floats(0.05, 5.0), st.integers(1, 64), st.floats(1.01, 20.0))
def test_fleet_is_just_large_enough(rate: float, service: float, slots: int, room: float) -> None:
    slo = room * service * math.log(100)
    replicas = min_replicas(rate, service, slots, slo)
    assert response_p99(service, rate * service / (replicas * slots)) <= slo * (1 + 1e-9)
    load = rate * service / ((replicas - 1) * slots) if replicas > 1 else math.inf
    assert load >= 1 or response_p99(service, load) > slo * (1 - 1e-9)


def test_step_by_hand() -> None:
    assert step_time(TOY, 1, 0.0, CHIP) == 2.0  # 20 bytes at 10 a second
    assert step_time(TOY, 8, 0.0, CHIP) == 4.0  # 2·10·8 operations at 40 a second
    assert step_time(TOY, 8, 5.0, CHIP) == 4.0 + 8 * 5 * 3 / 10
    four = dataclasses.replace(TOY, devices=4)
    assert step_time(four, 8, 5.0, CHIP) == pytest.approx((4.0 + 12.0) / 4)
    assert replica_bytes(TOY, 8, 5.0) == 20 + 120


def test_memory_may_be_full_and_not_more() -> None:
    demand = Demand(0.001, 80.0 / 3, 1.0, 1e6, 0.0)
    assert plan(TOY, demand, CHIP, (1,)).fails == ""
    assert plan(TOY, dataclasses.replace(demand, context_tokens=27.0), CHIP, (1,)).fails == "memory"
    two = dataclasses.replace(TOY, devices=2)
    assert plan(two, dataclasses.replace(demand, context_tokens=27.0), CHIP, (1,)).fails == ""


def test_plan_names_the_first_constraint_that_fails() -> None:
    assert plan(TOY, dataclasses.replace(CHAT, quality_floor=50.1), CHIP, (1,)).fails == "quality"
    assert plan(TOY, Demand(1.0, 1.0, 1.0, 9.0, 50.0), CHIP, (1, 2)).fails == "latency"
    assert plan(TOY, Demand(1.0, 1e6, 1.0, 9.0, 50.0), CHIP, (1, 2)).fails == "memory"


def test_smallest_batch_among_equally_cheap_ones_in_any_order() -> None:
    demand = Demand(0.001, 0.0, 1.0, 100.0, 0.0)
    best = plan(TOY, demand, CHIP, (4, 1, 2))
    assert (best.slots, best.replicas, best.cost_per_h) == (1, 1, 3.0)
    assert best.p99_s == pytest.approx(2 * math.log(100) / (1 - 0.002))


def test_a_longer_step_ends_the_search_and_keeps_the_plan() -> None:
    demand = Demand(1.0, 5.0, 1.0, 20.0, 0.0)  # S = 3.5, 5, 8 with 1, 2, 4 slots; ln 100·5 > 20
    best = plan(TOY, demand, CHIP, (1, 2, 4))
    assert (best.slots, best.fails) == (1, "")
    assert best.replicas == math.ceil(3.5 / (1 - 3.5 * math.log(100) / 20))


@given(st.floats(8.0, 40.0), st.floats(0.0, 87.0), st.floats(0.5, 200.0))
def test_choice_keeps_every_promise(slo: float, floor: float, rate: float) -> None:
    demand = dataclasses.replace(CHAT, slo_s=slo, quality_floor=floor, requests_per_s=rate)
    try:
        best = choose(ZOO, demand, H100, SLOTS)
    except ValueError:
        assert slo < 12
        return
    one = next(candidate for candidate in ZOO if candidate.name == best.name)
    assert best.p99_s <= slo * (1 + 1e-9)
    assert one.quality >= floor
    assert replica_bytes(one, best.slots, CHAT.context_tokens) <= one.devices * 80e9
    assert best.cost_per_h == best.replicas * one.devices * 2.5


def test_choice_does_not_depend_on_the_order() -> None:
    assert choose(ZOO[::-1], CHAT, H100, SLOTS) == choose(ZOO, CHAT, H100, SLOTS[::-1])
    assert isinstance(choose(ZOO, CHAT, H100, SLOTS), Plan)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="context_tokens must be"):
        replica_bytes(TOY, 1, bad)
    with pytest.raises(ValueError, match="mean_service_s must be positive"):
        response_p99(bad, 0.5)
    with pytest.raises(ValueError, match="utilization must be in"):
        response_p99(1.0, bad)
    with pytest.raises(ValueError, match="requests_per_s must be positive"):
        min_replicas(bad, 1.0, 1, 10.0)
    with pytest.raises(ValueError, match="slo_s must be finite and above"):
        min_replicas(1.0, 1.0, 1, bad)


@pytest.mark.parametrize("slots", [0, -1, 1.5])
def test_bad_slots_are_refused(slots: int) -> None:
    with pytest.raises(ValueError, match="slots must be a positive integer"):
        step_time(TOY, slots, 1.0, CHIP)
    with pytest.raises(ValueError, match="slots must be a positive integer"):
        min_replicas(1.0, 1.0, slots, 10.0)


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="zoo must be feasible"):
        choose([], CHAT, H100, SLOTS)
    with pytest.raises(ValueError, match="slots_tried must be non-empty"):
        plan(TOY, CHAT, CHIP, ())


@pytest.mark.parametrize(
    ("sound", "field", "refused"),
    [
        (TOY, "parameters", (0.0, -1.0, math.nan, math.inf)),
        (TOY, "bytes_per_parameter", (0.0, -1.0, math.nan, math.inf)),
        (TOY, "kv_bytes_per_token", (-1.0, math.nan, math.inf)),
        (TOY, "devices", (0, -1, 1.5, math.nan, math.inf)),
        (TOY, "quality", (math.nan, math.inf, -math.inf)),
        *((CHIP, name, (0.0, -1.0, math.nan, math.inf)) for name in vars(CHIP)),
        (CHAT, "requests_per_s", (0.0, -1.0, math.nan, math.inf)),
        (CHAT, "output_tokens", (0.0, -1.0, math.nan, math.inf)),
        (CHAT, "slo_s", (0.0, -1.0, math.nan, math.inf)),
        (CHAT, "context_tokens", (-1.0, math.nan, math.inf)),
        (CHAT, "quality_floor", (math.nan, math.inf)),
    ],
)
def test_what_cannot_be_deployed_or_asked_is_refused(
    sound: Candidate | Device | Demand, field: str, refused: tuple[float, ...]
) -> None:
    for bad in refused:
        with pytest.raises(ValueError, match=f"^{field} must be .*, got {bad}"):
            dataclasses.replace(sound, **{field: bad})  # type: ignore[type-var]


def test_nothing_is_free_of_charge_but_the_cache() -> None:
    assert dataclasses.replace(TOY, kv_bytes_per_token=0.0).kv_bytes_per_token == 0.0
    assert dataclasses.replace(CHAT, context_tokens=0.0).context_tokens == 0.0


@pytest.mark.parametrize("slots", [(0,), (1, -2), (1.5,), (math.nan,), (math.inf, 1)])
def test_batch_sizes_that_are_none_are_refused(slots: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="slots_tried must be positive integers"):
        plan(TOY, CHAT, CHIP, slots)
