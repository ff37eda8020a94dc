"""Numbers as sentences say them: of so many digits, never with a power of ten for a large one, a
small price that is not nothing, and one of what a sentence has many of.

Source: Python's format `g`, which writes 140 of two digits as 1.4e+02.
"""

from __future__ import annotations

import math
import re

from serving_mathematics.support.require import (
    require_finite,
    require_non_negative_integer,
    require_positive_integer,
)

ONE = re.compile(r"(?<![\w.,])1 ((?:more )?(?!times|brings|sends)[a-z]{2,}[^\Wius])s\b")


def sized(value: float, digits: int = 3) -> str:
    """So many digits, and all before the point.

    value: finite. digits: 1 or more. Raises ValueError otherwise.

    >>> sized(0.12345), sized(140.2, 2), sized(12345.6)
    ('0.123', '140', '12,346')
    """
    value = require_finite(value=value)
    digits = require_positive_integer(digits=digits)
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def priced(usd: float, decimals: int = 2) -> str:
    """An amount to so many decimals, and one that is less than the last of them to two digits.

    usd: finite. decimals: 0 or more. Raises ValueError otherwise.

    >>> priced(1234.5), priced(0.0042), priced(0.00021, 3)
    ('1,234.50', '0.0042', '0.00021')
    """
    usd = require_finite(usd=usd)
    decimals = require_non_negative_integer(decimals=decimals)
    if 0 < usd < 10.0**-decimals:
        return f"{usd:.{1 - math.floor(math.log10(usd))}f}".rstrip("0")
    return f"{usd:,.{decimals}f}"


def one_of_many(sentence: str) -> str:
    """A sentence made for any number, with "1 request" for "1 requests"; as docs/assets/slider.js
    mends it. "Tenant 1 brings" and "sends" stay, and words that end so alone, such as axis and bus.

    >>> one_of_many("1 requests of 1 tokens, and 1 more files 1 times"), one_of_many("11 requests")
    ('1 request of 1 token, and 1 more file 1 times', '11 requests')
    """
    return ONE.sub(r"1 \1", sentence)
