"""Answers that were paid for already: what the ledger remembers of a released question, and of a replay of it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cleanroom.rooms.ledger import RunRecord

REPLAY_KIND = "replay"
"""Kind of the history line of a replay: it names a run, and no budget is charged by it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A released run that answers a question: the last one, where it was paid for several times.

    Attributes:
        question: digest of the plan, without its text, and of whose question it is: room, party, budgets.
        run_id: the run that answered it; never one that is itself a replay.
        room, party: of that run.
        table_versions: full name -> digest: what it was computed from.
        release_sha256: of the stored `release.json`: only those very bytes are given again.
        released_at: UTC.
    """

    question: str
    run_id: str
    room: str
    party: str
    table_versions: tuple[tuple[str, str], ...]
    release_sha256: str
    released_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What is kept beside a run that gives a stored release again.

    Attributes:
        run_id: the new run.
        replay_of: the run whose release it is.
        release_sha256: of that release.
        template_digest, query: of the template that was run now; its plan is the same, its text may differ.
    """

    run_id: str
    replay_of: str
    release_sha256: str
    template_digest: str
    query: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked, as run_template tells it to add_noise.

    Attributes:
        digest: as in `Answer`.
        room, party: whose question it is.
        table_versions: full name -> digest, as they are now.
    """

    digest: str
    room: str
    party: str
    table_versions: tuple[tuple[str, str], ...]

    def is_answered_by(self, answer: Answer) -> bool:
        """Return whether an answer is that of this question, for this party, and still over the same data."""
        return (answer.question, answer.room, answer.party, answer.table_versions) == (
            self.digest,
            self.room,
            self.party,
            self.table_versions,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """The run under whose id a stored release is given again.

    Attributes:
        run_id: scoped by the party.
        request_digest, plan_digest, template_digest: SHA-256 of each.
        template: its name.
        query: the checked query in canonical text.
        window: in which it was asked for.
        settings_versions, limit_micro_epsilon: of each budget, as they hold now.
    """

    run_id: str
    request_digest: str
    plan_digest: str
    template: str
    template_digest: str
    query: str
    window: int
    settings_versions: tuple[int, ...]
    limit_micro_epsilon: tuple[int, ...]


def replay_body(replay: Replay, run: RunRecord) -> str:
    """Return the body of the history line of a replay: canonical JSON."""
    return json.dumps(
        {
            "replay_of": replay.replay_of,
            "window": run.window,
            "template": run.template,
            "request_digest": run.request_digest,
            "plan_digest": run.plan_digest,
            "table_versions": run.table_versions,
        },
        ensure_ascii=True,
        sort_keys=True,
        separators=(",", ":"),
    )
