from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.faults import _shared, served
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.of_the_objective import goodput
from serving_mathematics.report.findings.of_the_tenants import (
    _mostly_of,
    _raised,
    _rank_correlation,
    _waits,
    tenants,
)
from serving_mathematics.report.findings.of_the_test import failures
from serving_mathematics.report.request_log import read_log

from ..example_runs import functions_of


def test_nothing_is_said_of_nothing() -> None:
    assert all(f(Run("", ""), Asked()) is None for f in functions_of("of_the_tenants"))
    alone = Run("", "", {"tenant": np.zeros(500), "prompt_tokens": np.ones(500)})
    assert tenants(alone, Asked()) is None


@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_is_told_by_its_name_and_steady_tenants_are_not(seed: int) -> None:
    found = tenants(_shared(np.random.default_rng(seed), 2000, 0.65, crowd=True), Asked())
    assert found.level == "warning"
    assert "when acme sends most" in found.seen
    found = tenants(_shared(np.random.default_rng(seed), 2000, 0.4, crowd=False), Asked())
    assert found is None or found.level == "note"


def test_who_waits_longer_than_the_rest() -> None:
    of = np.tile([0.0, 1.0], 500)
    ttft = np.where(of == 0, 1.0, 0.1)
    run = Run("", "", {"tenant": of, "ttft_s": ttft}, tenants=("slow", "quick"))
    assert _waits(run, of.astype(int), 0) == (0, 1.0, 0.1)
    assert _waits(run, of.astype(int), 1) is None
    found = tenants(run, Asked())
    assert "p95 of slow is 1 s, of the others 100 ms" in found.seen


