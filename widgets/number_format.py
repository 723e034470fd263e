"""Formats of the numbers in a view."""

from decimal import ROUND_HALF_UP, Decimal
from math import ceil, floor, isfinite, isnan, log10

__all__ = ["MINUS", "TIMES", "format_value", "short_value"]

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def format_value(value: float, quantum: float = 0.0) -> str:
    """A value with the digits that hold:

    `quantum` is the step between neighbouring codes of its plane (0: not quantised).
    """
    if isnan(value):
        return "NaN"
    if not isfinite(value):
        return "+∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size != 0 and (size >= 1e6 or size < 1e-4) and not quantum > size:
        mantissa, exponent = f"{value:.3e}".split("e")
        text = f"{mantissa}e{int(exponent):+d}"
    else:
        places = min(max(ceil(-log10(quantum)), 0), 8) if quantum > 0 else (2 if size >= 100 else 4)
        # Ties go away from zero, as in the browser.
        text = f"{Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"
        if not text.strip("-0."):
            text = text.lstrip("-")
    return text.replace("-", MINUS)


def short_value(value: float, quantum: float = 0.0) -> str:
    """The same in at most four figures, for the small pictures."""
    size = abs(value) if isfinite(value) and value else 1.0
    return format_value(value, max(quantum, 10.0 ** (floor(log10(size)) - 3)))
