"""Every refusal, on one page: what a caller may be told, each with a stable code. Imports nothing of ours.

A refusal may depend on the request, the template, the policies and the ledger, never on rows. `edge` alone turns
a `kind` into an HTTP status; any exception that is not a `CleanRoomError` is a bug of ours and becomes an opaque 500.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What sort of refusal it is; `edge` gives each an HTTP status."""

    INVALID = "invalid"  # the request itself: 400
    FORBIDDEN = "forbidden"  # known to the room, not allowed: 403
    NOT_FOUND = "not_found"  # unknown, or not for this party to know: 404
    CONFLICT = "conflict"  # not in this state: 409
    REFUSED = "refused"  # a template that has no private meaning: 422
    BUDGET = "budget"  # the price does not fit: 402
    BUSY = "busy"  # try again: 429


class CleanRoomError(Exception):
    """An expected refusal.

    Attributes:
        code: stable, lower case with underscores; what programs branch on.
        kind: gives the HTTP status.
        details: further public facts, JSON-able; never a row's value.
    """

    code = "clean_room_error"
    kind = Kind.INVALID

    def __init__(self, sentence: str, **details: object) -> None:
        super().__init__(sentence)
        self.details = details

    def as_json(self) -> dict[str, object]:
        """Return the refusal as every caller sees it, over HTTP, in the queue and in the inbox's results."""
        return {"code": self.code, "message": str(self), **self.details}


# --- requests ---------------------------------------------------------------------------------------------------------


class InvalidRequestError(CleanRoomError):
    """The request is not JSON, or an argument is missing, unknown, of a wrong type or out of range."""

    code = "invalid_request"


class UnknownProcedureError(CleanRoomError):
    """There is no procedure of that name for that side."""

    code = "unknown_procedure"
    kind = Kind.NOT_FOUND


class CleanRoomNotFoundError(CleanRoomError):
    """The room does not exist, or is none of this party's business: the two are not told apart (B-73)."""

    code = "clean_room_not_found"
    kind = Kind.NOT_FOUND

    def __init__(self, cleanroom_name: str) -> None:
        super().__init__(f"there is no clean room {cleanroom_name!r} for this party")


class RunNotFoundError(CleanRoomError):
    """The run does not exist, or is another party's."""

    code = "run_not_found"
    kind = Kind.NOT_FOUND


class ForbiddenError(CleanRoomError):
    """The party is known to the room, but this is not its to do."""

    code = "forbidden"
    kind = Kind.FORBIDDEN


class ConflictError(CleanRoomError):
    """The room, the task or the run is not in the state that this needs."""

    code = "conflict"
    kind = Kind.CONFLICT


# --- tables and templates ---------------------------------------------------------------------------------------------


class TableNotLinkedError(CleanRoomError):
    """Only linked tables can be named (B-37)."""

    code = "table_not_linked"
    kind = Kind.NOT_FOUND


class TableUnreadableError(CleanRoomError):
    """The table is missing, empty, corrupt or of another schema than when it was linked."""

    code = "table_unreadable"
    kind = Kind.CONFLICT


class TableTooLargeError(CleanRoomError):
    """The owner's table cannot be measured within the time and memory of one call."""

    code = "table_too_large"
    kind = Kind.CONFLICT


class OwnPrivacyPolicyError(CleanRoomError):
    """The owner marked the table as carrying a privacy policy of its own elsewhere (B-07)."""

    code = "own_privacy_policy"
    kind = Kind.CONFLICT

    def __init__(self, *, full_name: str, marker: str) -> None:
        super().__init__(
            f"{full_name} carries a privacy policy of its own elsewhere, as its owner marked it, and cannot be linked "
            f"or read here: link a table without one, or have its owner remove the object {marker} beside it"
        )


class TemplateNotFoundError(CleanRoomError):
    """The room has no template of that name for this party."""

    code = "template_not_found"
    kind = Kind.NOT_FOUND


