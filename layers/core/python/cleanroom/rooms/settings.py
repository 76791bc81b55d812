"""The privacy settings of one clean room, party and template (B-10 to B-18): defaults, checks and their record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction


class NoiseMechanism(StrEnum):
    """The two mechanisms a settings record may name."""

    LAPLACE = "Laplace"
    GAUSSIAN = "Gaussian"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacySettings:
    """One settings record; what is left out has its default (B-10 to B-17).

    Attributes:
        differential: DP on or off.
        epsilon: noise of each released aggregate; > 0.
        noise_mechanism: Laplace or Gaussian.
        privacy_budget: epsilon per window, whole number >= 0.
        threshold: whether `threshold_value` is enforced in stock templates.
        threshold_value: smallest group, in entities.
        delta: for Gaussian noise and private group keys; in (0, 1e-3].
    """

    differential: bool = False
    epsilon: Fraction = Fraction(1, 10)
    noise_mechanism: NoiseMechanism = NoiseMechanism.LAPLACE
    privacy_budget: int = 10
    threshold: bool = False
    threshold_value: int = 0
    delta: Fraction = Fraction(1, 1_000_000)
