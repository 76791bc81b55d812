"""Reference: hand-written norm clipping in DuckDB plus one joint noise vector. The realistic limit for a new engine.

Not a product: numpy noise, no floating-point defence. Mechanism: every measurement is normalised to one unit per entity
and group, and the whole vector gets Laplace (scale l0*k) or analytic Gaussian (norm sqrt(l0*k)), whichever is smaller.
Sums are measured around the middle of the clamp, which halves their range; they are put back with the count.
Private groups: the noisy number of entities must pass a threshold.
"""

import math

import numpy as np
from adapters import bounding, duck


def supports(w):
    return None


def open(w):
    return duck.connect(), np.random.default_rng()


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def gaussian_sigma(eps, delta):
    """Smallest sigma for sensitivity 1 (exact condition of Balle and Wang), by bisection."""

    def d(s):
        return phi(1 / (2 * s) - eps * s) - math.exp(eps) * phi(-1 / (2 * s) - eps * s)

    lo, hi = 0.05, 100.0
    for _ in range(80):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if d(mid) > delta else (lo, mid)
    return hi


def tail(p):
    """x with phi(-x) = p."""
    lo, hi = 0.0, 40.0
    for _ in range(80):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if phi(-mid) > p else (lo, mid)
    return hi


def threshold(w, noise_sd, gauss, delta):
    """Return the smallest cut that the groups of one entity alone, at most 4 * l0 of them, pass with chance delta."""
    best = 0.0
    for t in range(1, 4 * w.l0 + 1):
        own = min(1.0, (w.l0 / t) ** (0.5 if gauss else 1.0))
        far = noise_sd * tail(delta / t) if gauss else noise_sd * math.log(t / (2 * delta))
        best = max(best, own + far)
    return best


def answer(w, state):
    con, rng = state
    need_u = not w.keys or any(a.kind == "entities" for a in w.aggs)
    need_n = any(a.kind in ("count", "avg") for a in w.aggs) or bool(w.columns)
    half = {c: (hi - lo) / 2 for c, (lo, hi) in w.columns.items()}
    units = (
        ([("u_", 1.0)] if need_u else [])
        + ([("n_", w.linf)] if need_n else [])
        + [("s_" + c, half[c] * w.linf) for c in half]
    )
    lap = w.l0 * len(units) / w.eps
    gau = gaussian_sigma(w.eps, w.delta if w.keys else w.delta / 2) * math.sqrt(w.l0 * len(units))
    gauss = gau < lap * math.sqrt(2)
    noise = (lambda: rng.normal(0, gau)) if gauss else (lambda: rng.laplace(0, lap))
    cur = con.execute(bounding.clipped(w, gauss))
    names = [d[0] for d in cur.description]
    n = len(w.groups)
    got = {r[:n]: dict(zip(names[n:], r[n:])) for r in cur.fetchall()}
    cut = -math.inf if w.keys else threshold(w, gau if gauss else lap, gauss, w.delta / 2)
    res = []
    for g in w.keys or got:
        row = got.get(tuple(g), {})
        m = {name: float(row.get(name) or 0.0) + unit * noise() for name, unit in units}
        if m.get("u_", math.inf) < cut:
            continue
        for c, (lo, hi) in w.columns.items():
            m["s_" + c] += (lo + hi) / 2 * m["n_"]
        res.append((*g, *w.finish(m)))
    return res
