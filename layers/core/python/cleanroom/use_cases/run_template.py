"""Run one template: prepare, charge, execute, and have the noise added. The order of effects is the privacy design."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from cleanroom.errors import (
    CleanRoomError,
    Kind,
    NoStoredAnswerError,
    RunConflictError,
    RunFailedError,
    StaleChargeError,
)
from cleanroom.rooms.anomalies import failure_metric
from cleanroom.rooms.ledger import RequestState, RunRequest, RunState
from cleanroom.templates.kinship import kinship_of
from cleanroom.templates.plan_json import plan_as_json
from cleanroom.use_cases.arguments import RunAnalysis, SubmitAnalysisRequest
from cleanroom.use_cases.charge import charge_run
from cleanroom.use_cases.exact_payload import ExactPayload
from cleanroom.use_cases.prepare import prepare
from cleanroom.use_cases.replaying import replayed
from cleanroom.use_cases.run_ids import public_run_id, scoped_run_id
from cleanroom.use_cases.signals import refusals_counted, watch_charge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.ports import RunServices
    from cleanroom.rooms.ledger import RunRecord
    from cleanroom.rooms.tables import TableVersion
    from cleanroom.use_cases.prepare import PreparedRun

CHARGE_ATTEMPTS = 3
"""How often a run is priced again when settings, window or task changed under it."""


def run_analysis(arguments: RunAnalysis, party: str, services: RunServices) -> bytes:
    """Run a template and return its release, as JSON; or, with mode `async`, the queued run.

    Raises:
        CleanRoomError: a refusal. Before the charge, nothing was charged, read or stored; after it (`run_failed`,
            `busy`), the same run id goes on with the same run and is never charged again.
    """
    run_id = scoped_run_id(party, arguments.run_id or services.ids.run_id())
    if arguments.mode == "async":
        with refusals_counted(arguments.cleanroom_name, party, services):
            return _enqueue(arguments, party, run_id, services)
    began = services.clock.now()
    try:
        with refusals_counted(arguments.cleanroom_name, party, services):
            return _run(arguments, party, run_id, services, is_fresh=arguments.run_id is None)
    finally:
        # How long the data took is rounded up, also where the run failed.
        services.pace.hold(began)


def run_queued(message: bytes, services: RunServices) -> None:
    """Run one message of the queue; a refusal is stored under its run id, where `GET /runs/{run_id}` shows it."""
    queued = msgspec.json.decode(message, type=QueuedRun)
    arguments = msgspec.convert(queued.arguments, QueuedRun.kinds()[queued.procedure])
    try:
        with refusals_counted(arguments.cleanroom_name, queued.party, services):
            _run(arguments, queued.party, queued.run_id, services)
    except CleanRoomError as refusal:
        if refusal.kind is Kind.BUSY:
            raise  # the queue delivers it again, under the same run id
        refuse_request(refusal, arguments, queued.party, queued.run_id, services)


class QueuedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the queue for an asynchronous run."""

    procedure: str
    party: str
    run_id: str
    arguments: dict[str, object]

    @staticmethod
    def kinds() -> dict[str, type[RunAnalysis]]:
        """Return the argument list of each procedure that can be queued."""
        return {"run_analysis": RunAnalysis, "submit_analysis_request": SubmitAnalysisRequest}


def _enqueue(arguments: RunAnalysis, party: str, run_id: str, services: RunServices) -> bytes:
    """Refuse now what can be refused now, then queue; the charge comes when the run starts."""
    prepare(arguments, party, services)
    digest = request_digest(arguments, party)
    request = services.ledger.put_request(
        RunRequest(
            run_id=run_id,
            party=party,
            request_digest=digest,
            state=RequestState.QUEUED,
            at=services.clock.now(),
        )
    )
    if request.request_digest != digest or request.party != party:
        raise RunConflictError("the run id belongs to another request")
    procedure = next(name for name, kind in QueuedRun.kinds().items() if kind is type(arguments))
    queued = QueuedRun(procedure=procedure, party=party, run_id=run_id, arguments=msgspec.to_builtins(arguments))
    services.queue.send(msgspec.json.encode(queued).decode())
    return msgspec.json.encode({"run_id": public_run_id(run_id), "state": request.state.value})


def _run(arguments: RunAnalysis, party: str, run_id: str, services: RunServices, *, is_fresh: bool = False) -> bytes:
    """Run, or go on with the run of this id; `is_fresh`: the id was drawn for this call, and no run can have it."""
    digest = request_digest(arguments, party)
    run = None if is_fresh else services.ledger.run(run_id)
    if run is not None and (run.request_digest != digest or run.party != party):
        raise RunConflictError("the run id belongs to another request")
    if run is None or run.state is RunState.CHARGED:
        outcome = _charge_and_execute(arguments, party, run_id, digest, services, is_new=run is None)
        if isinstance(outcome, bytes):
            return outcome
        run = outcome
    if run.state is RunState.FAILED:
        raise RunFailedError("the run failed after it was charged; a new run id runs it again, at its price")
    return services.noise.release(run_id)


