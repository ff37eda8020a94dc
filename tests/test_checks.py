"""The comparisons that every check makes: what passes, what fails, and what is said."""

from __future__ import annotations

import asyncio
import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.support import checks

FINITE = st.floats(-1e9, 1e9)


@dataclass(frozen=True)
class Estimated:
    mean: float
    standard_error: float


def outcome(compare: Callable[[], None]) -> checks.Comparison:
    """The single row that a comparison reports; it must raise exactly when the row says failed."""
    raised = ""
    with checks.recording() as rows:
        try:
            compare()
        except AssertionError as failure:
            raised = str(failure)
    assert len(rows) == 1
    assert raised == ("" if rows[0].passed else str(rows[0]))
    return rows[0]


@pytest.mark.parametrize(
    ("got", "expected", "atol", "rtol"),
    [
        (-110.0, -100.0, 0.0, 0.1),
        (113.0, 100.0, 3.0, 0.1),
        ([1.0, 2.0], [1.0, 2.0], 0.0, 0.0),
        (np.array([[1.0, 2.0]]), [[1.0, 2.1]], 0.11, 0.0),
        (np.array(3.0), 3.0, 0.0, 0.0),
    ],
)
def test_close_passes_within_tolerance(
    got: object, expected: object, atol: float, rtol: float
) -> None:
    assert outcome(lambda: checks.close("x", got, expected, atol=atol, rtol=rtol)).passed


@pytest.mark.parametrize(
    ("got", "expected", "atol", "rtol"),
    [
        (1.0, math.nextafter(1.0, 2.0), 0.0, 0.0),
        (111.0, 100.0, 0.0, 0.1),
        (100.0, 111.5, 0.0, 0.1),
        ([1.0, 2.0], [1.0, 3.0], 0.5, 0.0),
        ([1.0, 2.0], [1.0, 2.0, 3.0], math.inf, 0.0),
        ([1.0, 1.0], 1.0, 0.0, 0.0),
        ([[1.0]], [1.0], 0.0, 0.0),
        ([], [], 0.0, 0.0),
        (math.nan, 1.0, 1.0, 1.0),
        (1.0, math.nan, 1.0, 1.0),
        (None, 0.0, 1.0, 0.0),
        (math.inf, math.inf, 1.0, 1.0),
        (1.0, 2.0, math.nan, 0.0),
    ],
)
def test_close_fails_outside_tolerance_and_for_what_is_no_number(
    got: object, expected: object, atol: float, rtol: float
) -> None:
    assert not outcome(lambda: checks.close("x", got, expected, atol=atol, rtol=rtol)).passed


@given(expected=FINITE, error=FINITE, atol=st.floats(0, 1e9))
def test_close_is_the_inequality_of_its_docstring(
    expected: float, error: float, atol: float
) -> None:
    got = expected + error
    passed = outcome(lambda: checks.close("x", got, expected, atol=atol)).passed
    assert passed == (abs(got - expected) <= atol)


@pytest.mark.parametrize(
    ("atol", "rtol", "tolerance"),
    [
        (0.0, 0.0, "exact"),
        (0.01, 0.0, "± 0.01"),
        (0.0, 1e-9, "± 1e-09 × expected"),
        (0.5, 0.01, "± 0.5 + 0.01 × expected"),
    ],
)
def test_close_states_its_tolerance(atol: float, rtol: float, tolerance: str) -> None:
    row = outcome(lambda: checks.close("x", 1.0, 1.0, atol=atol, rtol=rtol))
    assert row.tolerance == tolerance


def test_failure_names_label_values_and_tolerance() -> None:
    with pytest.raises(AssertionError) as failure:
        checks.close("mean wait", 2.25, 2.0, atol=0.1)
    assert str(failure.value) == "mean wait: got 2.25, expected 2 (± 0.1)"


def test_one_of_many_is_one_wherever_a_row_is_read() -> None:
    labels = [outcome(lambda n=n: checks.equal(f"{n} devices", n, n)).label for n in (1, 2)]
    assert labels == ["1 device", "2 devices"]


def test_row_is_printed_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    checks.equal("count", 3, 3)
    with pytest.raises(AssertionError):
        checks.equal("count", 4, 3)
    assert capsys.readouterr().out == (
        "PASS count: got 3, expected 3 (exact)\nFAIL count: got 4, expected 3 (exact)\n"
    )


@pytest.mark.parametrize(
    ("mean", "error", "expected", "sigmas", "passed"),
    [
        (1.29, 0.1, 1.0, 3.0, True),
        (0.71, 0.1, 1.0, 3.0, True),
        (1.31, 0.1, 1.0, 3.0, False),
        (0.69, 0.1, 1.0, 3.0, False),
        (1.29, 0.1, 1.0, 2.0, False),
        (1.0, 0.0, 1.0, 3.0, False),
        (1.0, math.nan, 1.0, 3.0, False),
        (1.0, math.inf, 1.0, 3.0, False),
        (math.nan, 0.1, 1.0, 3.0, False),
        (1.0, 0.1, math.nan, 3.0, False),
    ],
)
def test_covers_needs_a_standard_error_and_a_near_mean(
    mean: float, error: float, expected: float, sigmas: float, passed: bool
) -> None:
    estimate = Estimated(mean, error)
    row = outcome(lambda: checks.covers("x", estimate, np.float64(expected), sigmas=sigmas))
    assert row.passed is passed
    assert row.tolerance == f"{sigmas:g} standard errors"
    assert row.got == f"{mean:.6g} ± {error:.2g}"
    assert row.kind == "simulation"