class TemplateRefusedError(CleanRoomError):
    """The template, with these arguments, has no private meaning that can be proved.

    Attributes:
        rule: short stable name of the rule, e.g. `join_without_entity`.
        cure: the rewrite, or the call, that would work.
        line: in the rendered text, 1-based; None where no place can be named.
        column: likewise.
    """

    code = "template_refused"
    kind = Kind.REFUSED

    def __init__(
        self, sentence: str, *, rule: str, cure: str, line: int | None = None, column: int | None = None
    ) -> None:
        self.rule, self.cure, self.line, self.column = rule, cure, line, column
        super().__init__(sentence, rule=rule, cure=cure, line=line, column=column)


class MissingBoundsError(TemplateRefusedError):
    """An aggregate needs a bound that the table's owner has not declared."""

    code = "missing_bounds"


class PolicyViolationError(TemplateRefusedError):
    """A column is used in a way that its owner has not listed (B-33)."""

    code = "policy_violation"


# --- budget -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RhoRefusal:
    """What did not fit in a window that counts rho; rho and delta in steps of 1e-12."""

    price_rho_steps: int
    spent_rho_steps: int
    limit_rho_steps: int
    price_delta_steps: int
    spent_delta_steps: int
    limit_delta_steps: int

    @property
    def text(self) -> str:
        """What is asked, spent and possible, without the time of the renewal."""
        if self.spent_rho_steps + self.price_rho_steps > self.limit_rho_steps:
            return (
                f"the run costs rho {self.price_rho_steps / 1e12:g}, and {self.spent_rho_steps / 1e12:g} of the "
                f"{self.limit_rho_steps / 1e12:g} that privacy_budget comes to is spent"
            )
        return (
            f"the run's private groups cost delta {self.price_delta_steps / 1e12:g}, and "
            f"{self.spent_delta_steps / 1e12:g} of the {self.limit_delta_steps / 1e12:g} that a window has for them "
            "is spent"
        )

    def as_fields(self) -> dict[str, float]:
        """Return all of it for a machine."""
        return {
            "price_rho": self.price_rho_steps / 1e12,
            "spent_rho": self.spent_rho_steps / 1e12,
            "limit_rho": self.limit_rho_steps / 1e12,
            "price_delta": self.price_delta_steps / 1e12,
            "spent_delta": self.spent_delta_steps / 1e12,
            "limit_delta": self.limit_delta_steps / 1e12,
        }


