"""The busiest device: limits and draws."""

from __future__ import annotations

import pytest
from serving_mathematics.machine.mixture_of_experts.expert_balance import _by_chance, _skewed


def test_chance_evens_out_and_skew_does_not() -> None:
    assert _by_chance(32, 8)[0] > _by_chance(512, 8)[0] > 1
    assert _by_chance(128, 64)[0] > _by_chance(128, 8)[0]
    assert _skewed(2048) > 1.3 > _by_chance(2048, 8)[0]


def test_chance_of_one_device_and_of_one_token() -> None:
    assert _by_chance(64, 1) == (1.0, 0.0)
    # one token of eight choices over 256 devices: eight of them have one, 32 times the mean
    assert _by_chance(1, 256, 16_000)[0] == pytest.approx(32)


def test_chance_is_known_to_its_error() -> None:
    """1.126 and 1.62 were found with four thousand draws each."""
    for devices, expected in ((8, 1.126), (64, 1.617)):
        told, error = _by_chance(128, devices)
        assert 0 < error < 0.005
        assert told == pytest.approx(expected, abs=4 * error)
