"""OpenDP's Polars queries (Context API), truncation per identifier.

OpenDP cannot join private tables, so the join happens in the LazyFrame handed over as data. Averages are a released sum
over a released count. Values go in as 64-bit integers in hundredths: float sums over private groups pay for rounding
times the largest group times the number of groups, which drowns the answer.
OpenDP 0.16 on the Polars it pins (1.36.1): keep="sample" of truncate_num_groups fails ("multiple fields with name"), so
keep="first"; and truncate_num_groups(k) keeps k - 1 groups (dense ranks start at 1) while it charges for k.
"""

import math
import warnings

import opendp.prelude as dp
import polars as pl
from adapters.polars_raw import frame

warnings.simplefilter("ignore")
dp.enable_features("contrib")


def supports(w):
    return None


def rho(eps, delta):
    """The zCDP budget inside (eps, delta): eps = rho + 2 sqrt(rho ln(1/delta))."""
    t = math.log(1 / delta)
    return (math.sqrt(t + eps) - math.sqrt(t)) ** 2


def open(w):
    lf = frame(w)
    return lf.with_columns([(pl.col(c) * 100).round().cast(pl.Int64) for c in w.columns])


def answer(w, lf):
    if w.gaussian:
        spend = dict(rho=rho(w.eps, w.delta / 2), **({} if w.keys else {"delta": w.delta / 2}))
    else:
        spend = dict(epsilon=w.eps, **({} if w.keys else {"delta": w.delta}))
    ctx = dp.Context.compositor(
        data=lf,
        privacy_unit=dp.unit_of(contributions=1, identifier=pl.col(w.entity)),
        privacy_loss=dp.loss_of(**spend),
        split_evenly_over=1,
        margins=[dp.polars.Margin(by=(), max_length=w.rows)],
    )
    q = ctx.query().truncate_per_group(w.linf, by=list(w.groups))
    if len(w.keys) != w.l0:  # with every public key allowed there is nothing to truncate
        q = q.truncate_num_groups(w.l0, by=list(w.groups), keep="first")
    exprs, counted = [], False
    for p in w.primitives:
        if p.kind == "count" or (p.kind == "entities" and w.linf == 1):
            exprs.append(dp.len().alias(p.name))
            counted = True
        elif p.kind == "entities":
            exprs.append(pl.col(w.entity).dp.n_unique().alias(p.name))
        else:
            exprs.append(pl.col(p.col).fill_null(0).dp.sum((round(p.lo * 100), round(p.hi * 100))).alias(p.name))
    if not w.keys and not counted:
        exprs.append(dp.len().alias("support_"))  # private groups need a count to threshold on
    q = q.group_by(*w.groups).agg(*exprs)
    if w.keys:
        kinds = [pl.String if t == "str" else pl.Int32 for t in w.group_types]
        q = q.with_keys(
            pl.DataFrame(
                {g: pl.Series([k[i] for k in w.keys], dtype=t) for i, (g, t) in enumerate(zip(w.groups, kinds))}
            )
        )
    out = q.release().collect()
    res, n = [], len(w.groups)
    for row in out.select(*w.groups, *[p.name for p in w.primitives]).iter_rows():
        prim = {
            p.name: (0.0 if v is None else float(v)) / (100 if p.kind == "sum" else 1)
            for p, v in zip(w.primitives, row[n:])
        }
        res.append((*row[:n], *w.finish(prim)))
    return res
