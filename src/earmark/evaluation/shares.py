"""Shares and rates, each with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959964  # 95 % of a normal distribution lie within this many deviations


@dataclass(frozen=True)
class Share:
    """A count out of a total, with its 95 % interval (Wilson, 1927), which is valid near 0 and 1, too."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper end, 0 to 1."""
        if self.count == 0:
            return (0.0, 1.0)
        square = Z95 * Z95
        middle = (self.hits + square / 2) / (self.count + square)
        reach = Z95 / (self.count + square) * math.sqrt(self.hits * (1 - self.value) + square / 4)
        return (max(0.0, middle - reach), min(1.0, middle + reach))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} – {high:.1%}) of {self.count}"


@dataclass(frozen=True)
class Rate:
    """Events in a number of hours, with the exact 95 % interval of a Poisson rate (Garwood, 1936)."""

    events: int
    hours: float

    @property
    def value(self) -> float:
        """Events per hour."""
        return self.events / self.hours if self.hours else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.hours:
            return (0.0, math.inf)
        low = _poisson_mean(self.events - 1, 0.975) if self.events else 0.0
        return (low / self.hours, _poisson_mean(self.events, 0.025) / self.hours)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1f}/h ({low:.1f} – {high:.1f}): {self.events} in {self.hours:.2f} h"


def spell_hours(hours: float) -> str:
    """A duration in words: in minutes, or in hours from two hours on."""
    return f"{hours:.1f} h" if hours >= 2 else f"{hours * 60:.0f} min" if hours >= 1 / 30 else f"{hours * 3600:.0f} s"


def _poisson_mean(events: int, chance: float) -> float:
    """The mean of the Poisson distribution that gives at most `events` with that chance, by bisection."""
    low, high = 0.0, 10.0 + 3 * events
    for _ in range(100):
        middle = (low + high) / 2
        terms = (math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(events + 1))
        low, high = (middle, high) if sum(terms) > chance else (low, middle)
    return low
