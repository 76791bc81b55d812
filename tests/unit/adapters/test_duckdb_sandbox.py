"""What a hostile exact query tries, and a sandbox that gives it nothing: files, other runs, settings, dynamic SQL."""

import pathlib
import threading

import duckdb
import pyarrow as pa
import pytest

from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.duckdb_instances import SpareInstance
from cleanroom.adapters.duckdb_sandbox import AcceptedTexts, EngineError, EngineLimits, accepted, open_sandbox
from cleanroom.adapters.memory import MemoryObjects
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.adapters.pinned_files import PinnedFiles
from cleanroom.errors import RunFailedError
from tests.contract.tables import FLIGHTS, FLIGHTS_LINKED, plan_of, table_of

LIMITS = EngineLimits(memory_bytes=128 << 20, seconds=20)


@pytest.fixture
def objects():
    place = MemoryObjects()
    place.put_table(owner="airline", name="flights", table=FLIGHTS)
    place.put_table(owner="rival", name="secrets", table=pa.table({"tailnum": ["secret"]}))
    return place


@pytest.fixture
def pinned(objects):
    """The objects of one run, as the engine has them."""
    files = PinnedFiles(objects)
    files.add("t0", ParquetTableStore(objects).resolve(FLIGHTS_LINKED).objects)
    return files


def execute(objects, sql, **keywords):
    version = ParquetTableStore(objects).resolve(FLIGHTS_LINKED)
    plan = plan_of(sql, **keywords)
    return DuckDbEngine(objects, limits=LIMITS).execute(plan, versions={"t0": version}, run_key=1)["m0"]


ATTACKS = [
    "SELECT count(*)::BIGINT AS n FROM read_csv('/etc/passwd')",
    "SELECT count(*)::BIGINT AS n FROM read_text('/etc/passwd')",
    "SELECT count(*)::BIGINT AS n FROM '/etc/passwd'",
    'SELECT count(*)::BIGINT AS n FROM "/etc/passwd"',
    'WITH "/etc/passwd" AS (SELECT 1) SELECT count(*)::BIGINT AS n FROM "/etc/passwd"',
    "SELECT count(*)::BIGINT AS n FROM glob('/tmp/*')",
    "SELECT count(*)::BIGINT AS n FROM glob(current_setting('temp_directory') || '/*')",
    "SELECT count(*)::BIGINT AS n FROM read_blob(current_setting('temp_directory') || '/*')",
    "SELECT count(*)::BIGINT AS n FROM read_parquet('pinned://rival/secrets/0.parquet')",
    "SELECT count(*)::BIGINT AS n FROM read_parquet(current_setting('allowed_directories')[1] || 't0/0.parquet')",
    "SELECT count(*)::BIGINT AS n FROM read_parquet('s3://tables/rival/secrets/0.parquet')",
    "SELECT count(*)::BIGINT AS n FROM read_parquet('https://127.0.0.1/0.parquet')",
    "SELECT count(*)::BIGINT AS n FROM parquet_metadata('pinned://x')",
    "SELECT count(*)::BIGINT AS n FROM query('SELECT 1')",
    "SELECT count(*)::BIGINT AS n FROM query_table('t0')",
    "SELECT count(*)::BIGINT AS n FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT count(*)::BIGINT AS n FROM duckdb_settings()",
    "SELECT count(*)::BIGINT AS n FROM duckdb_views()",
    "SELECT count(*)::BIGINT AS n FROM information_schema.tables",
    "SELECT count(*)::BIGINT AS n FROM pg_catalog.pg_class",
    "SELECT count(*)::BIGINT AS n FROM sqlite_master",
    "SELECT count(*)::BIGINT AS n FROM memory.main.t0",
    "SELECT count(*)::BIGINT AS n FROM pragma_table_info('t0')",
    "SELECT (SELECT count(*) FROM read_text('/etc/passwd'))::BIGINT AS n",
    "SELECT count(*)::BIGINT AS n FROM t0 WHERE EXISTS (FROM read_text('/etc/passwd'))",
    "SELECT count(*)::BIGINT AS n FROM t0 ORDER BY (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT list_transform([1], x -> (SELECT size FROM read_text('/etc/passwd')))[1]::BIGINT AS n",
    "SELECT count(*)::BIGINT AS n FROM t0 JOIN read_text('/etc/passwd') ON true",
    "COPY t0 TO '/tmp/stolen.csv'",
    "COPY (SELECT 1) TO 'pinned://stolen.parquet'",
    "EXPORT DATABASE '/tmp/stolen'",
    "ATTACH '/tmp/other.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE t9 AS SELECT 1",
    "DROP VIEW t0",
    "CREATE MACRO t0() AS TABLE SELECT 1",
    "DESCRIBE t0",
    "SUMMARIZE t0",
    "SHOW TABLES",
    "EXPLAIN ANALYZE SELECT 1",
    "PIVOT t0 ON carrier USING count(*)",
    "SELECT 1::BIGINT AS n; SELECT 1::BIGINT AS n",
    "SELECT 1::BIGINT AS n; COPY t0 TO '/tmp/stolen.csv'",
    "",
    "not SQL",
]