def _charge_and_execute(
    arguments: RunAnalysis, party: str, run_id: str, digest: str, services: RunServices, *, is_new: bool
) -> RunRecord | bytes:
    """Charge and execute; a charged run that is tried again is executed again, at no further price.

    Returns:
        The run; or a release, where the question was paid for before and its stored release is given again.
    """
    for attempt in range(1, CHARGE_ATTEMPTS + 1):
        prepared = prepare(arguments, party, services)
        versions = {use.relation: services.tables.resolve(use.table) for use in prepared.plan.tables}
        plan_json = plan_as_json(prepared.plan)
        if is_new and arguments.replay != "never":
            release = replayed(
                prepared,
                _digests(prepared, versions),
                plan_json,
                run_id=run_id,
                request_digest=digest,
                services=services,
            )
            if release is not None:
                return release
            if arguments.replay == "only":
                raise NoStoredAnswerError("no stored release answers this question over the data as it is now")
        try:
            run = _charge(prepared, versions, plan_json, run_id, digest, services)
        except StaleChargeError:
            if attempt == CHARGE_ATTEMPTS:
                raise
            continue
        if run.state is not RunState.CHARGED:
            return run
        if run.plan_digest != hashlib.sha256(plan_json).hexdigest() or run.table_versions != _digests(
            prepared, versions
        ):
            # A resumed run must be the run that was charged: one version of settings, template and tables.
            services.ledger.advance(run_id, to=RunState.FAILED, at=services.clock.now())
            raise RunFailedError(
                "template, settings or tables changed while the run was interrupted; a new run id runs it again"
            )
        watch_charge(run, kinship_of(prepared.plan), services)
        return _execute(prepared, versions, plan_json, run, services)
    raise AssertionError("unreachable: the loop returns or raises")


def _charge(
    prepared: PreparedRun,
    versions: Mapping[str, TableVersion],
    plan_json: bytes,
    run_id: str,
    digest: str,
    services: RunServices,
) -> RunRecord:
    return charge_run(
        run_id=run_id,
        request_digest=digest,
        plan_digest=hashlib.sha256(plan_json).hexdigest(),
        payers=prepared.payers,
        task=prepared.task,
        room_budget=prepared.room_budget,
        template=prepared.template,
        reader=prepared.party,
        table_versions=_digests(prepared, versions),
        ledger=services.ledger,
        renewal=services.renewal,
        clock=services.clock,
        telemetry=services.telemetry,
    )


def _digests(prepared: PreparedRun, versions: Mapping[str, TableVersion]) -> tuple[tuple[str, str], ...]:
    return tuple((use.table.full_name, versions[use.relation].digest) for use in prepared.plan.tables)


def _execute(
    prepared: PreparedRun,
    versions: Mapping[str, TableVersion],
    plan_json: bytes,
    run: RunRecord,
    services: RunServices,
) -> RunRecord:
    """Compute the exact tables and hand them over, encrypted for this run."""
    try:
        exact_tables = services.engine.execute(prepared.plan, versions=versions, run_key=services.ids.run_key())
    except RunFailedError as failure:
        services.ledger.advance(run.run_id, to=RunState.FAILED, at=services.clock.now())
        services.telemetry.step("failed", run_id=run.run_id, room=run.room, template=run.template)
        services.telemetry.count("FailedRuns")
        services.telemetry.count(failure_metric(failure.reason))
        raise
    payload = ExactPayload(
        plan_json=plan_json, template_digest=prepared.template_digest, exact_tables=dict(exact_tables)
    )
    services.exact.put(run.run_id, payload.encode())
    services.telemetry.step("executed", run_id=run.run_id, room=run.room, template=run.template)
    return services.ledger.advance(run.run_id, to=RunState.EXECUTED, at=services.clock.now())


def request_digest(arguments: RunAnalysis, party: str) -> str:
    """Return the SHA-256 of what is asked: the same run id with another digest is another request, and refused."""
    asked = msgspec.to_builtins(arguments)
    del asked["run_id"], asked["mode"]
    if asked["replay"] == "allow":
        del asked["replay"]
    if asked["clipping_estimate"] is None:
        del asked["clipping_estimate"]
    if not asked["post_processing"]:
        del asked["post_processing"]
    encoded = msgspec.json.encode([type(arguments).__name__, party, asked], order="deterministic")
    return hashlib.sha256(encoded).hexdigest()


def refuse_request(
    refusal: CleanRoomError, arguments: RunAnalysis, party: str, run_id: str, services: RunServices
) -> None:
    """Store a refusal of an asynchronous run where its party can read it."""
    services.ledger.put_request(
        RunRequest(
            run_id=run_id,
            party=party,
            request_digest=request_digest(arguments, party),
            state=RequestState.REFUSED,
            at=services.clock.now(),
            error=msgspec.json.encode(refusal.as_json()).decode(),
        )
    )
