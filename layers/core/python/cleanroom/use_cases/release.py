"""Release one charged and executed run: the door out. Takes exact integers, gives a noisy table with error bars."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv

from cleanroom.errors import ConflictError, RunFailedError, RunNotFoundError
from cleanroom.privacy.accounting import ZERO_PRICE
from cleanroom.rooms.ledger import RunState
from cleanroom.rooms.receipts import digest_to_sign
from cleanroom.rooms.replays import Answer
from cleanroom.templates.plan_json import plan_from_json
from cleanroom.use_cases.clipping_estimates import clipping_estimates
from cleanroom.use_cases.clipping_notes import clipping_notes
from cleanroom.use_cases.consistent_totals import with_consistent_totals
from cleanroom.use_cases.drawn_payload import DrawnPayload
from cleanroom.use_cases.exact_payload import ExactPayload
from cleanroom.use_cases.intervals import intervals_of, replicates_of
from cleanroom.use_cases.noisy_tables import draw_noise, noisy_table_of, shown
from cleanroom.use_cases.nonnegative_counts import with_nonnegative_counts
from cleanroom.use_cases.plan_views import run_price_view
from cleanroom.use_cases.questions import question_digest
from cleanroom.use_cases.receipts import plan_receipt, receipt_of, sealed
from cleanroom.use_cases.run_ids import public_run_id
from cleanroom.use_cases.settings import budget_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.ports import NoiseServices
    from cleanroom.rooms.ledger import RunRecord, Standing
    from cleanroom.rooms.replays import Replay
    from cleanroom.templates.plan import Plan
    from cleanroom.use_cases.intervals import Ends

REPLAY_NOTE = (
    "the same question over the same data was paid for before: this is its stored release, with the same noise"
)
ANSWER_LIMIT_BYTES = 5_000_000
"""A Lambda answers at most 6 MB; larger releases are named, and read from the results bucket."""


def release_run(run_id: str, services: NoiseServices) -> bytes:
    """Add noise to an executed run and store its release; a run that has one gives it again, with the same noise.

    Args:
        run_id: as the ledger has it (scoped by its party).
        services: what the function holds.

    Returns:
        `release.json`.

    Raises:
        RunNotFoundError: no such run.
        RunFailedError: it failed, or what was handed over is not what was charged.
        ConflictError: it is not executed yet.
    """
    run = services.ledger.run(run_id)
    if run is None:
        raise RunNotFoundError("there is no such run")
    public_id = public_run_id(run.run_id)
    stored = services.releases.get(party=run.party, run_id=public_id)
    if stored is None:
        if run.state is RunState.FAILED:
            raise RunFailedError("the run failed after it was charged; a new run id runs it again, at its price")
        if run.state is RunState.CHARGED:
            raise ConflictError("the run is charged, and its exact part is not finished")
        replay = services.ledger.replay_of(run_id) if run.price == ZERO_PRICE else None
        release = _make_release(run, services) if replay is None else _release_again(run, replay, services)
        stored = services.releases.put_if_absent(party=run.party, run_id=public_id, release=release)
    said = msgspec.json.decode(stored)
    if "columns" in said:  # noise for a caller's own numbers has values instead of a table
        csv = csv_of_release(stored)
        services.releases.put_derived(party=run.party, run_id=public_id, name="release.csv", content=csv)
    if run.state is not RunState.RELEASED:
        services.ledger.advance(
            run_id,
            to=RunState.RELEASED,
            at=services.clock.now(),
            known=run,
            answer=_answer_of(run, said["receipt"], stored, services),
        )
        services.telemetry.step("released", run_id=run_id, room=run.room, template=run.template)
    services.exact.delete(run_id)
    return stored


def _answer_of(run: RunRecord, receipt: Mapping[str, Any], stored: bytes, services: NoiseServices) -> Answer | None:
    """Return the release as the answer to its question (B-50); None for what answers none: free runs, a caller's own
    numbers."""
    if run.price == ZERO_PRICE or "question_digest" not in receipt:
        return None
    return Answer(
        question=receipt["question_digest"],
        run_id=run.run_id,
        room=run.room,
        party=run.party,
        table_versions=run.table_versions,
        release_sha256=hashlib.sha256(stored).hexdigest(),
        released_at=services.clock.now(),
    )


def _release_again(run: RunRecord, replay: Replay, services: NoiseServices) -> bytes:
    """Return the stored release of another run of the same party as that of this run, at no price.

    Raises:
        RunFailedError: it is gone, or is not the one that was remembered; nothing was charged.
    """
    public_id, earlier_id = public_run_id(run.run_id), public_run_id(replay.replay_of)
    stored = services.releases.get(party=run.party, run_id=earlier_id)
    if stored is None or hashlib.sha256(stored).hexdigest() != replay.release_sha256:
        services.ledger.advance(run.run_id, to=RunState.FAILED, at=services.clock.now())
        raise RunFailedError("the release that was to be given again is gone; nothing was charged")
    standing = services.ledger.standing(run.room, run.budgets, window=run.window)
    earlier = msgspec.json.decode(stored)
    receipt, apart = earlier.pop("receipt"), ("signature", "released_digest", "key")
    release = {name: value for name, value in earlier.items() if name not in apart} | {
        "run_id": public_id,
        "template_name": run.template,
        "notes": [*earlier["notes"], REPLAY_NOTE],
        "price": {**run_price_view(run), "parts": []},
        "budgets": budget_views(standing, renewal=services.renewal, clock=services.clock),
        "location": services.releases.location(party=run.party, run_id=public_id),
        "replayed_from": earlier_id,
    }
    said = {name: value for name, value in receipt.items() if name not in apart}
    said |= receipt_of(run, run_id=public_id, parts=(), standing=standing, services=services) | {
        "template_digest": replay.template_digest,
        "query": replay.query,
        "replayed_from": {
            "run_id": earlier_id,
            "receipt_sha256": digest_to_sign(receipt).hex(),
            "released_at": receipt["released_at"],
            "price": receipt["price"],
        },
    }
    return sealed(release, said, services)


def _make_release(run: RunRecord, services: NoiseServices) -> bytes:
    """Compute the release from the run's noisy tables.

    The release query is in the caller's hands, and it can be made to fail on a noisy number. If noise were drawn again
    at the next attempt, each attempt would tell something of another draw, at one price; so it is stored first.
    """
    drawn = services.releases.get_drawn(party=run.party, run_id=public_run_id(run.run_id))
    if drawn is None:
        drawn = services.releases.put_drawn_if_absent(
            party=run.party, run_id=public_run_id(run.run_id), drawn=_draw(run, services).encode()
        )
    payload = DrawnPayload.decode(drawn)
    plan = plan_from_json(payload.plan_json)
    noisy = {
        m.name: noisy_table_of(pa.ipc.open_stream(payload.noisy_tables[m.name]).read_all(), m, plan)
        for m in plan.measurements
    }
    tables = with_consistent_totals({m.name: shown(noisy[m.name], m) for m in plan.released}, plan)
    answer = services.engine.query(plan.release.sql, tables)
    intervals, notes = intervals_of(answer, plan, noisy=noisy, engine=services.engine, entropy=services.entropy)
    answer, intervals = with_nonnegative_counts(answer, intervals, plan)
    public_id = public_run_id(run.run_id)
    standing = services.ledger.standing(run.room, run.budgets, window=run.window)
    receipt = receipt_of(run, run_id=public_id, parts=plan.parts, standing=standing, services=services) | plan_receipt(
        plan, template_digest=payload.template_digest, intervals=intervals, replicates=replicates_of(noisy)
    )
    receipt["question_digest"] = question_digest(payload.plan_json, room=run.room, party=run.party, budgets=run.budgets)
    release = _describe(run, plan, answer, intervals, (*plan.notes, *notes), standing, services)
    estimates = clipping_estimates(plan, noisy=noisy, entropy=services.entropy)
    release["clipping"] = clipping_notes(plan, estimates=estimates)
    return sealed(release, receipt, services)


def _draw(run: RunRecord, services: NoiseServices) -> DrawnPayload:
    """Return the run's tables with noise; only the first that is stored is ever used."""
    payload_bytes = services.exact.get(run.run_id)
    if payload_bytes is None:
        raise RunFailedError("the exact part of the run is gone; a new run id runs it again, at its price")
    payload = ExactPayload.decode(payload_bytes)
    if hashlib.sha256(payload.plan_json).hexdigest() != run.plan_digest:
        raise RunFailedError("what was handed over is not what was charged")
    plan = plan_from_json(payload.plan_json)
    noisy_tables: dict[str, bytes] = {}
    for measurement in plan.measurements:
        exact_table = pa.ipc.open_stream(payload.exact_tables[measurement.name]).read_all()
        noisy = draw_noise(exact_table, measurement, plan, services.entropy)
        noisy_tables[measurement.name] = _stream(noisy.as_arrow())
    return DrawnPayload(plan_json=payload.plan_json, template_digest=payload.template_digest, noisy_tables=noisy_tables)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _describe(
    run: RunRecord,
    plan: Plan,
    answer: pa.Table,
    intervals: Mapping[str, list[Ends]],
    notes: tuple[str, ...],
    standing: Standing,
    services: NoiseServices,
) -> dict[str, object]:
    visible = [c.name for c in plan.release.columns]
    rows = answer.select(range(len(visible)))
    public_id = public_run_id(run.run_id)
    return {
        "run_id": public_id,
        "state": "released",
        "cleanroom_name": run.room,
        "template_name": run.template,
        "party_name": run.party,
        "differential": int(plan.differential),
        "unmetered": run.unmetered,
        "columns": [{"name": c.name, "role": c.role} for c in plan.release.columns],
        "rows": [list(row) for row in zip(*(_listed(rows.column(i)) for i in range(len(visible))), strict=True)],
        "confidence": 0.95,
        "intervals": intervals,
        "notes": list(notes),
        "price": {
            **run_price_view(run),
            "parts": [
                {"what": p.what, "epsilon": p.price.micro_epsilon / 1e6, "delta": p.price.delta_steps / 1e12}
                for p in plan.parts
            ],
        },
        "budgets": budget_views(standing, renewal=services.renewal, clock=services.clock),
        "location": services.releases.location(party=run.party, run_id=public_id),
    }


