"""The load from two counters: identities, and the rules that are handed out, parsed and run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.definitions.utilization.engine_under_load import LOADS, _cells, _limit
from serving_mathematics.definitions.utilization.token_load import (
    TIMES,
    _mixed,
    _most,
    answer_ceiling,
    example,
    token_load,
)

from tests.promql import Series
from tests.rule_files import FOUND, evaluated, rule_text, rules

RATES = st.floats(0, 1e6)


@given(RATES, st.floats(1e-3, 1e6), st.floats(1.001, 100))
def test_at_saturation_the_load_is_one(prompts: float, answers: float, spare: float) -> None:
    ceiling = max(prompts, 1.0) * spare
    written = answer_ceiling(prompts, answers, ceiling)
    assert token_load(prompts, answers, ceiling, written) == pytest.approx(1, rel=1e-9)
    assert written >= answers


@pytest.mark.parametrize("machine", [CHAT, CHAT.limited(64)], ids=str)
def test_twice_as_long_requests_saturate_where_the_simulator_does(machine: Machine) -> None:
    """Without a cap on their prompts, and with the places that memory holds."""
    twice = max(TIMES)
    asked, engine = _mixed(machine, (twice, twice))
    assert asked.prompt_tokens.max() == twice * machine.sample.prompt_tokens.max()
    first = slice(6000)
    lengths = asked.prompt_tokens[first], asked.output_tokens[first]
    served = simulate(Workload(asked.arrival_s[first], *lengths), engine)
    begin, end = np.quantile(served.completion_s, [0.25, 0.75])
    found = 3000 / (end - begin)
    assert _most(machine, (twice, twice))[0] == pytest.approx(found, rel=0.05)


def run(engine: str, series: dict[str, Series]) -> dict[str, Series]:
    """What the rules record, and 1 where an alert's expression holds; of one instance."""
    return evaluated(f"engine-load-{engine}", series)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("has_cache", [True, False])
def test_rules_record_the_load_of_the_chapter(engine: str, has_cache: bool) -> None:
    """What is found goes through no step."""
    minutes = np.ones(60)
    series = {
        f"{engine}:prompt_tokens_total": 60 * 22_000 * minutes,
        f"{engine}:generation_tokens_total": 60 * 3_000 * minutes,
    }
    if has_cache:
        series[FOUND[engine]] = 60 * 2_000 * minutes
    told = run(engine, series)["engine:load:ratio5m"][-1]
    fresh = 22_000 - 2_000 * has_cache
    due = token_load(fresh, 3_000, example().prompt_ceiling, example().answer_ceiling)
    assert told == pytest.approx(due, rel=1e-3)


INSIDE = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
}
ALERTS = {
    "vllm": ["PromiseBreaks", "NoRoomLeft", "QueueStays", "NothingComesOut"],
    "sglang": ["PromiseBreaks", "TokensAtTheLimit", "NoRoomLeft", "QueueStays", "NothingComesOut"],
}


def shown(engine: str, load: int, minutes: int = 60) -> dict[str, Series]:
    """What the chat machine shows at a load [% of its ceiling], by the page's record; of its gaps
    between tokens a seventh is longer than 50 ms."""
    seen = _cells()[256, load]["mean"]
    first_late = 0.001 if seen["first"] < CHAT.promise.ttft_s else 0.05
    rate = 60 * load / 100 * CHAT.ceiling_per_s * np.ones(minutes)
    answers = rate * CHAT.sample.output_tokens.mean()
    gap, first, own = (
        f"{engine}:{name}_seconds"
        for name in ("inter_token_latency", "time_to_first_token", "request_time_per_output_token")
    )
    return {
        f"{engine}:prompt_tokens_total": rate * CHAT.sample.prompt_tokens.mean(),
        f"{engine}:generation_tokens_total": answers,
        INSIDE[engine][0]: 256 * seen["running"] * np.ones(minutes),
        INSIDE[engine][1]: np.zeros(minutes),
        "sglang:realtime_tokens_total": answers,
        f"{first}_count": rate,
        f'{first}_bucket{{le="1.0"}}': rate * (1 - first_late),
        f"{own}_count": rate,
        f'{own}_bucket{{le="0.05"}}': rate * seen["kept"],
        f"{gap}_count": answers,
        f"{gap}_sum": answers * seen["token"],
        f'{gap}_bucket{{le="0.05"}}': answers * 6 / 7,
        f'{gap}_bucket{{le="0.06"}}': answers * 0.999,
    }


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_alerts_fire_where_the_promise_ends(engine: str) -> None:
    """Silent at 80%, and at 85% of the ceiling but for the want of room; at 90% the promise is
    broken by the answers, at 98% by first tokens too."""
    answers = "PromiseBreaks" if engine == "vllm" else "TokensAtTheLimit"
    for load, due in (
        (80, set()),
        (85, {"NoRoomLeft"}),
        (90, {answers, "NoRoomLeft"}),
        (98, {"PromiseBreaks", answers, "NoRoomLeft"}),
    ):
        found = run(engine, shown(engine, load))
        assert {name for name in ALERTS[engine] if not np.isnan(found[name][-1])} == due


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_full_of_longer_prompts_is_seen_by_its_queue(engine: str) -> None:
    series = shown(engine, 80)
    found = run(engine, series | {INSIDE[engine][1]: np.full(60, 9.0)})
    assert {name for name in ALERTS[engine] if not np.isnan(found[name][-1])} == {"QueueStays"}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_hangs_is_seen_and_one_without_series_is_left_to_up(engine: str) -> None:
    hangs = {name: 0 * values for name, values in shown(engine, 80).items()}
    idle = run(engine, hangs)
    assert not any(np.any(~np.isnan(idle[name])) for name in ALERTS[engine])
    for name in INSIDE[engine]:  # one of them waits for what never comes
        one = run(engine, hangs | {name: hangs[name] + 40.0})
        assert np.all(~np.isnan(one["NothingComesOut"]))
    found = run(engine, {"up": np.ones(60)})
    assert not any(np.any(~np.isnan(found[name])) for name in ALERTS[engine])


def test_an_engine_that_embeds_writes_nothing_and_hangs_not() -> None:
    series = shown("vllm", 80)
    series["vllm:generation_tokens_total"] = np.zeros(60)
    assert np.all(np.isnan(run("vllm", series)["NothingComesOut"]))


def test_answers_of_which_none_has_ended_are_no_silence() -> None:
    """SGLang counts their tokens at the end of each by request, and in its steps as they come,
    those of engines for prompts alone too."""
    series = shown("sglang", 80)
    series["sglang:generation_tokens_total"] = np.zeros(60)
    assert np.all(np.isnan(run("sglang", series)["NothingComesOut"]))


def test_the_mean_of_a_token_is_that_at_the_limit() -> None:
    text = rule_text("engine-load-sglang")
    tokens = [_cells()[256, load]["mean"]["token"] for load in LOADS]
    assert f"engine:token:mean5m > {np.interp(_limit(256), LOADS, tokens):.3f}\n" in text


def test_files_are_of_one_form() -> None:
    for engine in FOUND:
        text, own = rule_text(f"engine-load-{engine}"), rules(f"engine-load-{engine}")
        alerts = [rule for rule in own if "alert" in rule]
        assert [rule["alert"] for rule in alerts] == ALERTS[engine]
        assert f"token, {1e3 * CHAT.promise.tpot_s:.0f} ms a token." in text
        for ceiling in (example().prompt_ceiling, example().answer_ceiling):
            assert f"{ceiling:.0f}" in text
