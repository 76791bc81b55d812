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

_WITHIN = (
    "#kind = :kind AND #micro_epsilon <= :at_most AND #delta_steps <= :delta_at_most"
    " AND (attribute_not_exists(#unfinished) OR #unfinished < :most_unfinished)"
)
FITS = f"attribute_not_exists(#pk) OR ({_WITHIN})"
# Where the price alone is over the limit: no item, or whatever is in it, can make it fit.
NEVER_FITS = _WITHIN
COUNTABLE = (
    "attribute_not_exists(#pk) OR (#kind = :kind AND attribute_type(#micro_epsilon, :number)"
    " AND attribute_type(#delta_steps, :number))"
)
SPEND_IN_WINDOW = (
    "SET #kind = :kind, #expires_at = :expires_at ADD #micro_epsilon :micro_epsilon, #delta_steps :delta_steps,"
    " #unmetered_micro_epsilon :unmetered_micro_epsilon, #unmetered_delta_steps :unmetered_delta_steps,"
    " #unfinished :unfinished"
)
FINISH_IN_WINDOW = "ADD #unfinished :minus_one"
SPEND_EVER = (
    "SET #kind = :kind ADD #micro_epsilon :micro_epsilon, #delta_steps :delta_steps,"
    " #unmetered_micro_epsilon :unmetered_micro_epsilon, #unmetered_delta_steps :unmetered_delta_steps"
)
SETTINGS_AT_VERSION = "#kind = :kind AND #version = :version"
TASK_AS_PRICED = "#kind = :kind AND #status = :status AND #window = :window"
# A new account has no task item: it is running, in window 0.
TASK_AS_PRICED_OR_NEW = "attribute_not_exists(#pk) OR (#kind = :kind AND #status = :status AND #window = :window)"
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
CHECKPOINT_AT_COUNT = "attribute_not_exists(#pk) OR (#kind = :kind AND #count = :count)"
CLOSED_BEFORE = "attribute_not_exists(#pk) OR (#kind = :kind AND #window < :window)"

# --- ledger: task, runs, requests ---

TASK_AT_REVISION = "#kind = :kind AND #revision = :revision"
RUN_IN_STATE = "#kind = :kind AND #state = :source"
RUN_IN_EITHER_STATE = "#kind = :kind AND #state IN (:source, :or_source)"
MOVE_RUN = "SET #state = :to, #state_since = :at"
SAME_REQUEST_QUEUED = (
    "attribute_not_exists(#pk) OR (#kind = :kind AND #state = :queued AND #party = :party"
    " AND #request_digest = :request_digest)"
)

# --- catalogue ---

ROOM_OF_PROVIDER = "#kind = :kind AND #provider = :provider"
OVERWRITE_ROOM = "SET #body = :body ADD #revision :one"
TOUCH_ROOM = "ADD #revision :one"
CLOSE_ROOM = "SET #kind = :dropping ADD #revision :one"

CONDITIONS = (
    ABSENT,
    IS_KIND,
    FITS,
    NEVER_FITS,
    COUNTABLE,
    SETTINGS_AT_VERSION,
    TASK_AS_PRICED,
    TASK_AS_PRICED_OR_NEW,
    HEAD_UNCHANGED,
    TASK_AT_REVISION,
    RUN_IN_STATE,
    RUN_IN_EITHER_STATE,
    SAME_REQUEST_QUEUED,
    ROOM_OF_PROVIDER,
    ABSENT_OR_KIND,
    REFUSED_IN_HOUR,
    REFUSED_IN_OTHER_HOUR,
    CHECKPOINT_AT_COUNT,
    CLOSED_BEFORE,
)
UPDATES = (
    SPEND_IN_WINDOW,
    FINISH_IN_WINDOW,
    SPEND_EVER,
    MOVE_RUN,
    OVERWRITE_ROOM,
    TOUCH_ROOM,
    CLOSE_ROOM,
    TOUCH_ACTIVITY,
    COUNT_REFUSAL,
    COUNT_FIRST_REFUSAL_OF_HOUR,
)

KEY_IN_PARTITION = "#pk = :pk"
KEY_WITH_PREFIX = "#pk = :pk AND begins_with(#sk, :prefix)"
KEY_AFTER = "#pk = :pk AND #sk > :after"
KEY_CONDITIONS = (KEY_IN_PARTITION, KEY_WITH_PREFIX, KEY_AFTER)

_NAME = re.compile(r"#([a-z_]+)", re.ASCII)


def names_in(*expressions: str) -> dict[str, str]:
    """Return `ExpressionAttributeNames` for what the expressions use; DynamoDB refuses unused ones."""
    return {f"#{name}": name for expression in expressions for name in _NAME.findall(expression)}
