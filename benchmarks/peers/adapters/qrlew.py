"""Qrlew (pyqrlew): rewrites the analyst's SQL into DP SQL (PostgreSQL dialect), which DuckDB then runs, noise included.

It clips the L2 norm of an entity's contributions and adds Gaussian noise; its one knob is rows per entity
(max_multiplicity), set to linf * sqrt(l0), the L2 norm that l0 groups of linf rows may have.
W1 uses its foreign-key path (lineitem -> orders -> customer), so the analyst's query needs no join.
"""

import json
import math

import pyqrlew as qrl
import sqlalchemy as sa
from adapters import duck


def supports(w):
    return None


def tables(w):
    """(name, columns with SQL types, DuckDB source) of the tables Qrlew sees."""
    if w.name == "W1":
        f = dict(w.files)
        vals = ", ".join(f"{c}::double as {c}" for c in w.columns)
        return [
            (
                "lineitem",
                {"l_orderkey": "bigint", **dict.fromkeys(w.groups, "varchar"), **dict.fromkeys(w.columns, "float")},
                f"select l_orderkey, l_returnflag, l_linestatus, {vals} from '{f['l']}'",
            ),
            (
                "orders",
                {"o_orderkey": "bigint", "o_custkey": "bigint"},
                f"select o_orderkey, o_custkey from '{f['o']}'",
            ),
        ]
    cols = {w.entity: "varchar", **dict.fromkeys(w.groups, "varchar"), **dict.fromkeys(w.columns, "float")}
    cast = ", ".join(f"{c}::varchar as {c}" for c in [w.entity, *w.groups])
    return [("t", cols, f"select {', '.join([cast, *w.columns])} from ({w.view})")]


def dataset(w):
    """Schema by reflection of empty SQLite tables; the row count, a public bound, goes into the size record."""
    eng = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    with eng.begin() as c:
        for name, cols, _ in tables(w):
            c.execute(sa.text(f"create table {name} ({', '.join(f'{k} {t}' for k, t in cols.items())})"))
    ds = qrl.Dataset.from_database("d", eng)
    size = json.loads(ds.size)
    for f in size["statistics"]["union"]["fields"]:
        f["statistics"]["struct"]["size"] = str(w.rows)
    head = next(x for x in str(ds).splitlines() if x.startswith("Dataset: "))[len("Dataset: ") :]
    ds = qrl.Dataset.from_str(head, ds.schema, json.dumps(size))
    first = tables(w)[0][0]
    for c, (lo, hi) in w.columns.items():
        ds = ds.with_range(None, first, c, float(lo), float(hi))
    for i, g in enumerate(w.groups):
        if w.keys:
            ds = ds.with_possible_values(None, first, g, sorted({str(k[i]) for k in w.keys}))
    if w.name == "W1":
        ds = ds.with_constraint(None, "orders", "o_orderkey", "Unique")
    return ds


def open(w):
    con = duck.connect()
    for name, _, src in tables(w):
        con.execute(f"create view {name} as {src}")
    what = {
        "count": lambda a: "count(*)",
        "sum": lambda a: f"sum({a.col})",
        "avg": lambda a: f"avg({a.col})",
        "entities": lambda a: f"count(distinct {w.entity})",
    }
    keys = ", ".join(w.groups)
    sql = (
        f"select {keys}, "
        + ", ".join(f"{what[a.kind](a)} as {a.name}" for a in w.aggs)
        + f" from {tables(w)[0][0]} group by {keys}"
    )
    if w.name == "W1":
        unit = [("lineitem", [("l_orderkey", "orders", "o_orderkey")], "o_custkey"), ("orders", [], "o_custkey")]
    else:
        unit = [("t", [], w.entity)]
    return con, dataset(w), sql, unit


def rewrite(w, state):
    _, ds, sql, unit = state
    rel = ds.relation(sql).rewrite_with_differential_privacy(
        ds,
        unit,
        {"epsilon": w.eps, "delta": w.delta},
        max_multiplicity=float(max(1, round(w.linf * math.sqrt(w.l0)))),
        max_multiplicity_share=1.0,
        max_privacy_unit_groups=w.l0,
    )
    return rel.relation().to_query(qrl.Dialect.PostgreSql)


def answer(w, state):
    rows = state[0].execute(rewrite(w, state)).fetchall()
    n = len(w.groups)
    num = [int if t == "int" else str for t in w.group_types]
    return [(*[f(x) for f, x in zip(num, r[:n])], *r[n:]) for r in rows]
