"""A charge as one DynamoDB transaction (rule 1): its actions by name, in the order of their conditions' reasons."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb_activity import ActivityItems
from cleanroom.adapters.dynamodb_expressions import (
    ABSENT,
    COUNTABLE,
    FINISH_IN_WINDOW,
    FITS,
    IS_KIND,
    MOVE_RUN,
    NEVER_FITS,
    RUN_IN_STATE,
    SETTINGS_AT_VERSION,
    SPEND_EVER,
    SPEND_IN_WINDOW,
    TASK_AS_PRICED,
    TASK_AS_PRICED_OR_NEW,
)
from cleanroom.adapters.dynamodb_items import item, placeholders
from cleanroom.adapters.dynamodb_keys import (
    History,
    Key,
    lifetime_key,
    run_key,
    settings_key,
    task_key,
    window_key,
)
from cleanroom.privacy.accounting import WINDOW_DELTA_STEPS
from cleanroom.rooms.ledger import RunState, TaskState, TaskStatus
from cleanroom.rooms.ledger_chain import next_line, utc_text
from cleanroom.rooms.ledger_rules import (
    MOST_UNFINISHED,
    charge_body,
    counts_as_unfinished,
    metered,
    run_of,
    unmetered,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.adapters.dynamodb_history import Histories
    from cleanroom.rooms.ledger import Charge, RunRecord
    from cleanroom.rooms.ledger_chain import ChainHead

RUN = "run/1"
SETTINGS = "settings/1"
TASK = "dp_task/1"
WINDOW_SPENDING = "window_spending/1"
LIFETIME_SPENDING = "lifetime_spending/1"

SPENDING_KEPT = timedelta(days=400)
"""How long a window's spending is kept after its last charge. Runs, lifetime totals and histories have no end."""

_LARGEST_LIMIT = 10**30
"""No sum of prices comes near it, so a larger limit is no limit either, and the number stays within 38 digits."""


def charge_actions(
    table: Table, histories: Histories, charge: Charge, *, head: ChainHead
) -> dict[str, TransactWriteItemTypeDef]:
    """Return every action of a charge, by a name that `failed` reasons can be told by.

    The names are `run`, `task`, `settings:i`, `window:i`, `lifetime:i` and `active:i` for each budget i, `line` and
    `head`.

    Args:
        table: the ledger's.
        histories: of the same table.
        charge: checked by `check_charge`.
        head: the end of the room's history as just read.
    """
    actions = {"run": _run(table, charge), "task": _task_check(table, charge)}
    for number, key in enumerate(charge.budgets):
        version = charge.settings_versions[number]
        actions[f"settings:{number}"] = (
            table.check(settings_key(key), condition=ABSENT)
            if version == 0
            else table.check(
                settings_key(key),
                condition=SETTINGS_AT_VERSION,
                values=placeholders(kind=SETTINGS, version=version),
            )
        )
        actions[f"window:{number}"] = _window(
            table, charge, window_key(key, charge.window), limit=charge.limit_micro_epsilon[number]
        )
        actions[f"lifetime:{number}"] = _lifetime(table, charge, lifetime_key(key))
        actions[f"active:{number}"] = ActivityItems(table=table).touch(key, window=charge.window, at=charge.at)
    line = next_line(
        head,
        room=charge.room,
        at=charge.at,
        kind="charge",
        party=charge.party,
        body=charge_body(charge),
        run_id=charge.run_id,
    )
    actions["line"], actions["head"] = histories.append(History(room=charge.room), head=head, line=line)
    return actions


def charge_token(run_id: str, actions: Mapping[str, TransactWriteItemTypeDef]) -> str:
    """Return the request token of one attempt: equal for equal transactions of one run only, 36 characters at most."""
    text = json.dumps([run_id, actions], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:36]


def _run(table: Table, charge: Charge) -> TransactWriteItemTypeDef:
    run = run_of(charge)
    stored = item(
        run_key(charge.run_id),
        kind=RUN,
        state=run.state.value,
        state_since=utc_text(charge.at),
        request_digest=charge.request_digest,
        body=encode(run),
    )
    return table.put(stored, condition=ABSENT)


def _task_check(table: Table, charge: Charge) -> TransactWriteItemTypeDef:
    status = TaskStatus.SUSPENDED if charge.unmetered else TaskStatus.RUNNING
    new = TaskState()
    as_new = (status, charge.window) == (new.status, new.window)
    return table.check(
        task_key(),
        condition=TASK_AS_PRICED_OR_NEW if as_new else TASK_AS_PRICED,
        values=placeholders(kind=TASK, status=status.value, window=charge.window),
    )


def _window(table: Table, charge: Charge, key: Key, *, limit: int) -> TransactWriteItemTypeDef:
    counted, uncounted = metered(charge), unmetered(charge)
    at_most = min(limit, _LARGEST_LIMIT) - charge.price.micro_epsilon
    values: dict[str, str | int] = {
        "kind": WINDOW_SPENDING,
        "micro_epsilon": counted.micro_epsilon,
        "delta_steps": counted.delta_steps,
        "unmetered_micro_epsilon": uncounted.micro_epsilon,
        "unmetered_delta_steps": uncounted.delta_steps,
        "unfinished": int(counts_as_unfinished(charge)),
        "expires_at": int((charge.at + SPENDING_KEPT).timestamp()),
    }
    if charge.unmetered:
        condition = COUNTABLE
        values["number"] = "N"
    else:
        delta_at_most = WINDOW_DELTA_STEPS - charge.price.delta_steps
        condition = FITS if at_most >= 0 and delta_at_most >= 0 else NEVER_FITS
        most = MOST_UNFINISHED if counts_as_unfinished(charge) else _LARGEST_LIMIT
        values |= {"at_most": at_most, "delta_at_most": delta_at_most, "most_unfinished": most}
    return table.update(key, update=SPEND_IN_WINDOW, condition=condition, values=placeholders(**values))


def finish_actions(table: Table, run: RunRecord, *, source: RunState, at: datetime) -> list[TransactWriteItemTypeDef]:
    """Return the actions that make a run released: its move, and for each budget one unfinished run less."""
    move = table.update(
        run_key(run.run_id),
        update=MOVE_RUN,
        condition=RUN_IN_STATE,
        values=placeholders(kind=RUN, source=source.value, to=RunState.RELEASED.value, at=utc_text(at)),
    )
    finish = [
        table.update(
            window_key(key, run.window),
            update=FINISH_IN_WINDOW,
            condition=IS_KIND,
            values=placeholders(kind=WINDOW_SPENDING, minus_one=-1),
        )
        for key in run.budgets
    ]
    return [move, *finish]


def _lifetime(table: Table, charge: Charge, key: Key) -> TransactWriteItemTypeDef:
    uncounted = unmetered(charge)
    return table.update(
        key,
        update=SPEND_EVER,
        condition=COUNTABLE,
        values=placeholders(
            kind=LIFETIME_SPENDING,
            micro_epsilon=charge.price.micro_epsilon,
            delta_steps=charge.price.delta_steps,
            unmetered_micro_epsilon=uncounted.micro_epsilon,
            unmetered_delta_steps=uncounted.delta_steps,
            number="N",
        ),
    )
