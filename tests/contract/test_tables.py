"""Tables: the same assertions on a place in memory and on a versioned bucket of the emulated service."""

import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pytest

from cleanroom.adapters.memory import parquet_bytes
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.errors import TableUnreadableError
from cleanroom.rooms.tables import Column, ColumnType
from tests.contract.tables import FLIGHTS, FLIGHTS_LINKED, copied, place_of, put_flights


@pytest.fixture(params=["memory", "bucket"])
def place(request):
    return place_of(request.param, request)


@pytest.fixture
def store(place):
    return ParquetTableStore(place.objects)


def test_a_table_is_described_by_its_footer(place, store):
    """B-03: names, types and what may be NULL, as the file says."""
    put_flights(place)
    assert store.describe(owner="airline", name="flights").columns == FLIGHTS_LINKED.columns


def test_samples_are_text_of_text_and_integer_columns(place, store):
    """B-03: what detection looks at; NULL stays NULL."""
    put_flights(place)
    samples = store.describe(owner="airline", name="flights").samples
    assert sorted(samples["tailnum"], key=str) == sorted(FLIGHTS.column("tailnum").to_pylist(), key=str)
    assert sorted(samples["delay"], key=str) == sorted(["1", "2", "3", "4", "5", "6", "7", None], key=str)


def test_a_large_table_gives_a_thousand_samples_from_its_whole_length(place, store):
    table = pa.table({"id": pa.array(range(100_000), pa.int64())})
    for part in range(3):
        place.put(f"airline/flights/{part}.parquet", parquet_bytes(table))
    ids = store.describe(owner="airline", name="flights").samples["id"]
    assert len(ids) == 1000
    assert "0" in ids
    assert "99999" in ids
    assert len(set(ids)) > 900, "places of three equal objects differ"


def test_every_type_is_one_that_templates_know_or_none(place, store, tmp_path):
    place.put(
        "airline/flights/0.parquet",
        copied(
            "SELECT 1::TINYINT a, 1::UINTEGER b, 1::UBIGINT c, 1.5::DECIMAL(9,2) d, 1::FLOAT e, true f,"
            " DATE '2020-01-01' g,"
            " TIMESTAMP '2020-01-01' h, TIMESTAMPTZ '2020-01-01' i, 'x' j, 'x'::BLOB k,"
            " [1] l, {'p': 1, 'q': [2]} m, 1 n,"
            " uuid() o, TIME '10:00' p",
            tmp_path,
        ),
    )
    types = {c.name: c.type.value for c in store.describe(owner="airline", name="flights").columns}
    assert types == {
        "a": "integer", "b": "integer", "c": "other", "d": "decimal", "e": "double", "f": "boolean", "g": "date",
        "h": "timestamp", "i": "timestamp", "j": "text", "k": "other", "l": "array", "m": "other", "n": "integer",
        "o": "other", "p": "other",
    }  # fmt: skip


def test_the_digest_is_of_keys_versions_and_sizes(place, store):
    """B-50: the same objects have the same digest, and any new version another."""
    put_flights(place, part="1")
    put_flights(place, part="0")
    version = store.resolve(FLIGHTS_LINKED)
    lines = [json.dumps([o.key, o.version_id, o.size_bytes], separators=(",", ":")) for o in version.objects]
    assert lines == sorted(lines)
    assert version.digest == hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()
    assert store.resolve(FLIGHTS_LINKED) == version == ParquetTableStore(place.objects).resolve(FLIGHTS_LINKED)
    put_flights(place, part="0")
    assert store.resolve(FLIGHTS_LINKED).digest != version.digest


def test_only_present_parquet_objects_of_that_table_count(place, store):
    put_flights(place)
    place.put("airline/flights/readme.txt", b"no table")
    place.put("airline/flights_old/0.parquet", b"another table")
    put_flights(place, part="deleted")
    place.delete("airline/flights/deleted.parquet")
    assert [o.key for o in store.resolve(FLIGHTS_LINKED).objects] == ["airline/flights/0.parquet"]


@pytest.mark.parametrize("call", ["describe", "resolve"])
@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"not Parquet at all" * 50, b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_a_table_that_is_missing_empty_or_corrupt_is_refused(place, store, call, content):
    """A sentence that names the table and no path, key or engine."""
    if content is not None:
        put_flights(place)
        place.put("airline/flights/1.parquet", content)
    with pytest.raises(TableUnreadableError) as refusal:
        store.describe(owner="airline", name="flights") if call == "describe" else store.resolve(FLIGHTS_LINKED)
    assert "airline.flights" in str(refusal.value)
    assert not any(word in str(refusal.value) for word in ("pinned", "s3:", ".parquet", "Error", "PAR1"))


