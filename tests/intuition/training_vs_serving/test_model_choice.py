"""The constrained choice: by-hand plans, properties of the fleet, brute force, errors."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.intuition.latency_throughput_cost import latency_throughput_cost
from serving_mathematics.intuition.training_vs_serving import model_choice
from serving_mathematics.intuition.training_vs_serving.model_choice import (
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
    response_late,
    response_p99,
    service_time,
    step_time,
)

TOY = Candidate("toy", 10.0, 2.0, 3.0, 1, 50.0)
CHIP = Device(100.0, 10.0, 40.0, 3.0)


@given(st.floats(0.01, 100.0), st.floats(0.0, 0.99))
def test_p99_of_one_slot_is_that_of_an_exponential(service: float, utilization: float) -> None:
    scale = service / (1 - utilization)
    got = response_p99(utilization / service, service, 1)
    assert got == pytest.approx(stats.expon.ppf(0.99, scale=scale))


@given(st.integers(2, 60), st.floats(0.05, 0.97), st.just(0.0) | st.floats(1e-9, 12.0))
def test_late_share_is_a_wait_and_a_service(slots: int, utilization: float, time: float) -> None:
    """Quadrature of the exponential wait over scipy's exponential service, at S = 2 s."""
    load, mean = slots * utilization, 2.0
    terms = [load**k / math.factorial(k) for k in range(slots)]
    queued = load**slots / math.factorial(slots) / (1 - utilization)
    waiting = queued / (sum(terms) + queued)
    rate = (slots - load) / mean
    late, _ = integrate.quad(
        lambda w: rate * math.exp(-rate * w) * stats.expon.sf(time * mean - w, scale=mean),
        0,
        time * mean,
    )
    late += math.exp(-rate * time * mean)
    expected = waiting * late + (1 - waiting) * math.exp(-time)
    got = response_late(time * mean, load / mean, mean, slots)
    assert got == pytest.approx(expected, rel=1e-7)


def test_late_share_where_both_rates_agree() -> None:
    """θ = 0 is the limit of the formula on both sides."""
    exact = response_late(3.0, 1.0, 1.0, 2)
    assert exact == pytest.approx(response_late(3.0, 1.0 + 1e-9, 1.0, 2), rel=1e-6)
    assert exact == pytest.approx(math.exp(-3) * (1 + 3 / 3), rel=1e-12)  # C(2, 1) = 1/3


@given(st.floats(0.1, 100.0), st.floats(0.05, 5.0), st.integers(1, 64), st.floats(1.01, 20.0))
def test_fleet_is_just_large_enough(rate: float, service: float, slots: int, room: float) -> None:
    slo = room * service * math.log(100)
    replicas = min_replicas(rate, service, slots, slo)
    assert response_p99(rate, service, replicas * slots) <= slo * (1 + 1e-9)
    fewer = (replicas - 1) * slots
    assert fewer <= rate * service or response_p99(rate, service, fewer) > slo * (1 - 1e-9)


@pytest.mark.parametrize("slo", [9.0, 15.0, 24.0])
def test_no_plan_needs_more_than_the_peak(slo: float) -> None:
    """20 prompts of 1,850 and answers of 150 tokens a second, against 989 TFLOP/s a device."""
    for one in ZOO:
        best = plan(one, dataclasses.replace(CHAT, slo_s=slo, quality_floor=0.0), H100, SLOTS)
        needed = 20 * 2 * one.parameters * (1850 + 150)
        assert best.fails or needed <= best.replicas * one.devices * 989e12 * 0.5


def test_the_device_is_that_of_the_other_chapters() -> None:
    assert H100.memory_bytes == latency_throughput_cost.HBM_BYTES
    assert H100.memory_bytes == find_system("h100_sxm").memory_bytes


def test_prompts_take_time_and_none_takes_none() -> None:
    by_step = 150 * step_time(ZOO[2], 8, 2000.0, H100)
    without = dataclasses.replace(CHAT, prompt_tokens=0.0)
    assert service_time(ZOO[2], 8, without, H100) == pytest.approx(by_step, rel=1e-12)
    alone = service_time(ZOO[2], 1, CHAT, H100) - 150 * step_time(ZOO[2], 1, 2000.0, H100)
    assert alone == pytest.approx(2 * 8.03e9 * 1850 / 494.5e12)  # one prompt hides in the reading


