"""How the time of a simulation grows with its size: the exponent of a power law, with its interval.

If a computation of size n takes t = a·n^b, then log t = log a + b·log n, and least squares on the
logarithms find b. Twice the size takes 2^b times as long: b = 1 is the growth of a loop.

Assumes: at least three sizes, and one law over all of them; constant overheads make b smaller than
what large sizes show.

Source: the record of `make bench`; least squares with Student's t, as for any straight line.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

STUDENT_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def _require(condition: bool | np.bool_, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument} must be {rule}, got {value}")


def growth_exponent(sizes: npt.ArrayLike, costs: npt.ArrayLike) -> tuple[float, float]:
    """Exponent b of cost ∝ size^b and the half-width of its 95% interval.

    sizes: positive, at least two of them different, shape (n,), 3 ≤ n ≤ 12. costs: positive, shape
    (n,), in any unit. Raises ValueError outside these ranges.

    >>> growth_exponent([1, 10, 100], [3.0, 30.0, 300.0])[0].__round__(9)
    1.0
    """
    n, t = np.asarray(sizes, dtype=float), np.asarray(costs, dtype=float)
    several = n.ndim == 1 and 3 <= n.size <= 2 + len(STUDENT_T_975)
    _require(several, "sizes", f"of shape (n,), 3 ≤ n ≤ {2 + len(STUDENT_T_975)}", n.shape)
    _require(t.shape == n.shape, "costs", f"of shape {n.shape}", t.shape)
    for name, values in (("sizes", n), ("costs", t)):
        _require(np.all((values > 0) & (values < math.inf)), name, "positive and finite", values)
    _require(n.min() < n.max(), "sizes", "not all the same", n)
    x, y = np.log(n) - np.log(n).mean(), np.log(t) - np.log(t).mean()
    exponent = float(x @ y / (x @ x))
    rest = y - exponent * x
    error = math.sqrt(float(rest @ rest) / (n.size - 2) / float(x @ x))
    return exponent, STUDENT_T_975[n.size - 3] * error
