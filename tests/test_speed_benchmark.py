"""The benchmark of simulators and sketches: its arithmetic, its workers, and a tiny run of it."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.support import measuring

from benchmarks import batching, environment, queues, sketches, speed, timing
from benchmarks.processes import BenchmarkError


def test_ratios_are_formed_within_a_round() -> None:
    assert timing.ratios([6.0, 1.0], [3.0, 2.0]) == [2.0, 0.5]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        timing.ratios([1.0, 2.0], [1.0])
    assert timing.spread([3.0, 1.0, 7.0]) == {"median": 3.0, "least": 1.0, "most": 7.0}
    assert timing.spread([1.23456])["median"] == 1.235


def test_everything_takes_every_turn() -> None:
    names = ["a", "b", "c"]
    orders = [timing.in_turn(names, number) for number in range(6)]
    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders} == {order[-1] for order in orders} == set(names)


def test_processor_time_is_averaged_over_enough_calls() -> None:
    calls = []
    assert timing.cpu_s_of(lambda: calls.append(sum(range(1000))), 0.02) <= 0.02
    assert len(calls) > 1
    calls.clear()
    timing.cpu_s_of(lambda: calls.append(0), 0.0)
    assert len(calls) == 1


def test_pooled_runs_by_hand() -> None:
    answers = [{"mean": 1.0, "standard_error": 3.0}, {"mean": 2.0, "standard_error": 4.0}]
    assert timing.pooled(answers) == (1.5, 2.5)


@pytest.mark.parametrize("name", [*queues.WORKLOADS])
def test_mean_waits_are_those_of_the_chapters(name: str) -> None:
    given = queues.WORKLOADS[name]
    if given.service_scv == 1:
        expected = mean_wait(given.arrival_rate, 1.0, given.servers)
    else:
        expected = 0.8 / 0.2 * (1 + given.service_scv) / 2
    assert given.mean_wait == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="service_scv must be 1 with several servers"):
        _ = queues.Workload(2, 0.5, 4.0).mean_wait


@pytest.mark.parametrize("name", [*queues.WORKLOADS])
def test_our_engines_wait_what_they_should(name: str) -> None:
    exact = queues.WORKLOADS[name].mean_wait
    for engine in (queues.long_run, queues.one_log, queues.plain_loop):
        answer = engine(name, 200_000, 3)
        assert answer["mean"] == pytest.approx(exact, abs=6 * answer["standard_error"])
        assert 0.5 * exact < answer["mean"] < 1.5 * exact
    run, numbers = queues.long_run(name, 50_000, 3), queues.drawing(name, 50_000, 3)
    assert run["customers"] == numbers["customers"] <= 50_000


def test_one_log_is_the_loop() -> None:
    logged = queues.one_log("M/M/8", 40_000, 5)
    assert logged["mean"] == queues.plain_loop("M/M/8", 40_000, 5)["mean"]
    assert queues.waits_that_differ("M/M/8", 40_000, 5) == 0
    one, loop = (f("M/G/1", 4_000, 5)["mean"] for f in (queues.one_log, queues.plain_loop))
    assert one == pytest.approx(loop, rel=1e-9)


def test_a_worker_answers_and_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with environment.workers([Path(sys.executable)]) as (worker,):
        given = {"workload": "M/M/1", "customers": 2_000, "seed": 1}
        assert worker.ask("queues", "drawing", **given)["customers"] <= 2_000
        with pytest.raises(BenchmarkError, match=r"queues\.drawing.*KeyError: 'M/X/1'"):
            worker.ask("queues", "drawing", **given | {"workload": "M/X/1"})
        assert worker.ask("environment", "installed", names=["numpy"]) == {"numpy": np.__version__}
        worker.ask("timing", "about", command="x", packages=[], foreign={})
    assert worker.process.returncode == 0
    capfd.readouterr()


def test_a_worker_that_died_is_an_error() -> None:
    with environment.workers([Path(sys.executable)]) as (worker,):
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(BenchmarkError, match="no answer"):
            worker.ask("environment", "installed", names=[])


def test_errors_of_a_sketch_by_hand() -> None:
    ordered = np.arange(1.0, 1001.0)
    constant = sketches.Sketch("none", list, list, lambda _summary, _level: 505.0)
    found = sketches._errors(constant, None, ordered)
    assert found["0.5"]["relative"] == pytest.approx(505 / 500 - 1)
    assert found["0.5"]["rank"] == pytest.approx(0.004)
    assert found["0.999"]["relative"] == pytest.approx(1 - 505 / 999)


def test_the_log_histogram_has_the_errors_of_ddsketch() -> None:
    ours, theirs = (sketches.sample(name, 5_000, 2) for name in ("log histogram", "DDSketch"))
    for state in ("errors", "merged_errors"):
        for level, cell in ours[state].items():
            assert cell["relative"] == pytest.approx(theirs[state][level]["relative"], abs=1e-9)
            assert cell["relative"] <= 0.01
    assert ours["errors"] == ours["merged_errors"]


@pytest.mark.parametrize("case", [*batching.CASES])
def test_both_batching_simulators_agree(case: str) -> None:
    assert batching.times_that_differ(case, 60, 1) == 0
    samples = [batching.sample(case, name, 60, 1) for name in batching.SIMULATORS]
    assert samples[0] | {"cpu_s": 0} == samples[1] | {"cpu_s": 0}


ANSWERS = {
    engine: [
        {"customers": 100_000, "cpu_s": cost, "mean": 4.0 + shift, "standard_error": 0.14}
        for cost, shift in ((0.001 * times, 0.1), (0.002 * times, -0.1))
    ]
    for engine, times in (("long_run", 1.0), ("simpy", 500.0))
}


class Echo:
    """A worker that answers for a run of any length."""

    def ask(self, *_: str, **given: Any) -> dict[str, Any]:
        return ANSWERS["long_run"][0] | {"customers": given["customers"]}


def test_the_record_of_a_queue_by_hand() -> None:
    plan = speed.Plan(Echo(), None, True, 2)  # type: ignore[arg-type]
    record = speed._of_queue(plan, 1, "M/M/1", ANSWERS)
    simpy = record["engines"]["simpy"]
    assert simpy["ns"] == {"median": 7500.0, "least": 5000.0, "most": 10_000.0}
    assert simpy["ratio"] == {"median": 500.0, "least": 500.0, "most": 500.0}
    assert simpy["sigmas"] == pytest.approx(0.0, abs=1e-9)
    assert simpy["standard_error"] == pytest.approx(0.14 / 2**0.5)
    needed = record["to_one_percent"]["customers"]
    assert record["to_one_percent"]["seconds"]["simpy"] == pytest.approx(needed * 7.5e-6, rel=1e-3)
    other = speed._to_one_percent(plan, 1, "M/G/1", ANSWERS["long_run"], {})
    assert other["customers"] == pytest.approx(196**2 * 100_000 * 0.14**2 / 10**2, abs=1)


def test_a_wrong_mean_wait_ends_the_benchmark() -> None:
    plan = speed.Plan(Echo(), None, True, 2)  # type: ignore[arg-type]
    wrong = copy.deepcopy(ANSWERS)
    for answer in wrong["simpy"]:
        answer["mean"] += 0.5
    with pytest.raises(BenchmarkError, match=r"simpy on M/M/1: mean wait 4\.5 ± 0\.099, not 4"):
        speed._of_queue(plan, 1, "M/M/1", wrong)


def test_spreads_that_share_a_value() -> None:
    one = {"a": {"ratio": {"median": 2.0, "least": 1.0, "most": 3.0}, "n": 1}}
    other = {"a": {"ratio": {"median": 4.0, "least": 3.5, "most": 5.0}, "n": 1}}
    assert speed.shared_spreads(one, one) == {"/a/ratio": True}
    assert speed.shared_spreads(one, other) == {"/a/ratio": False}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the benchmark small enough for a test."""
    for name in speed.ENGINES:
        monkeypatch.setitem(speed.ENGINES, name, 5_000)
    monkeypatch.setattr(speed, "SIGMAS", 12.0)  # of runs this short
    monkeypatch.setattr(speed, "SAME_LOG", 2_000)
    monkeypatch.setattr(speed, "VALUES", 2_000)
    monkeypatch.setattr(speed, "PRECISION", 0.1)


def test_a_tiny_run_writes_records(
    tiny: None,  # noqa: ARG001
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert speed.main(["--quick", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for section, (name, _, _) in speed.SECTIONS.items():
        record = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        committed = measuring.read_record(name)
        assert set(record) == set(committed)
        assert [set(run) for run in record["runs"]] == [set(run) for run in committed["runs"]]
        assert f"{section}, run 2" in printed
    found = json.loads((tmp_path / "simulator_speed.json").read_text("utf-8"))["runs"][0]["found"]
    assert set(found["M/M/8"]) == set(
        measuring.read_record("simulator_speed")["runs"][0]["found"]["M/M/8"]
    )
    assert found["M/M/8"]["waits_that_differ"] == 0


def test_what_an_ended_run_had_measured_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "sketches-1.json"
    content = {"load_before": 0.5, "found": {}}
    kept.write_text(json.dumps(content), encoding="utf-8")
    plan = speed.Plan(Echo(), None, True, 2)  # type: ignore[arg-type]
    assert speed.measured(plan, "sketches", 1, kept) == content


def test_rounds_are_two_or_more(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speed.main(["--rounds", "1"])
    assert "--rounds must be at least 2, got 1" in capsys.readouterr().err
