"""Generic bounding SQL from a workload, two ways; shared by the reference engine and the mechanism libraries."""


def _inner(w, center=False):
    g = ", ".join(w.groups)
    out = ["count(*) as n_"]
    for c, (lo, hi) in w.columns.items():
        shift = f" - {(lo + hi) / 2}" if center else ""
        out.append(f"sum(case when {c} > {hi} then {hi} when {c} < {lo} then {lo} else {c} end{shift}) as s_{c}")
    return f"select {w.entity} as e_, {g}, {', '.join(out)} from ({w.view}) group by all"


def sampled(w):
    """What a user would write first: rank rows, rank groups, clamp, sum. Gives n_, u_, s_<col> per group."""
    g = ", ".join(w.groups)
    vals = "".join(f", sum(least(greatest({c}, {lo}), {hi})) as s_{c}" for c, (lo, hi) in w.columns.items())
    return f"""
      with r as (select * from ({w.view})
                 qualify row_number() over (partition by {w.entity}, {g}
                                            order by hash({w.entity}, {", ".join(w.columns) or 1}, 7)) <= {w.linf}),
           i as (select {w.entity} as e_, {g}, count(*) as n_{vals} from r group by all),
           t as (select * from i qualify row_number() over (partition by e_ order by hash(e_, {g}, 11)) <= {w.l0})
      select {g}, sum(n_) as n_, count(*) as u_{"".join(f", sum(s_{c}) as s_{c}" for c in w.columns)}
      from t group by all"""


def clipped(w, l2):
    """Return a query without sampling: every entity's whole contribution is scaled down to what it may weigh.

    That is the norm of l0 groups of linf rows, l0 * linf in L1 (for Laplace) or sqrt(l0) * linf in L2 (for Gaussian).
    Sums are centred on the clamp's middle, so a row weighs at most one in every measurement and one weight serves the
    count and all sums; u_ has a weight of its own. Private groups need a hard cap on groups per entity for the
    threshold argument: 4 * l0, by hash, only for entities above it.
    """
    g = ", ".join(w.groups)
    pairs = f"i as materialized ({_inner(w, True)})"
    src = "i"
    if not w.keys:
        pairs += f""", big as (select e_ from i group by e_ having count(*) > {4 * w.l0}),
            j as (select * from i anti join big using (e_) union all
                  (select * from i semi join big using (e_)
                   qualify row_number() over (partition by e_ order by hash(e_, {g}, 11)) <= {4 * w.l0}))"""
        src = "j"
    cap = w.l0**0.5 if l2 else w.l0
    rows = "sqrt(sum(n_ * n_))" if l2 else "sum(n_)"
    keys = "sqrt(count(*))" if l2 else "count(*)"
    vals = "".join(f", sum(s_{c} * coalesce(wn, 1)) as s_{c}" for c in w.columns)
    return f"""with {pairs},
        k as (select e_, least(1, {cap * w.linf} / {rows}) as wn, least(1, {cap} / {keys}) as wu
              from {src} group by e_ having wn < 1 or wu < 1)
        select {g}, sum(n_ * coalesce(wn, 1)) as n_, sum(coalesce(wu, 1)) as u_{vals}
        from {src} left join k using (e_) group by all"""
