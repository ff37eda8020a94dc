"""The tables and verdicts of the page are those of the records, whatever the records say."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from serving_mathematics.reference import performance, performance_sketches
from serving_mathematics.reference.performance import QUEUES, example
from serving_mathematics.support import measuring


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Copies of the records that the page reads, to be changed."""
    found = {name: copy.deepcopy(measuring.read_record(name)) for name in performance.RECORDS}
    for module in (performance, performance_sketches):
        monkeypatch.setattr(module, "read_record", found.__getitem__)
    return found


def test_records_say_where_they_are_from() -> None:
    for name in performance.RECORDS:
        record = measuring.read_record(name)
        assert record["command"].startswith("python benchmarks/speed.py")
        assert {"python", "numpy", "simpy", "cimba", "crick"} <= set(record["versions"])
        assert record["machine"]["cores"] >= 1
        assert len(record["runs"]) == 2


def test_every_engine_has_a_row() -> None:
    numbers = example()
    for rows in (numbers.rows_mm1, numbers.rows_mg1, numbers.rows_mm8):
        lines = rows.split("\n")
        assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [
            *performance.ENGINES.values()
        ]
        assert {line.count("|") for line in lines} == {7}
    assert {line.count("|") for line in numbers.rows_batching.split("\n")} == {8}


def test_verdicts_follow_the_records(records: dict[str, Any]) -> None:
    for run in records["simulator_speed"]["runs"]:
        for queue in QUEUES:
            run["found"][queue]["engines"]["simpy"]["ratio"]["median"] = 401.0
            run["found"][queue]["engines"]["drawing"]["ratio"]["median"] = 0.51
    good = example()
    simulators = [row for row in good.aim_rows.split("\n") if "our long run" in row]
    assert [row.endswith("| met |") for row in simulators] == [True] * 4
    assert good.faster_engines == "None of SimPy, Ciw and Cimba is faster than the long run."
    second = records["simulator_speed"]["runs"][1]["found"]  # the worse of two runs counts
    second["M/M/1"]["engines"]["simpy"]["ratio"]["median"] = 399.0
    second["M/M/8"]["engines"]["simpy"]["ratio"]["median"] = 149.0
    second["M/G/1"]["engines"]["drawing"]["ratio"]["median"] = 0.49
    second["M/G/1"]["engines"]["cimba"]["ratio"]["median"] = 0.9
    bad = example()
    verdicts = [row.rsplit("| ", 1)[1].removesuffix(" |") for row in bad.aim_rows.split("\n")]
    assert verdicts == sorted(verdicts, reverse=True)  # those that were missed come first
    missed = [row for row in bad.aim_rows.split("\n") if row.endswith("| missed |")]
    for part in (
        "SimPy's time over our long run's, M/M/1",
        "SimPy's time over our long run's, M/M/8",
        "drawing",
    ):
        assert any(part in row for row in missed)
    assert not any("M/G/1" in row for row in missed)
    assert bad.faster_engines == "Faster than ours: Cimba on M/G/1."


def test_a_wrong_mean_wait_fails(records: dict[str, Any]) -> None:
    cell = records["simulator_speed"]["runs"][1]["found"]["M/M/8"]["engines"]["ciw"]
    cell["mean_wait"] += 5 * cell["standard_error"]
    with pytest.raises(AssertionError, match="run 2, M/M/8, ciw"):
        performance.check_mean_waits()


def test_one_wait_that_differs_fails(records: dict[str, Any]) -> None:
    records["simulator_speed"]["runs"][0]["found"]["M/M/8"]["waits_that_differ"] = 1
    with pytest.raises(AssertionError, match="waits that differ"):
        performance.check_equal_to_the_bit()


def test_runs_that_do_not_agree_fail(records: dict[str, Any]) -> None:
    def slower(value: Any) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if key in ("ratio", "merge_ratio"):
                inner |= {k: 3 * v for k, v in inner.items()}
            else:
                slower(inner)

    slower(records["sketch_speed"]["runs"][1]["found"])
    slower(records["simulator_speed"]["runs"][1]["found"])
    with pytest.raises(AssertionError, match="share of ratios"):
        performance.check_two_runs_agree()
    assert example().furthest_difference > 150


def test_spreads_and_differences_by_hand() -> None:
    one = {"median": 2.0, "least": 1.0, "most": 3.0}
    other = {"median": 2.5, "least": 2.4, "most": 2.6}
    far = {"median": 4.0, "least": 3.1, "most": 5.0}
    assert performance._overlap((one, other))
    assert performance._overlap((other, one))
    assert not performance._overlap((one, far))
    assert performance._difference((one, other)) == pytest.approx(0.25)
    assert performance._difference((far, one)) == 1.0
    own = {"median": 1.0, "least": 1.0, "most": 1.0}
    found = dict(performance._spreads({"a": {"ratio": one, "ns": far}, "b": {"ratio": own}}))
    assert found == {"/a/ratio": one}