@pytest.mark.parametrize("sql", ATTACKS)
def test_an_exact_query_that_reaches_outside_fails_as_any_other(objects, sql):
    """B-37, second line: whatever got past the checker, the engine reads the run's relations and nothing else."""
    before = set(pathlib.Path("/tmp").glob("stolen*"))  # noqa: S108 - where the attack would write
    with pytest.raises(RunFailedError, match=r"^the run could not be computed"):
        execute(objects, sql)
    assert set(pathlib.Path("/tmp").glob("stolen*")) == before  # noqa: S108


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('{prefix}../{token}/t1/0.parquet')",
        "SELECT * FROM read_parquet('{prefix}rival/secrets/0.parquet')",
        "SELECT * FROM read_parquet('{prefix}*/*.parquet')",
        "COPY (SELECT 1 AS a) TO '{prefix}t0/1.parquet'",
        "COPY (SELECT 1 AS a) TO '/tmp/cleanroom-stolen.csv'",
        "ATTACH '/tmp/cleanroom-other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET lock_configuration = false",
        "SET memory_limit = '1TB'",
        "RESET allowed_directories",
        "PRAGMA temp_directory = '/tmp'",
        "SELECT * FROM secret_of_the_caller",
    ],
)
def test_without_the_guard_the_engine_itself_still_refuses(pinned, sql):
    """Each wall stands alone: the same attacks, given to the engine as if they were this package's own text."""
    secret_of_the_caller = pa.table({"a": [1]})
    assert secret_of_the_caller.num_rows == 1
    token = pinned.prefix.removeprefix("pinned://").rstrip("/")
    with open_sandbox(LIMITS, files=pinned) as sandbox, pytest.raises(EngineError):
        sandbox.trusted(sql.format(prefix=pinned.prefix, token=token))


def test_the_engine_reads_the_runs_own_objects(pinned):
    """The counterpart: what the walls let through, so that the tests above do not pass for another reason."""
    with open_sandbox(LIMITS, files=pinned) as sandbox:
        assert sandbox.trusted(f"SELECT count(*) FROM read_parquet('{pinned.prefix}t0/0.parquet')") == [(8,)]


def test_a_sandbox_without_files_allows_no_directory_at_all():
    with open_sandbox(EngineLimits(spill_bytes=0)) as sandbox:
        settings = "SELECT current_setting('allowed_directories'), current_setting('temp_directory')"
        assert sandbox.trusted(settings) == [([], "")]


def test_two_runs_cannot_name_each_others_objects(objects):
    assert PinnedFiles(objects).prefix != PinnedFiles(objects).prefix
    assert len(PinnedFiles(objects).prefix) == len("pinned:///") + 32


@pytest.mark.parametrize(
    "sql",
    [
        "WITH c AS (SELECT carrier, count(*) AS k FROM t0 GROUP BY ALL) SELECT sum(k)::BIGINT AS n FROM c",
        "SELECT count(*)::BIGINT AS n FROM T0 AS x JOIN t0 AS y USING (tailnum)",
        "SELECT sum(v)::BIGINT AS n FROM (VALUES (1), (2)) AS k(v) LEFT JOIN t0 ON t0.delay = v",
        "SELECT sum(v)::BIGINT AS n FROM unnest([1, 2, 3]) AS k(v)",
        "SELECT sum(v)::BIGINT AS n FROM range(3) AS k(v), LATERAL (SELECT v + 1) AS l(w)",
        "SELECT count(*)::BIGINT AS n FROM (SELECT 1 UNION ALL SELECT delay FROM t0)",
        "SELECT count(*)::BIGINT AS n FROM t0 WHERE delay IN (SELECT max(delay) FROM t0)",
        "SELECT max(CAST(delay AS DECIMAL(10, 2)))::BIGINT AS n FROM t0 WHERE delay BETWEEN 1 AND $run_key + 8",
        "SELECT max(row_number)::BIGINT AS n FROM (SELECT row_number() OVER (ORDER BY delay) AS row_number FROM t0)",
    ],
)
def test_what_the_compiler_writes_is_accepted(objects, sql):
    assert table_of(execute(objects, sql)).num_rows == 1


def tree(sql):
    import json

    with duckdb.connect() as connection:
        return json.loads(connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()[0])


