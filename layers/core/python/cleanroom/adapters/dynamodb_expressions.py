"""Every condition and update expression that we send to DynamoDB, as constants, in its documented grammar.

No arithmetic in conditions: DynamoDB refuses it, so limits are computed by the caller. All of them are parsed by
`tests/contract/test_expressions.py`. Names are always placeholders (`#name` for attribute `name`): many of them are
reserved words.
"""

from __future__ import annotations

import re

# --- both tables ---

ABSENT = "attribute_not_exists(#pk)"
IS_KIND = "#kind = :kind"

# --- ledger: charge ---

_WITHIN = "#micro_epsilon <= :at_most AND #delta_steps <= :delta_at_most"
_WITHIN_RHO = "#rho_steps <= :at_most AND #rho_delta_steps <= :delta_at_most"
_OF_WINDOW = "#kind = :kind AND #unfinished < :most_unfinished"
FITS_WINDOW = f"attribute_not_exists(#pk) OR ({_OF_WINDOW} AND {_WITHIN})"
FITS_WINDOW_RHO = f"attribute_not_exists(#pk) OR ({_OF_WINDOW} AND {_WITHIN_RHO})"
# Windows of the first kind may have no count of unfinished runs: then none of theirs is counted.
FITS_OLDER_WINDOW = (
    f"#kind = :older AND (attribute_not_exists(#unfinished) OR #unfinished < :most_unfinished) AND {_WITHIN}"
)
_COUNTED = "attribute_type(#micro_epsilon, :number) AND attribute_type(#delta_steps, :number)"
COUNTABLE_WINDOW = (
    f"attribute_not_exists(#pk) OR (#kind = :kind AND {_COUNTED}"
    " AND attribute_type(#rho_steps, :number) AND attribute_type(#rho_delta_steps, :number))"
)
COUNTABLE_OLDER_WINDOW = f"#kind = :older AND {_COUNTED}"
SPEND_IN_WINDOW = (
    "SET #kind = :kind, #expires_at = :expires_at ADD #micro_epsilon :micro_epsilon, #delta_steps :delta_steps,"
    " #unmetered_micro_epsilon :unmetered_micro_epsilon, #unmetered_delta_steps :unmetered_delta_steps,"
    " #unfinished :unfinished, #rho_steps :rho_steps, #rho_delta_steps :rho_delta_steps"
)
FINISH_IN_WINDOW = "ADD #unfinished :minus_one"
HAS_UNFINISHED = "#kind IN (:kind, :older, :oldest) AND #unfinished > :zero"
# The end of the budget's chain is what was read: so is everything else that a charge writes here.
AS_READ = "#kind = :kind AND #lines = :lines AND #hash = :hash AND #in_room_total = :in_room_total"
FITS_LIFETIME = f"{AS_READ} AND #micro_epsilon <= :at_most"
SPEND_EVER = (
    "SET #kind = :kind, #lines = :lines_after, #hash = :hash_after, #in_room_total = :joined"
    " ADD #micro_epsilon :micro_epsilon, #delta_steps :delta_steps,"
    " #unmetered_micro_epsilon :unmetered_micro_epsilon, #unmetered_delta_steps :unmetered_delta_steps"
)
GIVE_CHAIN = "SET #kind = :new_kind, #lines = :zero, #hash = :hash, #in_room_total = :zero"
JOIN_ROOM_TOTAL = "SET #in_room_total = :joined"
FITS_ROOM = "#kind = :kind AND #version = :version AND #micro_epsilon <= :at_most"
FITS_ROOM_WINDOW = "attribute_not_exists(#pk) OR (#kind = :kind AND #micro_epsilon <= :at_most)"
SPEND_IN_ROOM = "ADD #micro_epsilon :micro_epsilon, #delta_steps :delta_steps"
SPEND_IN_ROOM_WINDOW = (
    "SET #kind = :kind, #expires_at = :expires_at ADD #micro_epsilon :micro_epsilon, #delta_steps :delta_steps"
)
AT_VERSION = "begins_with(#kind, :family) AND #version = :version"
HEAD_UNCHANGED = "#kind = :kind AND #count = :count AND #hash = :hash"

# --- ledger: activity of windows, signals, audit ---

