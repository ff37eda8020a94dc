"""A real hour: sums, the record, the slider beside the page, playing it again, and the errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.arrival_rates import real_hour
from serving_mathematics.capacity.arrival_rates.real_hour import (
    LOADS,
    MACHINES,
    PLAYED,
    SPANS_MIN,
    example,
    peak_over_mean,
    slider_hour,
    work_by_window,
)
from serving_mathematics.core.machines.machines import CHAT


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20).filter(lambda x: sum(x) > 1))
def test_peak_is_no_less_than_the_mean(values: list[float]) -> None:
    assert 1 - 1e-12 <= peak_over_mean(values) <= len(values) + 1e-9
    assert peak_over_mean([3 * x for x in values]) == pytest.approx(peak_over_mean(values))


def test_work_lies_between_its_parts() -> None:
    told = example()
    assert told.peak_answers < told.peak_work < told.peak_prompts
    work = work_by_window([1.0, 2.0], [3.0, 4.0], 0.5, 0.25)
    assert work.tolist() == [1.25, 2.0]


def test_the_record_is_of_what_the_page_says() -> None:
    played = real_hour._played()
    assert played.keys() == MACHINES.keys()
    for ways in played.values():
        assert tuple(ways) == PLAYED
        for rows in ways.values():
            kept = [row["kept"] for row in rows]
            assert len(kept) == len(LOADS)
            assert kept == sorted(kept, reverse=True)


def test_the_slider_ends_with_the_whole_hour() -> None:
    data, told = slider_hour(), example()
    one = SPANS_MIN.index(1)
    most = {read["label"]: read["values"] for read in data["readouts"]}
    assert most["most prompt tokens"][one] == pytest.approx(100 * told.peak_prompts)
    assert most["most answer tokens"][one] == pytest.approx(100 * told.peak_answers)
    assert most["most work"][one] == pytest.approx(100 * told.peak_work)
    curves = {curve["label"]: np.array(curve["values"]) for curve in data["panels"][0]["curves"]}
    assert curves["requests"].shape == (len(SPANS_MIN), len(data["clock"]["values"]))
    assert curves["requests"][one].mean() == pytest.approx(100.0)


def test_a_log_is_played_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two hundred requests, one a second: no way to play them differs, and none is late."""
    stamps = [f"2023-11-16 18:{m:02d}:{s:02d}.0" for m in range(4) for s in range(50)]
    file = tmp_path / "mine.csv"
    file.write_text(
        "\n".join(
            ["TIMESTAMP,ContextTokens,GeneratedTokens", *(f"{stamp},500,20" for stamp in stamps)]
        )
    )
    written = {}
    monkeypatch.setattr(real_hour, "MACHINES", {"chat": CHAT})
    monkeypatch.setattr(real_hour, "LOADS", (0.2,))
    monkeypatch.setattr(
        real_hour, "write_record", lambda name, record: written.update({name: record})
    )
    with pytest.raises(ValueError, match="paths must be one"):
        real_hour.main([str(file), str(file)])
    assert real_hour.main([str(file)]) == 0
    assert "wrote" in capsys.readouterr().out
    rows = written["real_hour"]["played"]["chat"]
    assert {way: row[0]["kept"] for way, row in rows.items()} == dict.fromkeys(PLAYED, 1.0)