@pytest.mark.parametrize(
    ("got", "low", "high", "passed"),
    [
        (1.0, 1.0, 2.0, True),
        (2.0, 1.0, 2.0, True),
        (1.5, -math.inf, 2.0, True),
        (0.999, 1.0, 2.0, False),
        (2.001, 1.0, 2.0, False),
        (math.nan, 1.0, 2.0, False),
        (1.5, math.nan, 2.0, False),
        (math.inf, 1.0, math.inf, False),
    ],
)
def test_inside_takes_both_ends_and_no_infinity(
    got: float, low: float, high: float, passed: bool
) -> None:
    assert outcome(lambda: checks.inside("x", got, low, high)).passed is passed


def test_inside_states_the_interval() -> None:
    row = outcome(lambda: checks.inside("share", 0.3, 0.25, 0.5))
    assert (row.expected, row.got, row.tolerance) == ("0.25 … 0.5", "0.3", "interval")
    assert row.kind == "stated"


@pytest.mark.parametrize(
    ("got", "expected", "passed"),
    [
        ("fifo", "fifo", True),
        ({"a", "b"}, {"b", "a"}, True),
        ([1, 2], [2, 1], False),
        (math.nan, math.nan, False),
    ],
)
def test_equal_compares_what_has_no_scale(got: object, expected: object, passed: bool) -> None:
    assert outcome(lambda: checks.equal("x", got, expected)).passed is passed


def test_equal_does_not_guess_for_arrays() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        checks.equal("x", np.arange(2), np.arange(2))


@pytest.mark.parametrize("truth", [True, np.True_])
def test_holds_passes_for_a_truth(truth: bool) -> None:
    row = outcome(lambda: checks.holds("ordered", truth))
    assert (row.passed, row.expected, row.got) == (True, "true", "true")
    assert row.kind == "stated"


@pytest.mark.parametrize("falsehood", [False, np.False_])
def test_holds_fails_for_a_falsehood_and_shows_what_was_got(falsehood: bool) -> None:
    row = outcome(lambda: checks.holds("ordered", falsehood, got=[3, 1]))
    assert (row.passed, row.expected, row.got) == (False, "true", "[3, 1]")


@pytest.mark.parametrize("other", [1, "yes", np.array([True])])
def test_holds_refuses_what_is_no_truth(other: bool) -> None:
    with pytest.raises(TypeError, match="condition must be a bool, got"):
        checks.holds("ordered", other)


def _refusing(rate: float) -> float:
    if not rate > 0:
        raise ValueError(f"rate must be positive, got {rate}")
    return 1 / rate


def test_raises_passes_for_the_named_refusal() -> None:
    row = outcome(lambda: checks.raises("rate 0", _refusing, 0.0, match="rate must be positive"))
    assert row.passed
    assert row.got == "ValueError: rate must be positive, got 0.0"
    assert row.expected == "ValueError with “rate must be positive”"


def test_raises_fails_when_the_call_returns() -> None:
    row = outcome(lambda: checks.raises("rate 2", _refusing, 2.0, match="rate must be"))
    assert not row.passed
    assert row.got == "returned 0.5"


def test_raises_fails_when_the_message_is_another() -> None:
    assert not outcome(lambda: checks.raises("rate", _refusing, rate=0.0, match="wait")).passed


def test_raises_lets_another_error_through() -> None:
    with pytest.raises(TypeError), checks.recording() as rows:
        checks.raises("rate", _refusing, "0", match="")
    assert rows == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        ("fifo", "fifo"),
        (3, "3"),
        (np.int64(3), "3"),
        (2.0, "2"),
        (1 / 3, "0.3333333333"),
        (np.float32(0.5), "0.5"),
        (np.array(1.5), "1.5"),
        ([], "[]"),
        ((1.0, 2.5), "[1, 2.5]"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), "[[1, 2], [3, 4]]"),
        (list(range(6)), "[0, 1, 2, 3, 4, 5]"),
        (np.arange(7.0), "[0, … 7 values …, 6]"),
        (math.nan, "nan"),
        (None, "None"),
    ],
)
def test_values_are_shown_short(value: object, text: str) -> None:
    assert outcome(lambda: checks.raises("x", lambda: value, match="")).got == f"returned {text}"


def test_the_kind_is_reported() -> None:
    assert outcome(lambda: checks.close("x", 1, 1, kind="published")).kind == "published"


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kind must be one of identity, published, .* 'guess'"):
        checks.equal("x", 1, 1, kind="guess")  # type: ignore[arg-type]