def test_a_truncated_object_is_refused(place, store):
    place.put("airline/flights/0.parquet", parquet_bytes(FLIGHTS)[:-20])
    with pytest.raises(TableUnreadableError, match="object 1 of 1"):
        store.resolve(FLIGHTS_LINKED)


@pytest.mark.parametrize(
    "table",
    [
        FLIGHTS.drop_columns(["delay"]),
        FLIGHTS.append_column("more", pa.array([1] * 8)),
        FLIGHTS.set_column(2, "delay", pa.array([1] * 8, pa.int64())),
        FLIGHTS.rename_columns(["tail", "carrier", "delay"]),
        FLIGHTS.cast(pa.schema([("tailnum", pa.string()), ("carrier", pa.string()), ("delay", pa.int32())])),
    ],
    ids=["column gone", "column more", "other type", "other name", "NULL became possible"],
)
def test_an_object_of_another_schema_than_linked_is_refused(place, store, table):
    put_flights(place)
    put_flights(place, table, part="1")
    with pytest.raises(TableUnreadableError, match="link it again"):
        store.resolve(FLIGHTS_LINKED)


def test_order_and_case_of_columns_do_not_matter(place, store):
    put_flights(place, FLIGHTS.select(["delay", "carrier", "tailnum"]).rename_columns(["DELAY", "Carrier", "tailnum"]))
    assert len(store.resolve(FLIGHTS_LINKED).objects) == 1


def test_objects_that_differ_cannot_be_linked(place, store):
    put_flights(place)
    put_flights(place, FLIGHTS.drop_columns(["delay"]), part="1")
    with pytest.raises(TableUnreadableError, match="do not all have the same columns"):
        store.describe(owner="airline", name="flights")


def test_a_column_is_nullable_if_it_is_in_any_object(place, store):
    nullable = FLIGHTS.cast(
        pa.schema([pa.field(n, t) for n, t in zip(FLIGHTS.column_names, FLIGHTS.schema.types, strict=True)])
    )
    put_flights(place)
    put_flights(place, nullable, part="1")
    assert store.describe(owner="airline", name="flights").columns[1].nullable


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (pa.table({"a": [1], "A": [2]}), "upper and lower case"),
        (pa.table({"a": [[[1]]], "b": [{"c": 1}]}), "no column"),
        (FLIGHTS.slice(0, 0), "no rows"),
    ],
)
def test_a_table_that_no_template_could_use_cannot_be_linked(place, store, table, why):
    put_flights(place, table)
    with pytest.raises(TableUnreadableError, match=why):
        store.describe(owner="airline", name="flights")


def test_a_refusal_does_not_depend_on_rows(place, store):
    """Resolving reads schemas only: a table whose rows were all removed is resolved as before."""
    put_flights(place, FLIGHTS.slice(0, 0))
    assert len(store.resolve(FLIGHTS_LINKED).objects) == 1


def test_linked_columns_may_have_types_that_templates_cannot_use(place, store, tmp_path):
    rows = "SELECT 1 AS a, [[1]] AS b, {'c': 1, 'd': 2} AS e, 'x' AS f, [{'c': 1}] AS g, MAP {'k': 1} AS h"
    place.put("airline/flights/0.parquet", copied(rows, tmp_path))
    columns = store.describe(owner="airline", name="flights").columns
    assert [(c.name, c.type) for c in columns] == [
        ("a", ColumnType.INTEGER), ("b", ColumnType.OTHER), ("e", ColumnType.OTHER), ("f", ColumnType.TEXT),
        ("g", ColumnType.OTHER), ("h", ColumnType.OTHER),
    ]  # fmt: skip
    assert store.resolve(replace(FLIGHTS_LINKED, columns=columns))
    changed = (*columns[:3], Column(name="f", type=ColumnType.TEXT, native_type="BLOB"), *columns[4:])
    with pytest.raises(TableUnreadableError):
        store.resolve(replace(FLIGHTS_LINKED, columns=changed))


def test_arrays_of_simple_values_are_linked_as_such_and_their_elements_are_pinned(place, store, tmp_path):
    rows = "SELECT ['x'] AS a, [1::INTEGER] AS b, [1.5::DECIMAL(10,2), NULL] AS c, [TIMESTAMP '2024-01-01'] AS d"
    place.put("airline/flights/0.parquet", copied(rows, tmp_path))
    columns = store.describe(owner="airline", name="flights").columns
    assert {c.type for c in columns} == {ColumnType.ARRAY}
    assert [c.native_type for c in columns] == ["VARCHAR[]", "INTEGER[]", "DECIMAL(10,2)[]", "TIMESTAMP[]"]
    linked = replace(FLIGHTS_LINKED, columns=columns)
    assert store.resolve(linked)
    place.put("airline/flights/0.parquet", copied(rows.replace("1::INTEGER", "1::BIGINT"), tmp_path))
    with pytest.raises(TableUnreadableError):
        store.resolve(linked)
