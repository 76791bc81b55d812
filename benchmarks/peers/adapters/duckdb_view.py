"""The same query without privacy, over the same join as the private forms: what privacy itself costs is the ratio."""

from adapters import duck


def supports(w):
    return None


def open(w):
    return duck.connect()


def answer(w, con):
    what = {
        "count": lambda a: "count(*)",
        "sum": lambda a: f"sum({a.col})",
        "avg": lambda a: f"avg({a.col})",
        "entities": lambda a: f"count(distinct {w.entity})",
    }
    keys = ", ".join(w.groups)
    return con.execute(
        f"select {keys}, {', '.join(what[a.kind](a) for a in w.aggs)} from ({w.view}) group by all"
    ).fetchall()
