"""benchmarks: time per draw of our exact samplers, with the operating system's entropy, beside OpenDP's."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import opendp.prelude as dp

from benchmarks.measure import Spread, Timed, interleaved, paired_ratio, timed
from cleanroom.adapters.system import SystemEntropy
from cleanroom.privacy.samplers import discrete_gaussian, discrete_laplace

if TYPE_CHECKING:
    from collections.abc import Callable

SCALES = (1, 10**3, 10**6)
OURS, BESIDE = 100_000, 20_000
"""Draws of one call: both are long enough that what a call costs by itself does not show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """Microseconds of CPU per draw."""

    distribution: str
    scale: int
    ours_microseconds: Spread
    beside_microseconds: Spread
    ratio: Spread


def compare(*, rounds: int) -> list[Drawn]:
    """Time both samplers at every scale."""
    dp.enable_features("contrib")
    entropy = SystemEntropy()
    ours: dict[str, Callable[[int], object]] = {
        "discrete Laplace": lambda scale: discrete_laplace(scale=Fraction(scale), size=OURS, entropy=entropy),
        "discrete Gaussian": lambda scale: discrete_gaussian(
            sigma_squared=Fraction(scale) ** 2, size=OURS, entropy=entropy
        ),
    }
    zeros = [0] * BESIDE
    found = []
    for distribution, draw in ours.items():
        for scale in SCALES:
            measurement = _opendp(distribution, scale)
            taken = interleaved(
                {
                    "ours": _timing(draw, scale),
                    "beside": _timing(measurement, zeros),
                },
                rounds=rounds,
            )
            mine = [t.cpu_seconds / OURS * 1e6 for t in taken["ours"]]
            theirs = [t.cpu_seconds / BESIDE * 1e6 for t in taken["beside"]]
            found.append(
                Drawn(
                    distribution=distribution,
                    scale=scale,
                    ours_microseconds=Spread.of(mine),
                    beside_microseconds=Spread.of(theirs),
                    ratio=paired_ratio(mine, theirs),
                )
            )
    return found


def _timing(call: Callable[[Any], object], argument: Any) -> Callable[[], Timed]:
    return lambda: timed(lambda: call(argument))


def _opendp(distribution: str, scale: int) -> Callable[[list[int]], object]:
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
    if distribution == "discrete Laplace":
        return dp.m.make_laplace(domain, dp.l1_distance(T="i64"), scale=float(scale))
    return dp.m.make_gaussian(domain, dp.l2_distance(T="i64"), scale=float(scale))
