"""Non-private limit in Polars (lazy scan)."""

import polars as pl


def supports(w):
    return None


def frame(w):
    """The logical table of the workload as a LazyFrame; shared with the OpenDP adapter."""
    f = dict(w.files)
    if w.name == "W1":
        lines = pl.scan_parquet(f["l"]).select(
            "l_orderkey", "l_returnflag", "l_linestatus", *[pl.col(c).cast(pl.Float64) for c in w.columns]
        )
        orders = pl.scan_parquet(f["o"]).select("o_orderkey", "o_custkey")
        return lines.join(orders, left_on="l_orderkey", right_on="o_orderkey").drop("l_orderkey")
    if w.name == "W2":
        d = pl.col("o_orderdate")
        return pl.scan_parquet(f["o"]).select(
            "o_custkey", ((d.dt.year() - 1992) * 12 + d.dt.month() - 1).cast(pl.Int32).alias("m")
        )
    src = f.get("o") or f.get("f") or f.get("r") or f.get("p")
    return pl.scan_parquet(src).select(w.entity, *w.groups, *[pl.col(c).cast(pl.Float64) for c in w.columns])


def open(w):
    return None


def answer(w, _):
    if w.name == "W1":  # the analyst's query needs no join
        lf = pl.scan_parquet(dict(w.files)["l"]).with_columns([pl.col(c).cast(pl.Float64) for c in w.columns])
    else:
        lf = frame(w)
    kind = {
        "count": lambda a: pl.len().alias(a.name),
        "sum": lambda a: pl.col(a.col).sum().alias(a.name),
        "avg": lambda a: pl.col(a.col).mean().alias(a.name),
        "entities": lambda a: pl.col(w.entity).n_unique().alias(a.name),
    }
    return lf.group_by(*w.groups).agg(*[kind[a.kind](a) for a in w.aggs]).collect().rows()
