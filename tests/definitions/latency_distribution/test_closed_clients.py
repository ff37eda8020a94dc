"""Clients who wait: what they see against open requests, and the loop's own bounds."""

from __future__ import annotations

import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.latency_distribution import closed_clients


def test_more_clients_bring_more_requests_up_to_the_ceiling() -> None:
    rates = [closed_clients._both(CHAT, clients)[0] for clients in (32, 128, 224)]
    assert rates == sorted(rates)
    assert rates[-1] < 1.03 * CHAT.ceiling_per_s


def test_one_client_never_waits() -> None:
    rate, closed, _, inside_s = closed_clients._both.again(CHAT, 1, 500)
    longest = float(CHAT.prompt_s(CHAT.sample.prompt_tokens.max())[0] + CHAT.step_s(1))
    assert closed < longest + CHAT.made.around_s
    assert rate == pytest.approx(1 / inside_s, rel=0.05)
