"""A charge on DynamoDB (rule 1): what it reads at once, and its one transaction, as actions. Used by the ledger.

All items that the transaction names belong to its run or to its budgets, but for the copy of the DP task's revision,
which few budgets share, and the totals of a room that was given a budget. So charges of different budgets do not wait
for each other.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb_activity import ActivityItems, activity_key
from cleanroom.adapters.dynamodb_budgets import (
    LARGEST_LIMIT,
    Lifetime,
    as_read,
    lifetime_in,
    room_standing_in,
    spending_in,
    window_kind_in,
)
from cleanroom.adapters.dynamodb_expressions import (
    ABSENT,
    AS_READ,
    AT_REVISION,
    AT_VERSION,
    COUNTABLE_OLDER_WINDOW,
    COUNTABLE_WINDOW,
    END_RUN,
    FINISH_IN_WINDOW,
    FITS_LIFETIME,
    FITS_OLDER_WINDOW,
    FITS_ROOM,
    FITS_ROOM_WINDOW,
    FITS_WINDOW,
    FITS_WINDOW_RHO,
    HAS_UNFINISHED,
    RUN_IN_STATE,
    SPEND_EVER,
    SPEND_IN_ROOM,
    SPEND_IN_ROOM_WINDOW,
    SPEND_IN_WINDOW,
)
from cleanroom.adapters.dynamodb_history import head_in
from cleanroom.adapters.dynamodb_items import item, placeholders
from cleanroom.adapters.dynamodb_keys import (
    History,
    head_key,
    lifetime_key,
    open_runs_part,
    room_total_key,
    room_window_key,
    run_key,
    settings_key,
    task_copy_key,
    task_copy_number,
    task_key,
    window_key,
)
from cleanroom.adapters.dynamodb_kinds import (
    LIFETIME_SPENDING,
    ROOM_TOTAL,
    ROOM_WINDOW,
    RUN,
    RUN_FAMILY,
    SETTINGS_FAMILY,
    TASK_COPY,
    WINDOW_SPENDING,
    WINDOW_SPENDING_OLDER,
)
from cleanroom.adapters.dynamodb_settings import record_in
from cleanroom.adapters.dynamodb_task import copy_revision_in, task_in
from cleanroom.privacy.accounting import WINDOW_DELTA_STEPS, limit_micro_epsilon, total
from cleanroom.rooms.ledger import RunState
from cleanroom.rooms.ledger_chain import ChainHead, chain_of, head_after, next_line, opening_line, utc_text
from cleanroom.rooms.ledger_rules import (
    MOST_UNFINISHED,
    charge_body,
    counts_as_unfinished,
    is_limited,
    metered,
    metered_rho,
    run_of,
    unmetered,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Attributes, Table
    from cleanroom.adapters.dynamodb_history import Histories
    from cleanroom.adapters.dynamodb_keys import Key
    from cleanroom.rooms.ledger import Charge, RoomStanding, RunRecord, Spending, TaskState

SPENDING_KEPT = timedelta(days=400)
"""How long a window's spending is kept after its last charge. Runs, lifetime totals and histories have no end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """All that a charge depends on, as read in one operation; the transaction checks that it is still so.

    Attributes:
        run: the stored run of this id, if there is one.
        task, revision: the DP task.
        copies: for each copy that the budgets check: its number and revision.
        versions: of the settings, `lifetimes` and `spent`: for each budget of the charge, in order.
        room: None where the room never had a budget.
        head: the end of the room's own chain.
        active: for each budget, whether it is one of the window's already.
        window_kinds: for each budget, the kind of what it has spent in the window.
    """

    run: Attributes | None
    task: TaskState
    revision: int
    copies: Mapping[int, int]
    versions: tuple[int, ...]
    lifetimes: tuple[Lifetime, ...]
    spent: tuple[Spending, ...]
    room: RoomStanding | None
    head: ChainHead
    active: tuple[bool, ...]
    window_kinds: tuple[str, ...]


def read_for(charge: Charge, table: Table) -> Found:
    """Read everything that a charge depends on, in one operation. Raises LedgerUnreadableError, BusyError."""
    numbers = sorted({task_copy_number(key) for key in charge.budgets})
    own = head_key(History(room=charge.room))
    wanted: list[Key] = [run_key(charge.run_id), task_key(), own]
    wanted += [room_total_key(charge.room), room_window_key(charge.room, charge.window)]
    wanted += [task_copy_key(number) for number in numbers]
    active = [activity_key(key, window=charge.window) for key in charge.budgets]
    wanted += active
    for key in charge.budgets:
        wanted += [settings_key(key), window_key(key, charge.window), lifetime_key(key)]
    found = table.get_each(wanted)
    task, revision = task_in(found.get(task_key()))
    return Found(
        run=found.get(run_key(charge.run_id)),
        task=task,
        revision=revision,
        copies={number: copy_revision_in(found.get(task_copy_key(number))) for number in numbers},
        versions=tuple(record_in(found.get(settings_key(key)), key).version for key in charge.budgets),
        lifetimes=tuple(lifetime_in(found.get(lifetime_key(key))) for key in charge.budgets),
        spent=tuple(spending_in(found, key, window=charge.window) for key in charge.budgets),
        room=room_standing_in(found, charge.room, window=charge.window),
        head=head_in(found.get(own)),
        active=tuple(key in found for key in active),
        window_kinds=tuple(window_kind_in(found, key, window=charge.window) for key in charge.budgets),
    )


def charge_actions(
    table: Table, histories: Histories, charge: Charge, *, found: Found
) -> list[TransactWriteItemTypeDef]:
    """Return every action of a charge that `found` allows: they are applied together, or none is."""
    actions = [_run(table, charge)]
    actions += [_task_check(table, number, revision=found.revision) for number in found.copies]
    own, head = History(room=charge.room), found.head
    for number, key in enumerate(charge.budgets):
        version, lifetime = charge.settings_versions[number], found.lifetimes[number]
        actions.append(
            table.check(settings_key(key), condition=ABSENT)
            if version == 0
            else table.check(
                settings_key(key), condition=AT_VERSION, values=placeholders(family=SETTINGS_FAMILY, version=version)
            )
        )
        actions.append(_window(table, charge, number=number, found=found))
        end = lifetime.head or ChainHead()
        if end.count == 0:
            opening = opening_line(head, key=key, at=charge.at, party=charge.party)
            actions.append(histories.line(own, head=head, line=opening))
            head = head_after(head, opening)
        chain = chain_of(key)
        line = next_line(
            end,
            room=charge.room,
            at=charge.at,
            kind="charge",
            party=charge.party,
            body=charge_body(charge, number=number),
            run_id=charge.run_id,
            chain=chain,
        )
        actions.append(histories.line(History(room=charge.room, chain=chain), head=end, line=line))
        actions.append(_lifetime(table, charge, lifetime, number=number, after=head_after(end, line), found=found))
        if not found.active[number]:
            actions.append(ActivityItems(table=table).touch(key, window=charge.window, at=charge.at))
    if head != found.head:
        actions.append(histories.move(own, head=found.head, after=head))
        if found.room is None:
            # A budget that begins is in no list yet that `set_room_budget` goes through: it checks by itself.
            actions.append(table.check(room_total_key(charge.room), condition=ABSENT))
    if found.room is not None:
        actions += _room(table, charge)
    return actions


def charge_token(run_id: str, actions: list[TransactWriteItemTypeDef]) -> str:
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
        open=open_runs_part(charge.run_id),
        charged_at=utc_text(charge.at),
    )
    return table.put(stored, condition=ABSENT)


def _task_check(table: Table, number: int, *, revision: int) -> TransactWriteItemTypeDef:
    if revision == 0:
        return table.check(task_copy_key(number), condition=ABSENT)
    return table.check(
        task_copy_key(number), condition=AT_REVISION, values=placeholders(kind=TASK_COPY, revision=revision)
    )


def _window(table: Table, charge: Charge, *, number: int, found: Found) -> TransactWriteItemTypeDef:
    """Return the action on what a budget has spent in the window.

    An item of an older kind becomes one of the newest, once, for the condition names its kind. It gets what the reader
    says of its rho; nothing was charged since it was read, or the end of the budget's chain would be another.
    """
    price = charge.prices[number]
    counted, uncounted = metered(price, of=charge), unmetered(price, of=charge)
    rho = metered_rho(charge.rho_prices[number], of=charge)
    is_older = found.window_kinds[number] != WINDOW_SPENDING
    added_rho = rho + found.spent[number].window_rho if is_older else rho
    values: dict[str, str | int] = {
        "kind": WINDOW_SPENDING,
        "micro_epsilon": counted.micro_epsilon,
        "delta_steps": counted.delta_steps,
        "unmetered_micro_epsilon": uncounted.micro_epsilon,
        "unmetered_delta_steps": uncounted.delta_steps,
        "rho_steps": added_rho.rho_steps,
        "rho_delta_steps": added_rho.delta_steps,
        "unfinished": int(counts_as_unfinished(charge)),
        "expires_at": int((charge.at + SPENDING_KEPT).timestamp()),
    }
    if is_older:
        values["older"] = found.window_kinds[number]
    rho_limit = charge.rho_limits[number]
    if not is_limited(charge):
        condition = COUNTABLE_OLDER_WINDOW if is_older else COUNTABLE_WINDOW
        values["number"] = "N"
    else:
        values["most_unfinished"] = MOST_UNFINISHED if counts_as_unfinished(charge) else LARGEST_LIMIT
        if rho_limit is None:
            condition = FITS_OLDER_WINDOW if is_older else FITS_WINDOW
            values["at_most"] = _at_most(charge.limit_micro_epsilon[number], price.micro_epsilon)
            values["delta_at_most"] = WINDOW_DELTA_STEPS - price.delta_steps
        elif is_older:  # it was read as holding nothing, for else the limit of rho does not hold it
            condition = FITS_OLDER_WINDOW
            values |= {"at_most": 0, "delta_at_most": 0}
        else:
            condition = FITS_WINDOW_RHO
            values["at_most"] = rho_limit.rho_steps - rho.rho_steps
            values["delta_at_most"] = rho_limit.delta_steps - rho.delta_steps
    key = window_key(charge.budgets[number], charge.window)
    return table.update(key, update=SPEND_IN_WINDOW, condition=condition, values=placeholders(**values))


def _lifetime(
    table: Table, charge: Charge, lifetime: Lifetime, *, number: int, after: ChainHead, found: Found
) -> TransactWriteItemTypeDef:
    price, limit = charge.prices[number], charge.lifetime_limit_micro_epsilon[number]
    uncounted = unmetered(price, of=charge)
    values: dict[str, str | int] = {
        "kind": LIFETIME_SPENDING,
        "lines_after": after.count,
        "hash_after": after.hash,
        # A budget that begins in a room with a budget is in its total from the first charge.
        "joined": int(found.room is not None),
        "micro_epsilon": price.micro_epsilon,
        "delta_steps": price.delta_steps,
        "unmetered_micro_epsilon": uncounted.micro_epsilon,
        "unmetered_delta_steps": uncounted.delta_steps,
    }
    if not lifetime.exists:
        condition = ABSENT
    elif limit is None or not is_limited(charge):
        condition = AS_READ
        values |= as_read(lifetime)
    else:
        condition = FITS_LIFETIME
        values |= as_read(lifetime) | {"at_most": _at_most(limit, price.micro_epsilon)}
    key = lifetime_key(charge.budgets[number])
    return table.update(key, update=SPEND_EVER, condition=condition, values=placeholders(**values))


def _room(table: Table, charge: Charge) -> list[TransactWriteItemTypeDef]:
    """Return the actions on the totals of a room that was given a budget."""
    budget, price = charge.room_budget.budget, total(charge.prices)
    counted = metered(price, of=charge)
    limited = is_limited(charge)
    ever = limit_micro_epsilon(budget.lifetime) if limited and budget.lifetime is not None else None
    in_window = limit_micro_epsilon(budget.per_window) if limited and budget.per_window is not None else None
    spend = table.update(
        room_total_key(charge.room),
        update=SPEND_IN_ROOM,
        condition=FITS_ROOM,
        values=placeholders(
            kind=ROOM_TOTAL,
            version=charge.room_budget.version,
            at_most=_at_most(ever, price.micro_epsilon),
            **price.as_json(),
        ),
    )
    spend_in_window = table.update(
        room_window_key(charge.room, charge.window),
        update=SPEND_IN_ROOM_WINDOW,
        condition=FITS_ROOM_WINDOW,
        values=placeholders(
            kind=ROOM_WINDOW,
            expires_at=int((charge.at + SPENDING_KEPT).timestamp()),
            at_most=_at_most(in_window, counted.micro_epsilon),
            **counted.as_json(),
        ),
    )
    return [spend, spend_in_window]


def _at_most(limit: int | None, price: int) -> int:
    """Return what may be spent before a price: below 0 where the limit does not even hold the price alone."""
    return LARGEST_LIMIT if limit is None else min(limit, LARGEST_LIMIT) - price


def finish_actions(table: Table, run: RunRecord, *, source: RunState, at: datetime) -> list[TransactWriteItemTypeDef]:
    """Return the actions that make a run released: its move, and for each budget one unfinished run less."""
    move = table.update(
        run_key(run.run_id),
        update=END_RUN,
        condition=RUN_IN_STATE,
        values=placeholders(family=RUN_FAMILY, source=source.value, to=RunState.RELEASED.value, at=utc_text(at)),
    )
    finish = [
        table.update(
            window_key(key, run.window),
            update=FINISH_IN_WINDOW,
            condition=HAS_UNFINISHED,
            values=placeholders(
                kind=WINDOW_SPENDING,
                older=WINDOW_SPENDING_OLDER[0],
                oldest=WINDOW_SPENDING_OLDER[1],
                zero=0,
                minus_one=-1,
            ),
        )
        for key in run.budgets
    ]
    return [move, *finish]