@pytest.mark.parametrize(
    ("others", "own", "said"), [(192, 50, True), (191, 50, False), (192, 49, False)]
)
def test_who_raises_the_rest_needs_sixteen_windows_and_fifty_requests(
    others: int, own: int, said: bool
) -> None:
    """Every window after one that is full is slow, in turns of two."""
    count = others // 12
    sent = np.linspace(0, 1, others)
    window = np.minimum((sent * count).astype(int), count - 1)
    full = np.flatnonzero(np.arange(count) % 4 >= 2)[np.arange(own) % (count // 2)]
    load = np.bincount(full, minlength=count)
    load += np.roll(load, 1)
    ttft = np.where(load > load.mean(), 1.0, 0.1) + 0.01 * load
    columns = {
        "sent_s": np.r_[sent, (full + 0.5) / count],
        "ttft_s": np.r_[ttft[window], np.full(own, 0.1)],
    }
    of = np.r_[np.ones(others, int), np.zeros(own, int)]
    found = _raised(Run("", "", columns), of, np.ones(of.size), 0)
    assert (found is not None) == said


@pytest.mark.parametrize(
    ("column", "names", "called"),
    [
        ("api_key", ("a", "b"), ("key 1", "key 2")),
        ("user", ("sk-ant-api03-zzzz", "support"), ("tenant 1", "tenant 2")),
        ("customer", ("Bearer eyJhbGciOi", "c"), ("tenant 1", "tenant 2")),
        ("user_id", ("jo@example.org", "c"), ("tenant 1", "tenant 2")),
        ("team", ("x" * 41, "c"), ("tenant 1", "tenant 2")),
        ("team", ("7f3a9c21d4e85b60f7a1", "c"), ("tenant 1", "tenant 2")),
        ("team", ("risk-models", "c"), ("risk-models", "c")),
    ],
)
def test_keys_are_not_printed_whatever_their_column_is_called(
    column: str, names: tuple[str, str], called: tuple[str, str]
) -> None:
    rows = [f"{i}.0,100,{names[i % 2]}" for i in range(200)]
    run = read_log("\n".join([f"t_s,latency_ms,{column}", *rows]), "a.csv")
    assert run.tenants == called
    assert run.columns["tenant"].tolist() == [0.0, 1.0] * 100


def test_an_empty_cell_is_nobody() -> None:
    run = read_log("t_s,latency_ms,tenant\n1.0,5,a\n2.0,5,\n3.0,5,b\n", "a.csv")
    assert run.tenants == ("a", "b")
    assert np.isnan(run.columns["tenant"]).tolist() == [False, True, False]


def test_the_error_of_a_rank_correlation_is_its_scatter() -> None:
    """Of series that have nothing in common and are each like their neighbours."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(400):
        noise = rng.normal(size=(2, 60))
        for i in range(1, 60):
            noise[:, i] += 0.6 * noise[:, i - 1]
        found.append(_rank_correlation(noise[0], noise[1]))
    r, error = np.array(found).T
    assert r.std() > 1.2 / np.sqrt(59)  # more than of numbers on their own
    assert np.median(error) == pytest.approx(r.std(), rel=0.15)


@pytest.mark.parametrize("seed", range(4))
def test_tenants_who_come_together_are_not_the_cause(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crowd = (np.arange(2000) // 100) % 2 == 0
    gaps = rng.exponential(1.0, 2000) * np.where(crowd, 0.4, 1.6)
    run = served(rng, 2000, load=0.8, arrivals=gaps)
    of = rng.choice(4, 2000, p=[0.3, 0.3, 0.2, 0.2]).astype(float)
    run = replace(run, columns={**run.columns, "tenant": of}, tenants=tuple("abcd"))
    found = tenants(run, Asked())
    assert found is None or found.level == "note"


def test_a_rank_correlation_is_scipys() -> None:
    series = np.random.default_rng(3).integers(0, 9, (2, 50)).astype(float)
    assert _rank_correlation(*series)[0] == pytest.approx(stats.spearmanr(*series).statistic)


@pytest.mark.parametrize(("blocks", "said"), [(5, False), (6, True)])
def test_who_waits_does_so_in_six_tenths_of_the_run(blocks: int, said: bool) -> None:
    of = np.where((np.arange(1000) % 2 == 0) & (np.arange(1000) < 100 * blocks), 0, 1)
    run = Run("", "", {"tenant": of, "ttft_s": np.where(of == 0, 1.0, 0.1)})
    assert (_waits(run, of, 0) is not None) == said


@pytest.mark.parametrize(("share", "named"), [(0.3, True), (0.6, False)])
def test_late_requests_are_of_a_tenant_that_has_half_of_all_at_most(
    share: float, named: bool
) -> None:
    of = (np.arange(1000) >= 1000 * share).astype(float)
    late = (of == 0) & (np.arange(1000) % 2 == 0)
    run = Run("", "", columns={"tenant": of}, tenants=("acme", "birch"))
    assert bool(_mostly_of(run, late)[0]) == named


def test_a_tenant_whose_requests_fail_is_named() -> None:
    """The client of one of ten is impatient: who is called looks there, and not at the engine."""
    tenant = np.arange(1000.0) % 10
    failed = (tenant == 3) & (np.arange(1000) % 20 < 10)
    columns = {"sent_s": np.arange(1000.0), "ttft_s": np.full(1000, 0.1), "tenant": tenant}
    columns |= {"failed": failed * 1.0, "gave_up": failed * 1.0}
    run = Run("", "", columns, tenants=tuple("abcdefghij"))
    told = failures(run, Asked())
    assert told is not None
    assert "100% of them from d, which sent 10% of all" in told.seen
    found = goodput(run, Asked(ttft_s=1.0))
    assert found is not None
    assert found.change.endswith("100% of them are from d, which sent 10% of all")


@pytest.mark.parametrize("told", [("prompt",), ("output",), ("prompt", "output"), ()])
def test_whose_work_is_told_in_what_was_counted(told: tuple[str, ...]) -> None:
    columns = {f"{name}_tokens": np.ones(200) for name in told}
    columns |= {"tenant": np.where(np.arange(200) < 150, 0.0, 1.0), "sent_s": np.arange(200.0)}
    words = {(): "requests", ("prompt",): "prompt tokens", ("output",): "answer tokens"}
    found = tenants(Run("", "", columns, tenants=("a", "b")), Asked())
    assert found.seen == f"2 tenants; a brings 75% of the {words.get(told, 'tokens')}"
