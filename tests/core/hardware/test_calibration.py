"""Fits: scipy as oracle, planted constants found again, scores within the aims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from serving_mathematics.core.hardware import calibration
from serving_mathematics.core.hardware.calibration import (
    PUBLISHED_RATE,
    START,
    STEP_CONSTANTS,
    Table,
    _rate_errors,
    accepted_without,
    descend,
    errors,
    fit,
    groupings,
    left_out,
    predict_runs,
    score,
    tabulate,
    without_evidence,
)
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES, FITTED, Constants
from serving_mathematics.support.measuring import read_record

RUNS = read_runs(read_lines())
SCORES = read_record("machine_scores")
SOME = tabulate([run for run in RUNS[::12] if run.kind != "separate"])


def aggregated(name: str, quantity: str) -> dict[str, Any]:
    found: dict[str, Any] = SCORES["aggregated"][name][quantity]
    return found


def test_further_aims_are_met_on_all_runs() -> None:
    assert aggregated("one model left out", "per token")["all"]["runs"] == 3610  # every one
    fleets = SCORES["separate fleets, fitted to none"]["rate"]["all"]
    assert (fleets["runs"], fleets["median"] <= 0.25) == (1602, True)
    kernels = aggregated("constants from kernels alone", "per token")["all"]
    assert kernels["median"] <= 0.15
    assert len(SCORES["constants"]) + 2 <= 25  # with the two acceptance lengths


def test_the_record_is_what_the_constants_give() -> None:
    table = tabulate([run for run in RUNS if run.kind != "separate"])
    found = predict_runs(table, FITTED)
    told = aggregated("fitted to all", "per token")["all"]
    assert errors(found.per_token_s, table.per_token_s) == pytest.approx(told, abs=2e-4)
    separate = tabulate([run for run in RUNS if run.kind == "separate"])
    found = predict_runs(separate, FITTED)
    told = SCORES["separate fleets, fitted to none"]["rate"]["all"]
    assert _rate_errors(separate, found) == pytest.approx(told, abs=5e-4)  # of four digits


def test_a_fit_today_moves_no_prediction_far() -> None:
    """The constants of steps are older than what was settled of some labels; of a refit's constants
    some make up for others.
    """
    table = tabulate([run for run in RUNS if run.kind == "engine"])
    now, then = (predict_runs(table, one) for one in (Constants(**SCORES["refit"]), FITTED))
    for name, most, median in (("per_token_s", 0.1, 0.02), ("first_token_s", 0.15, 0.05)):
        moved = np.abs(getattr(now, name) / getattr(then, name) - 1)
        assert np.quantile(moved, 0.95) < most, name
        assert np.median(moved) < median, name


def test_descend_finds_what_scipy_finds() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 3, 60)
    y = 2 * np.exp(-0.7 * x) + rng.normal(0, 0.02, 60)
    y[:4] += 3  # which a robust fit passes over

    def residuals(p: np.ndarray) -> np.ndarray:
        return np.asarray(p[0] * np.exp(-p[1] * x) - y)

    def loss(z: np.ndarray) -> np.ndarray:  # of (r / scale)^2
        root = np.sqrt(1 + z)
        return np.array([2 * (root - 1), 1 / root, -0.5 / root**3])

    ours = descend(residuals, np.array([1.0, 0.1]), np.array([9.0, 9.0]), 0.05, steps=200)
    theirs = least_squares(residuals, [1.0, 0.1], loss=loss, f_scale=0.05).x
    assert ours == pytest.approx(theirs, abs=2e-4)
    bounded = descend(residuals, np.array([1.0, 0.1]), np.array([1.5, 9.0]), 0.05, steps=200)
    assert bounded[0] == 1.5


def test_planted_constants_are_found_again() -> None:
    planted = replace(FITTED, factor_vllm=1.7, weight_share=0.6, cache_share=0.5, burst_share=0.2)
    found = predict_runs(SOME, planted)
    made = Table(
        SOME.runs, SOME.engines, SOME.prompts, SOME.single, SOME.answer_engines,
        SOME.prompt_engines, SOME.concurrency, found.first_token_s, found.per_token_s,
    )  # fmt: skip
    again = fit(made, START)
    for name in ("factor_vllm", "weight_share", "cache_share", "burst_share", "factor_trtllm"):
        assert getattr(again, name) == pytest.approx(getattr(planted, name), rel=0.05), name
    whole = predict_runs(made, again).per_token_s / found.per_token_s
    assert np.median(np.abs(whole - 1)) < 0.005


def test_shares_stay_below_one() -> None:
    fitted = fit(SOME)
    assert all(getattr(fitted, n) <= 1 for n in CONSTANT_NAMES if n.endswith("_share"))
    assert CONSTANT_NAMES[STEP_CONSTANTS].startswith("first_steps")


def test_a_left_out_group_is_not_seen() -> None:
    """Changing the measurements of one group changes no prediction of that group."""
    two = np.array([run.answers.backend != "sglang" for run in SOME.runs])
    few = SOME.rows(two & (np.arange(len(SOME.runs)) % 8 == 0))
    labels = groupings(few)["backend"]
    before = left_out(few, labels, FITTED).per_token_s
    group = np.array(labels) == "vllm"
    wrong = few.per_token_s * np.where(group, 3.0, 1.0)
    changed = Table(
        few.runs, few.engines, few.prompts, few.single, few.answer_engines,
        few.prompt_engines, few.concurrency, few.first_token_s, wrong,
    )  # fmt: skip
    after = left_out(changed, labels, FITTED).per_token_s
    assert after[group] == pytest.approx(before[group], rel=1e-12)
    assert not np.allclose(after[~group], before[~group])


def test_a_backend_without_runs_takes_the_mean_of_the_others() -> None:
    part = SOME.rows(np.array(groupings(SOME)["backend"]) != "sglang")
    found = without_evidence(FITTED, part)
    assert found.factor_sglang == pytest.approx((FITTED.factor_trtllm * FITTED.factor_vllm) ** 0.5)
    assert found.factor_vllm == FITTED.factor_vllm


def test_scores_are_told_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "fit", lambda *_: FITTED)  # what it tells is another test's
    small = [run for run in RUNS if run.kind != "separate"][::150]
    small += [run for run in RUNS if run.kind == "separate"][::200]
    found = score(small)
    every = found["aggregated"]["one model left out"]["per token"]
    apart = found["separate fleets, fitted to none"]["per token"]
    assert every["all"]["runs"] + apart["all"]["runs"] == len(small)
    for labels in every, apart:
        assert all(
            sum(row["runs"] for row in labels[key].values()) == labels["all"]["runs"]
            for key in labels.keys() - {"all"}
        )


def test_what_guesses_yield_is_counted_among_those_that_guess_as_many() -> None:
    """Times made by the model itself give back what was accepted; elsewhere the published rate."""
    guessing = SOME.rows(np.array(groupings(SOME)["guessing"]) == "yes")
    told = predict_runs(guessing, FITTED)
    made = replace(guessing, per_token_s=told.per_token_s)
    for drafts in {int(number) for number in guessing.engines.drafts}:
        alike = guessing.engines.drafts == drafts
        planted = float(np.median(guessing.engines.accepted[alike]))
        assert accepted_without(made, FITTED, drafts) == pytest.approx(planted)
    none = SOME.rows(np.array(groupings(SOME)["guessing"]) == "no")
    assert accepted_without(none, FITTED, 3) == pytest.approx(
        1 + PUBLISHED_RATE + PUBLISHED_RATE**2 + PUBLISHED_RATE**3
    )


def test_a_left_out_model_does_not_say_what_its_guesses_yield() -> None:
    """Times of a model's runs that guess, ten times as long, change no prediction of them."""
    few = SOME.rows(np.arange(len(SOME.runs)) % 18 == 2)
    labels = groupings(few)
    guessing = np.array(labels["guessing"]) == "yes"
    others = np.where(np.arange(guessing.size) < guessing.size - 2, "others", "two others")
    models = np.where(guessing, labels["model"], others)
    before = left_out(few, models.tolist(), FITTED).per_token_s
    mine = models == models[guessing][0]
    wrong = replace(few, per_token_s=few.per_token_s * np.where(mine, 10.0, 1.0))
    after = left_out(wrong, models.tolist(), FITTED).per_token_s
    assert after[mine] == pytest.approx(before[mine], rel=1e-12)
    assert len({*models[guessing]}) == 2  # the other's guesses are what it is told by


def test_runs_do_not_tell_the_host_from_messages_and_cache() -> None:
    """From 7 to 30 us a sequence fit alike, within a point, as shares of links and cache move."""
    medians, shares = [], []
    for host in (7e-6, 30e-6):
        fitted = fit(SOME, replace(START, sequence_s=host))
        found = predict_runs(SOME, fitted)
        medians.append(errors(found.per_token_s, SOME.per_token_s)["median"])
        shares.append((fitted.link_share, fitted.cache_share))
        assert fitted.sequence_s == pytest.approx(host)
    assert abs(medians[0] - medians[1]) < 0.01
    assert shares[0] < shares[1]


def test_runs_that_guess_say_nothing_of_the_constants() -> None:
    runs = [run for run in RUNS if run.kind == "engine"]
    plain = [run for run in runs if not run.answers.draft_tokens][:60]
    guesses = [run for run in runs if run.answers.draft_tokens]
    assert fit(tabulate(plain + guesses)) == fit(tabulate(plain))
    with pytest.raises(ValueError, match="table must be with a run of one engine that does not"):
        fit(tabulate(guesses))
