"""Padded plans: the slider against the record, and factors against quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.machine.predictions.calibration_scores import (
    ALL,
    PADDINGS,
    SCORES,
    kept_error,
)
from serving_mathematics.machine.predictions.padded_plans import (
    OWN,
    SHARE,
    _covered,
    _factor,
    _left_out,
    _one_factor,
    example,
    slider_padded_plan,
)
from serving_mathematics.support.measuring import read_record


def test_the_dots_and_what_is_said_are_the_record() -> None:
    told = slider_padded_plan()
    _, models, own = (control["values"] for control in told["controls"])
    covered, error, runs = (np.array(readout["values"]) for readout in told["readouts"])
    dots = np.array(told["panels"][0]["dots"])
    assert covered.shape == error.shape == runs.shape == (PADDINGS.size, len(models), len(own))
    assert (np.diff(covered, axis=0) >= 0).all()
    for column, model in enumerate(models):
        for place, few in enumerate(OWN.values()):
            kept = _covered()[model][few]
            assert covered[:, column, place] == pytest.approx(100 * np.array(kept["covered"]))
            within = (dots[column, place][:, None] <= PADDINGS).sum(axis=0)
            assert within == pytest.approx(covered[:, column, place], abs=1)  # a dot in a hundred
            assert error[0, column, place] == pytest.approx(100 * kept["median error"])
        assert (runs[:, column] == _covered()[model]["runs"]).all()
    assert error[0, 0, 0] == pytest.approx(100 * kept_error(3, method="before")["median"])
    assert error[0, 0, 2] == pytest.approx(100 * kept_error(3)["median"])


@pytest.mark.parametrize("own", OWN)
def test_factors_are_those_of_the_record_s_quantiles(own: str) -> None:
    """The ninth decile of measured over predicted, up to the next factor that was tried."""
    method = "before" if own == "none" else "after"
    rows = [row for row in read_record(SCORES)["all"] if row["half"] == "scored on"]
    few = {"none": 3, "one": 1, "three": 3}[own]
    (row,) = [
        row
        for row in rows
        if (row["few"], row["method"], row["time"]) == (few, method, "per_token_s")
    ]
    decile = row["measured over predicted"][2]
    assert decile <= _factor(ALL, own) + 0.02
    assert _factor(ALL, own) <= decile + 0.07


def test_one_factor_is_the_ninth_decile() -> None:
    models, slower = _left_out()
    factor, covered = _one_factor()
    others = {name: np.quantile(slower[models != name], SHARE) for name in set(models.tolist())}
    within = [ratio <= others[name] for name, ratio in zip(models, slower, strict=True)]
    assert covered == pytest.approx(np.mean(within))
    assert np.mean(slower <= factor) == pytest.approx(SHARE, abs=0.005)  # ratios of few digits
    assert 0.85 < covered < 0.95
    told = example()
    assert told.one_factor == factor
    assert told.one_covered == 100 * covered


def test_the_worst_models_factor_keeps_nine_in_ten_runs_of_each() -> None:
    found, (models, slower) = example(), _left_out()
    for name in set(models.tolist()):
        assert np.mean(slower[models == name] <= found.worst_factor * (1 + 1e-12)) >= 0.895
    assert found.first_factor > found.worst_factor > found.one_factor > _factor(ALL, "three")
