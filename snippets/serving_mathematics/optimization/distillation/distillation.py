"""What a student is asked to match: the teacher's probabilities, if need be at a temperature.

With logits z of the student and v of the teacher, q = softmax(z/T) and p = softmax(v/T), the loss
of one token is T²·KL(p‖q). Its gradient at the student's logits is T·(q − p).

Assumes: teacher and student have the same vocabulary.

Source: Hinton, Vinyals and Dean (2015), section 2 and equation 2.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_positive, require_shape

FloatArray = npt.NDArray[np.float64]

STUDENT, TEACHER, TEMPERATURE = [1.0, 2.0, 3.0], [2.0, 1.0, 0.5], 4.0  # the worked example


def soften(logits: npt.ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Probabilities softmax(z/T) along the last axis.

    logits: finite, shape (..., tokens). temperature: T > 0; 1 is the model's own answer, larger is
    flatter. Raises ValueError outside these ranges.

    >>> soften([0.0, math.log(9.0)], temperature=2.0).round(12).tolist()
    [0.25, 0.75]
    """
    z = as_floats(logits=logits)
    require(z.ndim >= 1 and z.size > 0 and np.isfinite(z).all(), "logits", "finite numbers", z)
    temperature = require_positive(temperature=temperature)
    scaled = z / temperature
    weights: FloatArray = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def _distributions(p: npt.ArrayLike, q: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as arrays of one shape."""
    first, second = as_floats(p=p), as_floats(q=q)
    for name, x in (("p", first), ("q", second)):
        good = x.ndim >= 1 and x.size > 0 and np.all(x >= 0)
        good = good and np.all(np.abs(x.sum(axis=-1) - 1) < 1e-9)
        require(good, name, "a distribution along its last axis", x)
    require(first.shape == second.shape, "q", f"of shape {first.shape}", second.shape)
    return first, second


def kl_divergence(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """KL(p‖q) = Σp·ln(p/q) along the last axis [nat]; infinite where q misses what p does.

    p, q: distributions along the last axis, of one shape. KL(p‖q) with p the teacher is the
    forward direction, KL(q‖p) the reverse. Raises ValueError unless both are distributions.

    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75]).round(6))  # ½·ln 2 + ½·ln ⅔
    0.143841
    """
    first, second = _distributions(p, q)
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(first > 0, first, 1.0)) - np.log(np.where(first > 0, second, 1.0))
    return np.asarray((first * ratio).sum(axis=-1))


def distillation_loss(
    student_logits: npt.ArrayLike, teacher_logits: npt.ArrayLike, temperature: float = 1.0
) -> float:
    """Mean over rows of T²·KL(softmax(v/T)‖softmax(z/T)) [nat].

    student_logits, teacher_logits: z and v, shape (n, tokens). temperature: T > 0. Raises
    ValueError outside these ranges.

    >>> round(distillation_loss([[0.0, math.log(3.0)]], [[0.0, 0.0]]), 6)
    0.143841
    """
    z, v = as_floats(student_logits=student_logits), as_floats(teacher_logits=teacher_logits)
    require(z.ndim == 2 and z.size > 0, "student_logits", "rows of logits", z.shape)
    require_shape(z.shape, teacher_logits=v)
    temperature = require_positive(temperature=temperature)
    p, (log_p, log_q) = soften(v, temperature), (_log_soften(x, temperature) for x in (v, z))
    return float(temperature**2 * (p * (log_p - log_q)).sum(axis=1).mean())


def _log_soften(logits: FloatArray, temperature: float) -> FloatArray:
    """Logarithms of `soften`, which do not vanish."""
    below = (logits - logits.max(axis=1, keepdims=True)) / temperature
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


def output_gradient(
    student_logits: npt.ArrayLike, teacher_logits: npt.ArrayLike, temperature: float = 1.0
) -> FloatArray:
    """The gradient T·(q − p)/n of the distillation loss at the student's logits.

    student_logits, teacher_logits: z and v, shape (n, tokens). temperature: T > 0. Raises
    ValueError outside these ranges.

    >>> output_gradient([[0.0, math.log(9.0)]], [[0.0, 0.0]], temperature=2.0).round(12).tolist()
    [[-0.5, 0.5]]
    """
    z, v = as_floats(student_logits=student_logits), as_floats(teacher_logits=teacher_logits)
    require(z.ndim == 2 and z.size > 0, "student_logits", "rows of logits", z.shape)
    require_shape(z.shape, teacher_logits=v)
    temperature = require_positive(temperature=temperature)
    gap = soften(z, temperature) - soften(v, temperature)
    return temperature * gap / len(z)


def check_worked_gradient() -> None:
    """The gradient of the loss is T·(q − p), and central differences of the loss agree.

    Source: z = (1, 2, 3), v = (2, 1, ½), T = 4 by hand: without the factor T² (q − p)/T, as in
    Hinton, Vinyals and Dean (2015), equation 2; differences with step 10⁻⁵.
    """
    z, v = np.array([STUDENT]), np.array([TEACHER])
    checks.close("T²·KL [nat]", distillation_loss(z, v, TEMPERATURE), 1.039092, atol=5e-7)
    slope = output_gradient(z, v, TEMPERATURE)[0]
    by_hand = [-0.037806, 0.002673, 0.035133]
    checks.close("(q − p)/T", slope / TEMPERATURE**2, by_hand, atol=5e-7)
    rng = np.random.default_rng(190)
    for temperature in (1.0, 3.0):
        z, v = rng.normal(0, 3, (4, 7)), rng.normal(0, 3, (4, 7))
        numeric = np.zeros_like(z)
        for place in np.ndindex(z.shape):
            step = np.zeros_like(z)
            step[place] = 1e-5
            up, down = (distillation_loss(z + d, v, temperature) for d in (step, -step))
            numeric[place] = (up - down) / 2e-5
        worst = float(np.abs(output_gradient(z, v, temperature) - numeric).max())
        checks.close(f"central differences, T = {temperature:g}", worst, 0.0, atol=1e-9)


def check_both_directions() -> None:
    """The two directions of KL differ: 0.085123 forward and 0.092033 reverse for one pair.

    Source: P = (0.7, 0.2, 0.1) and Q = (0.5, 0.3, 0.2), the logarithms summed by hand; KL(p‖q) =
    Σ over positive p only.
    """
    p, q = [0.7, 0.2, 0.1], [0.5, 0.3, 0.2]
    checks.close("KL(P‖Q)", kl_divergence(p, q), 0.085123, atol=5e-7)
    checks.close("KL(Q‖P)", kl_divergence(q, p), 0.092033, atol=5e-7)
    checks.close("0·ln 0 = 0", kl_divergence([1.0, 0.0], [0.5, 0.5]), math.log(2), rtol=1e-12)
    missed = float(kl_divergence([0.5, 0.5], [1.0, 0.0]))
    checks.holds("infinite where q misses p", missed == math.inf, got=missed)
