"""benchmarks: compile a question with the real compiler and run it through the engine's own code over local files."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from benchmarks.measure import Timed, timed
from benchmarks.workloads import CONSUMER, DELTA, EPSILON, PROVIDER, Question, Source
from cleanroom.adapters.duckdb_engine import execute_in
from cleanroom.adapters.duckdb_instances import DISTRUSTED, SpareInstance
from cleanroom.adapters.duckdb_release import DuckDbReleaseEngine
from cleanroom.adapters.duckdb_sandbox import EngineLimits, Sandbox
from cleanroom.adapters.parquet_schema import read_columns
from cleanroom.privacy.accounting import DELTA_STEPS, MICRO, Price
from cleanroom.rooms.policies import policy_from_json
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.rooms.tables import EntityColumn, LinkedTable
from cleanroom.templates.compile import compile_query
from cleanroom.templates.render import render
from cleanroom.templates.template import CompileContext, Template
from cleanroom.use_cases.noisy_tables import draw_noise, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

    from cleanroom.privacy.entropy import Entropy
    from cleanroom.templates.plan import Plan

LIMITS = EngineLimits(memory_bytes=4 << 30, threads=2)
"""Of both sides of every comparison."""

RELEASES = DuckDbReleaseEngine()
"""Held for as long as the process lives, as a function holds it."""

RUN_KEY = 0x5DEECE66D


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with the limits and the settings that bear on speed, for either side."""
    opened = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{LIMITS.memory_bytes}B",
            "threads": LIMITS.threads,
            "preserve_insertion_order": False,
        },
    )
    opened.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def sandbox(question: Question, *, spare: SpareInstance | None = None) -> Iterator[Sandbox]:
    """Open the engine's sandbox over the local files of a question, locked as in production.

    In production the files come from S3 through a file system of the package's own; here both sides read local files
    with the engine's own reader, so that the ratio is that of the queries. With `spare`, the instance is one that was
    opened ahead, as a function that stays warm has it.
    """
    with connection() if spare is None else closing(spare.take()) as opened:
        opened.execute(
            "SET GLOBAL TimeZone = 'UTC'; SET GLOBAL parquet_metadata_cache = true;"
            f"SET disabled_optimizers = '{DISTRUSTED}'"
        )
        listed = ", ".join(f"'{source.path}'" for source in question.sources)
        opened.execute(
            f"SET allowed_paths = [{listed}]; SET enable_external_access = false; SET lock_configuration = true"
        )
        locked = Sandbox(opened, LIMITS)
        try:
            yield locked
        finally:
            locked.close()


def compiled(question: Question, *, epsilon: Fraction = EPSILON, delta: Fraction = DELTA) -> Plan:
    """Return the plan that costs (epsilon, delta) for the whole answer, but for rounding up to the ledger's steps.

    Raises:
        RuntimeError: it costs more: the question's `shares` are wrong.
    """
    tables = {source.name: _linked(source, question) for source in question.sources}
    private = not question.groups
    # What costs its own delta: every Gaussian column that is paid for, and the selection of private groups.
    deltas = (question.shares if question.mechanism == "Gaussian" else 0) + (1 if private else 0)
    settings = PrivacySettings(
        differential=True,
        epsilon=epsilon / question.shares,
        noise_mechanism=NoiseMechanism(question.mechanism),
        privacy_budget=1_000_000,
        delta=delta / max(deltas, 1),
    )
    context = CompileContext(
        reader=CONSUMER,
        settings=settings,
        source_tables=tuple(tables[s.name] for s in question.sources if s.owner == "provider"),
        my_tables=tuple(tables[s.name] for s in question.sources if s.owner == "consumer"),
        room_tables=tuple(tables.values()),
    )
    template = Template(name=question.name.lower(), text=question.template)
    plan = compile_query(render(template, {}, context), template=template, context=context)
    rounded_up = len(plan.parts)  # by less than one step each
    allowed = Price(micro_epsilon=int(epsilon * MICRO) + rounded_up, delta_steps=int(delta * DELTA_STEPS) + rounded_up)
    if plan.price.micro_epsilon > allowed.micro_epsilon or plan.price.delta_steps > allowed.delta_steps:
        raise RuntimeError(f"{question.name} costs {plan.price}, more than {allowed}")
    return plan


def _linked(source: Source, question: Question) -> LinkedTable:
    with sandbox(question) as opened:
        columns = read_columns(opened, str(source.path))
    entity = EntityColumn(column=source.entity_column, kind="customer_id", evidence=("the benchmark says so",))
    return LinkedTable(
        owner=PROVIDER if source.owner == "provider" else CONSUMER,
        name=source.name,
        columns=columns,
        entity_columns=(entity,) if source.entity_column else (),
        policy=policy_from_json(source.policy, columns),
    )


def run_exact(
    question: Question, plan: Plan, *, run_key: int = RUN_KEY, spare: SpareInstance | None = None
) -> dict[str, pa.Table]:
    """Return measurement name -> exact table; begins with the next spare instance at its end."""
    try:
        with sandbox(question, spare=spare) as opened:
            return _tables(execute_in(opened, plan, addresses=_addresses(question, plan), run_key=run_key))
    finally:
        if spare is not None:
            spare.prepare()


def time_exact(question: Question, plan: Plan) -> Timed:
    """Time the engine's part of one run in a fresh sandbox: views, checks, query and the Arrow stream it gives."""
    addresses = _addresses(question, plan)
    with sandbox(question) as opened:
        return timed(lambda: execute_in(opened, plan, addresses=addresses, run_key=RUN_KEY))


def time_plain(question: Question) -> Timed:
    """Time the plain query on a fresh connection, up to its Arrow table."""
    query = question.files(question.plain)
    with connection() as opened:
        return timed(lambda: opened.sql(query).to_arrow_table())


def truth(question: Question) -> dict[tuple[object, ...], list[float]]:
    """Return the exact answer, by group."""
    with connection() as opened:
        rows = opened.execute(question.files(question.plain)).fetchall()
    return by_group(rows, keys=len(question.keys))


def by_group(rows: list[tuple[object, ...]], *, keys: int) -> dict[tuple[object, ...], list[float]]:
    """Return group -> numbers; NULL becomes NaN."""
    return {
        tuple(row[:keys]): [float("nan") if value is None else float(str(value)) for value in row[keys:]]
        for row in rows
    }


def release(plan: Plan, exact_tables: Mapping[str, pa.Table], *, entropy: Entropy) -> list[tuple[object, ...]]:
    """Return the visible rows of one release: fresh noise on every measured integer, selection, release query."""
    tables = {m.name: shown(draw_noise(exact_tables[m.name], m, plan, entropy), m) for m in plan.measurements}
    answer = RELEASES.query(plan.release.sql, tables)
    columns = [answer.column(i).to_pylist() for i in range(len(plan.release.columns))]
    return list(zip(*columns, strict=True))


def _addresses(question: Question, plan: Plan) -> dict[str, list[str]]:
    paths = {source.name: str(source.path) for source in question.sources}
    return {use.relation: [paths[use.table.name]] for use in plan.tables}


def _tables(streams: Mapping[str, bytes]) -> dict[str, pa.Table]:
    return {name: pa.ipc.open_stream(stream).read_all() for name, stream in streams.items()}
