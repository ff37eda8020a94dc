"""Two clients request by request, and what the slider says of them."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.definitions.latency_distribution.patient_client import (
    ANSWER_S,
    REQUESTS,
    STALLED,
    STALLS_S,
    slider_patient_client,
)


def written_s(client: str, stall_s: float) -> list[float]:
    """What a client writes down, one request after the other [s]."""
    free, found = 0.0, []
    for i in range(REQUESTS):
        sent = float(i) if client == "open" else max(float(i), free)
        begun = STALLED + stall_s if STALLED <= sent < STALLED + stall_s else sent
        free = begun + ANSWER_S
        found.append(free - sent)
    return found


@pytest.mark.parametrize("place", range(len(STALLS_S)))
def test_the_slider_says_what_each_client_writes_down(place: int) -> None:
    told, stall_s = slider_patient_client(), STALLS_S[place]
    said = {readout["label"]: np.asarray(readout["values"])[place] for readout in told["readouts"]}
    for panel, client in zip(told["panels"], ("open", "patient"), strict=True):
        expected = written_s(client, stall_s)
        assert said[f"mean, {client}"] == pytest.approx(np.mean(expected))
        assert said[client][-1] == sum(latency > 0.5 for latency in expected)
        texts = [bar[4] for bar in panel["bars"][place] if len(bar) > 4]
        assert texts == [f"{latency:.1f}" for latency in expected]
    assert said["patient"][-1] == min(stall_s, 1)
