"""The arithmetic of the tables: percentiles, medians, ratios."""

import math
import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; NaN for none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value; NaN when there is none, or when it is not known."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def ratio(value: float, base: float) -> float:
    """How many times the base; NaN when the base is nothing."""
    return value / base if base else math.nan
