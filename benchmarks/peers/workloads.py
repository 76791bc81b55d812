"""benchmarks: the workloads every peer must answer, as data. No peer-specific code here.

A workload is one grouped query over one logical table with an entity column.
`view` is the logical table as DuckDB SQL; adapters with another engine read `files` and `join` themselves.
Bounds: an entity counts in at most `l0` groups, with at most `linf` rows in each; values are clamped to [lo, hi].
Budget: `eps` (and `delta`) for the whole answer, all aggregates and partition selection together.
"""

import dataclasses
import json
import os


@dataclasses.dataclass(frozen=True)
class Agg:
    name: str
    kind: str  # count | sum | avg | entities
    col: str = ""
    lo: float = 0.0
    hi: float = 1.0


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    about: str
    view: str  # DuckDB SQL giving entity, group and value columns
    entity: str
    groups: tuple
    aggs: tuple
    l0: int
    linf: int
    keys: tuple = ()  # public groups; empty means private groups (partition selection)
    eps: float = 1.0
    delta: float = 1e-6
    truth: str = ""  # DuckDB SQL: group columns, then one column per aggregate
    rows: int = 0  # public upper bound on the rows of the table
    entities: int = 0  # public upper bound on the entities
    group_types: tuple = ()  # str | int
    scale: str = ""  # sf1 / sf10 for TPC-H, else empty
    files: tuple = ()  # (alias, path) pairs

    @property
    def columns(self):
        """Value columns, once each, with their clamps."""
        seen = {}
        for a in self.aggs:
            if a.col:
                seen[a.col] = (a.lo, a.hi)
        return seen

    @property
    def primitives(self):
        """What must really be measured: averages are a sum over a count."""
        out = []
        if any(a.kind in ("count", "avg") for a in self.aggs):
            out.append(Agg("n_", "count"))
        if any(a.kind == "entities" for a in self.aggs):
            out.append(Agg("u_", "entities"))
        out += [Agg("s_" + c, "sum", c, lo, hi) for c, (lo, hi) in self.columns.items()]
        return out

    @property
    def gaussian(self):
        """With so many unit contributions of an entity, Gaussian noise at (eps, delta) is below Laplace at eps."""
        return self.l0 * len(self.primitives) > 16

    def finish(self, prim):
        """Turn {primitive name: value} into the list of answers, one per aggregate."""
        out = []
        for a in self.aggs:
            if a.kind == "count":
                out.append(prim["n_"])
            elif a.kind == "entities":
                out.append(prim["u_"])
            elif a.kind == "sum":
                out.append(prim["s_" + a.col])
            else:
                out.append(min(max(prim["s_" + a.col] / max(prim["n_"], 1.0), a.lo), a.hi))
        return out


