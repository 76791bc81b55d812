"""The release engine answers over noisy tables and opens nothing."""

import pyarrow as pa
import pytest

from cleanroom.adapters.duckdb_release import DuckDbReleaseEngine
from cleanroom.errors import RunFailedError

NOISY = {"m0": pa.table({"carrier": ["AA", "UA"], "n": [3.5, -1.0]}), "m1": pa.table({"total": [10]})}


def test_a_release_query_reads_its_noisy_tables():
    sql = "SELECT carrier, n / total AS share FROM m0, m1 ORDER BY share DESC LIMIT 1"
    assert DuckDbReleaseEngine().query(sql, NOISY).to_pydict() == {"carrier": ["AA"], "share": [0.35]}


def test_order_is_kept():
    noisy = {"m0": pa.table({"i": list(range(5000))})}
    answer = DuckDbReleaseEngine().query("SELECT i FROM m0 ORDER BY i DESC", noisy)
    assert answer.column("i").to_pylist() == list(range(4999, -1, -1))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM m2",
        "SELECT * FROM NOISY",
        "SELECT * FROM duckdb_settings()",
        "COPY m0 TO '/tmp/cleanroom-stolen.csv'",
        "SELECT 1; SELECT 2",
        "SELECT error(carrier) FROM m0",
        "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range = 7",
    ],
)
def test_all_else_fails_with_one_sentence(sql):
    from cleanroom.adapters.duckdb_sandbox import EngineLimits

    engine = DuckDbReleaseEngine(limits=EngineLimits(seconds=0.5, spill_bytes=0))
    with pytest.raises(RunFailedError, match=r"^the release could not be computed from its noisy tables$") as failure:
        engine.query(sql, NOISY)
    assert failure.value.__context__ is None
