"""SmartNoise SQL over DuckDB: its Postgres dialect sent through a DB-API shim, because it has no DuckDB reader.

It has one bound only, rows per entity (max_ids), so it gets l0 * linf. Its epsilon is per statistic, so the total is
divided by the number of noisy statistics in the query (checked with get_privacy_cost). Public groups: censor_dims off.
It refuses noise scales above 10 million, so wide columns are handed over in thousands and scaled back.
"""

from adapters import duck
from snsql import Privacy, from_connection


class Shim:
    """What the Postgres reader needs from a connection."""

    def __init__(self, con):
        self.con, self.last = con, None

    def cursor(self):
        return self

    def execute(self, sql):
        self.last = self.con.execute(sql.replace("main.t", "t"))

    @property
    def description(self):
        return self.last.description

    def __iter__(self):
        return iter(self.last.fetchall())

    def commit(self):
        pass

    rollback = commit


def supports(w):
    return None


def unit(w, col):
    lo, hi = w.columns[col]
    return 1000.0 if max(abs(lo), abs(hi)) * w.l0 * w.linf > 1e5 else 1.0


def sql(w):
    what = {
        "count": lambda a: "count(*)",
        "sum": lambda a: f"sum({a.col})",
        "avg": lambda a: f"avg({a.col})",
        "entities": lambda a: f"count(distinct {w.entity})",
    }
    keys = ", ".join(w.groups)
    return (
        f"select {keys}, "
        + ", ".join(f"{what[a.kind](a)} as {a.name}" for a in w.aggs)
        + f" from main.t group by {keys}"
    )


def open(w):
    con = duck.connect()
    cols = ", ".join([w.entity, *w.groups, *[f"{c} / {unit(w, c)} as {c}" for c in w.columns]])
    con.execute(f"create view t as select {cols} from ({w.view})")
    cols = {w.entity: {"type": "string", "private_id": True}}
    for g, t in zip(w.groups, w.group_types):
        cols[g] = {"type": "string" if t == "str" else "int"}
    for c, (lo, hi) in w.columns.items():
        cols[c] = {"type": "float", "lower": lo / unit(w, c), "upper": hi / unit(w, c)}
    meta = {
        "": {
            "main": {
                "t": {
                    "row_privacy": False,
                    "max_ids": w.l0 * w.linf,
                    "sample_max_ids": True,
                    "clamp_counts": False,
                    "clamp_columns": True,
                    "censor_dims": not w.keys,
                    "use_dpsu": False,
                    "rows": w.rows,
                    **cols,
                }
            }
        }
    }
    probe = from_connection(Shim(con), engine="postgres", metadata=meta, privacy=Privacy(epsilon=1.0, delta=w.delta))
    cost = probe.get_privacy_cost(sql(w))[0]
    return from_connection(
        Shim(con), engine="postgres", metadata=meta, privacy=Privacy(epsilon=w.eps / cost, delta=w.delta)
    )


def answer(w, reader):
    rows = reader.execute(sql(w))[1:]
    k = len(w.groups)
    back = [unit(w, a.col) if a.col else 1.0 for a in w.aggs]
    return [
        (*r[:k], *[None if v is None else v * u for v, u in zip(r[k:], back)])
        for r in rows
        if all(x is not None for x in r[:k])
    ]
