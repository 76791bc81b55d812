"""The groups that are not shown, as one row: their exact sum, and the noise that makes it private. In `privacy/`.

What is proved. A measurement has an integer vector f_c over its groups for each column c, and one column n, the count
of entities, that chooses the groups: S = {g : n[g] + noise >= tau}. Released are, for every column c but n, the noisy
f_c[g] of each g in S, and one number more, R_c = sum of f_c[g] over all g that are not in S, with fresh noise. *Nothing
else of the counts n is released*: they choose, and are dropped. Then R_c costs nothing.

Choosing is a mechanism of its own, and pays for itself: S is computed from noisy n alone. Given S, whatever it is, the
vector (f_c[g] for g in S, R_c) is a linear map of f_c. Let one entity move f_c[g] by d_g; it is in at most T groups.
    Laplace: |sum of d_g outside S| <= sum of |d_g| outside S: the L1 norm does not grow, so the same scale does.
        So it is for columns that are drawn together, d_g being vectors and |d_g| the largest of its coordinates.
    Gaussian: by Cauchy and Schwarz (sum of d_g outside S)^2 <= T * sum of d_g^2 outside S. With variance sigma^2 in S
        and T sigma^2 for R_c, rho = sum over S of d_g^2 / (2 sigma^2) + (sum outside S)^2 / (2 T sigma^2) <=
        sum of all d_g^2 / (2 sigma^2), which is what the column pays.
For each S this is what the column costs without an other row, so by adaptive composition (Dwork, Roth 2014, Theorem
3.16 and what follows it; Bun, Steinke 2016, Lemma 2.3 for rho) the run costs what it costs without one.

Groups that one entity alone is in. Let U be those, and let M be the release in which they are never shown, whatever
their noise. M on the database with the entity and the release on the one without it are both as above: U weighs in R_c
there, within the same bounds. The true release differs from M only where a group of U is shown. That hangs on the noise
of n in U alone, which M does not use: so the chance of it is added to delta as in `partition_selection.threshold`, with
M in the place of "the counts of all other groups, with everything else that is released about them".

The row is always there, also where all groups are shown or there are none: that nothing was left out would tell.

If n itself were released, R_n would use the noise of hidden counts twice: in that they are hidden, and in the sum. The
two together can cost twice the price of n (`tests/statistical/test_other_row.py` plants it). So the count of entities
that a query asks for is measured apart from the one that chooses its groups, and paid for.

Here the sums are made; `calibration.other_noise` says which noise they get, and `mechanisms.add_noise` adds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF = 32


def exact_rest(exact_hidden: NDArray[np.int64], *, limit: int) -> NDArray[np.int64]:
    """Return the sum over groups, within +- `limit`, as if computed without limits.

    Clamping a sum brings two sums no further apart, so no norm grows.

    Args:
        exact_hidden: int64; one group in each row, of those that are not shown; at most 2^31 of them.
        limit: of each sum; >= 0.

    Returns:
        One row less: shape (), or (columns,).
    """
    if exact_hidden.dtype != np.int64:
        raise ValueError("exact values are 64-bit integers")
    # v = high * 2^32 + low: neither sum can leave 64 bits, and Python's integers put them together.
    high = np.sum(exact_hidden >> _HALF, axis=0).astype(object)
    low = np.sum(exact_hidden & ((1 << _HALF) - 1), axis=0).astype(object)
    sums = high * (1 << _HALF) + low
    return np.asarray(np.clip(sums, -limit, limit), dtype=np.int64)
