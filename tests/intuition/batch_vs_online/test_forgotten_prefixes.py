"""Sessions beside documents: a small run, and the record's numbers."""

from __future__ import annotations

from serving_mathematics.intuition.batch_vs_online.forgotten_prefixes import (
    _run,
)


def test_a_small_run_finds_less_beside_documents() -> None:
    alone, beside = (_run(count, 3, requests=500) for count in (0, 4))
    assert alone["found"] > beside["found"] > 0.5
    assert alone["lifetime_s"] > 1.5 * beside["lifetime_s"]
    assert alone["first_s"] < beside["first_s"]
