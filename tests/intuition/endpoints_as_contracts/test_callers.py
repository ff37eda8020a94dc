"""Callers on endpoints that are changed one at a time, beyond the checks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from serving_mathematics.intuition.endpoints_as_contracts.callers import (
    CALLERS,
    CHANGES,
    _Endpoint,
    _served,
)
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import CHAT


@pytest.mark.parametrize(
    ("tokens", "refused"), [(131_072, False), (130_900, False), (130_899, True)]
)
def test_a_request_is_refused_where_prompt_and_template_are_too_long(
    tokens: int, refused: bool
) -> None:
    endpoint = _Endpoint(replace(CHAT, context_tokens=tokens))
    assert (_served(endpoint, CALLERS["long documents"]) == []) == refused


def test_a_time_out_cuts_what_takes_longer_and_only_with_a_gateway() -> None:
    slow = CALLERS["long documents"]
    for limit_s, cut in ((89.0, True), (90.0, False)):
        endpoint = _Endpoint(timeout_s=limit_s)
        assert slow.reads(_served(endpoint, slow)) != cut
        assert slow.reads(_served(endpoint, slow, quiet=True))


def test_each_change_is_one() -> None:
    """Of every change, undoing what differs from before gives the endpoint as it was."""
    for name, changed in CHANGES.items():
        fields = [one for one, value in vars(_Endpoint()).items() if getattr(changed, one) != value]
        assert fields, name
        undone = replace(changed, **{one: getattr(_Endpoint(), one) for one in fields})
        assert undone == _Endpoint()
