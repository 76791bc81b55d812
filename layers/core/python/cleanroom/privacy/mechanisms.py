"""The only place where exact turns into noisy. In `privacy/`; used by the function that cannot read tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cleanroom.privacy.cube_sampler import discrete_cube
from cleanroom.privacy.noise import DiscreteCube, DiscreteLaplace, Noise
from cleanroom.privacy.samplers import discrete_gaussian, discrete_laplace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cleanroom.privacy.entropy import Entropy

LARGEST_EXACT = 1 << 62
"""Largest absolute exact value, in grid units, that the exact query may give."""

LARGEST_NOISY = (1 << 62) - 1
"""Noisy values are clamped to this, in grid units."""


def add_noise(exact: NDArray[np.int64], *, noise: Noise, entropy: Entropy) -> NDArray[np.int64]:
    """Return the exact values with fresh, independent noise on each: the privacy mechanism itself.

    The result is clamp(exact + noise, +-LARGEST_NOISY) as if computed without limits: clamping the *sum* is
    post-processing, whatever the data. (Clamping the noise by itself would not be: the ends would tell the exact
    values.) It is computed without overflow by clamping the noise to what is left up to the limit, which comes to
    the same: the samplers' own limit of 2^63 - 1 is never nearer than that.

    Args:
        exact: int64, any shape, in grid units, absolute value at most `LARGEST_EXACT`.
        noise: of each cell; its scale fits the norm of the whole vector (see `calibration`).
        entropy: fresh bits; never the same for two calls.

    Raises:
        ValueError: not int64, or beyond the limit: the exact query broke its contract, which is our bug. The
            sentence names no value; the caller answers with the one fixed sentence of a failed run.

    Source:
        `calibration.laplace_noise` and `calibration.gaussian_noise` for what it guarantees; Dwork, Roth 2014,
        Proposition 2.1 (post-processing) for the clamp.
    """
    _check_exact(exact)
    drawn = draw(noise, size=exact.size, entropy=entropy).reshape(exact.shape)
    return exact + np.clip(drawn, -LARGEST_NOISY - exact, LARGEST_NOISY - exact)


def add_vector_noise(exact: NDArray[np.int64], *, noise: DiscreteCube, entropy: Entropy) -> NDArray[np.int64]:
    """Return the exact values of several columns with fresh noise, a draw for each group: the mechanism itself.

    Clamped as in `add_noise`, coordinate by coordinate.

    Args:
        exact: int64, shape (columns, groups), in grid units, absolute value at most `LARGEST_EXACT`.
        noise: of each group; its scale fits the sum over groups of the largest move of any column.
        entropy: fresh bits; never the same for two calls.

    Raises:
        ValueError: not int64, of another number of columns than the noise is for, or beyond the limit: our bug.

    Source:
        `calibration.cube_noise` for what it guarantees.
    """
    _check_exact(exact)
    drawn = draw_vectors(noise, shape=exact.shape, entropy=entropy)
    return exact + np.clip(drawn, -LARGEST_NOISY - exact, LARGEST_NOISY - exact)


def _check_exact(exact: NDArray[np.int64]) -> None:
    if exact.dtype != np.int64:
        raise ValueError("exact values are 64-bit integers")
    # Not np.abs: the absolute value of -2^63 is not there.
    if bool(np.any((exact > LARGEST_EXACT) | (exact < -LARGEST_EXACT))):
        raise ValueError("an exact value is outside the grid")


def select_groups(noisy_entities: NDArray[np.int64], *, tau: int) -> NDArray[np.bool_]:
    """Return which groups appear: those whose noisy entity count is at least tau; both in grid units.

    Post-processing of noisy counts; what makes it private is tau, see `partition_selection.threshold`. Every other
    column of a group that does not appear must be dropped with it.
    """
    return noisy_entities >= tau


def draw(noise: Noise, *, size: int, entropy: Entropy) -> NDArray[np.int64]:
    """Draw `size` independent values of the noise of one column, in grid units."""
    if isinstance(noise, DiscreteCube):
        raise ValueError("one column of a vector cannot be drawn without the others")
    if isinstance(noise, DiscreteLaplace):
        return discrete_laplace(scale=noise.scale, size=size, entropy=entropy)
    return discrete_gaussian(sigma_squared=noise.sigma_squared, size=size, entropy=entropy)


def draw_vectors(noise: DiscreteCube, *, shape: tuple[int, ...], entropy: Entropy) -> NDArray[np.int64]:
    """Draw independent vectors, in grid units; `shape` is (columns, how many)."""
    if len(shape) != 2 or shape[0] != noise.dimension:
        raise ValueError("the noise is for another number of columns")
    return discrete_cube(noise, size=shape[1], entropy=entropy)
