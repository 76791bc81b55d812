"""Tumult Analytics on Spark local[2], privacy ID tables (AddRowsWithID) with group and row constraints.

The private join of lineitem and orders needs the ID in both tables, so the join happens in the Spark frame handed over.
Private groups: get_groups with half the budget, then the measurements over the groups found.
Many groups per entity and public keys: zCDP (Gaussian); else Laplace.
"""

import math

from adapters import spark_raw


def supports(w):
    return None


def rho(eps, delta):
    t = math.log(1 / delta)
    return (math.sqrt(t + eps) - math.sqrt(t)) ** 2


def frame(w, s):
    f = dict(w.files)
    from pyspark.sql import functions

    if w.name == "W1":
        lines = s.read.parquet(f["l"]).select(
            "l_orderkey",
            functions.concat_ws("|", "l_returnflag", "l_linestatus").alias("g"),
            *[functions.col(c).cast("double").alias(c) for c in w.columns],
        )
        orders = s.read.parquet(f["o"]).select("o_orderkey", "o_custkey")
        return lines.join(orders, lines.l_orderkey == orders.o_orderkey).drop("l_orderkey", "o_orderkey")
    if w.name == "W2":
        return s.read.parquet(f["o"]).select(
            "o_custkey",
            ((functions.year("o_orderdate") - 1992) * 12 + functions.month("o_orderdate") - 1)
            .cast("bigint")
            .alias("g"),
        )
    src = f.get("o") or f.get("f") or f.get("r") or f.get("p")
    return s.read.parquet(src).select(
        w.entity, functions.col(w.groups[0]).alias("g"), *[functions.col(c).cast("double").alias(c) for c in w.columns]
    )


def open(w):
    return spark_raw.session()


def answer(w, s):
    from tmlt.analytics import (
        AddRowsWithID,
        ApproxDPBudget,
        KeySet,
        MaxGroupsPerID,
        MaxRowsPerGroupPerID,
        PureDPBudget,
        QueryBuilder,
        RhoZCDPBudget,
        Session,
    )

    zcdp = bool(w.keys) and w.gaussian
    if zcdp:
        total, part = RhoZCDPBudget(rho(w.eps, w.delta)), lambda x: RhoZCDPBudget(rho(w.eps, w.delta) * x)
    elif w.keys:
        total, part = PureDPBudget(w.eps), lambda x: PureDPBudget(w.eps * x)
    else:
        total, part = ApproxDPBudget(w.eps, w.delta), lambda x: ApproxDPBudget(w.eps * x, 0)
    ses = Session.from_dataframe(total, "t", frame(w, s), protected_change=AddRowsWithID(w.entity))
    base = QueryBuilder("t").enforce(MaxGroupsPerID("g", w.l0)).enforce(MaxRowsPerGroupPerID("g", w.linf))
    share = 1.0
    if w.keys:
        keys = KeySet.from_dict({"g": ["|".join(k) if len(k) > 1 else k[0] for k in w.keys]})
    else:
        one = QueryBuilder("t").enforce(MaxGroupsPerID("g", w.l0)).enforce(MaxRowsPerGroupPerID("g", 1))
        found = ses.evaluate(one.get_groups(["g"]), ApproxDPBudget(w.eps / 2, w.delta))
        keys = KeySet.from_dataframe(found)
        share = 0.5
    n = len(w.primitives)
    got = {}
    for p in w.primitives:
        q = base.groupby(keys)
        q = (
            q.count(name="v")
            if p.kind == "count"
            else q.count_distinct([w.entity], name="v")
            if p.kind == "entities"
            else q.sum(p.col, p.lo, p.hi, name="v")
        )
        for r in ses.evaluate(q, part(share / n)).collect():
            got.setdefault(r["g"], {})[p.name] = float(r["v"])
    return [(*(g.split("|") if len(w.groups) > 1 else (g,)), *w.finish(prim)) for g, prim in got.items()]


def close(s):
    s.stop()
