"""What the contract tests of tables and engine share: both kinds of versioned place, Parquet objects and plans."""

import uuid
from fractions import Fraction
from typing import Any

import duckdb
import pyarrow as pa

from cleanroom.adapters.memory import MemoryObjects, parquet_bytes
from cleanroom.adapters.pinned_s3 import S3Objects
from cleanroom.privacy.accounting import Price
from cleanroom.privacy.noise import DiscreteLaplace
from cleanroom.rooms.tables import Column, ColumnType, LinkedTable
from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan, ReleaseColumn, ReleaseQuery, TableUse


class MemoryPlace:
    """The twin in memory, with the writes that a party makes."""

    def __init__(self) -> None:
        self.objects = MemoryObjects()

    def put(self, key: str, content: bytes) -> None:
        self.objects.put(key, content)

    def delete(self, key: str) -> None:
        self.objects.delete(key)


class BucketPlace:
    """A versioned bucket of the emulated service."""

    def __init__(self, emulated_aws: Any) -> None:
        self._s3 = emulated_aws.client("s3")
        self._bucket = f"tables-{uuid.uuid4().hex[:12]}"
        self._s3.create_bucket(Bucket=self._bucket)
        self._s3.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": "Enabled"})
        self.objects = S3Objects(self._s3, bucket=self._bucket)

    def put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self._bucket, Key=key)


def place_of(kind: str, request: Any) -> MemoryPlace | BucketPlace:
    """Return an empty place of that kind."""
    return MemoryPlace() if kind == "memory" else BucketPlace(request.getfixturevalue("emulated_aws"))


FLIGHTS = pa.table(
    {
        "tailnum": pa.array(["N1", "N1", "N2", "N3", None, "N3", "N2", "N1"]),
        "carrier": pa.array(["AA", "AA", "AA", "UA", "UA", "UA", "UA", "UA"]),
        "delay": pa.array([1, 2, 3, 4, 5, 6, 7, None], pa.int32()),
    },
    schema=pa.schema(
        [("tailnum", pa.string()), pa.field("carrier", pa.string(), nullable=False), ("delay", pa.int32())]
    ),
)

FLIGHTS_LINKED = LinkedTable(
    owner="airline",
    name="flights",
    columns=(
        Column(name="tailnum", type=ColumnType.TEXT, native_type="VARCHAR"),
        Column(name="carrier", type=ColumnType.TEXT, native_type="VARCHAR", nullable=False),
        Column(name="delay", type=ColumnType.INTEGER, native_type="INTEGER"),
    ),
)


def put_flights(place: MemoryPlace | BucketPlace, table: pa.Table = FLIGHTS, part: str = "0") -> None:
    """Upload a table as one object of airline.flights."""
    place.put(f"airline/flights/{part}.parquet", parquet_bytes(table))


def copied(sql: str, folder: Any) -> bytes:
    """Return a Parquet object that another writer, DuckDB, makes of a query."""
    path = folder / f"{uuid.uuid4().hex}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def plan_of(
    sql: str,
    *,
    keys: tuple[str, ...] = (),
    measured: tuple[str, ...] = ("n",),
    columns: tuple[str, ...] = ("tailnum", "carrier", "delay"),
    table: LinkedTable = FLIGHTS_LINKED,
    exact_columns: tuple[str, ...] | None = None,
) -> Plan:
    """Return a plan with one measurement over `t0`; with `exact_columns`, one with DP off."""
    price = Price(micro_epsilon=1, delta_steps=0)
    return Plan(
        differential=exact_columns is None,
        sql=sql,
        tables=(TableUse(relation="t0", table=table, columns=columns),),
        measurements=(
            Measurement(
                name="m0",
                exact_sql=sql,
                keys=keys,
                columns=tuple(
                    MeasuredColumn(
                        name=name,
                        meaning="rows",
                        unit=Fraction(1),
                        is_count=True,
                        noise=DiscreteLaplace(scale=Fraction(1)),
                        norm="l1",
                        sensitivity=1,
                        price=price,
                    )
                    for name in measured
                ),
            ),
        ),
        release=ReleaseQuery(sql="", interval_sql=None, columns=(ReleaseColumn(name="n", role="measured"),)),
        parts=(),
        exact_columns=exact_columns or (),
    )


def table_of(stream: bytes) -> pa.Table:
    """Return the table in an Arrow IPC stream."""
    return pa.ipc.open_stream(stream).read_all()
