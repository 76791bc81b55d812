"""Remembered answers and replays in the ledger's table. Used by `dynamodb_ledger.py`.

An answer is one item under the digest of its question, so that finding it is one read and nothing is ever searched;
with `released_at` beside the whole as `body`. A replay is an item beside its run's, with the whole as `body`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_expressions import ABSENT, NEWER_ANSWER
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import History, answer_key, open_runs_part, replay_key, run_key
from cleanroom.adapters.dynamodb_kinds import ANSWER, REPLAY, RUN
from cleanroom.errors import BusyError
from cleanroom.rooms.ledger_chain import next_line, utc_text
from cleanroom.rooms.replays import REPLAY_KIND, Answer, Replay, replay_body

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.adapters.dynamodb_history import Histories
    from cleanroom.rooms.ledger import RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayItems:
    """Remembered answers and replays. Every method may raise BusyError and LedgerUnreadableError."""

    table: Table
    histories: Histories

    def remembering(self, answer: Answer) -> TransactWriteItemTypeDef:
        """Return the action that stores an answer; its condition fails where a later one is stored."""
        released_at = utc_text(answer.released_at)
        stored = item(answer_key(answer.question), kind=ANSWER, released_at=released_at, body=encode(answer))
        values = placeholders(kind=ANSWER, released_at=released_at)
        return self.table.put(stored, condition=NEWER_ANSWER, values=values)

    def answer(self, question: str) -> Answer | None:
        """Return the last answer of a question, or None."""
        stored = self.table.get(answer_key(question))
        return None if stored is None else Fields.of(stored, kind=ANSWER).body(Answer)

    def replay_of(self, run_id: str) -> Replay | None:
        """Return what a run replays, or None."""
        stored = self.table.get(replay_key(run_id))
        return None if stored is None else Fields.of(stored, kind=REPLAY).body(Replay)

    def add(self, replay: Replay, run: RunRecord) -> bool:
        """Add the run, the replay and the history's line, all or nothing; return False where the run is there already.

        Where it is not known whether the transaction was applied, the caller reads the run back.
        """
        backoff = self.table.backoff()
        history = History(room=run.room)
        while True:
            head = self.histories.head(history)
            line = next_line(
                head,
                room=run.room,
                at=run.charged_at,
                kind=REPLAY_KIND,
                party=run.party,
                body=replay_body(replay, run),
                run_id=run.run_id,
            )
            stored = item(
                run_key(run.run_id),
                kind=RUN,
                state=run.state.value,
                state_since=utc_text(run.charged_at),
                request_digest=run.request_digest,
                body=encode(run),
                open=open_runs_part(run.run_id),
                charged_at=utc_text(run.charged_at),
            )
            actions = [
                self.table.put(stored, condition=ABSENT),
                self.table.put(item(replay_key(run.run_id), kind=REPLAY, body=encode(replay)), condition=ABSENT),
                *self.histories.append(history, head=head, line=line),
            ]
            try:
                self.table.transact(actions, backoff)
            except CancelledError as cancelled:
                if cancelled.failed[0]:
                    return False
                backoff.pause()
            except BusyError:
                if self.table.get(run_key(run.run_id)) is None:
                    raise
                return False
            else:
                return True
