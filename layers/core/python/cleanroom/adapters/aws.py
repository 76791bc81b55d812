"""Wires what each function holds from its environment: the only place that reads their environment variables.

Each function imports only what it needs, in its own wiring: not every function has the engine's layer, and none pays
at cold start for another's libraries. Nothing random is drawn here, so that a restored snapshot repeats nothing.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from cleanroom.adapters.dynamodb import Table
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.adapters.pace import SteppedPace
from cleanroom.adapters.system import SystemClock, SystemEntropy, SystemIds
from cleanroom.adapters.telemetry import PowertoolsTelemetry
from cleanroom.ports import NoiseServices, RoomServices, RunServices, TaskServices
from cleanroom.privacy.accounting import exact_fraction
from cleanroom.rooms.anomalies import Thresholds

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from cleanroom.adapters.duckdb_sandbox import EngineLimits
    from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail
    from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue
    from cleanroom.adapters.dynamodb_signals import DynamoDbSignals
    from cleanroom.adapters.entity_labels import EntityLabels
    from cleanroom.adapters.pinned_s3 import S3Objects
    from cleanroom.adapters.renewal import DeployedRenewal
    from cleanroom.adapters.schedule import EventBridgeSchedule
    from cleanroom.adapters.statement_store import S3StatementStore

_QUICK = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
_PATIENT = Config(connect_timeout=2, read_timeout=60, retries={"total_max_attempts": 5, "mode": "standard"})
_WAITING = Config(connect_timeout=2, read_timeout=890, retries={"total_max_attempts": 1})
"""For invoking add_noise: a lost answer is for the caller's next attempt, not for a second call."""


@lru_cache(maxsize=1)
def room_services() -> RoomServices:
    """Return what the `rooms` function holds."""
    from cleanroom.adapters.duckdb_sandbox import EngineLimits
    from cleanroom.adapters.parquet_tables import ParquetTableStore
    from cleanroom.adapters.pinned_s3 import S3Objects

    s3 = _client("s3", _PATIENT)
    table_objects = S3Objects(s3, bucket=os.environ["TABLES_BUCKET"])
    limits = EngineLimits(memory_bytes=900 << 20, seconds=10.0, spill_bytes=384 << 20)
    return RoomServices(
        catalogue=_catalogue(),
        ledger=_ledger(),
        audit=_audit(),
        statements=_statements(),
        tables=ParquetTableStore(table_objects, labels=_labels(s3, table_objects, limits)),
        schedule=_schedule(),
        clock=SystemClock(),
        provider_parties=_provider_parties(),
    )


@lru_cache(maxsize=1)
def run_services() -> RunServices:
    """Return what the `run_template` function holds."""
    from cleanroom.adapters.duckdb_engine import DuckDbEngine
    from cleanroom.adapters.exact_store import S3ExactStore
    from cleanroom.adapters.inbox import S3Inbox
    from cleanroom.adapters.noise_function import LambdaNoiseFunction
    from cleanroom.adapters.parquet_tables import ParquetTableStore
    from cleanroom.adapters.pinned_s3 import S3Objects
    from cleanroom.adapters.run_queue import SqsRunQueue

    s3 = _client("s3", _PATIENT)
    table_objects = S3Objects(s3, bucket=os.environ["TABLES_BUCKET"])
    labels = _labels(s3, table_objects, replace(_engine_limits(), seconds=240.0))
    return RunServices(
        catalogue=_catalogue(),
        ledger=_ledger(),
        tables=ParquetTableStore(table_objects),
        engine=DuckDbEngine(table_objects, limits=_engine_limits(), labels=labels, ahead=True),
        exact=S3ExactStore(
            s3=s3,
            kms=_client("kms", _QUICK),
            bucket=os.environ["EXACT_BUCKET"],
            key_arn=os.environ["EXACT_KEY_ARN"],
        ),
        noise=LambdaNoiseFunction(_client("lambda", _WAITING), function=os.environ["ADD_NOISE_FUNCTION"]),
        queue=SqsRunQueue(_client("sqs", _QUICK), queue_url=os.environ["RUN_QUEUE_URL"]),
        inbox=S3Inbox(s3, bucket=os.environ["INBOX_BUCKET"]),
        renewal=_renewal(),
        clock=SystemClock(),
        ids=SystemIds(),
        signals=_signals(),
        thresholds=_thresholds(),
        telemetry=PowertoolsTelemetry(),
        pace=SteppedPace(step_seconds=float(os.environ["ANSWER_STEP_SECONDS"]), clock=SystemClock(), sleep=time.sleep),
    )


