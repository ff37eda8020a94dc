"""The planned memory of an engine beside every log."""

from __future__ import annotations

from serving_mathematics.core.hardware.deployed_engine import cache_blocks
from serving_mathematics.planner.evidence.machine_engine import KV_LOGGED, _logged, logged_reserve


def test_planned_cache_against_every_log() -> None:
    """With one device and an allocator of today the plan is within an eighth of the log; the two
    logs of 2023 and 2024 whose profiling run took 10 GiB and more stay beyond."""
    ratios, reserves = {}, {}
    for name, device, count, logged, source in KV_LOGGED:
        one, token_bytes = _logged(name, device, count)
        ratios[source, count] = cache_blocks(one, token_bytes) / logged
        reserves[source, count] = logged_reserve(one, token_bytes, logged)
        exact = cache_blocks(one, token_bytes, 0.9, reserves[source, count])
        assert abs(exact - logged) <= 1
    for key in (("vllm-2031", 1), ("vllm-10511", 1), ("vllm-17122", 1)):
        assert 0.96 < ratios[key] < 1.125
    for key in (("vllm-2031", 4), ("vllm-12330", 1)):
        assert reserves[key] > 9 * 2**30
        assert 1.4 < ratios[key] < 1.6
