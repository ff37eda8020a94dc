from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.report import faults
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings import of_the_ceiling
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.of_the_ceiling import (
    breaking_load,
    ceiling,
)
from serving_mathematics.report.own_engine import OwnEngine, fit_own

ASKED = Asked(ttft_s=1.0, tpot_s=0.1, price_per_hour=4.0)


def test_the_load_at_which_it_breaks_is_beyond_one_that_it_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = served(np.random.default_rng(11), 3000, load=0.4, places=32)
    limit = 3 * float(np.quantile(run.columns["ttft_s"], 0.99))
    found = breaking_load(run, Asked(ttft_s=limit, places=32))
    assert found.level == "note"
    assert "off by" in found.sure
    assert "; a step takes" in found.seen
    guessed = breaking_load(replace(run, gaps_s=2 * run.tpot_s()), Asked(ttft_s=limit, places=32))
    assert "; a token takes" in guessed.seen
    own = fit_own(run, Asked(places=32))
    for wrong in ((0.31, 0.0), (-0.31, 0.0), (0.0, 0.31), (0.0, -0.31)):  # an engine unlike the log
        unlike = OwnEngine(own.engine, *wrong)
        monkeypatch.setattr(of_the_ceiling, "fit_own", lambda *_, unlike=unlike: unlike)
        assert breaking_load(run, Asked(ttft_s=limit, places=32)) is None
        assert ceiling(run, Asked(places=32)) is None


def test_places_that_are_but_assumed_are_no_warning() -> None:
    """As many as ran carry 1.2 times the load, and those that the engine has 2.3 times."""
    run = served(np.random.default_rng(9), 1000, load=0.45, places=128)
    found = breaking_load(run, Asked(ttft_s=2.0, tpot_s=0.2))
    assert "as many as ran at most" in found.seen
    assert float(re.search(r"([0-9.]+) times", found.seen)[1]) < 1.2
    assert found.level == "note"
    busy = served(np.random.default_rng(9), 1000, load=0.45, places=64, step_times=1.6)
    assert breaking_load(busy, Asked(ttft_s=2.0, tpot_s=0.04)).level == "warning"


def test_what_another_cause_makes_late_is_not_told_as_a_rate() -> None:
    run = served(np.random.default_rng(11), 2000, load=0.4, places=32)
    held = np.where(np.arange(2000) % 10 == 0, 9.0, 0.0)  # by what stands before the engine
    columns = {name: run.columns[name] + held for name in ("ttft_s", "latency_s")}
    found = breaking_load(replace(run, columns={**run.columns, **columns}), ASKED)
    assert found.level == "note"
    assert found.seen.startswith("90% of these requests kept the objective, and one engine")
    assert "its speed is not what makes them late" in found.seen


@pytest.mark.parametrize(("seed", "load"), [(5, 0.36), (8, 0.43), (49, 0.49), (3, 0.9)])
def test_what_the_load_makes_late_has_no_other_cause(seed: int, load: float) -> None:
    """A promise that so few keep is broken at this load, however the engine cuts its prompts."""
    run = served(np.random.default_rng(seed), 1500, load=load, places=128)
    limit = float(np.quantile(run.columns["ttft_s"], 0.97))
    found = breaking_load(run, Asked(ttft_s=limit))
    assert found is None or "its speed is not" not in found.seen


def test_peaks_are_told_as_peaks() -> None:
    """Of 9,000 requests the last third come ten times as fast: they are simulated."""
    rng = np.random.default_rng(4)
    gaps = rng.exponential(1.0, 9000) * np.repeat([10.0, 10.0, 1.0], 3000)
    run = served(rng, 9000, load=0.1, arrivals=gaps * 0.1, places=32)
    fast = 1 / float(np.diff(run.columns["sent_s"][6000:]).mean())
    found = breaking_load(run, Asked(ttft_s=2.0, tpot_s=0.2, places=32))
    rate, minute = (float(x) for x in re.findall(r"([0-9.]+)(?: requests| in the)", found.seen)[:2])
    assert minute > rate
    assert 0.9 < minute / (fast * float(re.search(r"([0-9.]+) times", found.seen)[1])) < 1.3
    assert "the busiest 4,000 in a row" in found.sure


def test_an_engine_of_one_place_is_one() -> None:
    run = served(np.random.default_rng(5), 600, load=0.8, places=1)
    found = ceiling(run, Asked())
    assert "that one engine of 1 place carries" in found.seen
    assert float(found.seen.split(" came, ")[1].split("%")[0]) == pytest.approx(80, abs=8)


def test_the_ceiling_of_a_small_memory_is_the_simulators_to_a_tenth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests that all come at once, of which the beginning and the end are left out."""
    engines: list[Engine] = []
    monkeypatch.setattr(
        faults, "simulate", lambda asked, engine: engines.append(engine) or simulate(asked, engine)
    )
    for seed in range(3):
        prompts = np.ceil(600 * np.random.default_rng(seed).lognormal(-0.32, 0.8, 2500))
        run = served(np.random.default_rng(seed), 2500, 0.9, None, prompts, 256, blocks=1000)
        found = ceiling(run, Asked(places=256))
        assert "within a tenth where memory binds" in found.sure
        told = float(found.seen.split("of the ")[1].split()[0])
        again = Workload(np.zeros(2500), prompts, run.columns["output_tokens"])
        ends = np.sort(simulate(again, engines[-1]).completion_s)
        assert told == pytest.approx(1750 / (ends[2124] - ends[374]), rel=0.1)


@pytest.mark.parametrize("load", [0.4, 0.8])
def test_the_ceiling_is_the_simulators(load: float) -> None:
    run = served(np.random.default_rng(21), 3000, load=load, places=64)
    found = ceiling(run, Asked(places=64))
    used = float(found.seen.split(" came, ")[1].split("%")[0])
    assert used == pytest.approx(100 * load, abs=8)
    assert found.level == ("note" if load < 0.82 else "warning")
    assert ("test five times as long" in found.change) == (80 < used < 100)
