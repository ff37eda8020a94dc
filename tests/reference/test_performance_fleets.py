"""What the page says of fleets follows the record."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from serving_mathematics.reference import performance_fleets
from serving_mathematics.reference.performance_fleets import RECORD, _aims, example
from serving_mathematics.support import measuring


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of the record, to be changed."""
    found = copy.deepcopy(measuring.read_record(RECORD))
    monkeypatch.setattr(performance_fleets, "read_record", lambda _: found)
    return found


def test_a_peer_that_could_not_be_had_has_no_row(record: dict[str, Any]) -> None:
    assert example().rows_fleet_peers.count("\n") == 2
    record["peers"]["Other"] = {"packages": {"other": "==1"}, "said": "no wheel"}
    assert example().rows_fleet_peers.count("\n") == 2


def test_aims_are_held_against_the_worst(record: dict[str, Any]) -> None:
    record["speed"]["agents, cache aware"]["per_s"]["median"] = 100.0
    record["day"] |= {"cpu_s": 601.0, "memory_gb": 2.5}
    assert [got for _, _, got, _ in _aims()][1:] == ["100", "601 s", "2.50 GB"]
    assert not any(met for *_, met in _aims()[1:])


def test_latencies_that_differ_fail(record: dict[str, Any]) -> None:
    record["peers"]["Dynamo"]["ttft_s"][performance_fleets.BOTH]["0.99"][1] *= 1.02
    with pytest.raises(AssertionError, match=r"Dynamo, ttft_s, quantile 0\.99"):
        performance_fleets.check_peers_say_the_same()
    record["peers"]["Dynamo"]["ttft_s"][performance_fleets.BOTH]["0.99"][1] /= 1.02
    record["peers"]["Vidur"]["tpot_s"]["furthest"] = 1e-6
    with pytest.raises(AssertionError, match="Vidur, tpot_s, of any request"):
        performance_fleets.check_peers_say_the_same()