def test_recordings_nest_and_end() -> None:
    with checks.recording() as outer:
        checks.equal("first", 1, 1)
        with checks.recording() as inner:
            checks.equal("second", 1, 1)
    checks.equal("third", 1, 1)
    assert [row.label for row in outer] == ["first", "second"]
    assert [row.label for row in inner] == ["second"]


def test_recordings_that_hold_the_same_are_told_apart() -> None:
    with checks.recording() as outer:
        with checks.recording():
            pass
        checks.equal("after", 1, 1)
    assert [row.label for row in outer] == ["after"]


def _module(**functions: Callable[[], object]) -> ModuleType:
    module = ModuleType("made")
    for name, function in functions.items():
        function.__module__ = "made"
        setattr(module, name, function)
    return module


def _passes() -> None:
    """One is one.

    More.
    """
    checks.equal("one", 1, 1)


def _fails() -> None:
    checks.equal("one", 1, 2)


def _swallows() -> None:
    try:
        checks.equal("one", 1, 2)
    except AssertionError:
        return


def _compares_nothing() -> None:
    assert 1 == 1.0


def _breaks() -> None:
    raise RuntimeError("broken")


def test_sets_print_in_one_order() -> None:
    with checks.recording() as rows:
        checks.equal("letters", set("lamb"), frozenset("ablm"))
    assert rows[0].got == rows[0].expected == "{a, b, l, m}"


def test_functions_are_the_modules_own_in_the_order_of_the_source() -> None:
    module = _module(check_z=_passes, check_a=_fails, figure_x=_breaks)
    module.check_of_another = test_the_kind_is_reported  # type: ignore[attr-defined]
    module.check_limit = 3  # type: ignore[attr-defined]
    assert list(checks.functions(module, "check_")) == ["check_z", "check_a"]


def test_decorated_check_is_not_skipped() -> None:
    _passes.__module__ = "made"
    module = ModuleType("made")
    module.check_cached = functools.cache(_passes)  # type: ignore[attr-defined]
    assert list(checks.functions(module, "check_")) == ["check_cached"]


def test_run_prints_the_claims_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.run(_module(check_passes=_passes))
    assert "\nOne is one.\nPASS one: got 1, expected 1 (exact)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (_fails, "FAIL check_it: one: got 1, expected 2 (exact)"),
        (_swallows, "FAIL check_it: one: got 1, expected 2 (exact)"),
        (_compares_nothing, "FAIL check_it: compared nothing"),
        (_breaks, "FAIL check_it: RuntimeError: broken"),
    ],
)
def test_run_fails_and_goes_on(
    check: Callable[[], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not checks.run(_module(check_it=check, check_last=_passes))
    printed = capsys.readouterr().out
    assert message in printed
    assert "PASS one" in printed


def test_module_without_checks_does_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert not checks.run(_module(figure_x=_passes))
    assert "made has no checks" in capsys.readouterr().out


def test_command_without_modules_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.main([]) == 2
    assert "usage: serving-mathematics check MODULE" in capsys.readouterr().err
    assert checks.main(["--help"]) == 0
    assert "usage: serving-mathematics check MODULE" in capsys.readouterr().out


def test_command_reports_every_module_and_fails_if_one_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "serving_mathematics.made_bad", _module(check_bad=_fails))
    monkeypatch.setitem(sys.modules, "serving_mathematics.made_good", _module(check_good=_passes))
    assert checks.main(["made_good"]) == 0
    assert checks.main(["serving_mathematics.made_bad", "serving_mathematics.made_good"]) == 1
    assert "FAIL check_bad" in capsys.readouterr().out


def test_show_runs_a_check_with_a_loop_of_its_own_in_a_notebook(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def answer() -> int:
        return 4

    def check_answer() -> None:
        """Two and two."""
        checks.equal("sum", asyncio.run(answer()), 4)

    def check_mistake() -> None:
        checks.equal("sum", asyncio.run(answer()), 5)

    async def cell(check: Callable[[], None]) -> None:
        checks.show(check)  # as in a kernel, whose cells run inside of its loop

    asyncio.run(cell(check_answer))
    checks.show(check_answer)
    assert capsys.readouterr().out.count("Two and two.\nPASS ") == 2
    with pytest.raises(AssertionError, match="got 4, expected 5"):
        asyncio.run(cell(check_mistake))
    checks.show(check_answer)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("definitions/utilization", "; did you mean definitions.utilization?"),
        ("definitions.utilisation", "; did you mean definitions.utilization?"),
        ("definitions/utilization/pooling.py", "; did you mean definitions.utilization.pooling?"),
        ("littles-law", "; did you mean capacity.littles_law?"),
        ("os", ", such as definitions.utilization"),
    ],
)
def test_a_module_that_is_none_is_answered_with_the_one_that_was_meant(
    given: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks.main([given]) == 2
    assert capsys.readouterr().err == f"there is no module {given!r}{meant}\n"