def _listed(column: pa.ChunkedArray) -> list[object]:
    """Return a column's values; dates beyond Python's years, and infinite ones, as the text that Arrow gives them."""
    try:
        values: list[object] = column.to_pylist()
    except (OverflowError, ValueError):
        values = column.cast(pa.string()).to_pylist()
    return values


def csv_of_release(release: bytes) -> bytes:
    """Return the table of a stored release as CSV; each noisy column is followed by its interval's two ends."""
    stored = msgspec.json.decode(release)
    columns: dict[str, list[object]] = {}
    for index, column in enumerate(stored["columns"]):
        columns[column["name"]] = [row[index] for row in stored["rows"]]
        ends = stored["intervals"].get(column["name"])
        if ends is not None:
            columns[f"{column['name']}_low"] = [None if end is None else end[0] for end in ends]
            columns[f"{column['name']}_high"] = [None if end is None else end[1] for end in ends]
    buffer = io.BytesIO()
    pa_csv.write_csv(pa.table({name: pa.array(values) for name, values in columns.items()}), buffer)
    return buffer.getvalue()


def answer_of_release(release: bytes) -> bytes:
    """Return what a synchronous caller gets: the release, without its rows where they would not fit."""
    if len(release) <= ANSWER_LIMIT_BYTES:
        return release
    stored = msgspec.json.decode(release)
    stored |= {
        "rows": None,
        "intervals": None,
        "left_out": "the rows are too many for one answer: read them at location",
    }
    return msgspec.json.encode(stored)
