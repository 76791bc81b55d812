"""Ports to data: tables and the engine over them, exact intermediates, releases and their signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from cleanroom.rooms.receipts import ReceiptKey
    from cleanroom.rooms.suggestions import ExactSuggestions
    from cleanroom.rooms.tables import Column, LinkedTable, TableVersion
    from cleanroom.templates.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class TableDescription:
    """What linking needs to know of a table: its schema, and sampled values as text for entity detection.

    Samples never leave the function: they are neither stored nor logged nor returned.
    """

    columns: tuple[Column, ...]
    samples: Mapping[str, Sequence[str | None]]
    version: TableVersion


class TableStore(Protocol):
    """Tables in S3: all Parquet objects under `<owner>/<name>/` of the tables bucket."""

    def describe(self, *, owner: str, name: str) -> TableDescription:
        """Read schema and samples. Raises TableUnreadableError."""

    def resolve(self, table: LinkedTable) -> TableVersion:
        """Return the present version of every object, after checking that each still has the linked schema.

        Reads footers' schemas only, no rows. Raises TableUnreadableError.
        """

    def join_entities(self, table: LinkedTable, version: TableVersion) -> bool:
        """Join the rows of a version that share an entity value, and store the labels (B-04).

        Returns:
            False if that takes more time or memory than this function has: then the first run over the version does.
        """

    def suggest_bounds(
        self, table: LinkedTable, *, groups: Sequence[Column], columns: Sequence[Column]
    ) -> ExactSuggestions:
        """Measure the present version of a table, exactly, for its owner alone.

        Raises TableTooLargeError and TableUnreadableError.
        """


class Engine(Protocol):
    """Runs the exact queries of a plan over pinned versions of tables."""

    def execute(self, plan: Plan, *, versions: Mapping[str, TableVersion], run_key: int) -> Mapping[str, bytes]:
        """Return measurement name -> exact table as an Arrow IPC stream. `versions` is by relation (`t0`, …).

        Raises:
            RunFailedError: anything went wrong; the message is fixed, for the cause may depend on rows.
        """


class ReleaseEngine(Protocol):
    """Runs release queries over noisy tables in memory; it can open nothing else."""

    def query(self, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
        """Return the answer. Raises RunFailedError."""


class ExactStore(Protocol):
    """Exact intermediates between the two functions: encrypted for one run id, short-lived."""

    def put(self, run_id: str, payload: bytes) -> None:
        """Encrypt and store; overwrites what an earlier attempt of the same run stored."""

    def get(self, run_id: str) -> bytes | None:
        """Fetch and decrypt; None where there is none. Raises RunFailedError on tampering or a foreign context."""

    def delete(self, run_id: str) -> None:
        """Remove it; nothing happens where there is none."""


class ReleaseStore(Protocol):
    """Releases in the results bucket, under `releases/<party>/<run_id>/`, written once."""

    def put_if_absent(self, *, party: str, run_id: str, release: bytes) -> bytes:
        """Store `release.json` unless there is one, and return the stored one: noise is drawn once per run."""

    def put_derived(self, *, party: str, run_id: str, name: str, content: bytes) -> None:
        """Store another form of the stored release, as `release.csv`; made from it alone: overwriting is harmless."""

    def get(self, *, party: str, run_id: str) -> bytes | None:
        """Return `release.json`, or None."""

    def put_drawn_if_absent(self, *, party: str, run_id: str, drawn: bytes) -> bytes:
        """Store a run's noisy tables unless there are some, and return the stored ones, before anything is made of
        them: whatever fails afterwards, a second attempt works on the same noise. They lie apart from `releases/`."""

    def get_drawn(self, *, party: str, run_id: str) -> bytes | None:
        """Return the run's noisy tables, or None."""

    def location(self, *, party: str, run_id: str) -> str:
        """Return the s3:// address of the run's folder."""

    def keep_receipt_key(self, *, fingerprint: str, pem: str) -> None:
        """Keep a public key that receipts are signed with, under `receipt_keys/`; one that is kept already stays."""

    def receipt_keys(self) -> tuple[str, ...]:
        """Return every public key that was kept, in PEM: those of retired keys too."""


class ReceiptSigner(Protocol):
    """The key that receipts are signed with."""

    def key(self) -> ReceiptKey:
        """Return its public half. Raises BusyError."""

    def sign(self, digest: bytes) -> bytes:
        """Return the DER signature (ECDSA, P-256) of a SHA-256 digest. Raises BusyError."""
