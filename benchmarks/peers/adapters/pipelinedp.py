"""PipelineDP, local backend (pure Python generators). Rows come from DuckDB as tuples.

One value column per aggregate call, so W1 is three calls sharing the budget by their number of metrics.
"""

import logging
import operator

import pipeline_dp as pdp
from adapters import duck

logging.disable(logging.WARNING)


def supports(w):
    if w.scale and int(w.scale[2:]) > 1:
        return "pure Python: SF1 takes minutes already"
    return None


def open(w):
    con = duck.connect()
    cur = con.execute(w.view)
    names = [d[0] for d in cur.description]
    rows = cur.fetchall()
    return rows, {n: i for i, n in enumerate(names)}


def answer(w, state):
    rows, at = state
    e, gs = at[w.entity], [at[g] for g in w.groups]
    key = (lambda r: tuple(r[i] for i in gs)) if len(gs) > 1 else (lambda r: (r[gs[0]],))
    acc = pdp.NaiveBudgetAccountant(total_epsilon=w.eps, total_delta=w.delta)
    engine = pdp.DPEngine(acc, pdp.LocalBackend())
    pick = pdp.PartitionSelectionStrategy
    pick = pick.GAUSSIAN_THRESHOLDING if w.l0 > 8 else pick.TRUNCATED_GEOMETRIC
    noise = pdp.NoiseKind.GAUSSIAN if w.gaussian else pdp.NoiseKind.LAPLACE
    cols = list(w.columns.items()) or [("", (0, 1))]
    first = True
    runs = []
    for c, (lo, hi) in cols:
        metrics, names = [], []
        if first and any(p.kind == "count" for p in w.primitives):
            metrics.append(pdp.Metrics.COUNT)
            names.append(("count", "n_"))
        if first and any(p.kind == "entities" for p in w.primitives):
            metrics.append(pdp.Metrics.PRIVACY_ID_COUNT)
            names.append(("privacy_id_count", "u_"))
        if c:
            metrics.append(pdp.Metrics.SUM)
            names.append(("sum", "s_" + c))
        first = False
        params = pdp.AggregateParams(
            metrics=metrics,
            noise_kind=noise,
            max_partitions_contributed=w.l0,
            max_contributions_per_partition=w.linf,
            budget_weight=len(metrics),
            partition_selection_strategy=pick,
            **({"min_value": lo, "max_value": hi} if c else {}),
        )
        ex = pdp.DataExtractors(
            privacy_id_extractor=lambda r: r[e],
            partition_extractor=key,
            value_extractor=(operator.itemgetter(at[c])) if c else (lambda r: 0),
        )
        runs.append((engine.aggregate(rows, params, ex, public_partitions=list(w.keys) or None), names))
    acc.compute_budgets()
    got = {}
    for result, names in runs:
        for k, m in result:
            for field, name in names:
                got.setdefault(k, {})[name] = float(getattr(m, field))
    return [(*k, *w.finish(p)) for k, p in got.items()]
