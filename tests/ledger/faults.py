"""Faults as they happen: stores that do not answer, answers that get lost, processes that end at any point."""

import random
from dataclasses import dataclass, field

from botocore.exceptions import ClientError, ReadTimeoutError

from cleanroom.errors import BusyError

SHARE = 0.3
"""How often a write meets a fault."""


class Killed(BaseException):
    """The process ends here: nothing catches it, and whatever it was about to do is not done."""


class Chaos:
    """Which fault each write meets: none for seed 0, else 30 % do; the same seed gives the same faults."""

    def __init__(self, seed):
        self._random = random.Random(seed) if seed else None

    def next(self, *kinds):
        """Return the fault of the next write, or None."""
        if self._random is None or self._random.random() >= SHARE:
            return None
        return self._random.choice(kinds)


@dataclass
class FlakyLedger:
    """A ledger behind a line that fails: calls are lost before they arrive, or answers on their way back."""

    ledger: object
    chaos: Chaos = field(default_factory=lambda: Chaos(0))
    met: int = 0

    WRITES = ("charge", "advance", "put_settings", "put_room_budget", "set_task", "open_window")

    def __getattr__(self, name):
        real = getattr(self.ledger, name)
        if name not in self.WRITES:
            return real

        def call(*arguments, **keywords):
            fault = self.chaos.next("throttle", "lost", "killed before", "killed after")
            self.met += fault is not None
            if fault == "throttle":
                raise BusyError("throttled")
            if fault == "killed before":
                raise Killed
            answer = real(*arguments, **keywords)
            if fault == "killed after":
                raise Killed
            if fault == "lost":
                raise BusyError("the answer was lost")
            return answer

        return call


@dataclass
class FlakyClient:
    """A DynamoDB client whose every write meets faults: throttled, in conflict, or applied and the answer lost.

    And the process may end before or after any of them, in the middle of what the ledger is doing. Transactions that
    were applied are known again by their token, as DynamoDB knows them for ten minutes; moto does not.
    """

    client: object
    chaos: Chaos = field(default_factory=lambda: Chaos(0))
    met: int = 0
    applied: dict = field(default_factory=dict)  # token -> transaction

    WRITES = ("transact_write_items", "update_item", "put_item")
    # A process ends seldom beside what else happens to a call.
    KINDS = ("throttle", "throttle", "conflict", "conflict", "lost", "lost", "killed before", "killed after")

    def __getattr__(self, name):
        real = getattr(self.client, name)
        if name not in self.WRITES:
            return real

        def call(**request):
            fault = self.chaos.next(*self.KINDS)
            self.met += fault is not None
            if fault == "killed before":
                raise Killed
            if fault == "throttle" or (fault == "conflict" and name != "transact_write_items"):
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, name)
            if fault == "conflict":
                reasons = [{"Code": "None"} for _ in request["TransactItems"]]
                reasons[0] = {"Code": "TransactionConflict"}
                raise self.client.exceptions.TransactionCanceledException(
                    {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}, name
                )
            token = request.get("ClientRequestToken")
            if token in self.applied:
                assert self.applied[token] == request, "DynamoDB refuses a token with another transaction"
                answer = {}
            else:
                answer = real(**request)
                if token is not None:
                    self.applied[token] = request
            if fault == "killed after":
                raise Killed
            if fault == "lost":
                raise ReadTimeoutError(endpoint_url="lost")
            return answer

        return call
