"""benchmarks: how far the answers of a peer are from the truth."""

import statistics

import duckdb

from benchmarks.peers import workloads

_truth = {}


def truth(name, sf):
    if (name, sf) not in _truth:
        w = workloads.build(name, sf)
        n = len(w.groups)
        _truth[name, sf] = {
            tuple(map(str, r[:n])): [float(v) for v in r[n:]] for r in duckdb.connect().execute(w.truth).fetchall()
        }
    return _truth[name, sf]


def quality(name, sf, answers):
    """Return errors relative to the truth, each capped at 100 % (no information), and the number of groups released.

    `err` and `err_med` are over the released groups, `err_all` over all true groups: one that was not released counts
    100 %.
    """
    w, true = workloads.build(name, sf), truth(name, sf)
    n, k = len(w.groups), len(w.aggs)
    errs, gap, released, false = [], [], [], 0
    for rows in answers:
        seen = 0
        for r in rows:
            t = true.get(tuple(map(str, r[:n])))
            if t is None:
                false += 1
                continue
            seen += 1
            for number, want in zip(r[n:], t):
                got = 0.0 if number is None else float(number)
                errs.append(min(1.0, abs(got - want) / max(abs(want), 1e-9)))
                gap.append(abs(got - want))
        released.append(seen)
    errs.sort()
    cells = len(true) * k * len(answers)
    return {
        "err": statistics.mean(errs) if errs else None,
        "err_med": statistics.median(errs) if errs else None,
        "err_all": (sum(errs) + cells - len(errs)) / cells if cells else None,
        "mae": statistics.mean(gap) if gap else None,
        "groups": statistics.mean(released) if released else 0,
        "of": len(true),
        "false": false,
        "n": len(answers),
    }
