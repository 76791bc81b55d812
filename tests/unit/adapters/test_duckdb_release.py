"""The release engine answers over noisy tables and opens nothing."""

import pyarrow as pa
import pytest

from cleanroom.adapters.duckdb_instances import lock_instance, open_instance
from cleanroom.adapters.duckdb_release import DuckDbReleaseEngine
from cleanroom.adapters.duckdb_sandbox import EngineLimits, Sandbox
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
    engine = DuckDbReleaseEngine(limits=EngineLimits(seconds=0.5, spill_bytes=0))
    with pytest.raises(RunFailedError, match=r"^the release could not be computed from its noisy tables$") as failure:
        engine.query(sql, NOISY)
    assert failure.value.__context__ is None


def test_one_instance_answers_one_query_after_another_and_still_does_after_a_failure():
    engine = DuckDbReleaseEngine()
    for number in (1, 2):
        assert engine.query("SELECT n FROM m0", {"m0": pa.table({"n": [number]})}).to_pydict() == {"n": [number]}
    with pytest.raises(RunFailedError):
        engine.query("SELECT error('x') FROM m0", NOISY)
    assert engine.query("SELECT n FROM m0", {"m0": pa.table({"n": [3]})}).to_pydict() == {"n": [3]}


def test_the_tables_of_one_release_cannot_be_read_by_another_over_the_same_instance():
    """Two connections to one locked instance, the first still open: each wall stands without the check of the text."""
    limits = EngineLimits(spill_bytes=0)
    instance = open_instance(limits)
    lock_instance(instance)
    first, second = Sandbox(instance.cursor(), limits), Sandbox(instance.cursor(), limits)
    first.register("m0", NOISY["m0"])
    assert first.trusted("SELECT count(*) FROM m0") == [(2,)]
    for reader in (second._connection, instance):
        with pytest.raises(Exception, match="Table with name m0 does not exist"):
            reader.execute("SELECT count(*) FROM m0")
    first.close()
    left = "SELECT (SELECT count(*) FROM duckdb_views() WHERE NOT internal) + (SELECT count(*) FROM duckdb_tables())"
    assert second.trusted(left) == [(0,)]
    second.close()
    instance.close()


def test_every_connection_of_an_instance_has_the_locked_settings():
    """SET without GLOBAL held for one connection alone: the next one had the machine's time zone."""
    instance = open_instance(EngineLimits(spill_bytes=0))
    lock_instance(instance)
    # The client turns the progress bar on and off by itself, for each connection.
    settings = "SELECT name, value FROM duckdb_settings() WHERE name <> 'enable_progress_bar'"
    assert instance.cursor().execute(settings).fetchall() == instance.execute(settings).fetchall()
    with pytest.raises(Exception, match="configuration has been locked"):
        instance.cursor().execute("SET threads = 1")
    instance.close()


def test_a_release_engine_has_no_directory_to_spill_to():
    with pytest.raises(ValueError, match="do not spill"):
        DuckDbReleaseEngine(limits=EngineLimits())
