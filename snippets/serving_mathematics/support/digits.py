"""Numbers as sentences say them: of so many digits, and never with a power of ten for a large one.

Source: Python's format `g`, which writes 140 of two digits as 1.4e+02.
"""

from __future__ import annotations

from serving_mathematics.support.require import require_finite, require_positive_integer


def sized(value: float, digits: int = 3) -> str:
    """So many digits, and all before the point.

    value: finite. digits: 1 or more. Raises ValueError otherwise.

    >>> sized(0.12345), sized(140.2, 2), sized(12345.6)
    ('0.123', '140', '12,346')
    """
    value = require_finite(value=value)
    digits = require_positive_integer(digits=digits)
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