ABSENT_OR_KIND = "attribute_not_exists(#pk) OR #kind = :kind"
_NAME_ACTIVITY = "SET #kind = :kind, #room = :room, #party = :party, #template = :template, #expires_at = :expires_at"
TOUCH_ACTIVITY = _NAME_ACTIVITY
COUNT_REFUSAL = f"{_NAME_ACTIVITY} ADD #refusals :one, #refusals_in_hour :one"
COUNT_FIRST_REFUSAL_OF_HOUR = f"{_NAME_ACTIVITY}, #hour = :hour, #refusals_in_hour = :one ADD #refusals :one"
REFUSED_IN_HOUR = "#kind = :kind AND #hour = :hour"
REFUSED_IN_OTHER_HOUR = (
    "attribute_not_exists(#pk) OR (#kind = :kind AND (attribute_not_exists(#hour) OR #hour <> :hour))"
)
STILL_COUNTED = "attribute_not_exists(#pk) OR (#kind = :kind AND #charges < :most)"
_COUNT_CHARGE = "SET #kind = :kind, #expires_at = :expires_at ADD #charges :one, #spent :micro_epsilon"
# For a query that shares so many likenesses; `#spent` and `#kin_…` stand for names that the hour and the query make.
COUNT_CHARGE = tuple(
    _COUNT_CHARGE + "".join(f", #kin_{letter} :query" for letter in "abcdefghij"[:shared]) for shared in range(11)
)
CHECKPOINT_AT_COUNT = "attribute_not_exists(#pk) OR (#kind = :kind AND #count = :count)"
CLOSED_BEFORE = "attribute_not_exists(#pk) OR (#kind = :kind AND #window < :window)"

# --- ledger: room budgets ---

SET_ROOM_BUDGET = "SET #version = :next_version, #body = :body"

# --- ledger: task, runs, requests ---

AT_REVISION = "#kind = :kind AND #revision = :revision"
TASK_COPY_BEHIND = "attribute_not_exists(#pk) OR (#kind = :kind AND #revision < :revision)"
RUN_IN_STATE = "begins_with(#kind, :family) AND #state = :source"
RUN_IN_EITHER_STATE = "begins_with(#kind, :family) AND #state IN (:source, :or_source)"
MOVE_RUN = "SET #state = :to, #state_since = :at"
END_RUN = "SET #state = :to, #state_since = :at REMOVE #open"
SAME_REQUEST_QUEUED = (
    "attribute_not_exists(#pk) OR (#kind = :kind AND #state = :queued AND #party = :party"
    " AND #request_digest = :request_digest)"
)

# --- ledger: answers ---

NEWER_ANSWER = "attribute_not_exists(#pk) OR (#kind = :kind AND #released_at < :released_at)"

# --- catalogue ---

ROOM_OF_PROVIDER = "#kind = :kind AND #provider = :provider"
OVERWRITE_ROOM = "SET #body = :body ADD #revision :one"
TOUCH_ROOM = "ADD #revision :one"
CLOSE_ROOM = "SET #kind = :dropping ADD #revision :one"

CONDITIONS = (
    ABSENT,
    IS_KIND,
    FITS_WINDOW,
    FITS_WINDOW_RHO,
    FITS_OLDER_WINDOW,
    COUNTABLE_WINDOW,
    COUNTABLE_OLDER_WINDOW,
    HAS_UNFINISHED,
    AS_READ,
    FITS_LIFETIME,
    FITS_ROOM,
    FITS_ROOM_WINDOW,
    AT_VERSION,
    HEAD_UNCHANGED,
    AT_REVISION,
    TASK_COPY_BEHIND,
    RUN_IN_STATE,
    RUN_IN_EITHER_STATE,
    SAME_REQUEST_QUEUED,
    NEWER_ANSWER,
    ROOM_OF_PROVIDER,
    ABSENT_OR_KIND,
    REFUSED_IN_HOUR,
    REFUSED_IN_OTHER_HOUR,
    STILL_COUNTED,
    CHECKPOINT_AT_COUNT,
    CLOSED_BEFORE,
)
UPDATES = (
    SPEND_IN_WINDOW,
    FINISH_IN_WINDOW,
    SPEND_EVER,
    GIVE_CHAIN,
    JOIN_ROOM_TOTAL,
    SPEND_IN_ROOM,
    SPEND_IN_ROOM_WINDOW,
    SET_ROOM_BUDGET,
    MOVE_RUN,
    END_RUN,
    OVERWRITE_ROOM,
    TOUCH_ROOM,
    CLOSE_ROOM,
    TOUCH_ACTIVITY,
    COUNT_REFUSAL,
    COUNT_FIRST_REFUSAL_OF_HOUR,
    *COUNT_CHARGE,
)

KEY_IN_PARTITION = "#pk = :pk"
KEY_WITH_PREFIX = "#pk = :pk AND begins_with(#sk, :prefix)"
KEY_AFTER = "#pk = :pk AND #sk > :after"
OPEN_SINCE_BEFORE = "#open = :open AND #charged_at < :before"
KEY_CONDITIONS = (KEY_IN_PARTITION, KEY_WITH_PREFIX, KEY_AFTER, OPEN_SINCE_BEFORE)

_NAME = re.compile(r"#([a-z_]+)", re.ASCII)


def names_in(*expressions: str) -> dict[str, str]:
    """Return `ExpressionAttributeNames` for what the expressions use; DynamoDB refuses unused ones."""
    return {f"#{name}": name for expression in expressions for name in _NAME.findall(expression)}
