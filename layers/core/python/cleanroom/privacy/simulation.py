"""What the exact values may have been, from noisy values and public noise only, for intervals. In `privacy/`.

`error_bars` is for what is released as measured; this is for what the release query derives from several numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cleanroom.privacy.mechanisms import LARGEST_NOISY, draw, draw_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cleanroom.privacy.entropy import Entropy
    from cleanroom.privacy.noise import DiscreteCube, Noise


def simulate(noisy: NDArray[np.int64], *, noise: Noise, replicates: int, entropy: Entropy) -> NDArray[np.int64]:
    """Return what the exact values may have been: the noisy ones less fresh noise, many times over.

    Put through the release query row by row, the replicates give an interval for a derived number: their spread
    around the released number is that of the noise. It tells nothing about clipping by contribution bounds, which
    the receipt names. Any entropy will do here: nothing secret is hidden by it.

    Args:
        noisy: one-dimensional, in grid units, absolute value at most `LARGEST_NOISY`.
        noise: that was added to each.
        replicates: rows of the answer; >= 1.
        entropy: fresh bits, not those of the noise that was added.

    Returns:
        Shape (replicates, len(noisy)), clamped to +-LARGEST_NOISY.

    Raises:
        ValueError: a shape or range is wrong. That is our bug.

    Source:
        Post-processing (Dwork, Roth 2014, Proposition 2.1); the noise is symmetric, so that subtracting fresh noise
        has the law of a parametric bootstrap at the released values (Efron, Tibshirani, "An Introduction to the
        Bootstrap", 1993, section 6.5).
    """
    _check(noisy, dimensions=1, replicates=replicates)
    drawn = draw(noise, size=replicates * len(noisy), entropy=entropy).reshape(replicates, len(noisy))
    return noisy - np.clip(drawn, noisy - LARGEST_NOISY, noisy + LARGEST_NOISY)


def simulate_vectors(
    noisy: NDArray[np.int64], *, noise: DiscreteCube, replicates: int, entropy: Entropy
) -> NDArray[np.int64]:
    """As `simulate`, for columns whose noise was drawn together: so are the replicates.

    Args:
        noisy: shape (columns, groups), otherwise as there.
        noise: that was added to each group.
        replicates: >= 1.
        entropy: fresh bits, not those of the noise that was added.

    Returns:
        Shape (columns, replicates, groups), clamped to +-LARGEST_NOISY.

    Raises:
        ValueError: a shape or range is wrong. That is our bug.
    """
    _check(noisy, dimensions=2, replicates=replicates)
    columns, groups = noisy.shape
    drawn = draw_vectors(noise, shape=(columns, replicates * groups), entropy=entropy)
    drawn = drawn.reshape(columns, replicates, groups)
    noisy = noisy[:, np.newaxis, :]
    return noisy - np.clip(drawn, noisy - LARGEST_NOISY, noisy + LARGEST_NOISY)


def _check(noisy: NDArray[np.int64], *, dimensions: int, replicates: int) -> None:
    if noisy.ndim != dimensions or noisy.dtype != np.int64:
        raise ValueError("noisy values are a vector of 64-bit integers, or one for each column")
    if isinstance(replicates, bool) or not (isinstance(replicates, int) and replicates >= 1):
        raise ValueError("replicates is an integer, at least 1")
    if bool(np.any((noisy > LARGEST_NOISY) | (noisy < -LARGEST_NOISY))):
        raise ValueError("a noisy value is outside the grid")