class BudgetExhaustedError(CleanRoomError):
    """The price does not fit in what remains of one limit; nothing was charged, read or computed (B-51).

    All amounts are micro-epsilon, and delta in steps of 1e-12. Only a window limits delta: of another limit than
    `privacy_budget` delta says nothing and is left out of the answer.

    Attributes:
        limit_name: which limit: `privacy_budget` or `lifetime_budget` of the settings, or `room_budget` or
            `lifetime_room_budget` of the room.
        party_name: whose budget it is; None for a room's.
        window_ends: when what is spent is renewed; None for lifetime limits, which never are.
        rho: what did not fit, where rho is what counts; then the amounts of epsilon say nothing and are left out.
    """

    code = "budget_exhausted"
    kind = Kind.BUDGET

    def __init__(
        self,
        *,
        price_micro_epsilon: int,
        spent_micro_epsilon: int,
        limit_micro_epsilon: int,
        window_ends: str | None,
        price_delta_steps: int = 0,
        spent_delta_steps: int = 0,
        limit_name: str = "privacy_budget",
        party_name: str | None = None,
        rho: RhoRefusal | None = None,
    ) -> None:
        self.rho = rho
        self.price_micro_epsilon = price_micro_epsilon
        self.spent_micro_epsilon = spent_micro_epsilon
        self.limit_micro_epsilon = limit_micro_epsilon
        self.price_delta_steps = price_delta_steps
        self.spent_delta_steps = spent_delta_steps
        self.window_ends = window_ends
        self.limit_name = limit_name
        self.party_name = party_name
        until = "in all windows, which is not renewed" if window_ends is None else f"until {window_ends}"
        together = " by all parties of the room together" if limit_name.endswith("room_budget") else ""
        text = (
            f"the run costs epsilon {price_micro_epsilon / 1e6:g}, and {spent_micro_epsilon / 1e6:g} of the "
            f"{limit_micro_epsilon / 1e6:g} of {limit_name} is spent{together} {until}"
        )
        if spent_micro_epsilon + price_micro_epsilon <= limit_micro_epsilon:  # then it is delta that does not fit
            text = (
                f"the run costs delta {price_delta_steps / 1e12:g}, and {spent_delta_steps / 1e12:g} of the 0.001 "
                f"that a window allows is spent {until}"
            )
        if rho is not None:
            super().__init__(
                f"{rho.text} {until}",
                limit=limit_name,
                party_name=party_name,
                window_ends=window_ends,
                **rho.as_fields(),
            )
            return
        delta = {}
        if limit_name == "privacy_budget":
            delta = {"price_delta": price_delta_steps / 1e12, "spent_delta": spent_delta_steps / 1e12}
        super().__init__(
            text,
            limit=limit_name,
            party_name=party_name,
            price_epsilon=price_micro_epsilon / 1e6,
            spent_epsilon=spent_micro_epsilon / 1e6,
            limit_epsilon=limit_micro_epsilon / 1e6,
            **delta,
            window_ends=window_ends,
        )

    def renewed_at(self, window_ends: str) -> BudgetExhaustedError:
        """Return the same refusal with the time of the next renewal; a lifetime limit has none and stays as it is."""
        return BudgetExhaustedError(
            price_micro_epsilon=self.price_micro_epsilon,
            spent_micro_epsilon=self.spent_micro_epsilon,
            limit_micro_epsilon=self.limit_micro_epsilon,
            window_ends=None if self.window_ends is None else window_ends,
            price_delta_steps=self.price_delta_steps,
            spent_delta_steps=self.spent_delta_steps,
            limit_name=self.limit_name,
            party_name=self.party_name,
            rho=self.rho,
        )


class TooManyUnfinishedRunsError(CleanRoomError):
    """Too many runs of this budget window failed or are not finished; nothing was charged."""

    code = "too_many_unfinished_runs"
    kind = Kind.BUDGET

    def __init__(self, *, unfinished: int, limit: int) -> None:
        super().__init__(
            f"{unfinished} runs of this budget window have no release, and at most {limit} may: call those that can be "
            "finished again, each with its own run id, or wait for the next window",
            unfinished=unfinished,
            limit=limit,
        )


class RunConflictError(CleanRoomError):
    """The run id is already used by a different request."""

    code = "run_id_reused"
    kind = Kind.CONFLICT


class NoStoredAnswerError(CleanRoomError):
    """A stored release was asked for and nothing else, and none answers the question; nothing was charged."""

    code = "no_stored_answer"
    kind = Kind.CONFLICT


class StaleChargeError(CleanRoomError):
    """Window, settings or task state changed between pricing and charging; nothing was charged. Internal: retried."""

    code = "stale_charge"
    kind = Kind.BUSY


class BusyError(CleanRoomError):
    """The store would not answer in time; nothing is known to have happened. The same call, same run id, is safe."""

    code = "busy"
    kind = Kind.BUSY


class RunFailedError(CleanRoomError):
    """The run was charged and could not be finished; one fixed sentence, for the cause may depend on rows.

    Attributes:
        reason: the engine's class of failure, for the operator's metrics. It may depend on rows: no caller is told.
    """

    code = "run_failed"
    kind = Kind.CONFLICT

    def __init__(self, sentence: str, *, reason: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason


class LedgerUnreadableError(CleanRoomError):
    """A stored record is of an unknown kind, incomplete or damaged: it refuses, it never grants (rule 6 of the ledger).

    Trying again does not help; an operator must look at the record that the log names.
    """

    code = "ledger_unreadable"
    kind = Kind.CONFLICT
