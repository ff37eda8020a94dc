"""Two engines with one version: what is compared, and that slower is slower."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.architecture.shadow_canary.same_version import (
    GATE,
    HOURS,
    LOOKS,
    PAIRS,
    WARM_S,
    _blocks,
    _compared,
    _run,
    _seen,
    _z_of_minutes,
    _z_of_requests,
)
from serving_mathematics.core.machines.machines import CHAT, MIXTURE


def test_blocks_are_means_of_minutes() -> None:
    run = _run(CHAT, 0.3, 0.2, 5)
    since, values = _compared(run, 0.2)
    assert since.min() >= 0
    assert since.max() < 720
    assert (run.arrival_s >= WARM_S).sum() >= since.size
    third = values[(since >= 120) & (since < 180)]
    assert _blocks(run, 0.2)[2] == pytest.approx(np.log(third.mean()))


def test_z_of_requests_is_welch_s() -> None:
    old, new = _run(CHAT, 0.3, HOURS, 6), _run(CHAT, 0.3, HOURS, 7, 1.02)
    a, b = (_compared(run, HOURS)[1] for run in (old, new))
    z = (b.mean() - a.mean()) / np.sqrt(a.var() / a.size + b.var() / b.size)
    assert _z_of_requests(old, new)[-1] == pytest.approx(z, rel=1e-6)
    assert z > 0
    apart = _blocks(new, HOURS) - _blocks(old, HOURS)
    assert _z_of_minutes(apart, 0.05)[-1] == pytest.approx(apart.sum() / 0.05 / np.sqrt(120))


def test_the_record_has_what_is_read_of_it() -> None:
    pairs = _seen("pairs")
    for version, count in PAIRS.items():
        z = np.array([row["minutes"] for row in pairs[version]])
        assert z.shape == (count, LOOKS)
    same, slower = (np.array([r["minutes"][-1] for r in pairs[name]]) for name in PAIRS)
    assert abs(same.mean()) < 4 / np.sqrt(same.size)
    assert 0.8 < same.std() < 1.25
    assert slower.mean() > 2
    for version in GATE:
        assert len(_seen("gate")[version]["token"]) == 60 * HOURS


def test_minutes_of_the_mixture_resemble_each_other_though_answers_take_seconds() -> None:
    """So it is minutes that say whether blocks must be longer, not how long answers take."""
    runs = [_run(MIXTURE, 0.6, 8.0, seed) for seed in range(20, 28)]
    assert max(float(np.nanmean(run.completion_s - run.arrival_s)) for run in runs) < 30
    rows = np.array([_blocks(run, 8.0, block_s=120.0) for run in runs])
    apart = rows[::2] - rows[1::2]
    assert np.nanmean(apart[:, 1:] * apart[:, :-1]) > 0.06 * np.nanmean(apart**2)