def test_a_source_of_a_kind_that_is_not_known_is_not_accepted():
    """A later engine may have new kinds of sources; they must be refused until someone has looked at them."""
    known = tree("SELECT 1 FROM t0")
    assert accepted(known, relations=["t0"])
    known["statements"][0]["node"]["from_table"]["type"] = "NEW_KIND"
    assert not accepted(known, relations=["t0"])
    joined = tree("SELECT 1 FROM t0 JOIN t0 AS x ON true")
    assert accepted(joined, relations=["t0"])
    joined["statements"][0]["node"]["from_table"]["right"]["type"] = "NEW_KIND"
    assert not accepted(joined, relations=["t0"])


def test_a_text_that_was_accepted_over_some_relations_is_not_accepted_over_others():
    sql = "SELECT count(*)::BIGINT AS n FROM t0"
    for _ in range(2):
        with open_sandbox(EngineLimits(spill_bytes=0)) as sandbox:
            sandbox.register("t0", pa.table({"a": [1]}))
            assert sandbox.query(sql, relations=["t0"]).to_pydict() == {"n": [1]}
            for others in ([], ["t1"], ["t0 "]):
                with pytest.raises(EngineError, match="not_accepted"):
                    sandbox.query(sql, relations=others)


def test_accepted_texts_are_kept_apart_and_only_so_many():
    texts = AcceptedTexts(most=2)
    texts.remember("a", relations=["b", "c"])
    assert texts.remembers("a", relations=["c", "b"])
    for sql, relations in [("a", ["b"]), ("a", ["bc"]), ("a", ['b", "c']), ("ab", ["c"]), ("a ", ["b", "c"])]:
        assert not texts.remembers(sql, relations=relations)
    texts.remember("d", relations=[])
    texts.remember("e", relations=[])
    assert not texts.remembers("a", relations=["b", "c"])
    assert texts.remembers("d", relations=[])


def test_a_spare_instance_is_taken_once_and_locked_like_any_other(pinned):
    spare = SpareInstance(LIMITS)
    spare.prepare()
    spare.prepare()
    taken = spare.take()
    assert taken.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
    assert spare.take() is not taken
    spare.prepare()
    with open_sandbox(LIMITS, files=pinned, spare=spare) as sandbox, open_sandbox(LIMITS, files=pinned) as other:
        directories = [s.trusted("SELECT current_setting('temp_directory')")[0][0] for s in (sandbox, other)]
        assert directories[0] != directories[1]
        assert all(pathlib.Path(directory).is_dir() for directory in directories)
        settings = "SELECT name, replace(value, $own, 'its own') FROM duckdb_settings()"
        assert sandbox.trusted(settings, {"own": directories[0]}) == other.trusted(settings, {"own": directories[1]})
    assert not any(pathlib.Path(directory).exists() for directory in directories)


def test_a_spare_instance_of_other_limits_is_not_used():
    with pytest.raises(ValueError, match="other limits"), open_sandbox(LIMITS, spare=SpareInstance(EngineLimits())):
        pass


def test_an_engine_that_opens_ahead_gives_the_same_answers_run_after_run(objects):
    version = ParquetTableStore(objects).resolve(FLIGHTS_LINKED)
    engine = DuckDbEngine(objects, limits=LIMITS, ahead=True)
    plan = plan_of("SELECT count(*)::BIGINT AS n FROM t0")
    for _ in range(3):
        assert table_of(engine.execute(plan, versions={"t0": version}, run_key=1)["m0"]).to_pydict() == {"n": [8]}
    with pytest.raises(RunFailedError):
        engine.execute(plan_of("SELECT error('x') AS n FROM t0"), versions={"t0": version}, run_key=1)
    assert table_of(engine.execute(plan, versions={"t0": version}, run_key=1)["m0"]).to_pydict() == {"n": [8]}


def test_one_time_limit_holds_for_all_that_is_asked():
    with open_sandbox(EngineLimits(seconds=0.2, spill_bytes=0)) as sandbox:
        threading.Event().wait(0.3)
        with pytest.raises(EngineError, match="out_of_time"):
            sandbox.query("SELECT 1", relations=[])


@pytest.mark.parametrize(
    "limits",
    [
        {"seconds": float("nan")},
        {"seconds": 0},
        {"seconds": float("inf")},
        {"memory_bytes": 1},
        {"threads": 0},
        {"spill_bytes": -1},
    ],
)
def test_limits_are_limits(limits):
    with pytest.raises(ValueError):
        EngineLimits(**limits)


def test_an_engine_error_carries_no_message_of_the_engine(pinned):
    with open_sandbox(LIMITS, files=pinned) as sandbox, pytest.raises(EngineError) as failure:
        sandbox.query("SELECT error('a cell')", relations=[])
    assert str(failure.value) == "InvalidInputException"
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None
