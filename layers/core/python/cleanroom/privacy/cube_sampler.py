"""Exact draws of `DiscreteCube`: one vector of integers for several columns. In `privacy/`, beside `samplers`.

If R has the mass (2 R + 1)^d q^R, up to a constant, with q = exp(-1 / scale), and z is even over the (2 R + 1)^d
vectors of integers within -R .. R, then z has the mass sum over R >= max|z| of q^R = q^max|z| / (1 - q): the one that
is wanted. R is drawn as the sum G of d + 1 geometric numbers of ratio q, whose mass is
C(G + d, d) (1 - q)^(d + 1) q^G, and kept with the chance

    (2 G + 1)^d / (2^d d! C(G + d, d)) = product over i = 1 .. d of (2 G + 1) / (2 (G + i)),

a product of rationals in (0, 1). No float is evaluated, and none of it knows the values that noise is added to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cleanroom.privacy.noise import LARGEST_CUBE_SCALE
from cleanroom.privacy.samplers import Geometric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cleanroom.privacy.entropy import Entropy
    from cleanroom.privacy.noise import DiscreteCube

_CHUNK = 1 << 14  # vectors at a time


def discrete_cube(noise: DiscreteCube, *, size: int, entropy: Entropy) -> NDArray[np.int64]:
    """Draw vectors independently, exactly.

    Args:
        noise: scale < 2^50 grid units. At small scales (below about the square of the dimension) most candidates are
            rejected, which takes long and is as exact.
        size: how many vectors; >= 0.
        entropy: where the bits come from.

    Returns:
        Shape (dimension, size), each column of it a draw. What lies beyond 62 bits (chance below exp(-200)) is cut.

    Raises:
        ValueError: out of range. That is our bug.
    """
    if isinstance(size, bool) or not (isinstance(size, int) and size >= 0):
        raise ValueError("size is an integer, not negative")
    if not noise.scale < LARGEST_CUBE_SCALE:
        raise ValueError("the scale must be below 2^50 grid units")
    geometric = Geometric(noise.scale)
    draws, filled = np.empty((noise.dimension, size), dtype=np.int64), 0
    while filled < size:
        wanted = min(_CHUNK, size - filled)
        radius = _radii(geometric, noise.dimension, wanted, entropy)
        for coordinate in range(noise.dimension):
            even = uniform_below(2 * radius + np.uint64(1), entropy)
            draws[coordinate, filled : filled + len(radius)] = even.view(np.int64) - radius.view(np.int64)
        filled += len(radius)
    return draws


def _radii(geometric: Geometric, dimension: int, count: int, entropy: Entropy) -> NDArray[np.uint64]:
    """Return at most `count` draws of R, those that were kept; below 2^62."""
    most = np.uint64((1 << 62) // (dimension + 1) - 1)
    total = np.zeros(count, dtype=np.uint64)
    for _ in range(dimension + 1):
        total += np.minimum(geometric.draw(count, entropy), most)
    kept = np.ones(count, dtype=np.bool_)
    for i in range(1, dimension + 1):
        kept &= uniform_below(2 * (total + np.uint64(i)), entropy) < 2 * total + np.uint64(1)
    return np.compress(kept, total)


def uniform_below(limits: NDArray[np.uint64], entropy: Entropy) -> NDArray[np.uint64]:
    """Return for each limit an even integer in 0 .. limit - 1, exactly: as many bits as it has, until they are below.

    Args:
        limits: >= 1, below 2^64.
        entropy: where the bits come from.
    """
    mask = limits - np.uint64(1)
    for shift in (1, 2, 4, 8, 16, 32):
        mask |= mask >> np.uint64(shift)
    drawn = np.empty(len(limits), dtype=np.uint64)
    open_places = np.arange(len(limits))
    while len(open_places):
        words = np.frombuffer(entropy.bytes(8 * len(open_places)), dtype="<u8").astype(np.uint64)
        tried = words & mask[open_places]
        good = tried < limits[open_places]
        drawn[open_places[good]] = tried[good]
        open_places = open_places[~good]
    return drawn
