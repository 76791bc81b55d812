"""What SQL operators mean on one value, in plain Python: NULL is None, and what cannot be computed is NULL.

Written from docs/sql.md, not from the compiler: 64-bit integers, IEEE doubles with NaN above all other numbers, texts
compared by code point, the proleptic Gregorian calendar.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CHARACTERS = 4_096
_WHOLE = re.compile(r" *[+-]?[0-9]{1,18} *", re.ASCII)
_DIGITS = re.compile(r" *[+-]?[0-9]+ *", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def strict(do: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that is NULL as soon as one argument is."""
    return lambda *values: None if any(v is None for v in values) else do(*values)


def whole(value: int) -> int | None:
    """Return an integer that 64 bits hold."""
    return value if -(2**63) <= value < 2**63 else None


def number(value: Any) -> Any:
    """Return a number as a double, where it is none yet."""
    return None if value is None else float(value)


def standard(value: Any) -> Any:
    """Return a value under which equal group keys, and equal values of COUNT(DISTINCT), are equal in Python."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return ("bool", value) if isinstance(value, bool) else value


def ordered(value: Any) -> Any:
    """Return what sorts as the value does: NaN above all numbers."""
    if isinstance(value, float):
        return (1, 0.0) if math.isnan(value) else (0, value)
    return (0, value)


def equal(a: Any, b: Any) -> bool:
    return bool(ordered(a) == ordered(b))


def less(a: Any, b: Any) -> bool:
    return bool(ordered(a) < ordered(b))


def not_less(a: Any, b: Any) -> bool:
    return not less(a, b)


def both(a: Any, b: Any) -> Any:
    """Three-valued AND."""
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def either(a: Any, b: Any) -> Any:
    """Three-valued OR."""
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


def among(a: Any, *rest: Any) -> Any:
    """Three-valued IN."""
    if a is None:
        return None
    if any(r is not None and equal(a, r) for r in rest):
        return True
    return None if any(r is None for r in rest) else False


def remainder(a: int, b: int | None) -> int | None:
    """Return the remainder with the sign of a; NULL also for the one quotient that 64 bits cannot hold."""
    return None if not b or (a == -(2**63) and b == -1) else (abs(a) % abs(b)) * (-1 if a < 0 else 1)


def ratio(a: float, b: float) -> float | None:
    return None if b == 0 else a / b


def root(a: float) -> float | None:
    return math.sqrt(a) if 0 <= a < math.inf else None


def sign(a: float) -> int:
    return 1 if a > 0 or math.isnan(a) else -1 if a < 0 else 0


def down(a: float) -> float:
    return float(math.floor(a)) if math.isfinite(a) else a


def up(a: float) -> float:
    return float(math.ceil(a)) if math.isfinite(a) else a


def half_away(a: float) -> float:
    """Return the nearest whole number; halves go away from zero."""
    if not math.isfinite(a) or abs(a) >= 2**52:
        return a
    nearest = math.floor(abs(a))
    return math.copysign(nearest + (abs(a) - nearest >= 0.5), a)


def rounded(a: float, digits: int) -> float:
    power = 10.0**digits if digits >= 0 else 10.0**-digits
    result = half_away(a * power) / power if digits >= 0 else half_away(a / power) * power
    return result if math.isfinite(result) else a


def least(*values: Any) -> Any:
    return min(values, key=ordered)


def greatest(*values: Any) -> Any:
    return max(values, key=ordered)


def to_integer(value: Any) -> int | None:
    """Return a number or text as a whole number; halves go away from zero."""
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value) else None
    if isinstance(value, float):
        return whole(int(half_away(value))) if math.isfinite(value) else None
    return int(value)


def to_double(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _DIGITS.fullmatch(value) else None
    return float(value)


def to_text(value: Any) -> str:
    """Return an integer, boolean or date as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value) if _DAY.fullmatch(value) else None
    except ValueError:
        return None


def joined(*texts: str) -> str:
    return "".join(texts)[:MOST_CHARACTERS]


def part_of_text(text: str, start: int, length: int) -> str:
    """Return a part from a position on; from one before the text, counted from its end, nothing."""
    if start < -len(text):
        return ""
    first = len(text) + start if start < 0 else start - 1
    return text[first : first + length]


def like(text: str, pattern: str) -> bool:
    made = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(made, text, re.DOTALL) is not None


def field(name: str, day: date) -> int:
    """Return a part of a date."""
    match name:
        case "quarter":
            return (day.month + 2) // 3
        case "week":
            return day.isocalendar().week
        case "dow":
            return day.isoweekday() % 7
        case "doy":
            return day.timetuple().tm_yday
    return int(getattr(day, name))


def cut(unit: str, day: date) -> date:
    """Return the first day of the unit that holds the day."""
    match unit:
        case "year":
            return day.replace(month=1, day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "month":
            return day.replace(day=1)
    return day - timedelta(days=day.weekday())


def exact_sum(values: list[Any]) -> float | None:
    """Return the sum of doubles with ten decimal digits each; values of 1e18 and above count as NULL."""
    digits = [_ten_digits(v) for v in values if v is not None]
    kept = [d for d in digits if d is not None]
    return float(Decimal(sum(kept)).scaleb(-10)) if kept else None


def exact_count(values: list[Any]) -> int:
    """Return how many values such a sum has."""
    return sum(v is not None and _ten_digits(v) is not None for v in values)


def _ten_digits(value: float) -> int | None:
    steps = half_away(value * 1e10) if math.isfinite(value) else math.inf
    return int(steps) if abs(steps) < 1e28 else None
