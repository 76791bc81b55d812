"""IBM diffprivlib: numpy-style tools, one record = one entity per call. No SQL, no groups, no bounding, no partition
selection: the user bounds (window SQL in DuckDB), and spends eps / l0 on every group."""

from adapters import bounding, duck
from diffprivlib.mechanisms import Laplace


def supports(w):
    return None if w.keys else "no partition selection"


def open(w):
    return duck.connect()


def answer(w, con):
    cur = con.execute(bounding.sampled(w))
    n = len(w.groups)
    names = [d[0] for d in cur.description][n:]
    got = {r[:n]: dict(zip(names, r[n:])) for r in cur.fetchall()}
    share = w.eps / len(w.primitives) / w.l0
    mechs = {
        p.name: Laplace(epsilon=share, sensitivity=1 if p.kind == "entities" else w.linf * max(abs(p.lo), abs(p.hi)))
        for p in w.primitives
    }
    return [
        (*g, *w.finish({name: m.randomise(float(got.get(tuple(g), {}).get(name) or 0.0)) for name, m in mechs.items()}))
        for g in w.keys
    ]
