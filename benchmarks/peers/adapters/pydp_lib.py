"""PyDP (Google's C++ building blocks): mechanisms only. Bounding is the user's job; here window SQL in DuckDB."""

from adapters import bounding, duck
from pydp.algorithms.numerical_mechanisms import GaussianMechanism, LaplaceMechanism
from pydp.algorithms.partition_selection import create_partition_strategy


def supports(w):
    return None


def open(w):
    return duck.connect()


def answer(w, con):
    cur = con.execute(bounding.sampled(w))
    n = len(w.groups)
    names = [d[0] for d in cur.description][n:]
    got = {r[:n]: dict(zip(names, r[n:])) for r in cur.fetchall()}
    prims = w.primitives
    share = w.eps / (len(prims) + (0 if w.keys else 1))
    dshare = w.delta / (len(prims) + 1)

    def mech(p):
        unit = 1 if p.kind == "entities" else w.linf * max(abs(p.lo), abs(p.hi))
        if w.gaussian:
            return GaussianMechanism(share, dshare, unit * w.l0**0.5)
        return LaplaceMechanism(share, unit * w.l0)

    mechs = {p.name: mech(p) for p in prims}
    if w.keys:
        groups = w.keys
    else:
        pick = create_partition_strategy("gaussian" if w.l0 > 8 else "truncated_geometric", share, dshare, w.l0)
        groups = [g for g, m in got.items() if pick.should_keep(int(m["u_"]))]
    return [
        (*g, *w.finish({name: m.add_noise(float(got.get(tuple(g), {}).get(name) or 0.0)) for name, m in mechs.items()}))
        for g in groups
    ]