@lru_cache(maxsize=1)
def noise_services() -> NoiseServices:
    """Return what the `add_noise` function holds."""
    from cleanroom.adapters.duckdb_release import DuckDbReleaseEngine
    from cleanroom.adapters.exact_store import S3ExactStore
    from cleanroom.adapters.receipt_signer import KmsReceiptSigner
    from cleanroom.adapters.release_store import S3ReleaseStore

    s3, kms = _client("s3", _PATIENT), _client("kms", _QUICK)
    return NoiseServices(
        catalogue=_catalogue(),
        ledger=_ledger(),
        exact=S3ExactStore(
            s3=s3,
            kms=kms,
            bucket=os.environ["EXACT_BUCKET"],
            key_arn=os.environ["EXACT_KEY_ARN"],
        ),
        releases=S3ReleaseStore(s3, bucket=os.environ["RESULTS_BUCKET"]),
        signer=KmsReceiptSigner(kms, key_arn=os.environ["RECEIPT_KEY_ARN"]),
        engine=DuckDbReleaseEngine(),
        entropy=SystemEntropy(),
        renewal=_renewal(),
        clock=SystemClock(),
        ids=SystemIds(),
        signals=_signals(),
        thresholds=_thresholds(),
        telemetry=PowertoolsTelemetry(),
    )


@lru_cache(maxsize=1)
def task_services() -> TaskServices:
    """Return what the `dp_task` function holds."""
    from cleanroom.adapters.statement_store import S3AuditExport

    export_bucket = os.environ["AUDIT_BUCKET"]
    s3 = _client("s3", _PATIENT)
    return TaskServices(
        ledger=_ledger(),
        audit=_audit(),
        statements=_statements(),
        export=S3AuditExport(s3, bucket=export_bucket) if export_bucket else None,
        schedule=_schedule(),
        clock=SystemClock(),
        telemetry=PowertoolsTelemetry(),
        provider_parties=_provider_parties(),
    )


def _client(service: Any, config: Config) -> Any:
    return boto3.client(service, config=config)


def _table(name: str) -> Table:
    # Jitter only spreads retries; it needs no secret randomness.
    return Table(client=_client("dynamodb", _QUICK), name=name, sleep=time.sleep, jitter=random.random)


def _ledger() -> DynamoDbLedger:
    return DynamoDbLedger(_table(os.environ["LEDGER_TABLE"]))


def _audit() -> DynamoDbAuditTrail:
    from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail

    return DynamoDbAuditTrail(_table(os.environ["LEDGER_TABLE"]))


def _signals() -> DynamoDbSignals:
    from cleanroom.adapters.dynamodb_signals import DynamoDbSignals

    return DynamoDbSignals(_table(os.environ["LEDGER_TABLE"]))


def _thresholds() -> Thresholds:
    return Thresholds(
        refusals_per_hour=int(os.environ["SIGNAL_REFUSALS_PER_HOUR"]),
        alike_queries=int(os.environ["SIGNAL_SIMILAR_QUERIES"]),
        hourly_share=exact_fraction(os.environ["SIGNAL_HOURLY_SHARE"]),
    )


def _statements() -> S3StatementStore:
    from cleanroom.adapters.statement_store import S3StatementStore

    return S3StatementStore(_client("s3", _PATIENT), bucket=os.environ["RESULTS_BUCKET"])


def _catalogue() -> DynamoDbCatalogue:
    from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue

    return DynamoDbCatalogue(_table(os.environ["CATALOGUE_TABLE"]))


def _schedule() -> EventBridgeSchedule:
    from cleanroom.adapters.schedule import EventBridgeSchedule

    return EventBridgeSchedule(
        _client("scheduler", _QUICK), name=os.environ["DP_TASK_SCHEDULE"], group=os.environ["DP_TASK_SCHEDULE_GROUP"]
    )


def _renewal() -> DeployedRenewal:
    from cleanroom.adapters.renewal import DeployedRenewal

    return DeployedRenewal(expression=os.environ["DP_TASK_EXPRESSION"], time_zone=os.environ["DP_TASK_TIME_ZONE"])


def _labels(s3: S3Client, tables: S3Objects, limits: EngineLimits) -> EntityLabels:
    from cleanroom.adapters.entity_labels import EntityLabels
    from cleanroom.adapters.pinned_s3 import S3Objects

    return EntityLabels(tables, S3Objects(s3, bucket=os.environ["ENTITIES_BUCKET"]), limits=limits)


def _provider_parties() -> frozenset[str]:
    return frozenset(party.strip() for party in os.environ["PROVIDER_PARTIES"].split(",") if party.strip())


def _engine_limits() -> EngineLimits:
    """Return limits that leave the process room beside the engine: six tenths of the function's memory."""
    from cleanroom.adapters.duckdb_sandbox import EngineLimits

    memory_mib = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"))
    return EngineLimits(memory_bytes=memory_mib * 6 // 10 << 20, threads=max(1, min(6, os.cpu_count() or 1)))
