"""benchmarks: one whole warm request through the local API, beside a trivial call and beside the plain query alone."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import duckdb

from benchmarks.data import WORK
from benchmarks.measure import Spread, Timed, interleaved, paired_ratio, timed
from local.data import write_tables
from local.demo import POLICIES, Party
from local.stack import start

ROOM = "benchmark"
TEMPLATE = """SELECT p.carrier, COUNT(*) AS flights, AVG(p.dep_delay) AS mean_delay
FROM IDENTIFIER({{ source_table[0] }}) p WHERE p.month <= {{ last_month }} GROUP BY p.carrier"""
PLAIN = "SELECT carrier, count(*), avg(dep_delay) FROM read_parquet('{path}') WHERE month <= 12 GROUP BY ALL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """Wall seconds: a run, a procedure that reads one record, and the plain query on the same file in this process."""

    run_seconds: Spread
    trivial_seconds: Spread
    plain_seconds: Spread
    over_trivial: Spread
    over_plain: Spread
    deploy_seconds: float


def compare(*, rounds: int) -> Requested:
    """Start the stack, link flights, and time fresh runs of a grouped query in turn with both others."""
    path = write_tables(WORK / "data" / "demo")["flights"]
    began = time.perf_counter()
    with start() as stack:
        deploy_seconds = time.perf_counter() - began
        airline, agency = Party(stack, "airline", "provider"), Party(stack, "agency", "consumer")
        bucket = stack.outputs["TablesBucketName"]
        stack.client("s3").put_object(Bucket=bucket, Key="airline/flights/flights.parquet", Body=path.read_bytes())
        airline("cleanroom_init", cleanroom_name=ROOM)
        airline("link_datasets", cleanroom_name=ROOM, tables=["flights"], policies={"flights": POLICIES["flights"]})
        airline("add_custom_sql_template", cleanroom_name=ROOM, template_name="by_carrier", template=TEMPLATE)
        settings = {"differential": 1, "epsilon": 1.0, "privacy_budget": 1_000_000}
        airline("add_consumers", cleanroom_name=ROOM, consumer_names=["agency"], privacy_settings=settings)
        agency("install_cleanroom", cleanroom_name=ROOM)
        last_months = iter(range(12, 12 + 2 * rounds + 2))

        def run() -> Timed:
            # Another argument each time, with the same rows: no stored release can answer.
            request = {"template_name": "by_carrier", "arguments": {"last_month": next(last_months)}}
            tables = {"cleanroom_name": ROOM, "provider_tables": ["flights"], "run_id": uuid.uuid4().hex}
            return timed(lambda: agency("run_analysis", **tables, **request))

        def plain() -> Timed:
            query = PLAIN.format(path=path)
            with duckdb.connect() as connection:
                return timed(lambda: connection.sql(query).to_arrow_table())

        def trivial() -> Timed:
            return timed(lambda: agency("view_cleanrooms"))

        taken = interleaved({"run": run, "trivial": trivial, "plain": plain}, rounds=rounds)
    walls = {name: [t.wall_seconds for t in times] for name, times in taken.items()}
    return Requested(
        run_seconds=Spread.of(walls["run"]),
        trivial_seconds=Spread.of(walls["trivial"]),
        plain_seconds=Spread.of(walls["plain"]),
        over_trivial=paired_ratio(walls["run"], walls["trivial"]),
        over_plain=paired_ratio(walls["run"], walls["plain"]),
        deploy_seconds=deploy_seconds,
    )
