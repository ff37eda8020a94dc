"""The Universal Scalability Law, fitted with its uncertainty, and a fall that it only imagines.

X(N) = γN/(1 + α(N−1) + βN(N−1)): γ is the throughput of one client, α the share of work that only
one can do at a time (contention), β the cost of keeping every pair consistent (coherency). With
β = 0 it is Amdahl's law and levels off at γ/α; with β > 0 it peaks at N_max = √((1−α)/β) and falls.
The parameters come from least squares with α, β ≥ 0; their errors from the Jacobian.

Assumes: independent errors of one size at every N; a steady state at every point.

Source: Gunther (2007); Gunther (2008) for the law as a bound of the closed loop; the R package usl
for the fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.closed_network import AWAY_S, SERVER_S, convolution_throughput
from serving_mathematics.core.queues.mean_value_analysis import asymptotic_bounds, exact_mva
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

_NOTHING = 1e-12  # a parameter that changes no throughput by more of its size is 0


def usl_throughput(
    concurrency: npt.ArrayLike, contention: float, coherency: float, single: float
) -> FloatArray:
    """Throughput by the Universal Scalability Law, in the unit of `single`.

    concurrency: N ≥ 1, any shape. contention: α ≥ 0. coherency: β ≥ 0; 0 gives Amdahl's law.
    single: γ > 0, throughput at N = 1. Raises ValueError outside these ranges.

    >>> usl_throughput([1, 2, 5], contention=0.1, coherency=0.05, single=10.0).round(6).tolist()
    [10.0, 16.666667, 20.833333]
    """
    n = as_floats(concurrency=concurrency)
    require(np.all((n >= 1) & (n < math.inf)), "concurrency", "finite and ≥ 1", n)
    contention, coherency = require_non_negative(contention=contention, coherency=coherency)
    single = require_positive(single=single)
    return np.asarray(single * n / (1 + contention * (n - 1) + coherency * n * (n - 1)))


def peak_concurrency(contention: float, coherency: float) -> float:
    """Concurrency N_max = √((1−α)/β) beyond which throughput falls; infinity when β = 0.

    contention: α in [0, 1]. coherency: β ≥ 0. Raises ValueError outside these ranges.

    >>> peak_concurrency(contention=0.19, coherency=0.01)
    9.0
    """
    contention = require_in("[0, 1]", contention=contention)
    coherency = require_non_negative(coherency=coherency)
    return math.sqrt((1 - contention) / coherency) if coherency else math.inf


@dataclass(frozen=True)
class ScalabilityFit:
    """Fitted α, β, γ, their standard errors (0 for a parameter held at 0), and the data."""

    contention: float
    coherency: float
    single: float
    standard_errors: tuple[float, float, float]
    residual_sd: float
    degrees_of_freedom: int
    concurrency: tuple[float, ...]
    throughput: tuple[float, ...]


def _denominators(n: FloatArray) -> FloatArray:
    """Columns 1, N−1 and N(N−1), whose combination with (1, α, β)/γ is N/X."""
    return np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1)


def _levenberg_marquardt(n: FloatArray, x: FloatArray, columns: list[int]) -> FloatArray:
    """Least squares of X = N/(θ·columns) for many data sets x of shape (B, m) at once."""
    basis = _denominators(n)[:, columns]
    typical = np.maximum(x, 0.05 * x.max(axis=1, keepdims=True))  # noise may make x negative
    rows = typical[:, :, None] ** 2 / n[:, None] * basis  # x − n/d ≈ (x·d − n)·x/n, linear in θ
    theta: FloatArray = (np.linalg.pinv(rows) @ typical[:, :, None])[:, :, 0]
    damping, moving = np.full(len(x), 1e-3), np.arange(len(x))
    with np.errstate(all="ignore"):  # a step too far is measured and taken back
        error = ((x - n / (theta @ basis.T)) ** 2).sum(axis=1)
        for _ in range(60):
            before, values = theta[moving], x[moving]
            denominator = before @ basis.T
            slope = -(n / denominator**2)[:, :, None] * basis
            residual = values - n / denominator
            normal = np.einsum("bmi,bmj->bij", slope, slope)
            diagonal = np.einsum("bii->bi", normal)
            scale = np.sqrt(diagonal)
            scaled = normal / scale[:, :, None] / scale[:, None, :]
            scaled += damping[moving, None, None] * np.eye(len(columns))
            gradient = np.einsum("bmi,bm->bi", slope, residual) / scale
            step = np.linalg.solve(scaled, gradient[:, :, None])[:, :, 0] / scale
            trial = before + step
            trial_error = ((values - n / (trial @ basis.T)) ** 2).sum(axis=1)
            valid = (trial @ basis.T > 0).all(axis=1)
            better = valid & (trial_error <= error[moving])
            theta[moving[better]], error[moving[better]] = trial[better], trial_error[better]
            damping[moving] = np.clip(damping[moving] * np.where(better, 0.1, 10), 1e-15, 1e10)
            moving = moving[~(np.abs(step) <= 1e-12 * np.abs(before)).all(axis=1)]
            if not moving.size:
                break
    return theta


def _fit_many(n: FloatArray, x: FloatArray, with_coherency: bool) -> FloatArray:
    """α, β, γ of every row of x, shape (B, 3): the best valid fit, with α or β at 0 if need be."""
    smaller = [[0, 1], [0, 2], [0]] if with_coherency else [[0]]
    best, best_error = np.full((len(x), 3), np.nan), np.full(len(x), np.inf)
    rows = np.arange(len(x))
    for columns in ([0, 1, 2] if with_coherency else [0, 1], *smaller):
        theta = np.zeros((rows.size, 3))
        theta[:, columns] = _levenberg_marquardt(n, x[rows], columns)
        most = np.abs(theta) * _denominators(n).max(axis=0)
        theta[most <= _NOTHING * most[:, :1]] = 0.0
        valid = (theta[:, 0] > 0) & (theta[:, 1:] >= 0).all(axis=1)
        fitted = n / np.where(valid[:, None], theta @ _denominators(n).T, 1)
        error = ((x[rows] - fitted) ** 2).sum(axis=1)
        better = valid & (error <= best_error[rows])  # of equals the one with fewer parameters
        best[rows[better]], best_error[rows[better]] = theta[better], error[better]
        if columns not in smaller:
            rows = rows[~valid]  # a valid fit of the whole law is the best there is
        if not rows.size:
            break
    return np.stack([best[:, 1] / best[:, 0], best[:, 2] / best[:, 0], 1 / best[:, 0]], axis=1)


def _standard_errors(n: FloatArray, x: FloatArray, fit: FloatArray) -> tuple[FloatArray, float]:
    """Roots of the diagonal of s²(JᵀJ)⁻¹ over the parameters that are not held at 0, and s."""
    alpha, beta, gamma = fit
    denominator = 1 + alpha * (n - 1) + beta * n * (n - 1)
    fitted = gamma * n / denominator
    slopes = (-fitted * (n - 1) / denominator, -fitted * n * (n - 1) / denominator, fitted / gamma)
    free = [k for k in range(3) if fit[k] > 0]
    jacobian = np.stack([slopes[k] for k in free], axis=1)
    spread = float(((x - fitted) ** 2).sum()) / (n.size - len(free))
    errors = np.zeros(3)
    scale = np.sqrt((jacobian**2).sum(axis=0))
    inverse = np.linalg.inv((jacobian / scale).T @ (jacobian / scale))
    errors[free] = np.sqrt(spread * np.diag(inverse)) / scale
    return errors, math.sqrt(spread)


def fit_usl(
    concurrency: npt.ArrayLike, throughput: npt.ArrayLike, with_coherency: bool = True
) -> ScalabilityFit:
    """Least-squares fit of the Universal Scalability Law, or Amdahl's law, to measured throughput.

    concurrency: N ≥ 1, at least four different values, shape (m,). throughput: X > 0, same shape,
    any unit. with_coherency: False holds β at 0. Both α and β are kept ≥ 0.
    Raises ValueError on other shapes or values, or when there are too few points.

    >>> fit = fit_usl([1, 2, 5, 6], [88.0, 88.0, 55.0, 48.0])  # denominators 1, 2, 8, 11
    >>> round(fit.contention, 6), round(fit.coherency, 6), round(fit.single, 4)
    (0.5, 0.25, 88.0)
    """
    n, x = as_floats(concurrency=concurrency), as_floats(throughput=throughput)
    require(n.ndim == 1, "concurrency", "of one dimension", n.shape)
    require(np.all((n >= 1) & (n < math.inf)), "concurrency", "finite and ≥ 1", n)
    require(np.unique(n).size >= 4, "concurrency", "at least four different values", n)
    require_shape(n.shape, throughput=x)
    require_all_positive(throughput=x)
    parameters = _fit_many(n, x[None, :], with_coherency)[0]
    errors, sd = _standard_errors(n, x, parameters)
    alpha, beta, gamma = parameters.tolist()
    return ScalabilityFit(
        alpha,
        beta,
        gamma,
        (float(errors[0]), float(errors[1]), float(errors[2])),
        sd,
        n.size - int(np.count_nonzero(parameters)),
        tuple(n.tolist()),
        tuple(x.tolist()),
    )


PHANTOM_CLIENTS = (1, 2, 3, 4, 6, 8, 12, 16)  # a load test of the chapter's model server


def _phantom() -> ScalabilityFit:
    """The law fitted to a server that has queues and no coherency at all."""
    exact = exact_mva(max(PHANTOM_CLIENTS), SERVER_S, AWAY_S)[0]
    return fit_usl(PHANTOM_CLIENTS, exact[np.array(PHANTOM_CLIENTS) - 1])


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    phantom = _phantom()
    foretold = float(usl_throughput(48, phantom.contention, phantom.coherency, phantom.single))
    exact = float(exact_mva(48, SERVER_S, AWAY_S)[0][-1])
    fitted = usl_throughput(
        phantom.concurrency, phantom.contention, phantom.coherency, phantom.single
    )
    return SimpleNamespace(
        phantom_beta=phantom.coherency,
        phantom_beta_error=phantom.standard_errors[1],
        phantom_peak=peak_concurrency(phantom.contention, phantom.coherency),
        phantom_sigmas=phantom.coherency / phantom.standard_errors[1],
        phantom_worst_percent=100 * float(np.abs(fitted / phantom.throughput - 1).max()),
        phantom_at_48=foretold,
        exact_at_48=exact,
        phantom_ratio=exact / foretold,
        loop_alpha=sum(SERVER_S) / (sum(SERVER_S) + AWAY_S),
        loop_ceiling=1 / sum(SERVER_S),
    )


def figure_phantom_coherency(figure: Figure) -> None:
    """To the law a server that only queues looks retrograde, and it foretells a fall never to come.

    Points: exact throughput of the model server at eight loads, to which the law was fitted; lines:
    the fit, and the exact curve beyond the test.

    Alt: Line chart of throughput against clients from 0 to 48. Eight points rise and flatten at 50
    per second by 16 clients. The exact curve stays at 50; the fitted law passes near the points,
    peaks at about 13 clients and falls to 26 per second at 48 clients.
    """
    axes = figure.subplots()
    fit, n = _phantom(), np.arange(1, 49)
    axes.axvspan(max(PHANTOM_CLIENTS), 48, color="C4", alpha=0.08, linewidth=0)
    axes.plot(n, exact_mva(48, SERVER_S, AWAY_S)[0], color="C0")
    axes.plot(n, usl_throughput(n, fit.contention, fit.coherency, fit.single), "--", color="C3")
    axes.plot(fit.concurrency, fit.throughput, "o", color="C0")
    axes.annotate("exact: queues only", (47, 51), color="C0", ha="right", va="bottom")
    axes.annotate("fitted law", (40, 39.5), color="C3", ha="right", va="top")
    axes.annotate("not tested", (47, 1.5), color="C4", ha="right")
    axes.set(xlim=(0, 48), ylim=(0, 60), xlabel="clients N", ylabel="throughput X [1/s]")


# SPEC SDM91 on 16 CPUs: users, and scripts per hour, as the R package usl ships them
_SDM91_USERS = (1, 18, 36, 72, 108, 144, 216)
_SDM91_PER_H = (64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2)


def check_published_fit() -> None:
    """The seven points of SPEC SDM91 give the parameters, errors and spread that R prints.

    Source: test output of the R package usl (method nlxb: bounded least squares in α, β, γ); β to
    more digits from an independent least-squares run.
    """
    fit = fit_usl(_SDM91_USERS, _SDM91_PER_H)
    checks.close("α", fit.contention, 0.0277285, atol=5e-8, kind="published")
    checks.close("β", fit.coherency, 0.0001044, atol=5e-8, kind="published")
    checks.close("β, five digits", fit.coherency, 0.00010437, atol=5e-9)
    checks.close("γ [scripts/h]", fit.single, 89.9952330, atol=5e-7, kind="published")
    printed = [0.0091217, 0.0000199, 14.2134894]
    for name, got, expected, unit in zip(
        "αβγ", fit.standard_errors, printed, (5e-8, 5e-8, 5e-7), strict=True
    ):
        checks.close(f"standard error of {name}", got, expected, atol=unit, kind="published")
    checks.close("residual spread", fit.residual_sd, 82.8, atol=0.05, kind="published")
    fitted = usl_throughput(_SDM91_USERS, fit.contention, fit.coherency, fit.single)
    printed = [90, 1078, 1541, 1850, 1879, 1822, 1646]
    checks.close("fitted values", fitted, printed, atol=0.5, kind="published")
    peak = peak_concurrency(fit.contention, fit.coherency)
    checks.close("N_max [users]", peak, 97, atol=0.5, kind="published")


def check_least_squares() -> None:
    """No nearby parameters leave a smaller sum of squares, with and without coherency.

    Source: the sum of squares itself, evaluated on 26 neighbours at a thousandth of each parameter.
    """
    n, x = np.array(_SDM91_USERS, dtype=float), np.array(_SDM91_PER_H)
    steps = (-1e-3, 0.0, 1e-3)
    for label, law in (("USL", True), ("Amdahl", False)):
        fit = fit_usl(n, x, law)
        at = np.array([fit.contention, fit.coherency, fit.single])
        sums = [
            float(((x - usl_throughput(n, *(at * (1 + np.array(shift))))) ** 2).sum())
            for shift in product(steps, repeat=3)
        ]
        centre = sums[len(sums) // 2]
        checks.holds(f"{label}: least of 27", centre <= min(sums), got=f"{centre:.6g}")


def check_peak_is_the_maximum() -> None:
    """Throughput is greatest at N_max, and without coherency it tends to γ/α.

    Source: the law on a fine grid, and at N = 10⁹.
    """
    grid = np.linspace(1, 400, 399_001)
    for alpha, beta in ((0.03, 1e-4), (0.3, 1e-3), (0.0, 4e-5)):
        highest = grid[np.argmax(usl_throughput(grid, alpha, beta, 7.0))]
        checks.close(
            f"α = {alpha:g}, β = {beta:g}", peak_concurrency(alpha, beta), highest, atol=1e-3
        )
    checks.close("Amdahl's limit", usl_throughput(1e9, 0.04, 0.0, 2.0), 50.0, rtol=1e-6)


def check_amdahl_is_the_worst_closed_loop() -> None:
    """Amdahl's law is the least throughput of a closed loop: all requests queue behind one another.

    Source: asymptotic lower bound N/(ND + Z), with α = D/(D + Z) and γ = 1/(D + Z), as Gunther
    (2008) proves for the machine repairman.
    """
    total = sum(SERVER_S)
    n = np.arange(1, 41)
    bound = [asymptotic_bounds(k, SERVER_S, AWAY_S)[0] for k in n.tolist()]
    law = usl_throughput(n, total / (total + AWAY_S), 0.0, 1 / (total + AWAY_S))
    checks.close("X of 1 to 40 clients", law, bound, rtol=1e-12)


def check_queues_look_like_coherency() -> None:
    """A server that only queues fits the law within 2%, with a significant β and a false peak.

    Source: exact throughput of the loop by convolution over its states, which never falls.
    """
    exact = convolution_throughput(48, SERVER_S, AWAY_S)
    tested = np.array(PHANTOM_CLIENTS)
    fit = fit_usl(tested, exact[tested - 1])
    fitted = usl_throughput(tested, fit.contention, fit.coherency, fit.single)
    checks.close("fit at the tested loads", fitted, exact[tested - 1], rtol=0.02)
    half = STUDENT_T_975[fit.degrees_of_freedom] * fit.standard_errors[1]
    significant = fit.coherency > half
    checks.holds("β above its 95% half-width", significant, got=f"{fit.coherency:.4f}")
    peak = peak_concurrency(fit.contention, fit.coherency)
    checks.inside("false peak within the test [clients]", peak, 1, 16, kind="identity")
    checks.holds("exact throughput never falls", bool(np.all(np.diff(exact) >= -1e-12)))


def check_bad_input_is_refused() -> None:
    """Too few points, negative throughput, N below 1 and negative parameters are errors."""
    checks.raises("three points", fit_usl, [1, 2, 4], [1, 2, 3], match="at least four different")
    checks.raises(
        "X < 0", fit_usl, [1, 2, 4, 8], [1, 2, 3, -1], match="throughput must be positive"
    )
    checks.raises("shapes", fit_usl, [1, 2, 4, 8], [1, 2, 3], match="throughput must be of shape")
    checks.raises("N = 0", usl_throughput, 0, 0.1, 0.0, 1.0, match="concurrency must be finite")
    checks.raises("β < 0", peak_concurrency, 0.1, -1e-3, match="coherency must be non-negative")
    checks.raises("α = 1.2", peak_concurrency, 1.2, 1e-3, match="contention must be in [0, 1]")
