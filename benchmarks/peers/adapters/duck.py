"""One way to open DuckDB for every adapter that uses it; BENCH_MEMORY caps it (Lambda sizes), spill is capped too."""

import os
import tempfile

import duckdb


def connect():
    con = duckdb.connect()
    con.execute(f"set temp_directory='{tempfile.gettempdir()}/peers_duckdb'; set max_temp_directory_size='9GB'")
    if os.environ.get("BENCH_MEMORY"):
        con.execute(f"set memory_limit='{os.environ['BENCH_MEMORY']}'")
    return con
