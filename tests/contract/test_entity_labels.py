"""Labels of joined entities: made once for each version, stored, read by runs; in memory and on a versioned bucket."""

import pyarrow as pa
import pytest

from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits
from cleanroom.adapters.entity_labels import EntityLabels
from cleanroom.adapters.memory import parquet_bytes
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.errors import RunFailedError
from cleanroom.rooms.tables import Column, ColumnType, EntityColumn, LinkedTable
from tests.contract.tables import place_of, plan_of, table_of

LIMITS = EngineLimits(memory_bytes=128 << 20, seconds=20, spill_bytes=0)
CUSTOMERS = pa.table(
    {
        "email": ["ann@a", "bob@b", None, "cat@c", "dan@d", None],
        "phone": ["1", "2", "2", "1", None, None],
        "spent": pa.array([1, 2, 4, 8, 16, 32], pa.int64()),
    }
)
"""Ann and Cat share a number; a row without an address has Bob's; Dan has none; the last row is nobody's."""

LINKED = LinkedTable(
    owner="shop",
    name="customers",
    columns=(
        Column(name="email", type=ColumnType.TEXT, native_type="VARCHAR"),
        Column(name="phone", type=ColumnType.TEXT, native_type="VARCHAR"),
        Column(name="spent", type=ColumnType.INTEGER, native_type="BIGINT"),
    ),
    entity_columns=(EntityColumn(column="email", kind="email"), EntityColumn(column="phone", kind="phone")),
)
BY_ENTITY = (
    "SELECT t.entity_label AS e, CAST(sum(t.spent) AS BIGINT) AS n FROM t0 AS t "
    "GROUP BY t.entity_label ORDER BY t.entity_label NULLS LAST"
)


@pytest.fixture(params=["memory", "bucket"])
def places(request):
    """Two places: of the tables, and of what is made from them."""
    return place_of(request.param, request), place_of(request.param, request)


def put(place, table=CUSTOMERS, part="0"):
    place.put(f"shop/customers/{part}.parquet", parquet_bytes(table))


def by_entity(engine, version):
    plan = plan_of(BY_ENTITY, keys=("e",), columns=("spent", "entity_label"), table=LINKED)
    answer = table_of(engine.execute(plan, versions={"t0": version}, run_key=1)["m0"])
    return dict(zip(answer.column("e").to_pylist(), answer.column("n").to_pylist(), strict=True))


def test_a_run_sees_each_row_under_its_joined_entity(places):
    """B-04: the hidden column is the same for all rows of one entity, and NULL where a row has none."""
    tables, stored = places
    put(tables)
    labels = EntityLabels(tables.objects, stored.objects, limits=LIMITS)
    version = ParquetTableStore(tables.objects).resolve(LINKED)
    engine = DuckDbEngine(tables.objects, limits=LIMITS, labels=labels)
    assert by_entity(engine, version) == {"0:ann@a": 9, "0:bob@b": 6, "0:dan@d": 16, None: 32}


def test_labels_are_made_once_for_a_version_and_anew_for_the_next(places):
    """B-04: stored with the version, whoever makes them; an old version keeps its own."""
    tables, stored = places
    put(tables)
    labels = EntityLabels(tables.objects, stored.objects, limits=LIMITS)
    store = ParquetTableStore(tables.objects, labels=labels)
    first = store.resolve(LINKED)
    assert store.join_entities(LINKED, first)
    (kept,) = stored.objects.present("shop/customers/")
    assert labels.of(LINKED, first) == kept, "a second call reads what the first has stored"
    joining = pa.table({"email": ["bob@b"], "phone": ["1"], "spent": pa.array([64], pa.int64())})
    put(tables, joining, part="1")
    engine = DuckDbEngine(tables.objects, limits=LIMITS, labels=labels)
    second = store.resolve(LINKED)
    assert by_entity(engine, second) == {"0:ann@a": 79, "0:dan@d": 16, None: 32}
    assert len(stored.objects.present("shop/customers/")) == 2
    assert by_entity(engine, first) == {"0:ann@a": 9, "0:bob@b": 6, "0:dan@d": 16, None: 32}


def test_other_entity_columns_have_other_labels(places):
    """A pin or another kind joins other rows: what was stored before does not speak for it."""
    from dataclasses import replace

    tables, stored = places
    put(tables)
    labels = EntityLabels(tables.objects, stored.objects, limits=LIMITS)
    version = ParquetTableStore(tables.objects).resolve(LINKED)
    turned = replace(LINKED, entity_columns=LINKED.entity_columns[::-1])
    assert labels.of(LINKED, version).key != labels.of(turned, version).key
    one_kind = replace(LINKED, entity_columns=tuple(replace(e, kind="id") for e in LINKED.entity_columns))
    assert len({labels.of(t, version).key for t in (LINKED, turned, one_kind)}) == 3


def test_what_cannot_be_joined_within_the_limits_fails_without_a_word_of_the_data(places):
    """B-51, attack class errors: the fixed sentence; nothing half is stored; linking goes on without labels."""
    tables, stored = places
    broken = parquet_bytes(CUSTOMERS)
    tables.put("shop/customers/0.parquet", broken[:4] + b"\xff" * 120 + broken[124:])
    labels = EntityLabels(tables.objects, stored.objects, limits=LIMITS)
    store = ParquetTableStore(tables.objects, labels=labels)
    version = store.resolve(LINKED)
    with pytest.raises(EngineError):
        labels.of(LINKED, version)
    assert not store.join_entities(LINKED, version)
    for engine in (DuckDbEngine(tables.objects, labels=labels), DuckDbEngine(tables.objects)):
        with pytest.raises(RunFailedError) as failure:
            by_entity(engine, version)
        assert "entity" not in str(failure.value)
    assert not stored.objects.present("")