def test_slots_that_are_none_are_named() -> None:
    with pytest.raises(ValueError, match="requests_per_s must be positive and finite"):
        dataclasses.replace(CHAT, requests_per_s=[])  # type: ignore[arg-type]
    for bad in ([], 0, 1.5, math.nan):
        with pytest.raises(ValueError, match="slots must be a positive integer"):
            service_time(ZOO[2], bad, CHAT, H100)  # type: ignore[arg-type]


def test_step_by_hand() -> None:
    assert step_time(TOY, 1, 0.0, CHIP) == 2.0  # 20 bytes at 10 a second
    assert step_time(TOY, 8, 0.0, CHIP) == 4.0  # 2·10·8 operations at 40 a second
    assert step_time(TOY, 8, 5.0, CHIP) == 4.0 + 8 * 5 * 3 / 10
    four = dataclasses.replace(TOY, devices=4)
    assert step_time(four, 8, 5.0, CHIP) == pytest.approx((4.0 + 12.0) / 4)
    assert replica_bytes(TOY, 8, 5.0) == 20 + 120


def test_memory_may_be_full_and_not_more() -> None:
    demand = Demand(0.001, 80.0 / 3, 0.0, 1.0, 1e6, 0.0)
    assert plan(TOY, demand, CHIP, (1,)).fails == ""
    assert plan(TOY, dataclasses.replace(demand, context_tokens=27.0), CHIP, (1,)).fails == "memory"
    two = dataclasses.replace(TOY, devices=2)
    assert plan(two, dataclasses.replace(demand, context_tokens=27.0), CHIP, (1,)).fails == ""


def test_plan_names_the_first_constraint_that_fails() -> None:
    assert plan(TOY, dataclasses.replace(CHAT, quality_floor=50.1), CHIP, (1,)).fails == "quality"
    assert plan(TOY, Demand(1.0, 1.0, 0.0, 1.0, 9.0, 50.0), CHIP, (1, 2)).fails == "latency"
    assert plan(TOY, Demand(1.0, 1e6, 0.0, 1.0, 9.0, 50.0), CHIP, (1, 2)).fails == "memory"


def test_smallest_batch_among_equally_cheap_ones_in_any_order() -> None:
    demand = Demand(0.001, 0.0, 0.0, 1.0, 100.0, 0.0)
    best = plan(TOY, demand, CHIP, (4, 1, 2))
    assert (best.slots, best.replicas, best.cost_per_h) == (1, 1, 3.0)
    assert best.p99_s == pytest.approx(2 * math.log(100) / (1 - 0.002))


def test_a_longer_step_ends_the_search_and_keeps_the_plan() -> None:
    demand = Demand(1.0, 5.0, 0.0, 1.0, 20.0, 0.0)  # S = 3.5, 5, 8; 5·ln 100 > 20
    best = plan(TOY, demand, CHIP, (1, 2, 4))
    assert (best.slots, best.fails) == (1, "")
    assert best.replicas == min_replicas(1.0, 3.5, 1, 20.0) == 5  # 3.5 erlangs, four are too few


@given(st.floats(8.0, 40.0), st.floats(0.0, 87.0), st.floats(0.5, 200.0))
def test_choice_keeps_every_promise(slo: float, floor: float, rate: float) -> None:
    demand = dataclasses.replace(CHAT, slo_s=slo, quality_floor=floor, requests_per_s=rate)
    try:
        best = choose(ZOO, demand, H100, SLOTS)
    except ValueError:
        assert slo < 16
        return
    one = next(candidate for candidate in ZOO if candidate.name == best.name)
    assert best.p99_s <= slo * (1 + 1e-9)
    assert one.quality >= floor
    assert (
        replica_bytes(one, best.slots, CHAT.context_tokens)
        <= one.devices * find_system("h100_sxm").memory_bytes
    )
    assert best.cost_per_h == best.replicas * one.devices * 2.5


def test_choice_does_not_depend_on_the_order() -> None:
    assert choose(ZOO[::-1], CHAT, H100, SLOTS) == choose(ZOO, CHAT, H100, SLOTS[::-1])
    assert isinstance(choose(ZOO, CHAT, H100, SLOTS), Plan)


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
        (CHAT, "prompt_tokens", (-1.0, math.nan, math.inf)),
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


@pytest.mark.parametrize("load", [0.3, 0.9])
@pytest.mark.parametrize("time", [0.5, 4.0])
def test_the_oracle_is_the_known_tail_of_one_server(load: float, time: float) -> None:
    late = model_choice._late_by_states(time, load, 1)
    assert late == pytest.approx(math.exp(-(1 - load) * time), rel=1e-6)
