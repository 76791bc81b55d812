"""Exact samplers of the discrete Laplace and Gaussian, and of geometric numbers, in integer arithmetic on vectors.

The core of `privacy/`. Noise for several columns at once is in `cube_sampler`.

The method is that of Canonne, Kamath and Steinke (2020): uniform integers, and Bernoulli(exp(-gamma)) to accept
them. No float is evaluated. What makes it fast on vectors, and keeps it exact:

* A uniform number u in [0, 1) is a stream of bits. The first 32 or 64 decide nearly always: exp(-gamma) is worked
  out in 64-bit integers with a proved error, and where u is further away than that error, it is settled. Otherwise
  (about once in 10^6 draws) `_LazyUniform` compares the same u with rational bounds of exp(-gamma) and reads
  further bits of it until they differ. So parameters may be rationals of any size: none is rounded.
* Uniform integers are drawn below powers of two only: no rejection, no modulo, no bias.

How long a call takes depends on the number of draws and on the noise (candidates are rejected), never on the values
that the noise is added to: they are not here. Candidates come in whole vectors, which blurs that further.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cleanroom.privacy.directed import DIGITS, exp_bounds, floor_exp, floor_exps
from cleanroom.privacy.noise import LARGEST_SCALE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.privacy.entropy import Entropy

_INT64_MAX = (1 << 63) - 1
_CHUNK = 1 << 15  # candidates at a time: the vectors of a chunk stay in the processor's cache
_SLACK_LAPLACE = 32
_SLACK_GAUSSIAN = 2048

_U64 = NDArray[np.uint64]
_I64 = NDArray[np.int64]


def discrete_laplace(*, scale: Fraction, size: int, entropy: Entropy) -> NDArray[np.int64]:
    """Draw independently from P(x) proportional to exp(-|x| / scale), exactly.

    Args:
        scale: in grid units; 0 < scale < 2^54; any rational.
        size: how many; >= 0.
        entropy: where the bits come from; about 40 bytes a draw.

    Returns:
        The draws. What lies beyond 64 bits (chance below exp(-500)) is given as +-(2^63 - 1).

    Raises:
        ValueError: out of range. That is our bug: settings and bounds are checked where they come in.

    Source:
        Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020, section 5.2,
        Algorithm 2, with the power of two below `scale` for the range of the uniform part (`_Laplace` says why).
    """
    sampler = _Laplace(scale)
    return _collect(size, sampler.acceptance, lambda count: sampler.draw(count, entropy))


def discrete_gaussian(*, sigma_squared: Fraction, size: int, entropy: Entropy) -> NDArray[np.int64]:
    """Draw independently from P(x) proportional to exp(-x^2 / (2 sigma^2)), exactly.

    Args:
        sigma_squared: in squared grid units; 0 < sigma_squared < 2^106; any rational.
        size: how many; >= 0.
        entropy: where the bits come from; about 70 bytes a draw.

    Returns:
        The draws; none is beyond 64 bits but with a chance below exp(-10^5), when it is given as +-(2^63 - 1).

    Raises:
        ValueError: out of range. That is our bug.

    Source:
        Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020, section 5.3,
        Algorithm 3.
    """
    sampler = _Gaussian(sigma_squared)
    return _collect(size, sampler.acceptance, lambda count: sampler.draw(count, entropy))


def _collect(size: int, acceptance: float, draw: Callable[[int], _I64]) -> _I64:
    """Fill a vector from batches of candidates of which some are rejected; the order of draws is kept."""
    if isinstance(size, bool) or not (isinstance(size, int) and size >= 0):
        raise ValueError("size is an integer, not negative")
    draws, filled = np.empty(size, dtype=np.int64), 0
    while filled < size:
        missing = size - filled
        batch = draw(min(_CHUNK, int(missing / acceptance * 1.02) + 16))[:missing]
        draws[filled : filled + len(batch)] = batch
        filled += len(batch)
    return draws


class _LazyUniform:
    """A uniform number in [0, 1) whose further bits are drawn when a comparison needs them.

    `word` holds the first `bits` of them, so that u is in [word, word + 1) / 2^bits.
    """

    def __init__(self, word: int, bits: int, entropy: Entropy) -> None:
        self._word, self._bits, self._entropy = word, bits, entropy

    def below_exp(self, gamma: Fraction) -> bool:
        """Say whether u < exp(-gamma), exactly; gamma >= 0. Ends with probability one."""
        if gamma == 0:
            return True
        while True:
            low, high = exp_bounds(gamma, digits=DIGITS + self._bits // 3)
            if self._word + 1 <= low * (1 << self._bits):
                return True
            if self._word >= high * (1 << self._bits):
                return False
            self._word = (self._word << 64) | int.from_bytes(self._entropy.bytes(8), "little")
            self._bits += 64


class _Laplace:
    """Draws of |x| = a + 2^b v with a < 2^b <= scale < 2^(b+1): then exp(-|x|/scale) is a product, and a and v are
    independent. a is uniform and accepted with exp(-a / scale); v is geometric with ratio exp(-2^b / scale). A sign
    is added, and minus zero rejected. Below scale 1, b is 0.
    """

    def __init__(self, scale: Fraction) -> None:
        if not 0 < scale < LARGEST_SCALE:
            raise ValueError("the scale must be positive, and below 2^54 grid units")
        self.scale = Fraction(scale)
        self.low_bits = max(0, int(self.scale).bit_length() - 1)
        self.step = (1 << self.low_bits) / self.scale  # in (1/2, 1], or above 1 where the scale is below 1
        self.slope = np.uint64(int(self.step * (1 << 32)) if self.low_bits else 0)
        self.acceptance = 0.55 if self.low_bits > 2 else 0.3
        # P(v >= k) = exp(-k step), in 64 bits rounded down, down to the first 0; ascending.
        thresholds = floor_exps(self.step, bits=64)
        self.thresholds = np.array(thresholds[::-1], dtype=np.uint64)

    def draw(self, count: int, entropy: Entropy) -> _I64:
        words = _words(entropy, count)
        low = words & np.uint64((1 << self.low_bits) - 1)
        if self.low_bits <= 31:  # one word holds all: low bits, sign, 32 bits to accept
            sign = words & np.uint64(1 << 31)
            chooser = words >> np.uint64(32)
        else:
            sign = words & np.uint64(1 << 63)
            chooser = _half_words(entropy, count)
        if self.low_bits:
            kept = self._accept(low, chooser, entropy)
            low, sign = low[kept], sign[kept]
        high = self._geometric(low, entropy)
        magnitude = (low + (high << np.uint64(self.low_bits))).view(np.int64)
        negative = sign != 0
        draws = np.where(negative, -magnitude, magnitude)
        return np.compress(~negative | (magnitude != 0), draws)

    def magnitudes(self, count: int, entropy: Entropy) -> _U64:
        """Return |x| before minus zero is rejected, of `count` candidates those that were kept."""
        words = _words(entropy, count)
        low = words & np.uint64((1 << self.low_bits) - 1)
        if self.low_bits:
            low = low[self._accept(low, _half_words(entropy, count), entropy)]
        high = self._geometric(low, entropy)
        return low + (high << np.uint64(self.low_bits))

    def _accept(self, low: _U64, chooser: _U64, entropy: Entropy) -> NDArray[np.bool_]:
        # low / scale in units of 2^-32, from the top 31 bits of `low`: 2 units lost there, 1 by `slope`, 1 at the end.
        shift = self.low_bits - 31
        top = low >> np.uint64(shift) if shift > 0 else low << np.uint64(-shift)
        gamma = (top * self.slope) >> np.uint64(31)
        return _accept_exp(
            chooser, gamma, slack=_SLACK_LAPLACE, exact_gamma=lambda i: int(low[i]) / self.scale, entropy=entropy
        )

    def _geometric(self, low: _U64, entropy: Entropy) -> _U64:
        """Return v for each, by inversion of 64 bits; `low` is changed only where a draw leaves 64 bits."""
        words = _words(entropy, len(low))
        position = np.searchsorted(self.thresholds, words, side="right")
        # As many k have exp(-k step) above u as there are thresholds above it; equality leaves it open.
        high = (len(self.thresholds) - position).astype(np.uint64)
        undecided = (position > 0) & (self.thresholds[position - 1] == words)
        largest = (1 << (63 - self.low_bits)) - 1
        for i in np.flatnonzero(undecided):
            uniform, value = _LazyUniform(int(words[i]), 64, entropy), 0
            while value <= largest and uniform.below_exp(self.step * (value + 1)):
                value += 1
            if value > largest:
                value, low[i] = largest, (1 << self.low_bits) - 1  # together 2^63 - 1
            high[i] = value
        return high


class Geometric:
    """Draws g >= 0 with P(g) = (1 - q) q^g, q = exp(-1 / scale): a discrete Laplace's size, before it has a sign.

    Args:
        scale: in grid units; 0 < scale < 2^54; any rational.

    Raises:
        ValueError: out of range. That is our bug.
    """

    def __init__(self, scale: Fraction) -> None:
        self._laplace = _Laplace(scale)

    def draw(self, count: int, entropy: Entropy) -> NDArray[np.uint64]:
        """Draw `count` numbers independently, exactly; what lies beyond 63 bits is given as 2^63 - 1."""
        draws, filled = np.empty(count, dtype=np.uint64), 0
        while filled < count:
            batch = self._laplace.magnitudes(count - filled, entropy)
            draws[filled : filled + len(batch)] = batch
            filled += len(batch)
        return draws


class _Gaussian:
    """Draws y from the discrete Laplace of scale t = floor(sigma) + 1, and keeps them with exp(-gamma),
    gamma = (|y| - sigma^2 / t)^2 / (2 sigma^2).

    With z = |y| / t and h = sigma^2 / t^2 that is (z - h)^2 / (2 h), and 1/4 <= h < 1 from sigma = 1 on.
    """

    def __init__(self, sigma_squared: Fraction) -> None:
        if not 0 < sigma_squared < LARGEST_SCALE**2 // 4:
            raise ValueError("sigma squared must be positive, and below 2^106")
        self.sigma_squared = Fraction(sigma_squared)
        self.scale = _floor_root(self.sigma_squared) + 1
        self.laplace = _Laplace(Fraction(self.scale))
        self.acceptance = self.laplace.acceptance * (0.6 if self.scale > 1 else 0.3)
        share = self.sigma_squared / self.scale**2
        self.shift = max(0, self.scale.bit_length() - 32)
        self.slope = np.uint64((1 << (58 + self.shift)) // self.scale)  # 2^28 / t, with 30 further bits
        self.share = np.int64(int(share * (1 << 28)))
        self.inverse = np.uint64(int((1 << 26) / (2 * share)) if self.scale > 1 else 0)
        # Below sigma 1 nearly all draws are tiny: gamma by value. 2^38 stands for 64 and more.
        values = range(128 if self.scale == 1 else 0)
        self.small = np.array(
            [min(int(self.exact_gamma(value) * (1 << 32)), 1 << 38) for value in values], dtype=np.uint64
        )

    def exact_gamma(self, magnitude: int) -> Fraction:
        return (magnitude * self.scale - self.sigma_squared) ** 2 / (2 * self.sigma_squared * self.scale**2)

    def draw(self, count: int, entropy: Entropy) -> _I64:
        draws = self.laplace.draw(count, entropy)
        magnitude = np.abs(draws).view(np.uint64)
        kept = _accept_exp(
            _half_words(entropy, len(draws)),
            self.gamma(magnitude),
            slack=_SLACK_GAUSSIAN,
            exact_gamma=lambda i: self.exact_gamma(int(magnitude[i])),
            entropy=entropy,
        )
        return draws[kept]

    def gamma(self, magnitude: _U64) -> _U64:
        """Return gamma in units of 2^-32, so near that exp(-gamma) is wrong by less than 1400 units.

        z, cut at 16, in units of 2^-28: 1 unit lost by the shift, 64 by `slope`, 1 at the end. With the unit of
        `share`, |z - h| is wrong by at most 67; cut at 8, where gamma >= 32 and exp(-gamma) is below one unit of
        2^-32. exp(-d^2 / (2 h)) changes with d by at most exp(-1/2) / sqrt(h) <= 1.22: 67 * 16 * 1.22 = 1308 units of
        2^-32. The square loses 1 unit of 2^-30, times 2: 8; `inverse` a share of 2^-25 of gamma, and gamma
        exp(-gamma) <= 0.37: 48; the last shift 1.
        """
        if self.scale == 1:
            return np.take(self.small, np.minimum(magnitude, np.uint64(127)).view(np.int64))
        cut = np.minimum(magnitude, np.uint64(16 * self.scale)) >> np.uint64(self.shift)
        ratio = ((cut * self.slope) >> np.uint64(30)).view(np.int64)
        distance: _U64 = np.minimum(np.abs(ratio - self.share), np.int64(8 << 28)).view(np.uint64)
        return (((distance * distance) >> np.uint64(26)) * self.inverse) >> np.uint64(24)


def _accept_exp(
    words: _U64, gamma: _U64, *, slack: int, exact_gamma: Callable[[int], Fraction], entropy: Entropy
) -> NDArray[np.bool_]:
    """Return, for each, whether u < exp(-gamma), exactly.

    Args:
        words: the first 32 bits of each u.
        gamma: approximate, in units of 2^-32, from which `_exp` is wrong by less than `slack` units.
        slack: in units of 2^-32.
        exact_gamma: the true gamma of the element at an index; asked where the first 32 bits leave it open.
        entropy: further bits of those.
    """
    gap = words.view(np.int64) - _exp(gamma).view(np.int64)
    kept = gap < -slack
    for i in np.flatnonzero(~kept & (gap < slack)):
        kept[i] = _LazyUniform(int(words[i]), 32, entropy).below_exp(exact_gamma(int(i)))
    return kept


def _exp_table(step: Fraction, length: int) -> _U64:
    """Return exp(-step k) in units of 2^-32 for k below `length`, at most 2 units too low; 1 is one unit short."""
    bits, one = 128, 1 << 128
    ratio, value, values = floor_exp(step, bits=bits), one, []
    for _ in range(length):
        values.append(min(value >> (bits - 32), (1 << 32) - 1))
        value = (value * ratio) >> bits  # loses 2 units of 2^-128 each time
    return np.array(values, dtype=np.uint64)


_COARSE = _exp_table(Fraction(1, 64), 4096)
_FINE = _exp_table(Fraction(1, 1 << 16), 1024)


def _exp(gamma: _U64) -> _U64:
    """Return exp(-gamma), both in units of 2^-32, at most 10 units below and 1 above the true value.

    gamma = a / 64 + b / 2^16 + r with r < 2^-16, the factors from tables and 1 - r + r^2 / 2, which is above exp(-r) by
    less than 2^-50. Each factor is at most 2 units low, each product loses 1 more.
    """
    gamma = np.minimum(gamma, np.uint64((1 << 38) - 1))  # exp(-64) is far below one unit
    rest = gamma & np.uint64(0xFFFF)
    linear = np.uint64((1 << 32) - 1) - rest + ((rest * rest) >> np.uint64(33))
    coarse = np.take(_COARSE, (gamma >> np.uint64(26)).view(np.int64))
    fine = np.take(_FINE, ((gamma >> np.uint64(16)) & np.uint64(1023)).view(np.int64))
    return (((coarse * fine) >> np.uint64(32)) * linear) >> np.uint64(32)


def _floor_root(value: Fraction) -> int:
    """Return floor(sqrt(value)); floor commutes with the root of integers."""
    return isqrt(int(value))


def _words(entropy: Entropy, count: int) -> _U64:
    return np.frombuffer(entropy.bytes(8 * count), dtype="<u8").astype(np.uint64)


def _half_words(entropy: Entropy, count: int) -> _U64:
    return np.frombuffer(entropy.bytes(4 * count), dtype="<u4").astype(np.uint64)
