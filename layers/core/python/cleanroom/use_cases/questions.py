"""When two requests are the same question, so that one that was paid for is answered again for nothing (B-50)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cleanroom.rooms.ledger import BudgetKey


def question_digest(plan_json: bytes, *, room: str, party: str, budgets: Iterable[BudgetKey]) -> str:
    """Return the SHA-256 of what is asked: the plan without its text, and whose question it is.

    The plan says which tables it reads and how their owners had declared them, every exact query, bound, noise,
    threshold and price, and the release query. So different texts that compile to the same plan are one question, and
    whatever could change the answer or its noise makes another. The room, the party that reads and the budgets that
    pay are in it: no party and no room ever shares an answer.

    Args:
        plan_json: as `plan_as_json` gives it.
        room, party: where, and who reads.
        budgets: whose budgets pay.
    """
    plan = msgspec.json.decode(plan_json)
    del plan["sql"]
    whose = [room, party, [[key.room, key.party, key.template] for key in budgets]]
    return hashlib.sha256(msgspec.json.encode(["question/1", whose, plan], order="deterministic")).hexdigest()