def build(name, sf="sf1"):
    """Return a workload by name; the paths of the tables come as JSON in PEER_FILES."""
    files = json.loads(os.environ["PEER_FILES"])
    scale = int(sf[2:])
    f = {"l": files["lineitem"], "o": files["orders"]}
    if name == "W1":
        join = f"'{f['l']}' join '{f['o']}' on l_orderkey = o_orderkey"
        return Workload(
            "W1",
            "Q1-like: count, 2 sums, 3 averages over lineitem join orders; entity = customer; 4 public groups",
            f"select o_custkey, l_returnflag, l_linestatus, l_quantity::double as l_quantity, "
            f"l_extendedprice::double as l_extendedprice, l_discount::double as l_discount from {join}",
            "o_custkey",
            ("l_returnflag", "l_linestatus"),
            (
                Agg("n", "count"),
                Agg("sum_qty", "sum", "l_quantity", 0, 50),
                Agg("sum_price", "sum", "l_extendedprice", 0, 105000),
                Agg("avg_qty", "avg", "l_quantity", 0, 50),
                Agg("avg_price", "avg", "l_extendedprice", 0, 105000),
                Agg("avg_disc", "avg", "l_discount", 0, 0.1),
            ),
            l0=4,
            linf=64,
            keys=(("A", "F"), ("N", "F"), ("N", "O"), ("R", "F")),
            scale=sf,
            truth="select l_returnflag, l_linestatus, count(*), sum(l_quantity), sum(l_extendedprice), "
            f"avg(l_quantity), avg(l_extendedprice), avg(l_discount) from '{f['l']}' group by all",
            rows=7_000_000 * scale,
            entities=150_000 * scale,
            group_types=("str", "str"),
            files=tuple(f.items()),
        )
    month = "((year(o_orderdate) - 1992) * 12 + month(o_orderdate) - 1)"
    if name == "W2":
        return Workload(
            "W2",
            "count distinct customers by order month; 80 public groups",
            f"select o_custkey, {month}::int as m from '{f['o']}'",
            "o_custkey",
            ("m",),
            (Agg("u", "entities"),),
            l0=24,
            linf=1,
            keys=tuple((k,) for k in range(80)),
            scale=sf,
            truth=f"select {month}::int, count(distinct o_custkey) from '{f['o']}' group by all",
            rows=2_000_000 * scale,
            entities=150_000 * scale,
            group_types=("int",),
            files=tuple(f.items()),
        )
    if name == "W3":
        return Workload(
            "W3",
            "sum of order prices by clerk; private groups (1000 per SF); entity = customer",
            f"select o_custkey, o_clerk, o_totalprice::double as o_totalprice from '{f['o']}'",
            "o_custkey",
            ("o_clerk",),
            (Agg("s", "sum", "o_totalprice", 0, 400000),),
            l0=20,
            linf=1,
            scale=sf,
            truth=f"select o_clerk, sum(o_totalprice) from '{f['o']}' group by all",
            rows=2_000_000 * scale,
            entities=150_000 * scale,
            group_types=("str",),
            files=tuple(f.items()),
        )
    fl, ra = files["flights"], files["ratings"]
    if name == "W3F":
        return Workload(
            "W3F",
            "flights and miles by destination; private groups (104); entity = plane",
            f"select tailnum, dest, distance from '{fl}'",
            "tailnum",
            ("dest",),
            (Agg("n", "count"), Agg("miles", "sum", "distance", 0, 3000)),
            l0=20,
            linf=20,
            truth=f"select dest, count(*), sum(distance) from '{fl}' group by all",
            rows=400_000,
            entities=5000,
            group_types=("str",),
            files=(("f", fl),),
        )
    if name == "W3R":
        return Workload(
            "W3R",
            "users per film, long tail; private groups (9066); entity = user (671)",
            f"select uid, movie from '{ra}'",
            "uid",
            ("movie",),
            (Agg("u", "entities"),),
            l0=50,
            linf=1,
            truth=f"select movie, count(distinct uid) from '{ra}' group by all",
            rows=200_000,
            entities=1000,
            group_types=("str",),
            files=(("r", ra),),
        )
    if name == "W3Z":
        pa = files["pages"]
        return Workload(
            "W3Z",
            "users per page, generated Zipf tail; private groups; entity = user (200k)",
            f"select uid, page from '{pa}'",
            "uid",
            ("page",),
            (Agg("u", "entities"),),
            l0=10,
            linf=1,
            truth=f"select page, count(distinct uid) from '{pa}' group by all",
            rows=4_000_000,
            entities=300_000,
            group_types=("str",),
            files=(("p", pa),),
        )
    if name == "W4":
        carriers = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
        return Workload(
            "W4",
            "mean delay by carrier, flights; 16 public groups; entity = plane",
            f"select tailnum, carrier, dep_delay from '{fl}'",
            "tailnum",
            ("carrier",),
            (Agg("avg_delay", "avg", "dep_delay", -30, 180),),
            l0=3,
            linf=20,
            keys=tuple((c,) for c in carriers),
            truth=f"select carrier, avg(dep_delay) from '{fl}' group by all",
            rows=400_000,
            entities=5000,
            group_types=("str",),
            files=(("f", fl),),
        )
    raise KeyError(name)


NAMES = ("W1", "W2", "W3", "W3F", "W3Z", "W4")  # W3R (671 real users, 9066 films) is there too: too hard at eps = 1
