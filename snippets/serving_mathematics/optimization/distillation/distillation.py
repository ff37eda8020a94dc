"""What a student is asked to match: the teacher's probabilities, softened by a temperature.

With logits z of the student and v of the teacher, q = softmax(z/T) and p = softmax(v/T), the loss
of one image is (1 − a)·CE(label, softmax(z)) + a·T²·KL(p‖q). Its soft part has the gradient
T·(q_i − p_i), which tends to (z_i − v_i)/N for N classes and logits of mean zero as T grows: then
distillation matches logits. Forward KL(p‖q) covers all that the teacher does; reverse KL(q‖p)
stays where the teacher is likely.

Assumes: teacher and student have the same classes, or the same vocabulary.

Source: Hinton, Vinyals and Dean (2015), section 2 and equations 2 to 4; Gu, Dong, Wei and Huang
(2024) for the reverse direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_in,
    require_positive,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STUDENT, TEACHER, TEMPERATURE = [1.0, 2.0, 3.0], [2.0, 1.0, 0.5], 4.0  # the worked example


def soften(logits: npt.ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Probabilities softmax(z/T) along the last axis.

    logits: finite, shape (..., classes). temperature: T > 0; 1 is the model's own answer, larger
    is flatter. Raises ValueError outside these ranges.

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


def kl_divergence(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """KL(p‖q) = Σp·ln(p/q) along the last axis [nat]; infinite where q misses what p does.

    p, q: distributions along the last axis, of one shape. KL(p‖q) with p the teacher is the
    forward direction, KL(q‖p) the reverse. Raises ValueError unless both are distributions.

    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75]).round(6))  # ½·ln 2 + ½·ln ⅔
    0.143841
    """
    first, second = as_floats(p=p), as_floats(q=q)
    for name, x in (("p", first), ("q", second)):
        good = x.ndim >= 1 and x.size > 0 and np.all(x >= 0)
        good = good and np.all(np.abs(x.sum(axis=-1) - 1) < 1e-9)
        require(good, name, "a distribution along its last axis", x)
    require(first.shape == second.shape, "q", f"of shape {first.shape}", second.shape)
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(first > 0, first, 1.0)) - np.log(np.where(first > 0, second, 1.0))
    return np.asarray((first * ratio).sum(axis=-1))


def distillation_loss(
    student_logits: npt.ArrayLike,
    teacher_logits: npt.ArrayLike,
    temperature: float,
    labels: npt.ArrayLike | None = None,
    soft_weight: float = 1.0,
) -> float:
    """Mean over rows of (1 − a)·CE + a·T²·KL(softmax(v/T)‖softmax(z/T)) [nat].

    student_logits, teacher_logits: z and v, shape (n, classes). temperature: T > 0. labels:
    classes, shape (n,); needed when a < 1. soft_weight: a in [0, 1]. Infinite where the student
    rules out what the teacher or a label does not. Raises ValueError outside these ranges.

    >>> z = [[0.0, math.log(3.0)]]
    >>> round(distillation_loss(z, [[0.0, 0.0]], 1.0, labels=[1], soft_weight=0.5), 6)
    0.215762
    """
    z, v = as_floats(student_logits=student_logits), as_floats(teacher_logits=teacher_logits)
    require(z.ndim == 2 and z.size > 0, "student_logits", "rows of logits", z.shape)
    require_shape(z.shape, teacher_logits=v)
    soft_weight = require_in("[0, 1]", soft_weight=soft_weight)
    gap = kl_divergence(soften(v, temperature), soften(z, temperature))
    loss = soft_weight * temperature**2 * gap
    if soft_weight < 1:
        require(labels is not None, "labels", "one class per row", labels)
        y = np.asarray(as_numbers(labels=labels))
        known = y.shape == z.shape[:1] and np.isin(y, np.arange(z.shape[1])).all()
        require(known, "labels", "one class per row", labels)
        above = z - z.max(axis=1, keepdims=True)
        hard = np.log(np.exp(above).sum(axis=1)) - above[np.arange(len(z)), y.astype(np.int64)]
        loss = loss + (1 - soft_weight) * hard
    return float(loss.mean())


def output_gradient(
    teacher_logits: npt.ArrayLike,
    temperature: float,
    labels: npt.ArrayLike | None = None,
    soft_weight: float = 1.0,
) -> Callable[[FloatArray, IntArray], FloatArray]:
    """The gradient of the distillation loss at the student's logits, for a training loop.

    teacher_logits: v for every image that may come up, shape (n, classes). temperature: T > 0.
    labels: classes, shape (n,); needed when a < 1. soft_weight: a in [0, 1]. Returns a function of
    the student's logits, shape (..., m, classes), and of the rows of v that they belong to, shape
    (..., m): ((1 − a)·(softmax(z) − onehot) + a·T·(q − p))/m. Raises ValueError outside these
    ranges.

    >>> slope = output_gradient([[0.0, 0.0]], temperature=2.0)
    >>> slope(np.array([[0.0, math.log(9.0)]]), np.array([0])).round(12).tolist()  # 2·(q − ½)
    [[-0.5, 0.5]]
    """
    v = as_floats(teacher_logits=teacher_logits)
    require(v.ndim == 2, "teacher_logits", "rows of logits", v.shape)
    soft_weight = require_in("[0, 1]", soft_weight=soft_weight)
    temperature = require_positive(temperature=temperature)
    wanted = soft_weight * temperature * soften(v, temperature)
    if soft_weight < 1:
        require(labels is not None, "labels", "one class per row", labels)
        y = np.asarray(as_numbers(labels=labels))
        known = y.shape == v.shape[:1] and np.isin(y, np.arange(v.shape[1])).all()
        require(known, "labels", "one class per row", labels)
        wanted += (1 - soft_weight) * np.eye(v.shape[1])[y.astype(np.int64)]

    def gradient(logits: FloatArray, rows: IntArray) -> FloatArray:
        slope = soft_weight * temperature * soften(logits, temperature) - wanted[rows]
        if soft_weight < 1:
            slope += (1 - soft_weight) * soften(logits)
        return np.asarray(slope / rows.shape[-1])

    return gradient


def matched_logits_gradient(
    student_logits: npt.ArrayLike, teacher_logits: npt.ArrayLike
) -> FloatArray:
    """The limit of the gradient of T²·KL for T → ∞: (z − v)/N, both shifted to mean zero.

    student_logits, teacher_logits: z and v, finite, shape (..., N). It is the gradient of
    ½Σ(z − v)²/N. Raises ValueError on other shapes or numbers. Source: Hinton, Vinyals and Dean
    (2015), equation 4, times T².

    >>> matched_logits_gradient([3.0, 1.0], [5.0, 5.0]).tolist()
    [0.5, -0.5]
    """
    z, v = as_floats(student_logits=student_logits), as_floats(teacher_logits=teacher_logits)
    require(
        z.ndim >= 1 and z.size > 0 and np.isfinite(z).all(), "student_logits", "finite numbers", z
    )
    require_shape(z.shape, teacher_logits=v)
    require(np.isfinite(v).all(), "teacher_logits", "finite numbers", v)
    gap = z - v
    return np.asarray((gap - gap.mean(axis=-1, keepdims=True)) / z.shape[-1])


def _two_humps() -> FloatArray:
    """A teacher over 24 tokens with two humps, of 60% and 40%."""
    tokens = np.arange(24)
    left, right = (np.exp(-(((tokens - at) / 1.5) ** 2) / 2) for at in (6, 17))
    return np.asarray(0.6 * left / left.sum() + 0.4 * right / right.sum())


def _one_hump_students() -> FloatArray:
    """All students with one hump: logits −(x − m)²/(2s²), on a grid of m and s."""
    tokens = np.arange(24)
    middles, widths = np.arange(3.0, 20.01, 0.25), np.arange(1.0, 9.01, 0.25)
    m, s = (x.reshape(-1, 1) for x in np.meshgrid(middles, widths))
    return soften(-(((tokens - m) / s) ** 2) / 2)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    slope = output_gradient([TEACHER], TEMPERATURE)(np.array([STUDENT]), np.array([0]))[0]
    limit = matched_logits_gradient(STUDENT, TEACHER)
    teacher, students = _two_humps(), _one_hump_students()
    teachers = np.broadcast_to(teacher, students.shape)
    forward = students[int(np.argmin(kl_divergence(teachers, students)))]
    reverse = students[int(np.argmin(kl_divergence(students, teachers)))]
    overlaps = np.minimum(teachers, students).sum(axis=1)
    return SimpleNamespace(
        soft_loss=distillation_loss([STUDENT], [TEACHER], TEMPERATURE),
        gradient_1=float(slope[0]) / TEMPERATURE**2,
        gradient_2=float(slope[1]) / TEMPERATURE**2,
        gradient_3=float(slope[2]) / TEMPERATURE**2,
        limit_1=float(limit[0]) / TEMPERATURE**2,
        limit_2=float(limit[1]) / TEMPERATURE**2,
        limit_3=float(limit[2]) / TEMPERATURE**2,
        forward_kl=float(kl_divergence([0.7, 0.2, 0.1], [0.5, 0.3, 0.2])),
        reverse_kl=float(kl_divergence([0.5, 0.3, 0.2], [0.7, 0.2, 0.1])),
        forward_probability_between=100 * float(forward[10:14].sum()),
        reverse_probability_between=100 * float(reverse[10:14].sum()),
        forward_overlap_percent=100 * float(np.minimum(teacher, forward).sum()),
        reverse_overlap_percent=100 * float(np.minimum(teacher, reverse).sum()),
        best_overlap_percent=100 * float(overlaps.max()),
    )


def check_worked_gradient() -> None:
    """The gradient of the soft loss is T·(q − p), and central differences of the loss agree.

    Source: z = (1, 2, 3), v = (2, 1, ½), T = 4 by hand: without the factor T² (q − p)/T, as in
    Hinton, Vinyals and Dean (2015), equation 2; differences with step 10⁻⁵.
    """
    z, v = np.array([STUDENT]), [TEACHER]
    checks.close("T²·KL [nat]", distillation_loss(z, v, 4.0), 1.039092, atol=5e-7)
    slope = output_gradient(v, 4.0)(z, np.array([0]))[0]
    checks.close("(q − p)/T", slope / 16, [-0.037806, 0.002673, 0.035133], atol=5e-7)
    step = 1e-5 * np.eye(3)
    numeric = [
        (distillation_loss(z + d, v, 4.0) - distillation_loss(z - d, v, 4.0)) / 2e-5 for d in step
    ]
    checks.close("central differences", slope, numeric, atol=1e-9)


def check_gradient_of_both_parts() -> None:
    """With labels, weights and several images, the gradient is still that of the loss.

    Source: central differences of `distillation_loss` at all 28 logits of 4 random images.
    """
    rng = np.random.default_rng(190)
    z, v, y = rng.normal(0, 3, (4, 7)), rng.normal(0, 3, (4, 7)), rng.integers(0, 7, 4)
    for temperature, weight in ((1.0, 0.5), (3.0, 0.9), (8.0, 0.0)):
        slope = output_gradient(v, temperature, y, weight)(z, np.arange(4))
        numeric = np.zeros_like(z)
        for place in np.ndindex(z.shape):
            step = np.zeros_like(z)
            step[place] = 1e-5
            up = distillation_loss(z + step, v, temperature, y, weight)
            numeric[place] = (up - distillation_loss(z - step, v, temperature, y, weight)) / 2e-5
        worst = float(np.abs(slope - numeric).max())
        checks.close(f"T = {temperature:g}, a = {weight}", worst, 0.0, atol=1e-9)


def check_high_temperature_matches_logits() -> None:
    """As the temperature grows, the gradient of T²·KL tends to that of matched logits, and what is
    missing shrinks as 1/T.

    Source: Hinton, Vinyals and Dean (2015), equation 4; half the error at twice the temperature.
    """
    z, v, row = np.array([STUDENT]), [TEACHER], np.array([0])
    limit = matched_logits_gradient(STUDENT, TEACHER)
    errors = [float(np.abs(output_gradient(v, t)(z, row)[0] - limit).max()) for t in (1e3, 2e3)]
    checks.close("gradient at T = 1000", errors[0], 0.0, atol=1e-3)
    checks.close("error at 2000 over that at 1000", errors[1] / errors[0], 0.5, atol=1e-3)
    shifted = matched_logits_gradient(np.array(STUDENT) + 5.0, TEACHER)
    checks.close("a shift of all logits", shifted, limit, atol=1e-12)


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


def check_forward_covers_reverse_chooses() -> None:
    """A student with one hump, asked to match two, lies between them by forward KL and on one of
    them by reverse KL.

    Source: for logits that are quadratic in x the forward optimum has the teacher's mean and
    variance (moment matching), here within one step of the grid.
    """
    tokens, teacher, students = np.arange(24), _two_humps(), _one_hump_students()
    teachers = np.broadcast_to(teacher, students.shape)
    forward = students[int(np.argmin(kl_divergence(teachers, students)))]
    reverse = students[int(np.argmin(kl_divergence(students, teachers)))]
    checks.close("forward: mean", tokens @ forward, tokens @ teacher, atol=0.25)
    variances = [float((tokens**2) @ x - (tokens @ x) ** 2) for x in (forward, teacher)]
    checks.close("forward: variance", variances[0], variances[1], rtol=0.06)
    checks.close("reverse: mean at the larger hump", tokens @ reverse, 6.0, atol=0.25)


def check_bad_input_is_refused() -> None:
    """NaN logits, T = 0, weights above 1, missing labels and what sums to 0.9 are errors."""
    z = [[0.0, 1.0]]
    checks.raises("NaN", soften, [math.nan], match="logits must be finite")
    checks.raises("T = 0", output_gradient, z, 0.0, match="temperature must be positive")
    checks.raises("a = 1.1", distillation_loss, z, z, 1.0, [0], 1.1, match="soft_weight must be in")
    checks.raises("no labels", output_gradient, z, 1.0, None, 0.5, match="labels must be one class")
    checks.raises("sum", kl_divergence, [0.5, 0.4], [0.5, 0.5], match="p must be a distribution")
    checks.raises("shape", matched_logits_gradient, [1.0, 2.0], [1.0], match="teacher_logits must")
